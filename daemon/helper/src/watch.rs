//! Waking those who wait for a spool directory to say something new, without ever polling.
//!
//! One inotify instance serves a whole process (a user has only 128 of them), with one watch for each directory however
//! many wait for it. A wake carries nothing: who is woken reads the directory again.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::{
    io::unix::AsyncFd,
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{beat, spool::at, sys};

/// The kernel tells of the close of a lock just before it drops it, so one who looks at once can still find it held.
/// After these times it is looked at again; the last one is for a machine that is busy beyond measure.
const LOOK_AGAIN: [Duration; 3] = [
    Duration::from_millis(3),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// Events that come this close to each other, so many times in a row, are gathered until the next beat, until only a few came.
const APART: Duration = Duration::from_millis(4);
const IN_A_ROW: u32 = 100;
const GATHER: Duration = Duration::from_millis(10);
const FEW: usize = 8;

/// Watches spool directories. Clones share one inotify instance.
#[derive(Debug, Clone)]
pub struct Watcher {
    shared: Arc<Shared>,
}

/// Waits for one directory. Dropping the last one of a directory ends its watch.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    number: i32,
    /// Kept, so that a directory that is removed wakes once and then never again.
    wake: Wake,
    woken: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Shared {
    inotify: Arc<OwnedFd>,
    table: Arc<Mutex<Table>>,
    reading: AbortHandle,
}

/// Watched directories by the number of their watch in the kernel.
type Table = HashMap<i32, Watched>;

#[derive(Debug)]
struct Watched {
    users: usize,
    wake: Wake,
}

/// Wakes all who wait for a directory, and counts the wakes that were not for output alone.
#[derive(Debug, Clone)]
struct Wake(watch::Sender<u64>);

impl Wake {
    fn for_output(&self) {
        self.0.send_modify(|_count| {});
    }

    fn for_news(&self) {
        self.0.send_modify(|count| *count += 1);
    }
}

impl Watcher {
    /// Makes one. Must be called inside a tokio runtime, on which the events are read.
    ///
    /// # Errors
    /// When the kernel gives no inotify instance.
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(
                error.kind(),
                format!("watching directories: no inotify instance can be had: {error}"),
            )
        })?;
        let table = Arc::default();
        let source = sys::async_fd(inotify)?;
        let inotify = Arc::clone(source.get_ref());
        let reading = tokio::spawn(read(source, Arc::clone(&table))).abort_handle();
        Ok(Self {
            shared: Arc::new(Shared {
                inotify,
                table,
                reading,
            }),
        })
    }

    /// Watches a directory. What happens from now on is noticed.
    ///
    /// # Errors
    /// When it is not there, or no watch can be had.
    pub fn watch(&self, dir: &Path) -> io::Result<Watch> {
        let flags = WatchFlags::MODIFY
            | WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        // Held until the watch stands in the table, so that none of its events can come before that.
        let mut table = lock(&self.shared.table);
        let number =
            inotify::add_watch(&self.shared.inotify, dir, flags).map_err(|error| refused(dir, error))?;
        let watched = table.entry(number).or_insert_with(|| Watched {
            users: 0,
            wake: Wake(watch::Sender::new(0)),
        });
        watched.users += 1;
        let (wake, woken) = (watched.wake.clone(), watched.wake.0.subscribe());
        Ok(Watch {
            shared: Arc::clone(&self.shared),
            number,
            wake,
            woken,
        })
    }
}

impl Watch {
    /// Returns when something relevant happened since the last call, or since the watch was made: more log, a new
    /// report, status or sign of what a session does, a supervisor or pane that went away, or the end of the directory (once). Several happenings
    /// can be one wake, and a wake can be for nothing; none is ever lost. Dropping the future loses nothing either.
    pub async fn changed(&mut self) {
        // It cannot fail: the sender is kept beside it.
        let _ = self.woken.changed().await;
    }

    /// How many wakes there were so far that were for more than output. While this stays as it is, everything in the
    /// directory but log and index does; to be asked before it is read.
    #[must_use]
    pub fn news(&self) -> u64 {
        *self.wake.0.borrow()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut table = lock(&self.shared.table);
        let Some(watched) = table.get_mut(&self.number) else {
            return;
        };
        if !watched.wake.0.same_channel(&self.wake.0) {
            return;
        }
        watched.users -= 1;
        if watched.users == 0 {
            table.remove(&self.number);
            // It fails for a directory that was removed just now, whose watch went with it.
            let _ = inotify::remove_watch(&self.shared.inotify, self.number);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn refused(dir: &Path, error: Errno) -> io::Error {
    if error == Errno::NOSPC {
        let limit = "this user's watches are used up; raise fs.inotify.max_user_watches";
        return at(
            "watching the directory",
            dir,
            &io::Error::new(io::ErrorKind::QuotaExceeded, limit),
        );
    }
    at("watching the directory", dir, &error.into())
}

/// The table is whole between any two statements that change it, so a panic elsewhere does not spoil it.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands on events until it is aborted. Where they do not end, because hundreds of programs print, they are gathered.
async fn read(mut source: AsyncFd<Arc<OwnedFd>>, table: Arc<Mutex<Table>>) {
    let (mut in_a_row, mut last) = (0_u32, Instant::now());
    while let Ok(mut ready) = source.readable().await {
        let mut count = 0;
        // The answer says only whether there is more to read; other errors cannot come from a valid inotify.
        let _ = ready.try_io(|inotify| drain(inotify.get_ref(), &table, &mut count));
        let gathered = in_a_row > IN_A_ROW;
        let goes_on = last.elapsed() < APART && (!gathered || count > FEW);
        in_a_row = if goes_on { in_a_row.saturating_add(1) } else { 0 };
        if in_a_row > IN_A_ROW {
            // While it is waited for, every event wakes the process, read or not.
            let inotify = source.into_inner();
            sleep_until(beat::from(Instant::now() + GATHER / 2, GATHER)).await;
            source = wait_for(&inotify).await;
        }
        last = Instant::now();
    }
}

/// Has tokio wait for it again. That fails only where the kernel has no memory for it just now.
async fn wait_for(inotify: &Arc<OwnedFd>) -> AsyncFd<Arc<OwnedFd>> {
    loop {
        match sys::async_fd(Arc::clone(inotify)) {
            Ok(source) => return source,
            Err(_no_memory) => sleep(GATHER).await,
        }
    }
}

/// Reads all events there are, and counts them; always ends with an error, at best `WouldBlock`.
fn drain(inotify: &OwnedFd, table: &Mutex<Table>, count: &mut usize) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut events = Reader::new(inotify, &mut buffer);
    loop {
        let event = events.next()?;
        *count += 1;
        let kind = event.events();
        let mut table = lock(table);
        if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
            for watched in table.values() {
                watched.wake.for_news();
            }
            continue;
        }
        let Some(watched) = table.get(&event.wd()) else {
            continue;
        };
        let name = event.file_name().map_or(&b""[..], std::ffi::CStr::to_bytes);
        if kind.contains(ReadFlags::CLOSE_WRITE) {
            if name == b"lock" {
                watched.wake.for_news();
                tokio::spawn(look_again(watched.wake.clone()));
            }
        } else if kind.contains(ReadFlags::DELETE) {
            // The end of the directory itself is told only when nobody has a file of it open any more, and a supervisor
            // has for as long as it lives.
            if matches!(name, b"lock" | b"report") {
                watched.wake.for_news();
                tokio::spawn(look_again(watched.wake.clone()));
            }
        } else if kind.contains(ReadFlags::MODIFY) {
            if name == b"index" {
                watched.wake.for_output();
            }
        } else if kind.contains(ReadFlags::MOVED_TO) {
            if matches!(
                name,
                b"report" | b"status" | b"spec" | b"activity" | b"terminal" | b"answered"
            ) {
                watched.wake.for_news();
            }
        } else if kind.intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::UNMOUNT) {
            watched.wake.for_news();
            if kind.contains(ReadFlags::IGNORED) {
                table.remove(&event.wd());
            }
        }
    }
}

async fn look_again(wake: Wake) {
    for after in LOOK_AGAIN {
        if wake.0.receiver_count() == 0 {
            return;
        }
        sleep(after).await;
        wake.for_news();
    }
}
