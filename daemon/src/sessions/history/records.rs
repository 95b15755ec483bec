//! Files of records that all have the same length, to which more are written behind the others.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use outlast_helper::spool::Dir;

/// One writes at a time, also while it throws old ones away.
static WRITING: Mutex<()> = Mutex::new(());

/// A file that is written to.
pub(super) struct Records<'a, const LENGTH: usize> {
    dir: &'a Dir,
    name: &'a str,
    file: File,
    count: u64,
    _writing: MutexGuard<'static, ()>,
}

impl<'a, const LENGTH: usize> Records<'a, LENGTH> {
    /// Opens the file of this name, or makes it. Half a record at its end, as a full disk leaves it, goes. Blocks.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn open(dir: &'a Dir, name: &'a str) -> io::Result<Self> {
        let writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(dir.path().join(name))?;
        let length = file.metadata()?.len();
        let count = length / LENGTH as u64;
        if count * LENGTH as u64 != length {
            file.set_len(count * LENGTH as u64)?;
        }
        Ok(Self {
            dir,
            name,
            file,
            count,
            _writing: writing,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The last one.
    pub(super) fn last(&self) -> io::Result<Option<[u8; LENGTH]>> {
        let Some(last) = self.count.checked_sub(1) else {
            return Ok(None);
        };
        let mut record = [0; LENGTH];
        self.file.read_exact_at(&mut record, last * LENGTH as u64)?;
        Ok(Some(record))
    }

    /// All of them, one behind the other.
    pub(super) fn all(&self) -> io::Result<Vec<u8>> {
        fs::read(self.dir.path().join(self.name))
    }

    /// Writes more behind them.
    pub(super) fn add(&mut self, records: &[[u8; LENGTH]]) -> io::Result<()> {
        self.file
            .write_all_at(records.as_flattened(), self.count * LENGTH as u64)?;
        self.count += records.len() as u64;
        Ok(())
    }

    /// Puts these in the place of all.
    pub(super) fn replace(self, records: &[[u8; LENGTH]]) -> io::Result<()> {
        let draft = self.dir.path().join(format!(".{}", self.name));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&draft)?.write_all_at(records.as_flattened(), 0)?;
        fs::rename(draft, self.dir.path().join(self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_record_goes_before_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        let file = dir.path().join("all");
        let open = || Records::<3>::open(&dir, "all").unwrap();
        assert_eq!(open().last().unwrap(), None);
        fs::write(&file, b"abcd").unwrap();
        open().add(&[*b"efg", *b"hij"]).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"abcefghij");
        assert_eq!(open().last().unwrap(), Some(*b"hij"));
        open().replace(&[*b"xyz"]).unwrap();
        let records = open();
        assert_eq!((records.count(), records.all().unwrap()), (1, b"xyz".to_vec()));
    }
}
