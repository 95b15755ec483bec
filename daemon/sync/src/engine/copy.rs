//! What the record on the host says, as it is known here.
//!
//! Changes are entered when they are sent and not when they are answered, so that the next ones can be planned meanwhile;
//! what was refused is taken back. It can be lost: the host has it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use outlast_client::helper_v1::SyncPosition;
use outlast_tree::{
    Damaged, Entry, Far, Kind, RelPath, StatKey, Table,
    manifest::{self, Head},
};

/// The record of one sync.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    entries: Table<Entry>,
    files: u64,
    bytes: u64,
}

impl Copy {
    pub(crate) fn entries(&self) -> &Table<Entry> {
        &self.entries
    }

    /// Files in it, and bytes in them.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.files, self.bytes)
    }

    /// Sets what is at a path, and gives what was there.
    pub(crate) fn set(&mut self, path: &RelPath, entry: Option<Entry>) -> Option<Entry> {
        if let Some(entry) = &entry
            && entry.kind == Kind::File
        {
            self.files += 1;
            self.bytes += entry.size;
        }
        let old = match entry {
            Some(entry) => self.entries.insert(path.clone(), entry),
            None => self.entries.remove(path),
        };
        if let Some(old) = &old
            && old.kind == Kind::File
        {
            self.files -= 1;
            self.bytes -= old.size;
        }
        old
    }

    /// Gives back memory.
    pub(crate) fn compact(&mut self) {
        self.entries.merge();
    }

    /// Takes what the host sent, or what was kept here.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, SyncPosition), Damaged> {
        let (head, entries) = manifest::decode_into(bytes, |far| far.entry)?;
        let files = || entries.iter().filter(|(_, entry)| entry.kind == Kind::File);
        let copy = Self {
            files: files().count() as u64,
            bytes: files().fold(0, |sum, (_, entry)| sum.saturating_add(entry.size)),
            entries,
        };
        let position = SyncPosition {
            epoch: head.epoch,
            generation: head.generation,
        };
        Ok((copy, position))
    }

    /// What was kept, if it is whole.
    pub(crate) fn load(dir: &Path) -> Option<(Self, SyncPosition)> {
        Self::decode(&fs::read(file(dir)).ok()?).ok()
    }

    /// Keeps it.
    pub(crate) fn save(&self, dir: &Path, position: &SyncPosition) -> io::Result<()> {
        let head = Head {
            epoch: position.epoch.clone(),
            generation: position.generation,
            ..Head::default()
        };
        let far = |entry: &Entry| Far {
            entry: entry.clone(),
            key: StatKey::default(),
            generation: 0,
        };
        manifest::write_from(&file(dir), &head, &self.entries, far)
    }

    /// Forgets what was kept.
    pub(crate) fn forget(dir: &Path) -> io::Result<()> {
        match fs::remove_file(file(dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("record")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_files_and_is_kept_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |bytes: &[u8]| RelPath::new(bytes).expect("a path");
        let mut copy = Copy::default();
        assert!(Copy::load(dir.path()).is_none());
        assert_eq!(copy.set(&path(b"a"), Some(Entry::dir(0o755))), None);
        assert_eq!(
            copy.set(&path(b"a/b"), Some(Entry::file(0o644, 1, 10, [1; 32]))),
            None
        );
        let newer = Entry::file(0o644, 2, 30, [2; 32]);
        assert!(copy.set(&path(b"a/b"), Some(newer.clone())).is_some());
        assert_eq!(copy.size(), (1, 30));
        let position = SyncPosition {
            epoch: "e".to_owned(),
            generation: 7,
        };
        copy.save(dir.path(), &position).expect("it can be kept");
        let (found, at) = Copy::load(dir.path()).expect("it was kept");
        assert_eq!((found.size(), at), ((1, 30), position));
        assert_eq!(found.entries().get(b"a/b"), Some(&newer));
        assert_eq!(copy.set(&path(b"a/b"), None), Some(newer));
        assert_eq!(copy.size(), (0, 0));
        Copy::forget(dir.path()).expect("it can be forgotten");
        Copy::forget(dir.path()).expect("twice");
        assert!(Copy::load(dir.path()).is_none());
    }
}
