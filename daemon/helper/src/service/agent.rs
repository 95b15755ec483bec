//! The socket at which programs of this host find the user's ssh-agent, which is where the daemon is: who connects is
//! announced to the daemon, which takes the connection up with `Dial`.
//!
//! The path stays the same for ever, so that a session that was started days ago reaches the agent over whatever connection
//! there is now. The newest helper that listens has it: it puts its own socket there by a rename, which takes the place of
//! a dead one's and of a living one's alike. Nothing is ever unlinked, so nobody's socket can be lost to a mistake; where
//! nobody listens, programs are refused at once, as where no agent is.

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use outlast_client::helper_v1::{ListenAgentResponse, listen_agent_response::Event};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::sleep,
};
use tonic::Status;

use super::{Answers, Core, error::failed};
use crate::socket;

/// File name of the socket.
const NAME: &str = "agent";

/// Bytes that the name of a socket on its way to its place has more: a dot, a process number and a count.
const ROOM: usize = 16;

/// How long a connection waits to be taken up.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Connections that wait to be taken up. More are closed at once: something connects without end.
const WAITING_MAX: usize = 64;

/// Announcements under way to a daemon that does not read.
const QUEUE: usize = 16;

/// Pause after a connection could not be accepted, which is when this process has no file left.
const PAUSE: Duration = Duration::from_millis(100);

/// The agent socket of one owner.
#[derive(Debug)]
pub(super) struct Agent {
    path: PathBuf,
    /// The daemon asked for it over this helper.
    offered: AtomicBool,
    /// Last number that was given to a connection.
    last: AtomicU64,
    waiting: Mutex<HashMap<u64, UnixStream>>,
    /// Held while a socket is put in place.
    placing: Mutex<()>,
}

impl Agent {
    /// The agent socket of the owner whose spool is `dir`. Nothing is made.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            path: socket::place(dir, NAME, ROOM)?,
            offered: AtomicBool::new(false),
            last: AtomicU64::new(0),
            waiting: Mutex::default(),
            placing: Mutex::default(),
        })
    }

    /// Where programs find it, and whether it is offered over this helper. None: it never was over any.
    pub(super) fn path(&self) -> Option<(PathBuf, bool)> {
        let offered = self.offered.load(Ordering::Relaxed);
        (offered || fs::symlink_metadata(&self.path).is_ok()).then(|| (self.path.clone(), offered))
    }

    /// Takes up a connection. None: there is none of this number any more.
    pub(super) fn take(&self, number: u64) -> Option<UnixStream> {
        self.waiting().remove(&number)
    }

    /// Puts a new socket in its place.
    fn listen(&self) -> io::Result<UnixListener> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let failed = |error: io::Error| {
            let path = self.path.display();
            io::Error::new(error.kind(), format!("listening at {path}: {error}"))
        };
        // It guards no value.
        let _alone = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(there) = fs::symlink_metadata(&self.path)
            && !there.file_type().is_socket()
        {
            return Err(failed(io::Error::other("what lies there is no socket")));
        }
        let mut temp = self.path.clone().into_os_string();
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        temp.push(format!(".{}.{number}", std::process::id()));
        let temp = PathBuf::from(temp);
        // One of this name was left by a process that had our number and is dead.
        let _ = fs::remove_file(&temp);
        let placed = (|| {
            let listener = UnixListener::bind(&temp)?;
            fs::set_permissions(&temp, Permissions::from_mode(0o600))?;
            fs::rename(&temp, &self.path)?;
            Ok(listener)
        })();
        placed.map_err(|error| {
            let _ = fs::remove_file(&temp);
            failed(error)
        })
    }

    /// Lets a connection wait. None: too many wait already.
    fn keep(&self, stream: UnixStream) -> Option<u64> {
        let number = 1 + self.last.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            return None;
        }
        waiting.insert(number, stream);
        Some(number)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, UnixStream>> {
        // A map is whole after every single operation on it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for as long as the daemon does.
pub(super) fn listen(core: Arc<Core>) -> Result<Answers<ListenAgentResponse>, Status> {
    let listener = core.agent.listen().map_err(|error| failed(&error))?;
    core.agent.offered.store(true, Ordering::Relaxed);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let path = core.agent.path.to_string_lossy().into_owned();
    tokio::spawn(async move {
        tokio::select! {
            () = announce(&core, &listener, path, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(Answers::new(receiver))
}

async fn announce(
    core: &Arc<Core>,
    listener: &UnixListener,
    path: String,
    to: &mpsc::Sender<Result<ListenAgentResponse, Status>>,
) {
    let say = async |event| {
        to.send(Ok(ListenAgentResponse { event: Some(event) }))
            .await
            .is_ok()
    };
    if !say(Event::Path(path)).await {
        return;
    }
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        if !is_trusted(&stream) {
            continue;
        }
        let Some(number) = core.agent.keep(stream) else {
            continue;
        };
        let forgetful = Arc::clone(core);
        tokio::spawn(async move {
            sleep(TAKEN_WITHIN).await;
            drop(forgetful.agent.take(number));
        });
        if !say(Event::Accepted(number)).await {
            return;
        }
    }
}

/// Only this user and root, as with every agent. The directory keeps others out already.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}
