//! The helper's service: what a daemon asks of a host. Every verb is one function of the modules below; here they only
//! get their names.
//!
//! Keeps no state of its own: what it says comes from the spool, from tmux and from the kernel at that moment.

mod agent;
mod apart;
mod attach;
mod base;
mod dial;
mod error;
mod exec;
mod files;
mod jobs;
mod launch;
mod locks;
mod logs;
mod modes;
mod pace;
mod panes;
mod paste;
mod programs;
mod report;
mod screen;
mod sessions;
mod settle;
mod signs;
mod syncs;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use outlast_client::{
    helper_v1::{
        AttachSessionRequest, AttachSessionResponse, CancelJobRequest, CancelJobResponse,
        CaptureSessionRequest, CaptureSessionResponse, DeleteJobRequest, DeleteJobResponse,
        DeleteSessionRequest, DeleteSessionResponse, DialRequest, DialResponse, ExecRequest, ExecResponse,
        ForgetSyncRequest, ForgetSyncResponse, GetFactsRequest, GetFactsResponse, ListJobsRequest,
        ListJobsResponse, ListSessionsRequest, ListSessionsResponse, ListenAgentRequest, ListenAgentResponse,
        LookProgramRequest, LookProgramResponse, LookTargetRequest, LookTargetResponse, PingRequest,
        PingResponse, ReadFileRequest, ReadFileResponse, ReadLogRequest, ReadLogResponse, ReplaceFileRequest,
        ReplaceFileResponse, RunJobRequest, RunJobResponse, SendSessionRequest, SendSessionResponse,
        StartSessionRequest, StartSessionResponse, StopSessionRequest, StopSessionResponse,
        SyncTargetRequest, SyncTargetResponse, WatchSessionRequest, WatchSessionResponse,
        helper_service_server::HelperService,
    },
    socket::private_dir,
};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use self::{agent::Agent, locks::Locks, signs::Readings, syncs::Targets};
use crate::{
    facts,
    login::Login,
    spool::{Root, is_id},
    tmux::{Place, Tmux},
    watch::Watcher,
};

/// How long [`Helper::finish`] waits: longer than the grace of a program that has to be killed, which is short then.
const FINISH_WITHIN: Duration = Duration::from_millis(800);

/// How sessions are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Lines of scrollback that tmux keeps for a session.
    pub history_limit: u32,
    /// Use vi keys in copy mode when `$VISUAL` or `$EDITOR` names a vi, as the user's own tmux would.
    pub user_copy_mode_keys: bool,
}

/// What a helper needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `$XDG_STATE_HOME/outlast` on this machine.
    pub state_dir: PathBuf,
    /// Device id of the daemon that everything made here belongs to: letters, digits and hyphens.
    pub owner: String,
    /// The `outlast-helper` binary that supervises jobs and holds panes.
    pub helper_program: PathBuf,
    /// Login shell of this user. None: the one the password database names.
    pub login_shell: Option<PathBuf>,
    /// How sessions are to be.
    pub sessions: SessionConfig,
    /// Start supervisors and the tmux server in systemd scopes of their own, where this runs in a unit and a user
    /// manager can be had, so that stopping the unit does not end them.
    pub scope: bool,
}

/// The helper of one owner on one machine. Everything it starts outlives it, but programs of `Exec` and attachments.
#[derive(Debug)]
pub struct Helper {
    core: Arc<Core>,
}

/// What all verbs share.
#[derive(Debug)]
struct Core {
    config: Config,
    root: Root,
    watcher: Watcher,
    tmux: Arc<Tmux>,
    /// Held by id while something is done to a session in several steps.
    sessions: Locks,
    /// How the screens of programs are read.
    readings: Readings,
    /// Targets of syncs that are open.
    targets: Targets,
    login: Login,
    agent: Agent,
    /// What must not outlive us: programs of `Exec`, attachments and connections of `Dial`.
    tasks: TaskTracker,
    /// Cancelled when all of that is to end soon.
    leaving: CancellationToken,
}

impl Helper {
    /// Makes the owner's directory on this machine and the watcher. Nothing is started. Inside a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be made or is not this user's alone, the owner is no id, or the kernel has no inotify
    /// instance left.
    pub fn new(config: Config) -> io::Result<Arc<Self>> {
        if !is_id(&config.owner) {
            let text = format!("the owner {:?} is no id", config.owner);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let state_dir = std::path::absolute(&config.state_dir)?;
        let dir = state_dir.join(&config.owner).join(facts::machine_id());
        private_dir(&dir).map_err(io::Error::other)?;
        let tmux = Tmux::new(Place::choose(&dir)?, config.sessions.clone(), config.scope);
        let (tasks, leaving) = (TaskTracker::new(), CancellationToken::new());
        let core = Core {
            login: Login::new(
                config.login_shell.clone(),
                config.helper_program.clone(),
                tasks.clone(),
                leaving.clone(),
            ),
            agent: Agent::new(&dir)?,
            root: Root::new(dir),
            watcher: Watcher::new()?,
            tmux,
            sessions: Locks::default(),
            readings: Readings::default(),
            targets: Targets::default(),
            tasks,
            leaving,
            config,
        };
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// Where jobs and sessions of this owner on this machine are kept.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.core.root
    }

    /// The watcher of this process, for readers of the spool beside the service.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        self.core.watcher.clone()
    }

    /// The tmux in which this owner's sessions live.
    #[must_use]
    pub fn tmux(&self) -> &Arc<Tmux> {
        &self.core.tmux
    }

    /// Starts reading the login environment, which takes as long as the user's start files do, before somebody waits for
    /// it. Inside a tokio runtime.
    pub fn expect_login(&self) {
        self.core.login.begin();
    }

    /// Removes what was left for too long at targets that nobody opens any more. Nobody waits for it. Inside a tokio runtime.
    pub fn tidy_targets(&self) {
        let core = self.core();
        drop(tokio::task::spawn_blocking(move || {
            crate::target::tidy(&core.root, &core.leaving.child_token());
        }));
    }

    /// Waits until what must not outlive the helper is gone. To be called when nobody is connected any more, which is
    /// what ends it.
    pub async fn finish(&self) {
        self.core.leaving.cancel();
        self.core.tasks.close();
        if timeout(FINISH_WITHIN, self.core.tasks.wait()).await.is_err() {
            tracing::warn!("programs that were to end with the connection are still there");
        }
    }

    fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }
}

/// A stream of answers, filled by a task through a bounded queue.
pub type Answers<T> = ReceiverStream<Result<T, Status>>;

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl HelperService for Helper {
    type ExecStream = Answers<ExecResponse>;
    type RunJobStream = Answers<RunJobResponse>;
    type WatchSessionStream = Answers<WatchSessionResponse>;
    type AttachSessionStream = Answers<AttachSessionResponse>;
    type ReadLogStream = Answers<ReadLogResponse>;
    type DialStream = Answers<DialResponse>;
    type ListenAgentStream = Answers<ListenAgentResponse>;
    type SyncTargetStream = Answers<SyncTargetResponse>;

    async fn get_facts(&self, _: Request<GetFactsRequest>) -> Reply<GetFactsResponse> {
        let collected = facts::collect(self.root().path(), self.tmux(), &self.core.login).await;
        collected
            .map(Response::new)
            .map_err(|cause| error::failed(&cause))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Reply<PingResponse> {
        Ok(Response::new(PingResponse {}))
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Reply<Self::ExecStream> {
        let started = exec::exec(self.core(), request.into_inner()).await;
        started.map(Response::new)
    }

    async fn look_program(&self, request: Request<LookProgramRequest>) -> Reply<LookProgramResponse> {
        let seen = programs::look(&self.core, request.into_inner()).await;
        seen.map(Response::new)
    }

    async fn read_file(&self, request: Request<ReadFileRequest>) -> Reply<ReadFileResponse> {
        files::read(request.into_inner()).await.map(Response::new)
    }

    async fn replace_file(&self, request: Request<ReplaceFileRequest>) -> Reply<ReplaceFileResponse> {
        files::replace(request.into_inner()).await.map(Response::new)
    }

    async fn run_job(&self, request: Request<RunJobRequest>) -> Reply<Self::RunJobStream> {
        let started = jobs::run(self.core(), request.into_inner()).await;
        started.map(Response::new)
    }

    async fn cancel_job(&self, request: Request<CancelJobRequest>) -> Reply<CancelJobResponse> {
        let told = jobs::cancel(&self.core, &request.into_inner()).await;
        told.map(Response::new)
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Reply<ListJobsResponse> {
        jobs::list(self.core()).await.map(Response::new)
    }

    async fn delete_job(&self, request: Request<DeleteJobRequest>) -> Reply<DeleteJobResponse> {
        let deleted = jobs::delete(self.core(), request.into_inner()).await;
        deleted.map(Response::new)
    }

    async fn start_session(&self, request: Request<StartSessionRequest>) -> Reply<StartSessionResponse> {
        let started = launch::start(&self.core, request.into_inner()).await;
        started.map(Response::new)
    }

    async fn watch_session(&self, request: Request<WatchSessionRequest>) -> Reply<Self::WatchSessionStream> {
        sessions::watch(self.core(), request.into_inner()).map(Response::new)
    }

    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Reply<ListSessionsResponse> {
        sessions::list(self.core()).await.map(Response::new)
    }

    async fn stop_session(&self, request: Request<StopSessionRequest>) -> Reply<StopSessionResponse> {
        let told = sessions::stop(&self.core, &request.into_inner()).await;
        told.map(Response::new)
    }

    async fn delete_session(&self, request: Request<DeleteSessionRequest>) -> Reply<DeleteSessionResponse> {
        let deleted = sessions::delete(&self.core, &request.into_inner()).await;
        deleted.map(Response::new)
    }

    async fn capture_session(
        &self,
        request: Request<CaptureSessionRequest>,
    ) -> Reply<CaptureSessionResponse> {
        let screen = screen::capture(&self.core, &request.into_inner()).await;
        screen.map(Response::new)
    }

    async fn send_session(&self, request: Request<SendSessionRequest>) -> Reply<SendSessionResponse> {
        let sent = screen::send(&self.core, request.into_inner()).await;
        sent.map(Response::new)
    }

    async fn attach_session(
        &self,
        request: Request<Streaming<AttachSessionRequest>>,
    ) -> Reply<Self::AttachSessionStream> {
        let attached = attach::attach(self.core(), request.into_inner()).await;
        attached.map(Response::new)
    }

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Reply<Self::ReadLogStream> {
        logs::read(self.core(), &request.into_inner()).map(Response::new)
    }

    async fn dial(&self, request: Request<Streaming<DialRequest>>) -> Reply<Self::DialStream> {
        let connected = dial::dial(self.core(), request.into_inner()).await;
        connected.map(Response::new)
    }

    async fn listen_agent(&self, _: Request<ListenAgentRequest>) -> Reply<Self::ListenAgentStream> {
        agent::listen(self.core()).map(Response::new)
    }

    async fn sync_target(
        &self,
        request: Request<Streaming<SyncTargetRequest>>,
    ) -> Reply<Self::SyncTargetStream> {
        let opened = syncs::target(self.core(), request.into_inner()).await;
        opened.map(Response::new)
    }

    async fn look_target(&self, request: Request<LookTargetRequest>) -> Reply<LookTargetResponse> {
        let seen = syncs::look(self.core(), request.into_inner()).await;
        seen.map(Response::new)
    }

    async fn forget_sync(&self, request: Request<ForgetSyncRequest>) -> Reply<ForgetSyncResponse> {
        let forgotten = syncs::forget(self.core(), request.into_inner()).await;
        forgotten.map(Response::new)
    }
}
