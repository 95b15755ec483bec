//! Looking at a write-ahead log before SQLite does.
//!
//! SQLite reads the log up to the first page that does not fit its checksum and drops the rest without a word: right
//! for a torn end, which every kill may leave, but a damaged byte in the middle takes acknowledged commits along.
//! This tells the two apart: behind a torn end nothing was committed; behind a damaged page there are commits of the
//! same log. (Format: "Database File Format", section 4, of the SQLite documentation.)

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// First words of a log; the lowest bit tells the byte order of the checksums.
const MAGIC_LITTLE: u32 = 0x377f_0682;
const MAGIC_BIG: u32 = 0x377f_0683;

/// What is wrong with a log; `None` when nothing is, or when it is absent or empty.
pub(crate) fn damage(path: &Path) -> io::Result<Option<String>> {
    match File::open(path) {
        Ok(file) => look(BufReader::with_capacity(64 << 10, file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn look(mut log: impl Read) -> io::Result<Option<String>> {
    let mut header = [0; HEADER];
    match fill(&mut log, &mut header)? {
        0 => return Ok(None),
        HEADER => {}
        _ => return Ok(Some("its write-ahead log is cut off in the header".to_owned())),
    }
    let order = match word(&header, 0) {
        MAGIC_LITTLE => u32::from_le_bytes,
        MAGIC_BIG => u32::from_be_bytes,
        _ => return Ok(Some("its write-ahead log does not begin like one".to_owned())),
    };
    let sum = checksum(order, (0, 0), &header[..24]);
    let page_size = word(&header, 8);
    if sum != (word(&header, 24), word(&header, 28))
        || !(512..=65536).contains(&page_size)
        || !page_size.is_power_of_two()
    {
        return Ok(Some("the header of its write-ahead log is damaged".to_owned()));
    }
    let salts = [word(&header, 16), word(&header, 20)];
    frames(
        log,
        order,
        sum,
        salts,
        FRAME_HEADER + usize::try_from(page_size).unwrap_or(0),
    )
}

/// Follows the chain of checksums over the pages.
fn frames(
    mut log: impl Read,
    order: fn([u8; 4]) -> u32,
    mut sum: (u32, u32),
    salts: [u32; 2],
    frame_size: usize,
) -> io::Result<Option<String>> {
    let mut frame = vec![0; frame_size];
    let mut broken_at = None;
    for number in 1_u64.. {
        if fill(&mut log, &mut frame)? < frame_size {
            break;
        }
        let of_this_log = [word(&frame, 8), word(&frame, 12)] == salts;
        match broken_at {
            None => {
                sum = checksum(order, checksum(order, sum, &frame[..8]), &frame[FRAME_HEADER..]);
                if !of_this_log || sum != (word(&frame, 16), word(&frame, 20)) {
                    broken_at = Some(number);
                }
            }
            // Word 1 is the size of the database in the frame that ends a commit, else 0.
            Some(at) if of_this_log && word(&frame, 4) != 0 => {
                return Ok(Some(format!(
                    "its write-ahead log is damaged at frame {at}, with commits behind it"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

fn checksum(order: fn([u8; 4]) -> u32, start: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    bytes.chunks_exact(8).fold(start, |(first, second), pair| {
        let [a, b, c, d, e, f, g, h] = *pair else {
            return (first, second);
        };
        let first = first.wrapping_add(order([a, b, c, d])).wrapping_add(second);
        let second = second.wrapping_add(order([e, f, g, h])).wrapping_add(first);
        (first, second)
    })
}

/// The big-endian word at an offset; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// Reads until the buffer is full or the input ends; how much it got.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match input.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
