//! The client's side of the local socket: find the daemon, start it when that is wanted, call it.
//!
//! ```text
//!   socket = flag or environment, else the note in daemon.lock, else the default place
//!   connect ──ok──────────────────────────────────────────────► Daemon
//!      └─ nobody listens ─ Start::Never ──► NotRunning
//!                        └ Start::IfNeeded ─► start.lock ─► connect again ─► outlastd --ready-fd ─► connect
//! ```
//!
//! One [`Daemon`] is one connection. When it breaks it stays broken: whoever wants to go on connects anew and resumes
//! by position, so that nothing is ever repeated behind the caller's back. Nothing here prints, and nothing here
//! restarts a daemon that serves.

mod agent;
mod process;
mod start;
mod sys;

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub use process::{DirWatch, Process};
pub use sys::readable;

use crate::{
    AUTH_SOCK_KEY, BUILD_KEY, PROTOCOL, PROTOCOL_KEY, VERSION,
    paths::{PlaceError, Places},
    socket::{self, Connection, Peer, SocketError},
    v1::{
        Error, ErrorKind, StopDaemonRequest, daemon_service_client::DaemonServiceClient,
        event_service_client::EventServiceClient, host_service_client::HostServiceClient,
        job_service_client::JobServiceClient, notify_service_client::NotifyServiceClient,
        provider_service_client::ProviderServiceClient, session_service_client::SessionServiceClient,
        sync_service_client::SyncServiceClient, template_service_client::TemplateServiceClient,
    },
};

/// How long an answer from the daemon's own state may take. It needs milliseconds; whoever needs longer hangs.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a daemon may take to be ready: it opens the store and adopts what runs.
pub const READY_WITHIN: Duration = Duration::from_secs(15);

/// How long a daemon that was told to stop may take to be gone. It promises 5 s.
pub const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Largest answer, in bytes: a page of jobs or all sessions, each with a long command line, or a long scrollback.
const ANSWER_MAX: usize = 64 << 20;

/// Window of one stream: enough for several chunks of 256 KiB in flight.
const STREAM_WINDOW: u32 = 2 << 20;

/// Window of the connection: many times that of a stream, so that a stalled log cannot block the calls beside it.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Largest frame of HTTP/2: a whole chunk of a log with what is around it, so that much output costs few system calls.
const FRAME: u32 = 512 << 10;

/// Whether a client may start the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Only talk to one that runs.
    Never,
    /// Start it when nobody listens.
    IfNeeded,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, and starting was not wanted.
    #[error("outlastd is not running (nobody listens on {})", socket.display())]
    NotRunning {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket is not usable, or somebody else's.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The places of outlast cannot be told.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The daemon could not be started.
    #[error("{message}")]
    StartFailed {
        /// What kind of failure it was; `Failed` when the daemon did not say.
        kind: ErrorKind,
        /// One sentence.
        message: String,
        /// What helps.
        hint: Option<String>,
    },
    /// The daemon is there but did not answer in time.
    #[error("outlastd (pid {pid}) did not answer within {} s", after.as_secs())]
    NoAnswer {
        /// Its process.
        pid: i32,
        /// How long was waited.
        after: Duration,
    },
    /// The two ends do not understand each other.
    #[error("{}", .0.message)]
    Incompatible(Error),
    /// The daemon answered with an error.
    #[error("{}", .0.message)]
    Answered(Error),
    /// The connection broke before the answer was whole.
    #[error("the connection to outlastd broke")]
    Broken(#[source] Box<Status>),
}

impl ClientError {
    /// True when connecting again and going on by position may succeed.
    #[must_use]
    pub fn can_go_on(&self) -> bool {
        match self {
            Self::Broken(_) | Self::NotRunning { .. } => true,
            Self::Answered(error) => error.kind() == ErrorKind::Restarting,
            _ => false,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        if let Some(error) = Error::from_status(&status) {
            return if error.kind() == ErrorKind::Incompatible {
                Self::Incompatible(error)
            } else {
                Self::Answered(error)
            };
        }
        let kind = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => ErrorKind::Usage,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists | Code::Aborted => ErrorKind::Conflict,
            Code::FailedPrecondition => ErrorKind::WrongState,
            Code::Unauthenticated => ErrorKind::Unauthenticated,
            Code::PermissionDenied => ErrorKind::NotPermitted,
            Code::ResourceExhausted => ErrorKind::Exhausted,
            Code::DeadlineExceeded => ErrorKind::Timeout,
            Code::DataLoss => ErrorKind::Failed,
            Code::Unimplemented => {
                let error = Error::new(ErrorKind::Incompatible, "this outlastd does not know the call")
                    .with_hint(RESTART_HINT);
                return Self::Incompatible(error);
            }
            // What the transport makes of a cut connection; facts differ with the moment of the cut.
            Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::Unavailable => {
                return Self::Broken(Box::new(status));
            }
        };
        Self::Answered(Error::new(kind, status.message()))
    }
}

/// What mends two ends of different builds.
pub const RESTART_HINT: &str = "outlast daemon restart";

/// A channel that introduces itself with every call.
pub type Wire = InterceptedService<Channel, Handshake>;

/// Adds protocol number, build and the user's ssh-agent to a call.
#[derive(Debug, Clone)]
pub struct Handshake {
    protocol: Option<MetadataValue<Ascii>>,
    auth_sock: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Handshake {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        const BUILD: &str = concat!("outlast/", env!("CARGO_PKG_VERSION"));
        let metadata = request.metadata_mut();
        if let Some(protocol) = &self.protocol {
            metadata.insert(PROTOCOL_KEY, protocol.clone());
        }
        metadata.insert(BUILD_KEY, MetadataValue::from_static(BUILD));
        if let Some(auth_sock) = &self.auth_sock {
            metadata.insert(AUTH_SOCK_KEY, auth_sock.clone());
        }
        Ok(request)
    }
}

/// One connection to the daemon. Clones share it.
#[derive(Debug, Clone)]
pub struct Daemon {
    channel: Channel,
    peer: Peer,
    socket: PathBuf,
    auth_sock: Option<MetadataValue<Ascii>>,
}

impl Daemon {
    /// Connects to the daemon of this user, starting it first when `start` allows that and nobody listens.
    ///
    /// `socket` is what a flag or the environment demands; absent, the daemon's own note says where it listens.
    ///
    /// # Errors
    /// As in [`ClientError`]; never `Answered` or `Broken`, because nothing is called yet.
    pub async fn connect(places: &Places, socket: Option<&Path>, start: Start) -> Result<Self, ClientError> {
        let path = locate(places, socket)?;
        match Self::open(&path).await {
            Err(ClientError::NotRunning { .. }) if start == Start::IfNeeded => {
                start::under_lock(places, socket).await
            }
            other => other,
        }
    }

    /// Replaces the daemon, or starts one when none runs. Whoever else wants to start one waits meanwhile.
    ///
    /// # Errors
    /// As in [`ClientError`].
    pub async fn restart(places: &Places, socket: Option<&Path>) -> Result<Self, ClientError> {
        start::replace(places, socket).await
    }

    /// Connects to what listens at `path`.
    async fn open(path: &Path) -> Result<Self, ClientError> {
        let Ok(connected) = tokio::time::timeout(ANSWER_WITHIN, socket::connect(path)).await else {
            return Err(ClientError::NoAnswer {
                pid: 0,
                after: ANSWER_WITHIN,
            });
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(error) if error.nobody_listens() => {
                return Err(ClientError::NotRunning {
                    socket: path.to_owned(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        let peer = connection.peer();
        Ok(Self {
            channel: channel(connection).await?,
            peer,
            socket: path.to_owned(),
            auth_sock: agent::told(std::env::var_os("SSH_AUTH_SOCK")),
        })
    }

    /// The socket it was reached at.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process, as the kernel names it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.peer.pid
    }

    /// Asks the daemon to end. The answer comes before it does; the returned process tells when it is gone.
    ///
    /// Works across protocol numbers, because that is how an old daemon is replaced.
    ///
    /// # Errors
    /// When it does not answer, or its process cannot be watched.
    pub async fn stop(&self, restart: bool) -> Result<Process, ClientError> {
        let process = Process::open(self.peer.pid)?;
        let mut client = DaemonServiceClient::new(self.wire(false));
        match self
            .answer(client.stop_daemon(StopDaemonRequest { restart }))
            .await
        {
            // Leaving, it may close the connection before its answer is out.
            Ok(_) | Err(ClientError::Broken(_)) => Ok(process),
            Err(ClientError::Answered(error))
                if matches!(error.kind(), ErrorKind::Stopping | ErrorKind::Restarting) =>
            {
                Ok(process)
            }
            Err(error) => Err(error),
        }
    }

    /// The service about the daemon itself.
    #[must_use]
    pub fn daemon(&self) -> DaemonServiceClient<Wire> {
        DaemonServiceClient::new(self.wire(true))
    }

    /// As [`Daemon::daemon`], without the protocol number: even an incompatible daemon answers who it is.
    #[must_use]
    pub fn stranger(&self) -> DaemonServiceClient<Wire> {
        DaemonServiceClient::new(self.wire(false))
    }

    /// The service about jobs.
    #[must_use]
    pub fn jobs(&self) -> JobServiceClient<Wire> {
        JobServiceClient::new(self.wire(true)).max_decoding_message_size(ANSWER_MAX)
    }

    /// The service about sessions.
    #[must_use]
    pub fn sessions(&self) -> SessionServiceClient<Wire> {
        SessionServiceClient::new(self.wire(true)).max_decoding_message_size(ANSWER_MAX)
    }

    /// The service about hosts.
    #[must_use]
    pub fn hosts(&self) -> HostServiceClient<Wire> {
        HostServiceClient::new(self.wire(true))
    }

    /// The service about syncs.
    #[must_use]
    pub fn syncs(&self) -> SyncServiceClient<Wire> {
        SyncServiceClient::new(self.wire(true)).max_decoding_message_size(ANSWER_MAX)
    }

    /// The service about being told.
    #[must_use]
    pub fn notify(&self) -> NotifyServiceClient<Wire> {
        NotifyServiceClient::new(self.wire(true))
    }

    /// The service about providers.
    #[must_use]
    pub fn providers(&self) -> ProviderServiceClient<Wire> {
        ProviderServiceClient::new(self.wire(true)).max_decoding_message_size(ANSWER_MAX)
    }

    /// The service about templates.
    #[must_use]
    pub fn templates(&self) -> TemplateServiceClient<Wire> {
        TemplateServiceClient::new(self.wire(true)).max_decoding_message_size(ANSWER_MAX)
    }

    /// The service about events.
    #[must_use]
    pub fn events(&self) -> EventServiceClient<Wire> {
        EventServiceClient::new(self.wire(true))
    }

    /// Waits for an answer, at most [`ANSWER_WITHIN`].
    ///
    /// # Errors
    /// What the daemon answered, or why it did not.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        self.answer_within(ANSWER_WITHIN, call).await
    }

    /// Waits for an answer that takes more than the daemon's own state, at most so long.
    ///
    /// # Errors
    /// What the daemon answered, or why it did not.
    pub async fn answer_within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status.into()),
            Err(_elapsed) => Err(ClientError::NoAnswer {
                pid: self.peer.pid,
                after: limit,
            }),
        }
    }

    fn wire(&self, introduce: bool) -> Wire {
        let protocol = introduce.then(|| MetadataValue::from(PROTOCOL));
        let auth_sock = self.auth_sock.clone();
        InterceptedService::new(self.channel.clone(), Handshake { protocol, auth_sock })
    }
}

/// Where the daemon is to be looked for.
fn locate(places: &Places, socket: Option<&Path>) -> Result<PathBuf, ClientError> {
    if let Some(socket) = socket {
        return Ok(socket.to_owned());
    }
    let lock = places.daemon_lock();
    let note = places.read_daemon_lock().map_err(|source| SocketError::Io {
        action: "reading",
        path: lock,
        source,
    })?;
    Ok(note.map_or_else(|| places.socket(), |note| note.socket))
}

/// Makes a channel of a connection. It never makes another one.
async fn channel(connection: Connection) -> Result<Channel, ClientError> {
    let once = Mutex::new(Some(TokioIo::new(connection)));
    let connector = tower::service_fn(move |_uri| {
        let taken = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the connection is gone");
        std::future::ready(taken.ok_or_else(gone))
    });
    Endpoint::from_static("http://localhost")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .connect_with_connector(connector)
        .await
        .map_err(|error| ClientError::Broken(Box::new(Status::unavailable(error.to_string()))))
}

/// Watches a directory, for whoever follows a file in it.
///
/// # Errors
/// When the system refuses.
pub fn watch_dir(dir: &Path) -> std::io::Result<DirWatch> {
    DirWatch::new(dir)
}

/// Text of this build for messages: "0.1.0 (protocol 1)".
#[must_use]
pub fn build() -> String {
    format!("{VERSION} (protocol {PROTOCOL})")
}
