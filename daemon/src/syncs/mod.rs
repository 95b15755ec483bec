//! Syncs: the registry of all of them, and every verb on them.
//!
//! Every sync has one [`driver`] task that alone changes its row and holds its engine, which does the work
//! (`outlast_sync::engine`). Verbs that change a sync ask its driver; all others read the store and the driver's view. A
//! sync lives on while its host is away: its engine collects changes and waits for the link.

mod adopt;
mod door;
mod driver;
pub mod flush;
mod judge;
mod place;
mod preview;
mod way;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use outlast_client::v1::{self, Error, ErrorKind};
use outlast_model::{
    admission,
    host::{Removal, RemovalKind},
    id::Id,
    name::Name,
    sync::{Seen, Sync, SyncMode, SyncState, name_of},
};
use outlast_store::{Created, Naming, Request, Resolved};
use outlast_sync::{
    engine::{self, Limits, Mode},
    rules::{Places, RulesConfig},
};
use tokio::sync::{mpsc, oneshot, watch};

use self::driver::{Command, Driver, Wish};
use crate::{
    app::{App, now_ms},
    arrival,
    handles::{Handle, Handles},
    hosts::{Host, LOCAL},
    jobs::{check_place, link_to},
    refusal,
    rpc::{
        convert::{self, SyncLive},
        status::failure,
    },
    sessions::ANSWER_WITHIN,
};

/// Wishes that may wait for one driver. It takes them at once unless the disk is slow; then those who ask wait.
const INBOX: usize = 8;

/// How long an answer waits for its effect to show, which is a moment to a person; the wish stands all the same.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// All syncs.
#[derive(Clone)]
pub struct Syncs {
    inner: Arc<Inner>,
}

struct Inner {
    app: Arc<App>,
    handles: Handles<Command, View>,
}

/// What a driver knows of its sync.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The row, with what is seen now.
    pub sync: Sync,
    /// What its engine shows.
    pub engine: engine::View,
}

/// What a sync is to be, its words checked.
#[derive(Debug, Clone)]
pub struct NewSync {
    /// Its name. Absent: after the source.
    pub name: Option<Name>,
    /// The directory here, absolute.
    pub source: String,
    /// The host.
    pub host: String,
    /// The directory there, as it is kept.
    pub target: String,
    /// What it does about what is gone here.
    pub mode: SyncMode,
    /// Patterns.
    pub exclude: Vec<String>,
    /// Git's rules do not count.
    pub no_gitignore: bool,
    /// `.git` counts.
    pub git_dir: bool,
    /// Bytes a second it may send.
    pub limit_bytes: Option<u64>,
    /// What is there at paths of the source is replaced.
    pub adopt: bool,
}

impl NewSync {
    fn into_sync(self, source: String) -> Sync {
        Sync {
            id: Id::random(),
            name: self.name.unwrap_or_else(|| name_of(&source)),
            source,
            host: self.host,
            target: self.target,
            mode: self.mode,
            exclude: self.exclude,
            no_gitignore: self.no_gitignore,
            git_dir: self.git_dir,
            limit_bytes: self.limit_bytes,
            created_at: now_ms(),
            paused: false,
            occupied: self.adopt,
            resetting: None,
            seen: Seen::default(),
        }
    }
}

impl Syncs {
    /// The registry, with nobody in it yet; see [`Syncs::start`].
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        let inner = Inner {
            handles: Handles::new(Arc::clone(&app), "sync"),
            app,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Takes up every sync of the store where its last driver left it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(&self) -> Result<(), Error> {
        let app = &self.inner.app;
        let all = app.store.list_syncs().await.map_err(failure)?;
        let ids: HashSet<String> = all.iter().map(|sync| sync.id.to_string()).collect();
        let dir = app.places.cache_dir.join("syncs");
        let tidied = crate::logs::blocking(move || remove_unknown(&dir, &ids)).await;
        if let Err(error) = tidied {
            tracing::warn!(%error, "what removed syncs left in the cache stays");
        }
        for sync in all {
            self.spawn(sync);
        }
        let syncs = self.clone();
        app.tasks.spawn(async move { syncs.forget_here().await });
        Ok(())
    }

    /// Forgets records on this machine that could not be forgotten when their syncs were removed. Those on other machines
    /// are seen to when these arrive.
    async fn forget_here(&self) {
        let app = &self.inner.app;
        let Some(host) = app.hosts.get(LOCAL) else { return };
        match app.store.removals(LOCAL).await {
            Ok(removals) => {
                for removal in removals.into_iter().filter(|it| it.kind == RemovalKind::Sync) {
                    self.forget_record(&host, removal.id).await;
                }
            }
            Err(error) => tracing::warn!(%error, "looking for records of removed syncs"),
        }
    }

    /// Accepts a sync: its row is on disk when this returns. With a request that was made before, the sync of that time.
    ///
    /// # Errors
    /// When the host is unknown, the source is no directory, the host is there and refuses the target, that is taken or
    /// holds something (without `adopt`), the name is taken, or nothing can be written.
    pub async fn create(&self, new: NewSync, request: Option<Request>) -> Result<Sync, Error> {
        // A repeat finds what the first one has sent, and that must not refuse it.
        if let Some(first) = self.first(request.as_ref()).await? {
            return Ok(first);
        }
        let source = self.check(&new).await?;
        let naming = match new.name {
            Some(_) => Naming::Chosen,
            None => Naming::Numbered,
        };
        let sync = new.into_sync(source);
        self.check_target(&sync).await?;
        let store = &self.inner.app.store;
        match store.create_sync(&sync, naming, request.as_ref()).await {
            Ok(Created::New(sync)) => {
                self.spawn(sync.clone());
                Ok(sync)
            }
            Ok(Created::Repeat(first)) => Ok(first),
            Err(error) => Err(failure(error)),
        }
    }

    /// The sync that a request made when it was made first, if it was made and the sync is still there.
    async fn first(&self, request: Option<&Request>) -> Result<Option<Sync>, Error> {
        let store = &self.inner.app.store;
        let Some(request) = request else {
            return Ok(None);
        };
        let found = store.find_request(request).await.map_err(failure)?;
        match found.and_then(|found| found.subject.parse().ok()) {
            Some(id) => store.sync(id).await.map_err(failure),
            None => Ok(None),
        }
    }

    /// Whether the host can be had, the source is a directory that may be one, and the patterns are some. The source
    /// without symbolic links.
    async fn check(&self, new: &NewSync) -> Result<String, Error> {
        check_place(&self.inner.app, &new.host, None)?;
        let new = new.clone();
        let checked = tokio::task::spawn_blocking(move || place::check(&new)).await;
        checked.map_err(failure)?
    }

    /// Asks for something to be done with a sync. Answered when the intent is on disk, with the sync as it is then; a
    /// removed one as it was.
    async fn ask(&self, sync: &Sync, wish: Wish, request: Option<Request>) -> Result<Sync, Error> {
        let Some(handle) = self.inner.handles.get(sync.id) else {
            return Err(self.inner.handles.gone(sync.name.as_str()));
        };
        let (reply, answer) = oneshot::channel();
        let command = Command::Want { wish, request, reply };
        let gone = || self.inner.handles.gone(sync.name.as_str());
        handle.inbox.send(command).await.map_err(|_closed| gone())?;
        answer.await.map_err(|_dropped| gone())?
    }

    /// Has a sync do nothing until it is resumed.
    ///
    /// # Errors
    /// When the wish cannot be written.
    pub async fn pause(&self, sync: &Sync, request: Option<Request>) -> Result<Sync, Error> {
        self.ask(sync, Wish::Pause, request).await
    }

    /// Has a sync go on; one that is halted only with `confirm`, or when looking again finds nothing to be confirmed.
    ///
    /// # Errors
    /// When it is halted and stays so, or the wish cannot be written.
    pub async fn resume(&self, sync: &Sync, confirm: bool, request: Option<Request>) -> Result<Sync, Error> {
        let is_halted = self.now(sync).seen.state == SyncState::Halted;
        if is_halted && !confirm && !self.is_repeat(request.as_ref()).await? {
            self.look_again(sync).await?;
        }
        self.ask(sync, Wish::Resume { confirm }, request).await?;
        Ok(self.moving(sync).await)
    }

    /// Whether a request was done before.
    async fn is_repeat(&self, request: Option<&Request>) -> Result<bool, Error> {
        match request {
            Some(request) => {
                let found = self.app().store.find_request(request).await.map_err(failure)?;
                Ok(found.is_some())
            }
            None => Ok(false),
        }
    }

    /// Has a halted sync look again, and go on if what it is halted for is not so any more.
    async fn look_again(&self, sync: &Sync) -> Result<(), Error> {
        let handle = self
            .inner
            .handles
            .get(sync.id)
            .ok_or_else(|| self.inner.handles.gone(sync.name.as_str()))?;
        let (reply, looked) = oneshot::channel();
        let sent = handle.inbox.send(Command::LookAgain(reply)).await;
        sent.map_err(|_closed| self.inner.handles.gone(sync.name.as_str()))?;
        let sync_name = sync.name.to_string();
        match looked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => {
                let denied = admission::sync::Denied::Halted {
                    sync: sync_name,
                    why: refused.message,
                };
                Err(refusal::denied(&denied.into(), Some(sync.id)))
            }
            // Its engine was replaced, or the daemon ends.
            Err(_dropped) => {
                let message = format!("sync {sync_name} is halted, and looking again broke off");
                Err(Error::new(ErrorKind::WrongState, message)
                    .with_hint(format!("outlast sync resume {sync_name}"))
                    .about(sync.id.to_string()))
            }
        }
    }

    /// Has a sync compare everything by content; with `adopt` what differs there is replaced.
    ///
    /// # Errors
    /// When the wish cannot be written.
    pub async fn reset(&self, sync: &Sync, adopt: bool, request: Option<Request>) -> Result<Sync, Error> {
        let asked = self.ask(sync, Wish::Reset { adopt }, request).await?;
        // A new beginning ends a halt, but no pause.
        Ok(if asked.paused {
            asked
        } else {
            self.moving(sync).await
        })
    }

    /// Ends a sync. What it wrote stays; the record of it is forgotten, on a host that is away when that is back.
    ///
    /// # Errors
    /// When nothing can be written.
    pub async fn delete(&self, sync: &Sync, request: Option<Request>) -> Result<Sync, Error> {
        self.ask(sync, Wish::Delete, request).await
    }

    /// The sync as its driver sees it now.
    fn now(&self, sync: &Sync) -> Sync {
        let handle = self.inner.handles.get(sync.id);
        handle.map_or_else(|| sync.clone(), |handle| handle.view.borrow().sync.clone())
    }

    /// The sync once it shows that it goes on, or as it is after a moment.
    async fn moving(&self, sync: &Sync) -> Sync {
        let Some(mut handle) = self.inner.handles.get(sync.id) else {
            return sync.clone();
        };
        let goes_on = handle
            .view
            .wait_for(|view| !matches!(view.engine.state, engine::State::Paused | engine::State::Halted));
        // In time or not, what is shown now is the answer.
        drop(tokio::time::timeout(SHOWN_WITHIN, goes_on).await);
        let view = handle.view.borrow();
        view.sync.clone()
    }

    /// The sync that a user means: by exact name, exact id, or unique prefix of an id.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn resolve(&self, text: &str) -> Result<Sync, Error> {
        match self.inner.app.store.resolve_sync(text).await {
            Ok(Resolved::One(sync)) => Ok(sync),
            Ok(Resolved::None) => Err(not_found(text)),
            Ok(Resolved::Many(ids)) => Err(refusal::ambiguous("sync", text, &ids)),
            Err(error) => Err(failure(error)),
        }
    }

    /// All syncs by name as messages, without their problems.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn messages(&self) -> Result<Vec<v1::Sync>, Error> {
        let all = self.inner.app.store.list_syncs().await.map_err(failure)?;
        let messages = all.iter().map(|sync| v1::Sync {
            problems: Vec::new(),
            ..self.message(sync)
        });
        Ok(messages.collect())
    }

    /// The message of a sync as it is now.
    #[must_use]
    pub fn message(&self, sync: &Sync) -> v1::Sync {
        let view = self
            .inner
            .handles
            .get(sync.id)
            .map(|handle| Arc::clone(&handle.view.borrow()));
        let link = link_to(&self.inner.app, &sync.host);
        match view {
            Some(view) => convert::sync(&view.sync, SyncLive::of(&view.engine, link)),
            None => convert::sync(sync, SyncLive::unknown(link)),
        }
    }

    /// Word of every change of a sync.
    ///
    /// # Errors
    /// When it is gone.
    pub fn watch(&self, sync: &Sync) -> Result<watch::Receiver<Arc<View>>, Error> {
        let handle = self
            .inner
            .handles
            .get(sync.id)
            .ok_or_else(|| self.inner.handles.gone(sync.name.as_str()))?;
        Ok(handle.view)
    }

    fn app(&self) -> &App {
        &self.inner.app
    }

    fn spawn(&self, sync: Sync) {
        let Some(host) = self.inner.app.hosts.get(&sync.host) else {
            // Both go in one transaction, so this is a row that somebody else wrote.
            tracing::error!(sync = %sync.name, host = sync.host, "a sync to a host that is not known is left alone");
            return;
        };
        let engine = engine::View::default();
        let view = View {
            sync: Sync {
                seen: judge::seen(&sync, &engine),
                ..sync.clone()
            },
            engine,
        };
        let (publish, view) = watch::channel(Arc::new(view));
        let (sender, inbox) = mpsc::channel(INBOX);
        self.inner.handles.insert(sync.id, Handle { view, inbox: sender });
        let driver = Driver::new(self.clone(), host, sync, inbox, publish);
        self.inner.app.tasks.spawn(driver.run());
    }

    /// What the engine of a sync is to be.
    fn config(&self, sync: &Sync) -> engine::Config {
        let limits = self.inner.app.config.sync;
        engine::Config {
            id: sync.id.to_string(),
            source: PathBuf::from(&sync.source),
            target: sync.target.clone().into_bytes(),
            mode: match sync.mode {
                SyncMode::Mirror => Mode::Mirror,
                SyncMode::Update => Mode::Update,
            },
            rules: RulesConfig {
                exclude: [sync.exclude.clone(), self.own_places(Path::new(&sync.source))].concat(),
                no_gitignore: sync.no_gitignore,
                git_dir: sync.git_dir,
            },
            places: Places::of_process(),
            cache: self.cache_of(sync.id),
            limits: Limits {
                deletions: limits.halt_deletions,
                share: limits.halt_share,
            },
            limit_bytes: sync.limit_bytes,
            occupied: sync.occupied,
            halted: halted(sync),
        }
    }

    /// Patterns for what of outlast's own lies in a source: a database that changes with every step of its copying.
    fn own_places(&self, source: &Path) -> Vec<String> {
        let places = &self.inner.app.places;
        let own = [&places.state_dir, &places.cache_dir, &places.runtime_dir];
        own.into_iter()
            .filter_map(|dir| place::pattern(source, dir))
            .collect()
    }

    fn cache_of(&self, id: Id) -> PathBuf {
        let cache = &self.inner.app.places.cache_dir;
        cache.join("syncs").join(id.to_string())
    }

    /// Removes what a sync kept for itself. It is only room on the disk: what stays goes at the next start.
    async fn remove_cache(&self, id: Id) {
        let dir = self.cache_of(id);
        let removed = crate::logs::blocking(move || match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        if let Err(error) = removed.await {
            tracing::warn!(%id, %error, "the cache of a removed sync stays until the next start");
        }
    }

    /// Forgets the record of a removed sync on its host, if that is there. That it is to be done is noted already.
    async fn forget_record(&self, host: &Host, id: Id) {
        if !host.is_up() {
            return;
        }
        let kind = RemovalKind::Sync;
        let mut client = host.client();
        let forgetting = arrival::remove(&mut client, Removal { kind, id });
        match tokio::time::timeout(ANSWER_WITHIN, forgetting).await {
            Ok(Ok(())) => {
                let done = self.inner.app.store.removal_done(host.name(), id).await;
                if let Err(error) = done {
                    tracing::warn!(%id, %error, "noting that the record of a sync is forgotten");
                }
            }
            Ok(Err(status)) => {
                tracing::warn!(host = host.name(), %id, error = status.message(), "the record of a removed sync stays until the host comes back");
            }
            Err(_late) => host.doubt().await,
        }
    }

    /// Lets go of the syncs of a host that was removed. Their drivers see that it is gone and end.
    pub fn forget_host(&self, host: &str) {
        self.inner.handles.forget_host(host, |view| &view.sync.host);
    }
}

/// What a sync was halted for when it was seen last, which a new daemon does not go on with either.
fn halted(sync: &Sync) -> Option<engine::Halt> {
    let seen = &sync.seen;
    // That was answered, and was not heard any more.
    let is_answered = sync.occupied && seen.reason.as_deref() == Some("target_not_empty");
    if seen.state != SyncState::Halted || is_answered {
        return None;
    }
    Some(engine::Halt {
        reason: seen.reason.clone()?,
        message: seen.message.clone().unwrap_or_default(),
    })
}

/// Removes directories of syncs that there are no more. Blocking.
fn remove_unknown(dir: &Path, known: &HashSet<String>) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().filter(|name| name.parse::<Id>().is_ok());
        if id.is_some_and(|id| !known.contains(id)) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn not_found(text: &str) -> Error {
    refusal::not_found("sync", text)
}
