//! Sessions: the registry of all of them, and every verb on them.
//!
//! Every session has one [`driver`] task that alone changes its row; that of an ended session only waits for somebody
//! to want something. Verbs that change a session ask its driver; all others read the store and the driver's view.

mod activity;
pub mod attach;
mod driver;
mod echoes;
pub mod history;
mod judge;
pub mod lines;
pub mod log;
mod menu;
mod sizes;
pub mod start;
mod typing;
pub mod wait;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use outlast_client::v1::{self, Error, ErrorKind};
use outlast_helper::{spool, watch::Watch};
use outlast_model::{
    id::Id,
    job::TimeMs,
    name::Name,
    session::{Session, SessionState},
};
use outlast_store::{Created, Request, Resolved, SessionFilter};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

pub(crate) use self::judge::reason_to_show;
pub use self::typing::Typing;
use self::{
    driver::{Command, Driver, Wish},
    echoes::Echoes,
    sizes::Sizes,
};
use crate::{
    app::{App, now_ms},
    handles::{Handle, Handles},
    hosts::Host,
    jobs::{check_place, link_to},
    refusal,
    rpc::{
        convert::{self, SessionLive},
        host::not_connected,
        status::failure,
    },
    specs::{self, SpecError, Specs},
};

/// Wishes that may wait for one driver. It takes them at once unless the disk is slow; then those who ask wait.
const INBOX: usize = 8;

/// How long a helper may take over one answer at the terminal of a session, before the way to it is in doubt. It bounds what
/// it does itself, but a way that swallows everything says nothing.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Who looked at a session so shortly ago has seen it end: its terminals go when it does.
const SAW_IT_END: Duration = Duration::from_secs(3);

/// How long a verb waits for a session that is just being made.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// All sessions.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    app: Arc<App>,
    specs: Specs,
    handles: Handles<Command, View>,
    echoes: Echoes,
    sizes: Sizes,
}

/// What a driver knows of its session.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The row.
    pub session: Session,
    /// How many terminals are attached.
    pub attached: u32,
    /// When the last one went. Absent: none was attached since the daemon started.
    pub left_at: Option<Instant>,
    /// When the terminal was last written to.
    pub last_output: Option<TimeMs>,
    /// The rule by which its screen asks something that nobody has answered yet, as `provider/rule`.
    pub asked_by: Option<String>,
    /// What its host tells. Absent: the host is away, or has told nothing of this run yet.
    pub heard: Option<Heard>,
}

/// What the host of a session tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Since when it tells all there is.
    pub since: Instant,
    /// What runs says itself what it does.
    pub speaks: bool,
    /// Up to which length of the log all was looked at that can be seen of it.
    pub looked_to: u64,
}

/// A session to be accepted; every part was checked.
#[derive(Debug)]
pub struct NewSession {
    /// Host to run on.
    pub host: String,
    /// Its name.
    pub name: Name,
    /// Program and arguments. Empty: the login shell.
    pub command: Vec<String>,
    /// What restart and recover run instead.
    pub restart_command: Option<String>,
    /// Absolute working directory. Absent: the home directory.
    pub cwd: Option<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// Name of the template it is made from.
    pub template: Option<String>,
    /// Name of the provider whose program it runs.
    pub provider: Option<String>,
}

impl Sessions {
    /// The registry, with nobody in it yet; see [`Sessions::start`].
    #[must_use]
    pub fn new(app: Arc<App>, specs: Specs) -> Self {
        let inner = Inner {
            handles: Handles::new(Arc::clone(&app), "session"),
            app,
            specs,
            echoes: Echoes::default(),
            sizes: Sizes::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Takes up every session of the store where its last driver left it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(&self) -> Result<(), Error> {
        let all = self.inner.app.store.list_sessions(SessionFilter::default()).await;
        for session in all.map_err(failure)? {
            self.spawn(&session);
        }
        Ok(())
    }

    /// Accepts a session: its spec and its row are on disk when this returns. With a request that was made before,
    /// the session of that time.
    ///
    /// # Errors
    /// When the host is unknown or has no tmux, the directory is not there, the name is taken, or nothing can be
    /// written.
    pub async fn create(&self, new: NewSession, request: Option<Request>) -> Result<Session, Error> {
        if let Err(error) = self.check_place(&new).await {
            return self.repeat_or(request, error).await;
        }
        let session = Session {
            id: Id::random(),
            name: new.name.clone(),
            host: new.host.clone(),
            cwd: new.cwd.clone(),
            command: new.command.clone(),
            restart_command: new.restart_command.clone(),
            state: SessionState::Creating,
            run: 1,
            created_at: now_ms(),
            started_at: None,
            pid: None,
            outcome: None,
            reason: None,
            size: new.size,
            stop_grace_ms: None,
            deleting: false,
            activity: None,
            activity_seq: 0,
            template: new.template,
            provider: new.provider,
        };
        let spec = spool::Spec {
            version: spool::SPOOL_VERSION,
            kind: spool::Kind::Session,
            id: session.id.to_string(),
            name: Some(new.name.to_string()),
            base: specs::base(&new.host),
            host: new.host,
            command: new.command,
            restart_command: new.restart_command,
            cwd: new.cwd,
            env: new.env,
            timeout_ms: None,
            log_max_bytes: None,
            created_at_ms: session.created_at,
            template: session.template.clone(),
            provider: session.provider.clone(),
        };
        self.accept(session, spec, request).await
    }

    /// Puts a session on disk, spec first, and starts its driver.
    async fn accept(
        &self,
        session: Session,
        spec: spool::Spec,
        request: Option<Request>,
    ) -> Result<Session, Error> {
        let id = session.id;
        let spec = serde_json::to_vec(&spec)
            .map_err(|error| Error::new(ErrorKind::Failed, format!("encoding what to run: {error}")))?;
        let placed = self.spec_file(move |specs| specs.place(id, &spec)).await?;
        let commit = self.inner.app.store.create_session(&session, request.as_ref());
        let created = specs::together(placed, commit).await;
        match created {
            Ok(Created::New(session)) => {
                self.spawn(&session);
                Ok(session)
            }
            Ok(Created::Repeat(first)) => {
                self.withdraw(id).await;
                Ok(first)
            }
            Err(error) => {
                self.withdraw(id).await;
                Err(failure(error))
            }
        }
    }

    /// Takes back what was prepared for a session that did not come about.
    async fn withdraw(&self, id: Id) {
        if let Err(error) = self.spec_file(move |specs| specs.remove(id)).await {
            tracing::warn!(%error, "a spec without a session stays until the next start");
        }
    }

    /// The session that a request made when it was made first, or the error.
    ///
    /// # Errors
    /// The error, when there was no such request.
    pub async fn repeat_or(&self, request: Option<Request>, error: Error) -> Result<Session, Error> {
        let store = &self.inner.app.store;
        let Some(request) = request else {
            return Err(error);
        };
        let found = store.find_request(&request).await.map_err(failure)?;
        let Some(id) = found.and_then(|found| found.subject.parse().ok()) else {
            return Err(error);
        };
        store.session(id).await.map_err(failure)?.ok_or(error)
    }

    /// Whether sessions can be had on the host, and the directory is there.
    async fn check_place(&self, new: &NewSession) -> Result<(), Error> {
        check_place(&self.inner.app, &new.host, new.cwd.as_deref())?;
        let host = self.inner.handles.host(&new.host)?;
        let problem = |view: &crate::hosts::HostView| {
            let facts = view.facts.as_ref()?;
            Some((facts.tmux_problem.clone()?, facts.tmux_hint.clone()))
        };
        let known = problem(&host.view().borrow());
        // It may have been installed since the last look.
        let known = match known {
            Some(_) => problem(&host.refreshed().await),
            None => None,
        };
        match known {
            None => Ok(()),
            Some((message, hint)) => Err(Error {
                hint,
                ..Error::new(ErrorKind::MissingProgram, message)
            }),
        }
    }

    /// Asks for something to be done with a session. Answered when the intent is on disk (for a removal: when it is
    /// done), with the session as it is then.
    ///
    /// # Errors
    /// When admission denies it or nothing can be written.
    async fn ask(&self, session: &Session, wish: Wish, request: Option<Request>) -> Result<Answer, Error> {
        let Some(handle) = self.inner.handles.get(session.id) else {
            return Err(not_found(session.name.as_str()));
        };
        let (reply, answer) = oneshot::channel();
        let command = Command::Wish { wish, request, reply };
        let gone = || self.inner.handles.gone(session.name.as_str());
        handle.inbox.send(command).await.map_err(|_closed| gone())?;
        answer.await.map_err(|_dropped| gone())?
    }

    /// Says that somebody answered through the terminal, at this time of the host. What the session did before that is
    /// forgotten when this returns. Gives the number of the last event about that; absent when the session is gone.
    async fn answered(&self, session: &Session, at: TimeMs) -> Option<u64> {
        let handle = self.inner.handles.get(session.id)?;
        let (reply, answer) = oneshot::channel();
        handle.inbox.send(Command::Answered { at, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Asks a session's program to end.
    ///
    /// # Errors
    /// When the wish cannot be written.
    pub async fn stop(
        &self,
        session: &Session,
        grace_ms: u64,
        request: Option<Request>,
    ) -> Result<Answer, Error> {
        self.ask(session, Wish::Stop { grace_ms }, request).await
    }

    /// Begins a session's next run; what still runs is ended first, but only with `force`.
    ///
    /// # Errors
    /// When its program runs and `force` is not set, or nothing can be written.
    pub async fn restart(
        &self,
        session: &Session,
        force: bool,
        request: Option<Request>,
    ) -> Result<Answer, Error> {
        self.ask(session, Wish::Restart { force }, request).await
    }

    /// Brings a lost session back.
    ///
    /// # Errors
    /// When it is not lost, or nothing can be written.
    pub async fn recover(&self, session: &Session, request: Option<Request>) -> Result<Answer, Error> {
        self.ask(session, Wish::Recover, request).await
    }

    /// Removes a session with its screen and log; what still runs is ended first, but only with `force`. Answers
    /// when it is gone, or, where its host is away, forgotten here.
    ///
    /// # Errors
    /// When its program runs and `force` is not set, or nothing can be written.
    pub async fn delete(
        &self,
        session: &Session,
        force: bool,
        request: Option<Request>,
    ) -> Result<Answer, Error> {
        self.ask(session, Wish::Delete { force }, request).await
    }

    /// The session that a user means: by exact name, exact id, or unique prefix of an id.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn resolve(&self, text: &str) -> Result<Session, Error> {
        match self.inner.app.store.resolve_session(text).await {
            Ok(Resolved::One(session)) => Ok(session),
            Ok(Resolved::None) => Err(not_found(text)),
            Ok(Resolved::Many(ids)) => Err(refusal::ambiguous("session", text, &ids)),
            Err(error) => Err(failure(error)),
        }
    }

    /// Like [`Sessions::resolve`], for verbs that need the terminal: waits a while for one that is just being made.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn resolve_made(&self, text: &str) -> Result<Session, Error> {
        let session = self.resolve(text).await?;
        if session.state != SessionState::Creating {
            return Ok(session);
        }
        let mut view = self.watch(&session)?;
        let made =
            view.wait_for(|view| view.session.state != SessionState::Creating || view.session.deleting);
        match tokio::time::timeout(SETTLE_WITHIN, made).await {
            Ok(Ok(view)) => Ok(view.session.clone()),
            Ok(Err(_gone)) => Err(self.inner.handles.gone(session.name.as_str())),
            // What it still is says enough.
            Err(_late) => Ok(session),
        }
    }

    /// The message of a session as it is now.
    #[must_use]
    pub fn message(&self, session: &Session) -> v1::Session {
        let live = self
            .inner
            .handles
            .get(session.id)
            .map(|handle| Arc::clone(&handle.view.borrow()));
        let live = SessionLive {
            link: link_to(&self.inner.app, &session.host),
            attached: live.as_ref().map_or(0, |view| view.attached),
            last_output: live.and_then(|view| view.last_output),
        };
        convert::session(session, live)
    }

    /// Word of every change of a session.
    ///
    /// # Errors
    /// When it is gone.
    pub fn watch(&self, session: &Session) -> Result<watch::Receiver<Arc<View>>, Error> {
        let handle = self.inner.handles.get(session.id);
        let handle = handle.ok_or_else(|| not_found(session.name.as_str()))?;
        Ok(handle.view)
    }

    /// Number of the event that says what a session does now.
    #[must_use]
    fn activity_seq(&self, session: &Session) -> u64 {
        self.inner
            .handles
            .get(session.id)
            .map_or(0, |handle| handle.view.borrow().session.activity_seq)
    }

    /// Whether a terminal is attached to the session of this id. Of one that has ended: whether it was when that came.
    #[must_use]
    pub fn is_looked_at(&self, id: &str) -> bool {
        let Some(handle) = id.parse().ok().and_then(|id| self.inner.handles.get(id)) else {
            return false;
        };
        let view = handle.view.borrow();
        let saw_the_end = || view.left_at.is_some_and(|left| left.elapsed() < SAW_IT_END);
        view.attached > 0 || (view.session.state.is_ended() && saw_the_end())
    }

    fn app(&self) -> &App {
        &self.inner.app
    }

    /// The directory on this machine that a session's log is read from: its own, or that of the copy.
    fn spool_dir(&self, session: &Session) -> io::Result<spool::Dir> {
        let host = self.inner.app.hosts.get(&session.host);
        let dir = host.map(|host| host.spool().0.session(&session.id.to_string()));
        dir.ok_or_else(|| io::Error::other("its host was removed"))
    }

    /// Word of everything that happens in the directory of a session.
    fn watch_spool(&self, session: &Session) -> io::Result<Watch> {
        let dir = self.spool_dir(session)?;
        let host = self.inner.app.hosts.get(&session.host);
        let host = host.ok_or_else(|| io::Error::other("its host was removed"))?;
        host.spool().1.watch(dir.path())
    }

    /// Does something with the spec files, where waiting for the disk harms nobody.
    async fn spec_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(Specs) -> Result<T, SpecError> + Send + 'static,
    ) -> Result<T, SpecError> {
        let specs = self.inner.specs.clone();
        match tokio::task::spawn_blocking(move || work(specs)).await {
            Ok(done) => done,
            Err(ending) => Err(SpecError::ending(ending)),
        }
    }

    fn spawn(&self, session: &Session) {
        let view = View {
            session: session.clone(),
            attached: 0,
            left_at: None,
            last_output: self.last_output(session),
            asked_by: None,
            heard: None,
        };
        let (publish, view) = watch::channel(Arc::new(view));
        let (sender, inbox) = mpsc::channel(INBOX);
        self.inner
            .handles
            .insert(session.id, Handle { view, inbox: sender });
        let driver = Driver::new(self.clone(), session.clone(), inbox, publish);
        self.inner.app.tasks.spawn(driver.run());
    }

    /// When an ended session was last written to; a live one is told by the helper.
    fn last_output(&self, session: &Session) -> Option<TimeMs> {
        let dir = self.spool_dir(session).ok()?;
        let written = std::fs::metadata(dir.path().join("index"))
            .ok()?
            .modified()
            .ok()?;
        let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
        TimeMs::try_from(since.as_millis()).ok()
    }

    /// Removes the copy of a session's log. On this machine there is none, and the directory is gone already.
    async fn remove_copy(&self, session: &Session) {
        let Ok(dir) = self.spool_dir(session) else { return };
        let removed = crate::logs::blocking(move || dir.remove()).await;
        if let Err(error) = removed {
            tracing::warn!(session = %session.name, %error, "the copy of a removed session's log stays");
        }
    }

    /// A host that can be called, for verbs that need it now.
    fn reachable(&self, name: &str) -> Result<Arc<Host>, Error> {
        let host = self.inner.handles.host(name)?;
        if host.is_up() {
            return Ok(host);
        }
        // Somebody waits for it.
        host.nudge();
        let view = host.view().borrow().clone();
        Err(not_connected(name, &view))
    }

    /// Takes up a session that was found without a row, once it has one.
    pub fn take_up(&self, session: &Session) {
        self.spawn(session);
    }

    /// Lets go of the sessions of a host that was removed. Their drivers see that it is gone and end.
    pub fn forget_host(&self, host: &str) {
        self.inner.handles.forget_host(host, |view| &view.session.host);
    }
}

/// The answer of a helper. On a way that swallows everything the caller is not left to wait until that is noticed.
pub(crate) async fn answered<T>(
    host: &Host,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Error> {
    if host.is_local() {
        return call.await.map(tonic::Response::into_inner).map_err(failure);
    }
    match tokio::time::timeout(ANSWER_WITHIN, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => {
            if host.is_cut_off(&status) {
                host.doubt().await;
            }
            Err(failure(status))
        }
        Err(_late) => {
            host.doubt().await;
            let name = host.name();
            let text = format!("host {name} did not answer within {} s", ANSWER_WITHIN.as_secs());
            Err(Error::new(ErrorKind::Unreachable, text)
                .with_hint(format!("outlast host check {name}"))
                .about(name))
        }
    }
}

/// What came of a wish.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The session as it is now; a removed one as it was.
    pub session: Session,
    /// Nothing had to be done: it had ended before.
    pub already: bool,
}

fn not_found(text: &str) -> Error {
    refusal::not_found("session", text)
}
