//! Records of the index, which say of every part of a log where it ends, when it came and from which stream.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// Length of a record in bytes.
pub const RECORD_BYTES: u64 = 16;

/// Where bytes of a log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal of a session.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// A remark of outlast's, such as that output was lost.
    Marker = 3,
}

impl Stream {
    /// The stream of this number; what is not known is taken for standard output, so that no byte is ever hidden.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            2 => Self::Stderr,
            3 => Self::Marker,
            _ => Self::Stdout,
        }
    }

    /// Its number in the index and in the protocol.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// One record of the index: the bytes of the log from the end of the record before up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Offset in the log after its last byte.
    pub end: u64,
    /// Milliseconds since 1970 when the bytes arrived.
    pub time_ms: i64,
    /// Where they came from.
    pub stream: Stream,
}

impl Record {
    /// As it stands in the file: end, then time in the upper 56 bits and the stream in the lower 8, little-endian.
    #[must_use]
    pub fn encode(self) -> [u8; RECORD_BYTES as usize] {
        let mut bytes = [0; RECORD_BYTES as usize];
        let what = ((self.time_ms as u64) << 8) | u64::from(self.stream.number());
        bytes[..8].copy_from_slice(&self.end.to_le_bytes());
        bytes[8..].copy_from_slice(&what.to_le_bytes());
        bytes
    }

    /// Reads what [`Record::encode`] wrote. Any 16 bytes are a record.
    #[must_use]
    pub fn decode(bytes: [u8; RECORD_BYTES as usize]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        let what = (whole >> 64) as u64;
        Self {
            end: whole as u64,
            time_ms: (what >> 8) as i64,
            stream: Stream::from_number(what as u8),
        }
    }
}

/// How many whole records an index holds now.
pub(super) fn count(index: &File) -> io::Result<u64> {
    Ok(index.metadata()?.len() / RECORD_BYTES)
}

/// Reads up to `max` records from number `first` on; fewer at the end, a partial one is none.
pub(super) fn read(index: &File, first: u64, max: usize) -> io::Result<Vec<Record>> {
    let mut bytes = vec![0; max * RECORD_BYTES as usize];
    let got = read_full_at(index, &mut bytes, first.saturating_mul(RECORD_BYTES))?;
    let (records, _) = bytes[..got].as_chunks::<{ RECORD_BYTES as usize }>();
    Ok(records.iter().map(|record| Record::decode(*record)).collect())
}

/// Number of the first record that ends after `offset`: the one that holds the byte there.
pub(super) fn search(index: &File, offset: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, count(index)?);
    while low < high {
        let middle = low + (high - low) / 2;
        match read(index, middle, 1)?.first() {
            Some(record) if record.end <= offset => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Length of the log that both the index covers and the log holds.
pub(super) fn covered(log: &File, index: &File) -> io::Result<u64> {
    let count = count(index)?;
    let end = match count.checked_sub(1) {
        Some(last) => read(index, last, 1)?.first().map_or(0, |record| record.end),
        None => 0,
    };
    Ok(end.min(log.metadata()?.len()))
}

/// Fills the buffer from this offset as far as the file goes, and says how far that was.
pub(super) fn read_full_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(end: u64, time_ms in 0i64..(1 << 55), stream in 1u8..=3) {
            let record = Record { end, time_ms, stream: Stream::from_number(stream) };
            prop_assert_eq!(Record::decode(record.encode()), record);
        }
    }

    #[test]
    fn a_record_is_end_then_time_and_stream() {
        let bytes = Record {
            end: 0x0102,
            time_ms: 0x0304,
            stream: Stream::Stderr,
        }
        .encode();
        assert_eq!(bytes, [2, 1, 0, 0, 0, 0, 0, 0, 2, 4, 3, 0, 0, 0, 0, 0]);
    }
}
