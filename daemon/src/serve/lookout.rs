//! Hears when something is taken out of a directory, or the directory itself is taken away.
//!
//! Only a hint: whoever hears looks for himself. Where the kernel has no inotify instance left there is no hint, and
//! the look that is taken once a minute has to do.

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// Room for a good many records; what does not fit is read with the next call.
const BUFFER: usize = 4096;

/// An inotify instance with one watch.
#[derive(Debug)]
pub struct Lookout {
    inotify: AsyncFd<Arc<OwnedFd>>,
}

impl Lookout {
    /// Watches a directory. Inside a tokio runtime.
    ///
    /// # Errors
    /// When there is no such directory, or the user's inotify instances or watches are used up.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, dir, flags)?;
        Ok(Self {
            inotify: sys::register(inotify)?,
        })
    }

    /// Waits until something was taken away. Cancel safe.
    pub async fn heard(&self) {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                // The runtime goes down; there is nothing to hear any more.
                return std::future::pending().await;
            };
            let mut buffer = [0; BUFFER];
            // What the records say does not matter; that there are any does.
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?)) {
                Ok(Ok(_)) => return,
                // Broken for good: the minute's look goes on without it.
                Ok(Err(_broken)) => return std::future::pending().await,
                Err(_would_block) => {}
            }
        }
    }
}

/// As [`Lookout::heard`], and for ever where there is none.
pub async fn heard(lookout: Option<&Lookout>) {
    match lookout {
        Some(lookout) => lookout.heard().await,
        None => std::future::pending().await,
    }
}
