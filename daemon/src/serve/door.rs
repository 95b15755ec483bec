//! The listening socket and who is let in through it.
//!
//! Only this user's processes come in, only so many at once, and a want of file descriptors makes the door pause, not
//! spin. When the socket is taken away (a logout removes the runtime directory, a cleaner empties `/tmp`), it is made
//! again.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use outlast_client::socket::{Connection, Listener, SocketError};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Guest,
    lookout::{self, Lookout},
};
use crate::sys;

/// Most connections at once. Each attached terminal and each follower is one; beyond this it is a fault or a flood.
const SEATS: usize = 1024;

/// How long accepting pauses when the system refuses: long enough not to burn a processor, short to a person.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the socket's file is looked at, should the hint that it is gone be missing, or making it again have
/// failed because nobody is logged in. Nobody notices one look a minute, and nobody is locked out for longer.
const CHECK: Duration = Duration::from_secs(60);

/// How long a trouble that was logged is not logged again.
const QUIET: Duration = Duration::from_secs(60);

/// The listening socket.
#[derive(Debug)]
pub struct Door {
    listener: Listener,
    path: PathBuf,
    file: Option<FileId>,
    lookout: Option<Lookout>,
    seats: Arc<Semaphore>,
    troubled: Rarely,
    full: Rarely,
    stranger: Rarely,
    /// Somebody was let in since memory was given back.
    used: bool,
}

/// Lets something be said at most once a minute: a flood must not fill the disk with its own record.
#[derive(Debug, Default)]
struct Rarely {
    last: Option<Instant>,
}

impl Rarely {
    /// True when it was not said for a minute; it counts as said then.
    fn may_say(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= QUIET);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

/// Which file it is, whatever its name.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Watches the directory of a socket, where that is possible.
fn lookout(socket: &Path) -> Option<Lookout> {
    let found = Lookout::new(socket.parent()?);
    if let Err(error) = &found {
        tracing::info!(%error, "watching the socket's directory");
    }
    found.ok()
}

/// How many connections there is room for: half of the file descriptors are for logs, pipes and ptys.
fn seats() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit
        .and_then(|files| usize::try_from(files / 2).ok())
        .map_or(SEATS, |half| half.clamp(8, SEATS))
}

impl Door {
    /// Listens at `path`. With the daemon's lock held, so that a socket there is a dead daemon's. Inside a runtime.
    ///
    /// # Errors
    /// When the directory is not ours alone, the path is too long, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, SocketError> {
        Ok(Self {
            listener: Listener::bind(path)?,
            path: path.to_owned(),
            file: file_id(path),
            lookout: lookout(path),
            seats: Arc::new(Semaphore::new(seats())),
            troubled: Rarely::default(),
            full: Rarely::default(),
            stranger: Rarely::default(),
            used: false,
        })
    }

    /// Lets connections in until the end, then removes the socket.
    pub async fn keep(mut self, guests: mpsc::Sender<io::Result<Guest>>, end: CancellationToken) {
        let mut check = interval(CHECK);
        // After a suspend one look is enough.
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                biased;
                () = end.cancelled() => break,
                () = lookout::heard(self.lookout.as_ref()) => {
                    self.mend();
                    continue;
                }
                _ = check.tick() => {
                    self.mend();
                    if std::mem::take(&mut self.used) {
                        // It takes some milliseconds, and nobody waits for it.
                        drop(tokio::task::spawn_blocking(sys::give_back_memory));
                    }
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(connection) => {
                    let Some(guest) = self.admit(connection, &end) else {
                        continue;
                    };
                    tokio::select! {
                        () = end.cancelled() => break,
                        sent = guests.send(Ok(guest)) => if sent.is_err() { break },
                    }
                }
                Err(error) => {
                    if self.troubled.may_say() {
                        tracing::warn!(%error, "accepting a connection");
                    }
                    tokio::select! {
                        () = end.cancelled() => break,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
        // Only our own: the name may be another's by now.
        if self.file.is_some() && file_id(&self.path) == self.file {
            // Whoever comes first removes it; the next daemon would.
            let _gone_already = fs::remove_file(&self.path);
        }
    }

    /// Decides about a connection. Whoever is refused finds it closed.
    fn admit(&mut self, connection: Connection, end: &CancellationToken) -> Option<Guest> {
        let peer = connection.peer();
        if !peer.is_self() {
            if self.stranger.may_say() {
                tracing::warn!(
                    uid = peer.uid,
                    pid = peer.pid,
                    "refused a connection of another user"
                );
            }
            return None;
        }
        match Arc::clone(&self.seats).try_acquire_owned() {
            Ok(seat) => {
                self.used = true;
                Some(Guest::new(connection, seat, end.clone()))
            }
            Err(_no_seat) => {
                if self.full.may_say() {
                    tracing::warn!(pid = peer.pid, "refused a connection: too many at once");
                }
                None
            }
        }
    }

    /// Listens anew when the socket's file is gone or another's.
    fn mend(&mut self) {
        if self.file.is_some() && file_id(&self.path) == self.file {
            return;
        }
        match Listener::bind(&self.path) {
            Ok(listener) => {
                tracing::warn!(socket = %self.path.display(), "the socket was gone and was made again");
                self.listener = listener;
                self.file = file_id(&self.path);
                self.lookout = lookout(&self.path);
            }
            Err(error) => {
                tracing::warn!(%error, "making the socket again");
                // The directory may be gone; the next look is taken by the clock.
                self.lookout = None;
            }
        }
    }
}
