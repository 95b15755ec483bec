//! Files in the making: their names, and what was left of them by whoever was killed.

use std::{fs::File, mem::MaybeUninit, os::fd::AsFd};

use outlast_tree::{RESERVED, open_beneath};
use rustix::{
    fs::{self, AtFlags, OFlags, RawDir},
    io::Errno,
};

use super::{
    fresh::remove_all,
    meta::{bits, os},
};

/// How often another name is tried. One that is taken is what an earlier helper could not remove.
const TRIES: u32 = 10_000;

/// Mode of a file in the making whose own mode comes later.
pub(super) const PRIVATE: u16 = 0o600;

/// Makes an empty file, with this mode as far as the system lets it have that.
pub(super) fn new_file(dir: impl AsFd, name: &[u8], mode: u16) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(dir, os(name), flags, bits(mode))?.into())
}

/// Names for files in the making of one sync, each used once.
#[derive(Debug)]
pub(super) struct Names {
    prefix: Vec<u8>,
    next: u64,
}

impl Names {
    /// Those of this sync.
    pub(super) fn new(id: &str) -> Self {
        Self {
            prefix: [RESERVED, id.as_bytes(), b"-"].concat(),
            next: 0,
        }
    }

    /// Whether a name is one of these.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        name.starts_with(&self.prefix)
    }

    /// Makes something under a new name.
    pub(super) fn make<T>(
        &mut self,
        mut make: impl FnMut(&[u8]) -> Result<T, Errno>,
    ) -> Result<(Vec<u8>, T), Errno> {
        for _ in 0..TRIES {
            self.next += 1;
            let mut name = self.prefix.clone();
            name.extend_from_slice(self.next.to_string().as_bytes());
            match make(&name) {
                Err(Errno::EXIST) => {}
                made => return made.map(|made| (name, made)),
            }
        }
        Err(Errno::EXIST)
    }

    /// Makes an empty file in an open directory, with this mode as far as the system lets it have that.
    pub(super) fn file(&mut self, dir: impl AsFd, mode: u16) -> Result<(Vec<u8>, File), Errno> {
        self.make(|name| new_file(&dir, name, mode))
    }

    /// Removes what was left in a directory below the root, but for what is kept.
    pub(super) fn sweep(&self, root: impl AsFd, path: &[u8], kept: &[&[u8]]) -> Result<(), Errno> {
        let dir = match open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
            // Whatever was there is gone with it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            opened => opened?,
        };
        let mut left = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 32 << 10];
        let mut reader = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = reader.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if self.has(name) && !kept.contains(&name) {
                left.push(name.to_vec());
            }
        }
        for name in left {
            match fs::unlinkat(&dir, os(&name), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                // A directory that was being filled.
                Err(Errno::ISDIR | Errno::PERM) => remove_all(&dir, &name)?,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
