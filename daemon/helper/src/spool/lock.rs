//! The lock of a spool directory, held by its supervisor or pane for life. The kernel drops it when the holder dies.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{Dir, at};

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it. None: somebody has it now; that can be a reader that only looks, for a moment.
    pub(crate) fn try_take(dir: &Dir) -> io::Result<Option<Self>> {
        let path = dir.file("lock");
        let failed = |error: io::Error| at("locking", &path, &error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Whether a supervisor or pane holds it.
    pub(crate) fn is_held(dir: &Dir) -> io::Result<bool> {
        Ok(Self::look(dir)? == Seen::Held)
    }

    /// Looks who has it. The file is opened for reading only, so that looking wakes nobody who watches for the close of
    /// a holder.
    pub(super) fn look(dir: &Dir) -> io::Result<Seen> {
        let path = dir.file("lock");
        let failed = |error: io::Error| at("looking at the lock", &path, &error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seen::Missing),
            Err(error) => return Err(failed(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Seen::Free),
            Err(Errno::WOULDBLOCK) => Ok(Seen::Held),
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// What a look at a lock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// There is none. Nobody ever held it, or somebody removed it, and then it proves nothing.
    Missing,
    /// Nobody has it.
    Free,
    /// A supervisor or pane has it.
    Held,
}
