//! A process that can be waited for although it is not a child.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags};
use tokio::io::{Interest, unix::AsyncFd};

use super::{ClientError, sys::readable};
use crate::socket::SocketError;

/// One process, held by a descriptor so that its number cannot be mistaken for a later one's.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    // Absent when it was gone already.
    fd: Option<AsyncFd<OwnedFd>>,
}

impl Process {
    /// Takes hold of a process. One that is gone is no error: it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(pid: i32) -> Result<Self, ClientError> {
        let place = || PathBuf::from(format!("/proc/{pid}"));
        let failed = |source: io::Error| SocketError::Io {
            action: "watching process",
            path: place(),
            source,
        };
        let fd = match Pid::from_raw(pid).filter(|_| pid > 0) {
            None => None,
            Some(known) => match rustix::process::pidfd_open(known, PidfdFlags::empty()) {
                Ok(fd) => Some(readable(fd).map_err(failed)?),
                Err(rustix::io::Errno::SRCH) => None,
                Err(errno) => return Err(failed(errno.into()).into()),
            },
        };
        Ok(Self { pid, fd })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until it is gone. False when it is still there after `limit`.
    pub async fn gone(&self, limit: Duration) -> bool {
        let Some(fd) = &self.fd else { return true };
        matches!(tokio::time::timeout(limit, fd.readable()).await, Ok(Ok(_)))
    }
}

/// Wakes when something in a directory changes.
#[derive(Debug)]
pub struct DirWatch(AsyncFd<OwnedFd>);

impl DirWatch {
    /// Begins to watch; what changes from now on is not missed.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let fd = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let wanted = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
        add_watch(&fd, dir, wanted)?;
        Ok(Self(readable(fd)?))
    }

    /// Waits for the next change. May be dropped at any time without missing one.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn changed(&self) -> io::Result<()> {
        let mut buffer = [0_u8; 4096];
        self.0
            .async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut buffer)?))
            .await?;
        Ok(())
    }
}
