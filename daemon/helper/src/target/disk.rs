//! Bringing what was written to the disk. That may take as long as the disk needs, so whoever writes to a target does not
//! wait for it: it goes on elsewhere, and the record is told when it is over.

use std::{io, os::fd::OwnedFd};

use super::{JOURNAL_AT_PAUSE, Target};

/// What was written up to some moment, still to be brought to the disk.
#[derive(Debug)]
pub(crate) struct ToDisk {
    root: OwnedFd,
    generation: u64,
}

/// What was written up to this generation is on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnDisk(u64);

impl ToDisk {
    /// Brings it there, and with it all else that is on the same file system.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn run(self) -> io::Result<OnDisk> {
        rustix::fs::syncfs(&self.root)?;
        Ok(OnDisk(self.generation))
    }
}

impl Target {
    /// What was written until now, to be brought to the disk.
    ///
    /// # Errors
    /// When no more files can be opened.
    pub(crate) fn to_disk(&self) -> io::Result<ToDisk> {
        Ok(ToDisk {
            root: self.root.try_clone()?,
            generation: self.record.head.generation,
        })
    }

    /// Notes what is on the disk. What was written later is not, as far as anybody knows.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn note_on_disk(&mut self, on_disk: OnDisk) -> io::Result<()> {
        self.record.durable(on_disk.0)?;
        self.compact(JOURNAL_AT_PAUSE)
    }
}
