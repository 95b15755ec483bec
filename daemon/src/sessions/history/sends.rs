//! Where text was sent to a session: offsets of its log and times, never the text.
//!
//! The file `sends` stands beside the log here, also where that is a copy: who sends is this daemon. It has records of 16 bytes,
//! little-endian: u64 offset, i64 time in ms. Half a record is none.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
};

use outlast_helper::spool::Dir;

use super::blocks::{Event, What};

/// Name of the file.
const NAME: &str = "sends";

const RECORD: usize = 16;

/// Records that are kept when there are twice as many.
const KEPT: usize = 10_000;

/// Writes down that text was sent at this offset. Blocks.
///
/// # Errors
/// When it cannot be written.
pub(in crate::sessions) fn add(dir: &Dir, offset: u64, at_ms: i64) -> io::Result<()> {
    let path = dir.path().join(NAME);
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&offset.to_le_bytes());
    record[8..].copy_from_slice(&at_ms.to_le_bytes());
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(&record)?;
    if file.metadata()?.len() < (2 * KEPT * RECORD) as u64 {
        return Ok(());
    }
    let all = fs::read(&path)?;
    let (records, _) = all.as_chunks::<RECORD>();
    let newest = &records[records.len().saturating_sub(KEPT)..];
    let draft = dir.path().join(".sends");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(newest.as_flattened())?;
    fs::rename(draft, path)
}

/// All that are known, in the order of the log. What else stands in their lines is not looked at.
pub(super) fn read(dir: &Dir) -> io::Result<Vec<Event>> {
    let all = match fs::read(dir.path().join(NAME)) {
        Ok(all) => all,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (records, _) = all.as_chunks::<RECORD>();
    let mut sends: Vec<Event> = records
        .iter()
        .map(|record| {
            let whole = u128::from_le_bytes(*record);
            let at = whole as u64;
            Event {
                at,
                end: at,
                what: What::Sent {
                    at_ms: ((whole >> 64) as u64).cast_signed(),
                    joined: false,
                },
            }
        })
        .collect();
    sends.sort_by_key(|send| send.at);
    Ok(sends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_last_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        assert!(read(&dir).unwrap().is_empty());
        for number in 0..2 * KEPT as u64 + 5 {
            add(&dir, number, 7).unwrap();
        }
        let sends = read(&dir).unwrap();
        assert_eq!(sends.len(), KEPT + 5);
        let last = sends.last().unwrap();
        assert_eq!(
            (last.at, &last.what),
            (
                2 * KEPT as u64 + 4,
                &What::Sent {
                    at_ms: 7,
                    joined: false
                }
            )
        );
        // A power cut.
        fs::write(dir.path().join(NAME), [1; 20]).unwrap();
        assert_eq!(read(&dir).unwrap().len(), 1);
    }
}
