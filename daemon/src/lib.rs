//! The daemon of outlast, as a library around a thin `main`.
//!
//! [`run`] is the composition root: it makes every part in order and takes them down in reverse. Each part is a
//! module that can be read alone; [`app::App`] is what they share.

pub mod adopt;
pub mod app;
pub mod arrival;
pub mod config;
pub mod diagnose;
mod handles;
pub mod hosts;
mod housekeeping;
pub mod jobs;
pub mod lock;
pub mod logging;
pub mod logs;
pub mod mirror;
pub mod notify;
pub mod providers;
pub mod ready;
pub mod refusal;
pub mod retry;
pub mod rpc;
pub mod secret;
pub mod serve;
pub mod sessions;
pub mod shutdown;
mod signals;
pub mod specs;
pub mod syncs;
pub mod sys;
pub mod systemd;
pub mod work;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use outlast_client::{
    VERSION,
    paths::Places,
    v1::{Error, ErrorKind},
};
use outlast_store::{Notice, Store};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::{
    app::{App, Started},
    config::Config,
    hosts::Hosts,
    lock::DaemonLock,
    notify::{Notify, Terminals},
    providers::Providers,
    ready::Ready,
    rpc::status::failure,
    secret::Secret,
    serve::Door,
    shutdown::Shutdown,
    signals::Signals,
    systemd::Manager,
    work::Work,
};

/// How long drivers may take to notice the end. They only have to let go: what they drive lives on without them.
const DRIVERS_DEADLINE: Duration = Duration::from_secs(1);

/// When the process ends after the end was announced, whatever hangs. Promised: five seconds.
const LAST_RESORT: Duration = Duration::from_millis(4500);

/// What the command line decides.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where to listen instead of the default place.
    pub socket: Option<PathBuf>,
}

/// Runs the daemon until it is told to end. `ready` hears when it serves; the caller tells it about an error.
///
/// # Errors
/// What stopped the start, or the serving.
pub fn run(options: &Options, ready: &mut Ready, manager: &Manager) -> Result<(), Error> {
    let places = Places::from_env().map_err(failure)?;
    let socket = socket_path(options, &places)?;
    // Whatever the daemon writes is its user's alone, also what a library opens. Programs get a usual mask again from
    // their supervisor.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // First of all: whoever holds the lock may touch what lies in the state directory, and nobody else.
    let lock = DaemonLock::take(&places).map_err(failure)?;
    let config = Config::load(&places.config_file(), variable).map_err(Error::from)?;
    logging::start(&places.log_dir(), &config.daemon).map_err(failure)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The daemon waits most of its life; two threads keep a busy task from holding up the others.
        .worker_threads(2)
        // Reading files for many followers at once; more threads would only wait for the same disk.
        .max_blocking_threads(64)
        .thread_name("outlastd")
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Failed, format!("starting the runtime: {error}")))?;
    let ended = runtime.block_on(serve(config, places, &socket, &lock, ready, manager));
    if let Err(error) = &ended {
        tracing::error!(error = %error.message, "outlastd ends");
    }
    // A blocking call that hangs is left behind; the process ends anyway.
    runtime.shutdown_timeout(Duration::from_millis(100));
    // Released last: nothing of this daemon is left when the next one begins.
    drop(lock);
    ended
}

/// Everything from the store up, and down again.
async fn serve(
    config: Config,
    places: Places,
    socket: &Path,
    lock: &DaemonLock,
    ready: &mut Ready,
    manager: &Manager,
) -> Result<(), Error> {
    let shutdown = Shutdown::new();
    // Listened to from here on, so that a signal during a long start ends the daemon in good order.
    let signals = Signals::listen(shutdown.clone()).map_err(failure)?;
    let (serving, started) = oneshot::channel();
    // Not among the tasks that the end waits for: it listens for a second signal until the very end.
    tokio::spawn(signals.run(started));
    let owner = lock::owner(&places.state_dir, lock).map_err(failure)?.to_string();
    let secret = Secret::of(&places.state_dir, lock).map_err(failure)?;
    let tasks = TaskTracker::new();

    let state_dir = places.state_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&state_dir))
        .await
        .map_err(failure)?
        .map_err(failure)?;
    let store = opened.store;
    let helper = hosts::local_helper(&places.state_dir, &owner, &config).map_err(failure)?;
    let hosts = Hosts::open(helper, &config, &store, &shutdown, &tasks)
        .await
        .map_err(failure)?;
    let app = Arc::new(App {
        store,
        providers: Providers::new(&config).map_err(Error::from)?,
        config: Arc::new(config),
        places,
        owner,
        secret,
        hosts,
        shutdown,
        tasks,
        terminals: Terminals::default(),
        socket: socket.to_owned(),
        started: Started::now(),
    });

    let lost_rows = opened.notice.as_ref().is_some_and(Notice::is_loss);
    housekeeping::remark(&app, opened.notice).await;
    let notify = Notify::open(&app).await?;
    let work = Work::start(&app, lost_rows).await?;
    app.tasks.spawn(notify.run(work.sessions.clone()));
    let services = rpc::services(&app, &work).await.map_err(failure)?;
    let door = Door::open(socket).map_err(failure)?;
    app.tasks
        .spawn(housekeeping::run(Arc::clone(&app), work.jobs.clone()));
    if let Some(every) = manager.watchdog() {
        app.tasks
            .spawn(housekeeping::watchdog(Arc::clone(&app), manager.clone(), every));
    }
    app.tasks.spawn(arrival::keep(Arc::clone(&app), work.clone()));
    let lookout = Arc::clone(&app);
    app.tasks.spawn(async move { lookout.hosts.look_out().await });
    match lock.announce(socket) {
        // Where there is no note, clients look at the usual place: a full disk need not keep anybody from what is there.
        Err(error) if socket == app.places.socket() => {
            tracing::warn!(%error, "the note about where this daemon listens");
        }
        announced => announced.map_err(failure)?,
    }
    ready.ready();
    manager.ready();
    tracing::info!(version = VERSION, socket = %socket.display(), "serving");

    let last_resort = LastResort::arm(app.shutdown.clone());
    // Nobody listens when no signal can come any more, which is fine.
    let _told = serving.send(());
    let served = serve::run(door, services, app.hosts.agent().clone(), &app.shutdown).await;
    manager.stopping();

    app.tasks.close();
    if tokio::time::timeout(DRIVERS_DEADLINE, app.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(left = app.tasks.len(), "some drivers did not let go in time");
    }
    housekeeping::farewell(&app).await;
    // Whatever is left can be made good by the next start; the note is emptied even when the store could not close.
    let closed = app.store.close().await.map_err(failure);
    lock.clear().map_err(failure)?;
    last_resort.disarm();
    tracing::info!("ended");
    served.map_err(failure)?;
    closed
}

/// Ends the process when its orderly end takes too long. A thread, because the runtime may be what hangs.
struct LastResort {
    done: mpsc::Sender<()>,
}

impl LastResort {
    fn arm(shutdown: Shutdown) -> Self {
        let (done, wait) = mpsc::channel();
        tokio::spawn(async move {
            shutdown.token().cancelled().await;
            std::thread::spawn(move || {
                if wait.recv_timeout(LAST_RESORT) == Err(mpsc::RecvTimeoutError::Timeout) {
                    tracing::error!("the end took too long; leaving as after a kill");
                    std::process::exit(1);
                }
            });
        });
        Self { done }
    }

    fn disarm(self) {
        // Nobody listens when the thread never began.
        let _not_armed = self.done.send(());
    }
}

/// The configuration that holds, and the file it may come from.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn config() -> Result<(PathBuf, Config), Error> {
    let path = Places::from_env().map_err(failure)?.config_file();
    let config = Config::load(&path, variable).map_err(Error::from)?;
    Ok((path, config))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn socket_path(options: &Options, places: &Places) -> Result<PathBuf, Error> {
    match &options.socket {
        // The lock file carries it to clients that stand in other directories.
        Some(path) => std::path::absolute(path)
            .map_err(|error| Error::new(ErrorKind::Usage, format!("--socket {}: {error}", path.display()))),
        None => Ok(places.socket()),
    }
}
