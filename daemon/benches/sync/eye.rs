//! Seeing when files are there: woken by the kernel, and sure by their content.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use outlast_testkit::DEADLINE;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

/// Looks at directories.
pub(crate) struct Eye {
    inotify: OwnedFd,
    dirs: HashMap<i32, PathBuf>,
}

impl Eye {
    /// Looks at some directories below a root, which must be there.
    pub(crate) fn new(root: &Path, dirs: &[PathBuf]) -> Self {
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        let inotify = inotify::init(flags).expect("directories can be watched");
        let wanted = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::CREATE;
        let watch = |dir: &PathBuf| {
            let dir = root.join(dir);
            let number = inotify::add_watch(&inotify, &dir, wanted);
            (
                number.unwrap_or_else(|error| panic!("{}: {error}", dir.display())),
                dir,
            )
        };
        Self {
            dirs: dirs.iter().map(watch).collect(),
            inotify,
        }
    }

    /// Waits until files have this content.
    pub(crate) fn wait(&self, mut missing: HashMap<PathBuf, Vec<u8>>) {
        let start = Instant::now();
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        let mut events = Reader::new(self.inotify.as_fd(), &mut buffer);
        while !missing.is_empty() {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    missing.retain(|path, content| !is(path, content));
                }
                Ok(event) => {
                    let (Some(dir), Some(name)) = (self.dirs.get(&event.wd()), event.file_name()) else {
                        continue;
                    };
                    let path = dir.join(OsStr::from_bytes(name.to_bytes()));
                    if missing.get(&path).is_some_and(|content| is(&path, content)) {
                        missing.remove(&path);
                    }
                }
                Err(Errno::WOULDBLOCK) => self.wait_event(start, &missing),
                Err(Errno::INTR) => {}
                Err(error) => panic!("watching: {error}"),
            }
        }
    }

    fn wait_event(&self, start: Instant, missing: &HashMap<PathBuf, Vec<u8>>) {
        let left = DEADLINE.saturating_sub(start.elapsed());
        let first = missing.keys().next();
        let count = missing.len();
        assert!(
            left > Duration::ZERO,
            "{count} files are still not there, as {first:?}"
        );
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        let left = Timespec::try_from(left).expect("a short time");
        let _ = poll(&mut fds, Some(&left));
    }
}

fn is(path: &Path, content: &[u8]) -> bool {
    fs::read(path).is_ok_and(|found| found == content)
}
