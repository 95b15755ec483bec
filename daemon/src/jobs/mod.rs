//! Jobs: the registry of the live ones, and every verb on them.
//!
//! A live job has one [`driver`] task that alone changes its row; an ended one has none and never changes again.
//! Verbs that change a live job ask its driver; all others read the store. A job is in the registry before it is in
//! the store, so whoever finds a live row finds the driver too.

mod driver;
pub mod log;
pub(crate) mod outcome;
mod prune;
pub mod queue;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use outlast_client::v1::{self, Error, ErrorKind};
use outlast_helper::{spool, watch::Watch};
use outlast_model::{
    admission,
    id::Id,
    job::{Job, JobState},
    name::Name,
};
use outlast_store::{Created, Request, Resolved};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    driver::{Command, Driver},
    queue::{Slots, Ticket},
};
use crate::{
    app::{App, now_ms},
    hosts::Link,
    refusal,
    rpc::{
        convert::{self, JobLive},
        host::{link, not_connected, unknown_host},
        status::failure,
    },
    specs::{self, SpecError, Specs},
};

pub use prune::Selection;

/// Wishes that may wait for one driver. It takes them at once unless the disk is slow; then those who ask wait.
const INBOX: usize = 8;

/// All jobs.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    app: Arc<App>,
    specs: Specs,
    slots: Slots,
    live: Mutex<HashMap<Id, Handle>>,
}

/// The way to a live job.
#[derive(Debug, Clone)]
struct Handle {
    view: watch::Receiver<Arc<Job>>,
    inbox: mpsc::Sender<Command>,
}

/// What the driver of a job holds of its handle.
struct Ends {
    publish: watch::Sender<Arc<Job>>,
    inbox: mpsc::Receiver<Command>,
}

/// A job to be accepted; every part was checked.
#[derive(Debug)]
pub struct NewJob {
    /// Host to run on.
    pub host: String,
    /// Its name.
    pub name: Option<Name>,
    /// Program and arguments, at least one.
    pub command: Vec<String>,
    /// Absolute working directory. Absent: the home directory.
    pub cwd: Option<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Time limit in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Where the log is cut, in bytes. Absent: never.
    pub log_max_bytes: Option<u64>,
}

impl Jobs {
    /// The registry, with nobody in it yet; see [`Jobs::start`].
    #[must_use]
    pub fn new(app: Arc<App>, specs: Specs) -> Self {
        let slots = Slots::new(app.config.jobs.max_running.unwrap_or(0));
        let inner = Inner {
            app,
            specs,
            slots,
            live: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Takes up every live job of the store where its last driver left it, in the order of acceptance.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(&self) -> Result<(), Error> {
        let live = self.inner.app.store.live_jobs().await;
        for job in live.map_err(failure)? {
            // Its row may have missed the start: what has a directory is not to wait in the queue again.
            let maybe_started = job.state == JobState::Running || self.has_spool(&job);
            let ticket = if maybe_started {
                self.inner.slots.hold(&job.host, job.id)
            } else {
                self.inner.slots.enter(&job.host, job.id)
            };
            let ends = self.register(&job);
            self.spawn(job, ends, ticket, maybe_started);
        }
        Ok(())
    }

    /// Accepts a job: its spec and its row are on disk when this returns. With a request that was made before, the
    /// job of that time.
    ///
    /// # Errors
    /// When the host is unknown, the directory is not there, the name is taken, or nothing can be written.
    pub async fn create(&self, new: NewJob, request: Option<Request>) -> Result<Job, Error> {
        if let Err(error) = self.check_place(&new) {
            return self.repeat_or(request, error).await;
        }
        let job = Job {
            id: Id::random(),
            name: new.name.clone(),
            host: new.host.clone(),
            cwd: new.cwd.clone(),
            command: new.command.clone(),
            state: JobState::Queued,
            created_at: now_ms(),
            started_at: None,
            outcome: None,
            reason: None,
            timeout_ms: new.timeout_ms,
            cancel_grace_ms: None,
        };
        let spec = spool::Spec {
            version: spool::SPOOL_VERSION,
            kind: spool::Kind::Job,
            id: job.id.to_string(),
            name: new.name.map(|name| name.to_string()),
            base: specs::base(&new.host),
            host: new.host,
            command: new.command,
            restart_command: None,
            cwd: new.cwd,
            env: new.env,
            timeout_ms: new.timeout_ms,
            log_max_bytes: new.log_max_bytes,
            created_at_ms: job.created_at,
            template: None,
            provider: None,
        };
        self.accept(job, spec, request).await
    }

    /// Accepts a new job with the command, directory, environment, limits and name of an ended one.
    ///
    /// # Errors
    /// When the old one lives, its spec is gone, or as for [`Jobs::create`].
    pub async fn retry(&self, old: &Job, request: Option<Request>) -> Result<Job, Error> {
        if let Err(denial) = admission::retry(old) {
            return self
                .repeat_or(request, refusal::denied(&denial, Some(old.id)))
                .await;
        }
        let spec = match self.read_spec(old.id).await {
            Ok(spec) => serde_json::from_slice::<spool::Spec>(&spec).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut spec = spec.map_err(|cause| {
            Error::new(
                ErrorKind::Failed,
                format!("what job {} ran cannot be read: {cause}", shown(old)),
            )
            .about(old.id.to_string())
        })?;
        let job = Job {
            id: Id::random(),
            state: JobState::Queued,
            created_at: now_ms(),
            started_at: None,
            outcome: None,
            reason: None,
            cancel_grace_ms: None,
            ..old.clone()
        };
        spec.id = job.id.to_string();
        spec.created_at_ms = job.created_at;
        self.accept(job, spec, request).await
    }

    /// Puts a job on disk, spec first, and starts its driver.
    async fn accept(&self, job: Job, spec: spool::Spec, request: Option<Request>) -> Result<Job, Error> {
        let id = job.id;
        let spec = serde_json::to_vec(&spec)
            .map_err(|error| Error::new(ErrorKind::Failed, format!("encoding what to run: {error}")))?;
        let specs = self.inner.specs.clone();
        let placed = tokio::task::spawn_blocking(move || specs.place(id, &spec)).await;
        let placed = placed.map_err(|_ending| Error::new(ErrorKind::Stopping, "the daemon is ending"))??;
        let ends = self.register(&job);
        let commit = self.inner.app.store.create_job(&job, request.as_ref());
        let created = specs::together(placed, commit).await;
        match created {
            Ok(Created::New(job)) => {
                let ticket = self.inner.slots.enter(&job.host, id);
                self.spawn(job.clone(), ends, ticket, false);
                Ok(job)
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

    /// Takes back what was prepared for a job that did not come about.
    async fn withdraw(&self, id: Id) {
        self.forget(id);
        if let Err(error) = self.remove_spec(id).await {
            tracing::warn!(%error, "a spec without a job stays until the next start");
        }
    }

    /// The job that a request made when it was made first, or the error.
    async fn repeat_or(&self, request: Option<Request>, error: Error) -> Result<Job, Error> {
        self.first(request.as_ref()).await?.ok_or(error)
    }

    /// The job that a request made when it was made first, if it was made and the job is still there.
    ///
    /// # Errors
    /// When the id was used for something else, or the store cannot be read.
    pub async fn first(&self, request: Option<&Request>) -> Result<Option<Job>, Error> {
        let store = &self.inner.app.store;
        let Some(request) = request else {
            return Ok(None);
        };
        let found = store.find_request(request).await.map_err(failure)?;
        match found.and_then(|found| found.subject.parse().ok()) {
            Some(id) => store.job(id).await.map_err(failure),
            None => Ok(None),
        }
    }

    /// Whether the host is known and, where that can be seen from here, the directory is there.
    fn check_place(&self, new: &NewJob) -> Result<(), Error> {
        check_place(&self.inner.app, &new.host, new.cwd.as_deref())
    }

    /// Asks a job to end, or to end sooner. Returns it as it is when the wish is on disk, and whether it had ended before.
    ///
    /// # Errors
    /// When the wish cannot be written.
    pub async fn cancel(
        &self,
        job: Job,
        grace_ms: u64,
        request: Option<Request>,
    ) -> Result<(Job, bool), Error> {
        if let Some(handle) = self.handle(job.id) {
            let (reply, answer) = oneshot::channel();
            let sent = handle
                .inbox
                .send(Command::Cancel {
                    grace_ms,
                    request,
                    reply,
                })
                .await;
            if sent.is_ok()
                && let Ok(answer) = answer.await
            {
                return answer.map(|job| (Arc::unwrap_or_clone(job), false));
            }
            // The driver went before it took the wish: the job has ended, or the daemon does.
            if self.inner.app.shutdown.has_begun() {
                return Err(self.inner.app.shutdown.error());
            }
        }
        let store = &self.inner.app.store;
        let now = store.job(job.id).await.map_err(failure)?;
        Ok((now.unwrap_or(job), true))
    }

    /// Waits until a job has ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn wait(&self, job: Job) -> Result<Job, Error> {
        if job.state.is_ended() {
            return Ok(job);
        }
        let host = self.inner.app.hosts.get(&job.host);
        // Somebody waits for what happens there.
        let _following = host.as_ref().map(|host| host.follow());
        if let Some(mut view) = self.watch(job.id) {
            match view.wait_for(|job| job.state.is_ended()).await {
                Ok(ended) => return Ok(Job::clone(&ended)),
                // The driver is gone: with the daemon, or after it published the end, which the store has too.
                Err(_gone) => {}
            }
        }
        let store = &self.inner.app.store;
        let now = store.job(job.id).await.map_err(failure)?;
        match now {
            Some(ended) if ended.state.is_ended() => Ok(ended),
            Some(_) => Err(self.inner.app.shutdown.error()),
            None => Err(not_found(&job.id.to_string())),
        }
    }

    /// The job that a user means: by exact name, exact id, or unique prefix of an id.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn resolve(&self, text: &str) -> Result<Job, Error> {
        match self.inner.app.store.resolve_job(text).await {
            Ok(Resolved::One(job)) => Ok(job),
            Ok(Resolved::None) => Err(not_found(text)),
            Ok(Resolved::Many(ids)) => Err(refusal::ambiguous("job", text, &ids)),
            Err(error) => Err(failure(error)),
        }
    }

    /// The message of a job as it is now.
    #[must_use]
    pub fn message(&self, job: &Job) -> v1::Job {
        let live = JobLive {
            link: self.link_of(job),
            log_bytes: job.outcome.is_none().then(|| self.log_len(job)).flatten(),
            now: now_ms(),
        };
        convert::job(job, live)
    }

    /// Length of a job's log now, where it can be seen from here.
    #[must_use]
    pub fn log_len(&self, job: &Job) -> Option<u64> {
        let host = self.inner.app.hosts.get(&job.host)?;
        Some(host.spool().0.job(&job.id.to_string()).log_len())
    }

    /// The connection to a job's host.
    #[must_use]
    pub fn link_of(&self, job: &Job) -> v1::Link {
        link_to(&self.inner.app, &job.host)
    }

    /// The directory on this machine that a job's log is read from: its own, or that of the copy.
    fn spool_dir(&self, job: &Job) -> io::Result<spool::Dir> {
        let host = self.inner.app.hosts.get(&job.host);
        let dir = host.map(|host| host.spool().0.job(&job.id.to_string()));
        dir.ok_or_else(|| io::Error::other("its host was removed"))
    }

    /// Word of everything that happens in the directory of a job.
    fn watch_spool(&self, job: &Job) -> io::Result<Watch> {
        let dir = self.spool_dir(job)?;
        let host = self.inner.app.hosts.get(&job.host);
        let host = host.ok_or_else(|| io::Error::other("its host was removed"))?;
        host.spool().1.watch(dir.path())
    }

    /// The row of a job as it is now; as it was when it was removed since or the store does not answer.
    async fn reread(&self, job: Job) -> Job {
        match self.inner.app.store.job(job.id).await {
            Ok(Some(now)) => now,
            Ok(None) | Err(_) => job,
        }
    }

    /// Whether a start of it may have been tried: its directory, or that of the copy, is made before.
    fn has_spool(&self, job: &Job) -> bool {
        self.spool_dir(job).is_ok_and(|dir| dir.exists())
    }

    /// Word of every change of a live job. Absent: it has ended.
    #[must_use]
    pub fn watch(&self, id: Id) -> Option<watch::Receiver<Arc<Job>>> {
        self.handle(id).map(|handle| handle.view)
    }

    fn app(&self) -> &App {
        &self.inner.app
    }

    async fn read_spec(&self, id: Id) -> Result<Vec<u8>, SpecError> {
        let specs = self.inner.specs.clone();
        match tokio::task::spawn_blocking(move || specs.read(id)).await {
            Ok(read) => read,
            Err(ending) => Err(SpecError::ending(ending)),
        }
    }

    async fn remove_spec(&self, id: Id) -> Result<(), SpecError> {
        let specs = self.inner.specs.clone();
        match tokio::task::spawn_blocking(move || specs.remove(id)).await {
            Ok(removed) => removed,
            Err(ending) => Err(SpecError::ending(ending)),
        }
    }

    fn register(&self, job: &Job) -> Ends {
        let (publish, view) = watch::channel(Arc::new(job.clone()));
        let (sender, inbox) = mpsc::channel(INBOX);
        self.live().insert(job.id, Handle { view, inbox: sender });
        Ends { publish, inbox }
    }

    fn spawn(&self, job: Job, ends: Ends, ticket: Ticket, maybe_started: bool) {
        let driver = Driver::new(self.clone(), job, ends.inbox, ends.publish, ticket, maybe_started);
        self.inner.app.tasks.spawn(driver.run());
    }

    /// Takes up a job that was found on its host without a row, once it has one.
    pub fn take_up(&self, job: &Job) {
        if job.state.is_live() {
            let ticket = self.inner.slots.hold(&job.host, job.id);
            let ends = self.register(job);
            self.spawn(job.clone(), ends, ticket, true);
        }
    }

    /// Lets go of the jobs of a host that was removed. Their drivers see that it is gone and end.
    pub fn forget_host(&self, host: &str) {
        self.live()
            .retain(|_id, handle| handle.view.borrow().host != host);
    }

    fn forget(&self, id: Id) {
        self.live().remove(&id);
    }

    fn handle(&self, id: Id) -> Option<Handle> {
        self.live().get(&id).cloned()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Id, Handle>> {
        // Nothing under this lock can panic half way through a change.
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job as a person knows it: by its name, else by the beginning of its id.
fn shown(job: &Job) -> String {
    let id = || job.id.to_string().chars().take(8).collect();
    job.name.as_ref().map_or_else(id, ToString::to_string)
}

fn not_found(text: &str) -> Error {
    refusal::not_found("job", text)
}

/// The connection to a host.
pub(crate) fn link_to(app: &App, host: &str) -> v1::Link {
    app.hosts
        .get(host)
        .map_or(v1::Link::Unspecified, |host| link(host.view().borrow().link))
}

/// Whether a host is known and can be had, and, where that can be seen from here, a directory is there. A host that is
/// away is tried again; one that only a person can mend is refused.
pub(crate) fn check_place(app: &App, name: &str, cwd: Option<&str>) -> Result<(), Error> {
    let host = app.hosts.get(name).ok_or_else(|| unknown_host(name))?;
    if !host.is_local() {
        let view = host.view().borrow().clone();
        if view.link.is_stuck() {
            return Err(not_connected(name, &view));
        }
        if view.link != Link::Up {
            host.nudge();
        }
        return Ok(());
    }
    let Some(cwd) = cwd else {
        return Ok(());
    };
    // One look at a local path; a wrong one is worth more than the microseconds it takes.
    let problem = match std::fs::metadata(cwd) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => "it is not a directory".to_owned(),
        Err(error) => error.to_string(),
    };
    let error = Error::new(
        ErrorKind::Usage,
        format!("the working directory {cwd:?} cannot be used: {problem}"),
    );
    Err(error
        .with_hint("name a directory that is there with --cwd")
        .about(cwd))
}
