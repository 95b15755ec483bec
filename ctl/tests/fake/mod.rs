//! A daemon that says what a test wants, over a real socket, for the real program.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::HashMap,
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use outlast_client::{socket::Listener, v1};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

mod hosts;
pub mod screen;
mod services;
mod syncs;

/// How long a program may take. None of these tests should need a tenth of it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a fake daemon noted, in order.
pub type Heard<T> = Arc<Mutex<Vec<T>>>;

type Stream<T> = stream::BoxStream<'static, Result<T, Status>>;
type Answers<Q, A> = Box<dyn FnMut(Q) -> Result<A, Status> + Send>;
type Streams<Q, A> = Box<dyn FnMut(Q) -> Stream<A> + Send>;
type Talks<Q, A> = Box<dyn FnMut(Streaming<Q>) -> Stream<A> + Send>;

/// What the daemon answers, by call. What is not set is answered with `not_found` or `unimplemented`.
#[derive(Default)]
pub struct Script {
    pub jobs: HashMap<String, v1::Job>,
    pub sessions: HashMap<String, v1::Session>,
    pub create_job: Option<Answers<v1::CreateJobRequest, v1::CreateJobResponse>>,
    pub cancel_job: Option<Answers<v1::CancelJobRequest, v1::CancelJobResponse>>,
    pub job_log: Option<Streams<v1::ReadJobLogRequest, v1::ReadJobLogResponse>>,
    pub create_session: Option<Answers<v1::CreateSessionRequest, v1::CreateSessionResponse>>,
    pub peek_session: Option<Answers<v1::PeekSessionRequest, v1::PeekSessionResponse>>,
    pub session_history: Option<Answers<v1::ListSessionHistoryRequest, v1::ListSessionHistoryResponse>>,
    pub session_log: Option<Streams<v1::ReadSessionLogRequest, v1::ReadSessionLogResponse>>,
    pub stop_session: Option<Answers<v1::StopSessionRequest, v1::StopSessionResponse>>,
    pub wait_session: Option<Streams<v1::WaitSessionRequest, v1::WaitSessionResponse>>,
    pub events: Option<Streams<v1::ReadEventsRequest, v1::ReadEventsResponse>>,
    pub daemon: Option<Answers<v1::GetDaemonRequest, v1::GetDaemonResponse>>,
    pub attach: Option<Talks<v1::AttachSessionRequest, v1::AttachSessionResponse>>,
    pub hosts: HashMap<String, v1::Host>,
    /// Hosts that are away, told with every list and object.
    pub away: Vec<v1::Away>,
    pub add_host: Option<Answers<v1::AddHostRequest, v1::AddHostResponse>>,
    pub remove_host: Option<Answers<v1::RemoveHostRequest, v1::RemoveHostResponse>>,
    pub trust_host: Option<Answers<v1::TrustHostRequest, v1::TrustHostResponse>>,
    pub check_host: Option<Talks<v1::CheckHostRequest, v1::CheckHostResponse>>,
    pub exec_host: Option<Talks<v1::ExecHostRequest, v1::ExecHostResponse>>,
    pub forward_host: Option<Streams<v1::ForwardHostRequest, v1::ForwardHostResponse>>,
    pub overview: Option<Answers<v1::GetOverviewRequest, v1::GetOverviewResponse>>,
    pub syncs: HashMap<String, v1::Sync>,
    pub preview_sync: Option<Answers<v1::PreviewSyncRequest, v1::PreviewSyncResponse>>,
    pub create_sync: Option<Answers<v1::CreateSyncRequest, v1::CreateSyncResponse>>,
    pub flush_sync: Option<Streams<v1::FlushSyncRequest, v1::FlushSyncResponse>>,
    pub pause_sync: Option<Answers<v1::PauseSyncRequest, v1::PauseSyncResponse>>,
    pub resume_sync: Option<Answers<v1::ResumeSyncRequest, v1::ResumeSyncResponse>>,
    pub reset_sync: Option<Answers<v1::ResetSyncRequest, v1::ResetSyncResponse>>,
    pub delete_sync: Option<Answers<v1::DeleteSyncRequest, v1::DeleteSyncResponse>>,
    /// The ssh-agent that came with each call about hosts.
    pub agents: Heard<Option<String>>,
}

/// A conversation: what the client says comes in, what is sent goes out to it.
pub fn talk<Q, A, F>(
    mut with: impl FnMut(Streaming<Q>, mpsc::Sender<Result<A, Status>>) -> F + Send + 'static,
) -> Option<Talks<Q, A>>
where
    Q: 'static,
    A: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    Some(Box::new(move |requests| {
        let (send, receive) = mpsc::channel(16);
        tokio::spawn(with(requests, send));
        ReceiverStream::new(receive).boxed()
    }))
}

#[derive(Clone)]
struct Services(Arc<Mutex<Script>>);

/// A running fake daemon in a sealed home.
pub struct Fake {
    home: TempDir,
    _runtime: Runtime,
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// The parsed answer.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An empty home without a daemon.
pub fn home() -> TempDir {
    tempfile::Builder::new().prefix("ol").tempdir_in("/tmp").unwrap()
}

/// The program in a home, with nothing else of the environment.
pub fn outlast(home: &TempDir, args: &[&str]) -> Command {
    command(PathBuf::from(env!("CARGO_BIN_EXE_outlast")), home, args)
}

/// A program in a home, with nothing else of the environment.
pub fn command(program: PathBuf, home: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null());
    command
}

/// Runs a program to its end.
pub fn run(mut command: Command) -> Ran {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    finish(child)
}

/// Reads a program to its end, and ends it when it takes too long.
pub fn finish(mut child: Child) -> Ran {
    let mut out = child.stdout.take();
    let mut err = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(out) = &mut out {
            out.read_to_end(&mut bytes).unwrap();
        }
        bytes
    });
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let pid = rustix::process::Pid::from_child(&child);
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if told.recv_timeout(DEADLINE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let began = Instant::now();
    let status = child.wait().unwrap();
    drop(tell);
    guard.join().unwrap();
    assert!(began.elapsed() < DEADLINE, "it hung: {}", errors.join().unwrap());
    Ran {
        code: status.code().unwrap_or(-1),
        out: reader.join().unwrap(),
        err: errors.join().unwrap(),
    }
}

impl Fake {
    /// Listens where the program looks.
    pub fn start(script: Script) -> Self {
        let home = home();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = home.path().join("outlast/daemon.sock");
        let services = Services(Arc::new(Mutex::new(script)));
        let listener = runtime.block_on(async { Listener::bind(&socket).unwrap() });
        runtime.spawn(async move {
            let incoming = stream::unfold(listener, |listener| async move {
                Some((listener.accept().await, listener))
            });
            Server::builder()
                .add_service(v1::daemon_service_server::DaemonServiceServer::new(
                    services.clone(),
                ))
                .add_service(v1::job_service_server::JobServiceServer::new(services.clone()))
                .add_service(v1::session_service_server::SessionServiceServer::new(
                    services.clone(),
                ))
                .add_service(v1::host_service_server::HostServiceServer::new(services.clone()))
                .add_service(v1::sync_service_server::SyncServiceServer::new(services.clone()))
                .add_service(v1::event_service_server::EventServiceServer::new(services))
                .serve_with_incoming(incoming)
                .await
        });
        Self {
            home,
            _runtime: runtime,
        }
    }

    pub fn home(&self) -> &TempDir {
        &self.home
    }

    /// The program, talking to this daemon.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = outlast(&self.home, args);
        command.arg("--no-start");
        command
    }

    /// Runs the program. The flag goes first, because what stands behind `--` is not ours.
    pub fn outlast(&self, args: &[&str]) -> Ran {
        let mut all = vec!["--no-start"];
        all.extend(args);
        run(outlast(&self.home, &all))
    }
}

/// A job for tests.
pub fn job(id: &str, name: Option<&str>, state: v1::JobState) -> v1::Job {
    v1::Job {
        id: id.to_owned(),
        name: name.map(str::to_owned),
        host: "local".to_owned(),
        command: vec!["sleep".to_owned(), "5".to_owned()],
        state: state.into(),
        link: v1::Link::Up.into(),
        created_at: Some(prost_types::Timestamp {
            seconds: 1_795_255_200,
            nanos: 0,
        }),
        ..v1::Job::default()
    }
}

/// A session for tests.
pub fn session(id: &str, name: &str, state: v1::SessionState) -> v1::Session {
    v1::Session {
        id: id.to_owned(),
        name: name.to_owned(),
        host: "local".to_owned(),
        agent: "admin".to_owned(),
        state: state.into(),
        link: v1::Link::Up.into(),
        ..v1::Session::default()
    }
}

/// A host for tests.
pub fn host(name: &str, link: v1::Link) -> v1::Host {
    v1::Host {
        name: name.to_owned(),
        kind: "ssh".to_owned(),
        address: Some("10.1.2.3".to_owned()),
        user: Some("me".to_owned()),
        port: Some(22),
        link: link.into(),
        ..v1::Host::default()
    }
}

/// A sync for tests: all is there.
pub fn sync(name: &str, state: v1::SyncState) -> v1::Sync {
    v1::Sync {
        id: format!("{name}-5d30-480b-9343-05dfe31fdd1a"),
        name: name.to_owned(),
        source: format!("/home/me/{name}"),
        host: "box".to_owned(),
        target: format!("/srv/{name}"),
        mode: v1::SyncMode::Mirror.into(),
        state: state.into(),
        files: 2000,
        bytes: 30 << 20,
        link: v1::Link::Up.into(),
        ..v1::Sync::default()
    }
}

fn answered<Q, A>(answer: Option<&mut Answers<Q, A>>, request: Request<Q>) -> Result<Response<A>, Status> {
    match answer {
        Some(answer) => answer(request.into_inner()).map(Response::new),
        None => Err(Status::unimplemented("the test has no answer")),
    }
}

fn streamed<Q, A>(
    answer: Option<&mut Streams<Q, A>>,
    request: Request<Q>,
) -> Result<Response<Stream<A>>, Status> {
    match answer {
        Some(answer) => Ok(Response::new(answer(request.into_inner()))),
        None => Err(Status::unimplemented("the test has no answer")),
    }
}

fn talked<Q, A>(
    talk: Option<&mut Talks<Q, A>>,
    request: Request<Streaming<Q>>,
) -> Result<Response<Stream<A>>, Status> {
    match talk {
        Some(talk) => Ok(Response::new(talk(request.into_inner()))),
        None => Err(Status::unimplemented("the test has no answer")),
    }
}
