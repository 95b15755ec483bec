//! How many columns a session's terminal had from which offset of its log on.
//!
//! The file `widths` stands beside the log here, also where that is a copy: who attaches a terminal comes through this daemon.
//! It has records of 16 bytes, little-endian: u64 offset, u64 columns.

use std::{fs, io};

use outlast_helper::spool::Dir;

use super::records::Records;

/// Name of the file.
const NAME: &str = "widths";

const RECORD: usize = 16;

/// Changes that are kept; somebody who drags a window makes many. Of more none is written.
const KEPT: u64 = 100_000;

/// The widths of a terminal, one after the other.
#[derive(Debug, Clone)]
pub(in crate::sessions) struct Widths {
    first: u16,
    /// Offsets and columns.
    later: Vec<(u64, u16)>,
}

impl Widths {
    /// Those of a terminal that had `first` columns at the beginning.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(in crate::sessions) fn read(dir: &Dir, first: u16) -> io::Result<Self> {
        let all = match fs::read(dir.path().join(NAME)) {
            Ok(all) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (records, _) = all.as_chunks::<RECORD>();
        let later = records.iter().map(decode).collect();
        Ok(Self { first, later })
    }

    /// What it was at an offset.
    pub(in crate::sessions) fn at(&self, offset: u64) -> u16 {
        let later = self.later.iter().rev().find(|(from, _)| *from <= offset);
        later.map_or(self.first, |(_, columns)| *columns)
    }
}

/// Writes down that a terminal which had `first` columns at the beginning has so many from this offset on. Blocks.
///
/// # Errors
/// When that cannot be written.
pub(in crate::sessions) fn add(dir: &Dir, first: u16, offset: u64, columns: u16) -> io::Result<()> {
    let mut records = Records::<RECORD>::open(dir, NAME)?;
    let now = records.last()?.map_or(first, |record| decode(&record).1);
    if now == columns || records.count() >= KEPT {
        return Ok(());
    }
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&offset.to_le_bytes());
    record[8..].copy_from_slice(&u64::from(columns).to_le_bytes());
    records.add(&[record])
}

/// Offset and columns.
fn decode(record: &[u8; RECORD]) -> (u64, u16) {
    let whole = u128::from_le_bytes(*record);
    (whole as u64, u16::try_from(whole >> 64).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_hold_until_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        for (offset, columns) in [(5, 80), (10, 200), (20, 200), (30, 100)] {
            add(&dir, 80, offset, columns).unwrap();
        }
        let widths = Widths::read(&dir, 80).unwrap();
        assert_eq!(widths.later.len(), 2);
        let all = [0, 9, 10, 29, 30].map(|offset| widths.at(offset));
        assert_eq!(all, [80, 80, 200, 200, 100]);
        // A power cut.
        fs::write(dir.path().join(NAME), [0xff; RECORD + 1]).unwrap();
        assert_eq!(Widths::read(&dir, 80).unwrap().at(u64::MAX), u16::MAX);
        fs::write(dir.path().join(NAME), [0; RECORD / 2]).unwrap();
        add(&dir, 80, 7, 100).unwrap();
        assert_eq!(Widths::read(&dir, 80).unwrap().later, [(7, 100)]);
    }
}
