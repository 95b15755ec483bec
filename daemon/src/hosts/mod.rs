//! The machines that work runs on, and what was last seen of each.
//!
//! A host is a handle: a name, a client to its helper, a spool to read, and a view that its driver publishes. The view
//! tells how the connection is, never the state of what runs there. `local` is always there, and is served by the same
//! helper code in this process; every other one by a helper at the end of a connection, and what of its logs is known
//! lies in a copy that is read like the local spool.

pub mod agent;
mod agent_forward;
mod attempt;
pub mod check;
mod dial;
pub mod exec;
pub mod forward;
mod local;
mod pace;
mod registry;
mod remote;
mod second;
mod view;
mod wake;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use outlast_client::{helper_v1::PingRequest, v1::Error};
use outlast_helper::{spool, watch::Watcher};
use outlast_model::host as model;
use outlast_transport::{HelperClient, connect::WantedHelper, route::Carrier};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use self::second::Errand;
use crate::config::Config;

pub use outlast_model::host::{LOCAL, Link};
pub use registry::{Changing, Hosts, OpenError};
pub use remote::Check;
pub use view::{Facts, HostView, Trouble};

/// How long a caller waits for fresh facts before it takes the last ones: a moment to a person.
const REFRESH_DEADLINE: Duration = Duration::from_secs(2);

/// How long a connection is given to be seen as lost once a call has failed on it.
const DOUBT: Duration = Duration::from_millis(200);

/// How long somebody with much to fetch waits for a connection of its own before the first one has to do.
const BULK_DEADLINE: Duration = Duration::from_secs(30);

/// How long the way to a host may be that is near: `ssh` has 2 MiB under way, which is 400 MB/s then.
const NEAR: Duration = Duration::from_millis(5);

/// What was measured of a way that may be that short: by a machine that was busy then.
const MAYBE_NEAR: Duration = Duration::from_millis(30);

/// How long it is asked before it is taken for far: a busy machine is late now and then.
const NEAR_WITHIN: Duration = Duration::from_millis(500);

/// How long the user's `ssh` may take to a host that is near.
const HAUL_DEADLINE: Duration = Duration::from_secs(10);

/// One machine, as everybody but its driver sees it.
pub struct Host {
    name: String,
    root: spool::Root,
    watcher: Watcher,
    view: watch::Receiver<HostView>,
    kind: Kind,
}

/// What is different about a machine of a kind.
enum Kind {
    Local {
        client: HelperClient,
        refresh: mpsc::Sender<local::Refresh>,
    },
    Remote(Box<Remote>),
}

/// The way to the driver of another machine.
struct Remote {
    host: model::Host,
    client: watch::Receiver<Option<HelperClient>>,
    /// Answers every call with what is said of a host that is away.
    away: HelperClient,
    inbox: mpsc::Sender<remote::Command>,
    followers: Arc<AtomicUsize>,
    /// Ends the driver.
    end: CancellationToken,
    /// Told when the host is removed, and not when the daemon ends.
    removed: CancellationToken,
}

impl Host {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is reached. Absent for `local`.
    #[must_use]
    pub fn record(&self) -> Option<&model::Host> {
        match &self.kind {
            Kind::Local { .. } => None,
            Kind::Remote(remote) => Some(&remote.host),
        }
    }

    /// Whether it is the machine the daemon runs on.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Local { .. })
    }

    /// A client to its helper. Calls fail with `Unavailable` while the host is away.
    #[must_use]
    pub fn client(&self) -> HelperClient {
        match &self.kind {
            Kind::Local { client, .. } => client.clone(),
            Kind::Remote(remote) => {
                let client = remote.client.borrow().clone();
                // The last client of a removed host stays behind.
                let client = client.filter(|_| !self.is_removed());
                client.unwrap_or_else(|| remote.away.clone())
            }
        }
    }

    /// A client for what is much, so that it does not delay what is short. Where a second connection cannot be had, the
    /// first one serves.
    pub async fn bulk(&self) -> HelperClient {
        let second = self.second(Errand::Much, BULK_DEADLINE).await;
        second.unwrap_or_else(|| self.client())
    }

    /// A client for hundreds of megabytes: what the library encrypts slowly goes by the user's own `ssh` where the host is
    /// near enough for that to count. None: the connection for what is much is as good.
    pub async fn haul(&self) -> Option<HelperClient> {
        if self.may_haul() && self.is_near().await {
            self.second(Errand::Huge, HAUL_DEADLINE).await
        } else {
            None
        }
    }

    /// Whether it may be worth asking for that: the library carries the connection only because nobody said what is to,
    /// and the way may be short.
    #[must_use]
    pub fn may_haul(&self) -> bool {
        let is_free =
            |host: &model::Host| matches!(&host.route, model::Route::Ssh(ssh) if ssh.carrier.is_none());
        let view = self.view.borrow();
        self.record().is_some_and(is_free)
            && view.carrier == Some(Carrier::Ssh2)
            && view.rtt.is_some_and(|rtt| rtt <= MAYBE_NEAR)
    }

    /// Whether the way to it is so short that the processor is slower. What was measured when it connected was measured
    /// while everything there was starting, so it is asked until it answers that fast, for a moment.
    async fn is_near(&self) -> bool {
        let asked = Instant::now();
        while asked.elapsed() < NEAR_WITHIN {
            let mut client = self.client();
            match tokio::time::timeout(NEAR, client.ping(PingRequest {})).await {
                Ok(answer) => return answer.is_ok(),
                Err(_late) => {}
            }
        }
        false
    }

    /// A connection besides the first one.
    async fn second(&self, errand: Errand, within: Duration) -> Option<HelperClient> {
        let Kind::Remote(remote) = &self.kind else {
            return None;
        };
        let (reply, client) = oneshot::channel();
        let wanted = async {
            remote
                .inbox
                .send(remote::Command::Second(errand, reply))
                .await
                .ok()?;
            client.await.ok()
        };
        tokio::time::timeout(within, wanted).await.ok().flatten()
    }

    /// What was last seen of it, and word of every change.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<HostView> {
        self.view.clone()
    }

    /// Whether its helper can be called. The one in this process always can.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_local() || (self.view.borrow().link == Link::Up && !self.is_removed())
    }

    /// Whether it was removed. Its last view stays behind then and says nothing any more.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        match &self.kind {
            Kind::Local { .. } => false,
            Kind::Remote(remote) => remote.removed.is_cancelled(),
        }
    }

    /// Waits until the host is removed.
    pub async fn removed(&self) {
        match &self.kind {
            Kind::Local { .. } => std::future::pending().await,
            Kind::Remote(remote) => remote.removed.cancelled().await,
        }
    }

    /// Waits until its helper can be called. False: the host was removed. Whoever waits ends with the daemon by itself.
    pub async fn up(&self) -> bool {
        if self.is_local() {
            return true;
        }
        let mut view = self.view.clone();
        tokio::select! {
            biased;
            () = self.removed() => false,
            Ok(_view) = view.wait_for(|view| view.link == Link::Up) => true,
        }
    }

    /// Whether a call failed because the way to the host broke. The helper in this process has no way that could break.
    #[must_use]
    pub fn is_cut_off(&self, status: &Status) -> bool {
        let broken = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        !self.is_local() && broken && Error::from_status(status).is_none()
    }

    /// After a call that failed because the way broke: has the connection prove itself, and waits a moment for the view
    /// to say that it is lost. Whoever tries again afterwards does not spin.
    pub async fn doubt(&self) {
        if self.is_local() || !self.is_up() {
            return;
        }
        self.send(remote::Command::Prove);
        let mut view = self.view.clone();
        let lost = view.wait_for(|view| view.link != Link::Up);
        // In time or not, whoever asks looks again.
        let _seen = tokio::time::timeout(DOUBT, lost).await;
    }

    /// Where its logs can be read, and the watcher that tells of changes there: its spool, or the copy of it.
    #[must_use]
    pub fn spool(&self) -> (&spool::Root, &Watcher) {
        (&self.root, &self.watcher)
    }

    /// Somebody wants it: has it tried again at once when it is away, and prove itself when it is not.
    pub fn nudge(&self) {
        self.send(remote::Command::Try);
    }

    /// The network has changed: as [`Host::nudge`], but nobody waits for it.
    fn wake(&self) {
        self.send(remote::Command::Wake);
    }

    fn send(&self, wish: remote::Command) {
        if let Kind::Remote(remote) = &self.kind {
            // A full inbox has somebody in it who wants the same.
            let _full = remote.inbox.try_send(wish);
        }
    }

    /// Says that somebody waits for what happens there, for as long as the answer is held: it is tried more often then.
    #[must_use]
    pub fn follow(&self) -> Following {
        let Kind::Remote(remote) = &self.kind else {
            return Following(None);
        };
        remote.followers.fetch_add(1, Ordering::Relaxed);
        if !self.is_up() {
            self.nudge();
        }
        Following(Some(Arc::clone(&remote.followers)))
    }

    /// Has a connection made before the eyes of somebody. None: it is the machine the daemon runs on, or was removed.
    pub async fn check(&self, check: Check) -> Option<()> {
        let Kind::Remote(remote) = &self.kind else {
            return None;
        };
        remote.inbox.send(remote::Command::Check(check)).await.ok()
    }

    /// Looks again, so that what a user mended since (an installed tmux) is seen, and returns the newest view there
    /// is within two seconds. A host that is away is tried again meanwhile, and its last view is returned at once.
    pub async fn refreshed(&self) -> HostView {
        if !self.is_local() && !self.is_up() {
            self.nudge();
            return self.view.borrow().clone();
        }
        let deadline = Instant::now() + REFRESH_DEADLINE;
        let (reply, done) = oneshot::channel();
        let ask = async {
            let sent = match &self.kind {
                Kind::Local { refresh, .. } => refresh.send(reply).await.is_ok(),
                Kind::Remote(remote) => {
                    let command = remote::Command::Refresh(reply);
                    remote.inbox.send(command).await.is_ok()
                }
            };
            if sent {
                // An error means that the driver is busy or gone; the last view is then all there is.
                let _last_view = done.await;
            }
        };
        let _late = tokio::time::timeout_at(deadline, ask).await;
        self.view.borrow().clone()
    }
}

/// Somebody who waits for what happens on a host.
#[derive(Debug)]
pub struct Following(Option<Arc<AtomicUsize>>);

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(followers) = &self.0 {
            followers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What the local helper needs to know.
///
/// # Errors
/// When its program is nowhere to be found.
pub fn local_helper(
    state_dir: &std::path::Path,
    owner: &str,
    config: &Config,
) -> Result<outlast_helper::service::Config, MissingHelper> {
    let helper_program = outlast_client::paths::find_program(HELPER).ok_or(MissingHelper)?;
    Ok(outlast_helper::service::Config {
        state_dir: state_dir.to_owned(),
        owner: owner.to_owned(),
        helper_program,
        login_shell: None,
        sessions: session_config(config),
        scope: true,
    })
}

/// What helpers on other machines are to be.
fn wanted_helper(owner: &str, config: &Config) -> WantedHelper {
    WantedHelper {
        owner: owner.to_owned(),
        sessions: session_config(config),
        libraries: outlast_client::paths::program_dirs(),
    }
}

fn session_config(config: &Config) -> outlast_helper::service::SessionConfig {
    outlast_helper::service::SessionConfig {
        history_limit: config.sessions.history_limit,
        user_copy_mode_keys: config.sessions.user_copy_mode_keys,
    }
}

/// The directory of what is copied from a host. Names are checked and safe in a path.
fn mirror(state_dir: &std::path::Path, name: &str) -> PathBuf {
    state_dir.join("mirror").join(name)
}

/// Forgets what was copied from a host. Blocking.
fn remove_mirror(state_dir: &std::path::Path, name: &str) -> io::Result<()> {
    match std::fs::remove_dir_all(mirror(state_dir, name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// File name of the helper program.
pub const HELPER: &str = "outlast-helper";

/// The helper program is not installed beside the daemon.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("outlast-helper is neither beside outlastd nor in ../lib/outlast nor in $OUTLAST_LIBDIR")]
pub struct MissingHelper;
