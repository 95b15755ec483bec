//! The machines that work runs on, and what was last seen of each.
//!
//! A host is a handle: a name, a client to its helper, and a view that its driver publishes. The view tells how the
//! connection is, never the state of what runs there. `local` is always there, and is served by the same helper code
//! in this process.

mod driver;
mod view;

use std::{io, sync::Arc, time::Duration};

use outlast_helper::{service::Helper, spool, watch::Watcher};
use outlast_store::Store;
use outlast_transport::HelperClient;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{config::Config, shutdown::Shutdown};

pub use view::{Facts, HostView, Link};

/// Name of the machine that the daemon runs on.
pub const LOCAL: &str = "local";

/// How long a caller waits for fresh facts before it takes the last ones: a moment to a person.
const REFRESH_DEADLINE: Duration = Duration::from_secs(2);

/// All hosts.
pub struct Hosts {
    local: Arc<Host>,
}

/// One machine, as everybody but its driver sees it.
pub struct Host {
    name: String,
    client: HelperClient,
    helper: Arc<Helper>,
    watcher: Watcher,
    view: watch::Receiver<HostView>,
    refresh: mpsc::Sender<driver::Refresh>,
}

impl Hosts {
    /// Opens the hosts and starts their drivers on `tasks`. Inside a tokio runtime.
    ///
    /// # Errors
    /// When the local helper cannot be had, for want of its directory or of inotify.
    pub fn open(
        helper: outlast_helper::service::Config,
        store: &Store,
        shutdown: &Shutdown,
        tasks: &TaskTracker,
    ) -> io::Result<Self> {
        let helper = Helper::new(helper)?;
        let watcher = helper.watcher();
        let client = outlast_transport::local(Arc::clone(&helper))?;
        let (publish, view) = watch::channel(HostView::default());
        let (refresh, requests) = mpsc::channel(driver::QUEUE);
        tasks.spawn(driver::run(
            client.clone(),
            store.clone(),
            publish,
            requests,
            shutdown.token(),
        ));
        let local = Host {
            name: LOCAL.to_owned(),
            client,
            helper,
            watcher,
            view,
            refresh,
        };
        Ok(Self {
            local: Arc::new(local),
        })
    }

    /// The host of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Host>> {
        (name == self.local.name).then(|| Arc::clone(&self.local))
    }

    /// All hosts, `local` first, then by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Host>> {
        vec![Arc::clone(&self.local)]
    }
}

impl Host {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client to its helper. Calls fail with `Unavailable` while the host is away.
    #[must_use]
    pub fn client(&self) -> HelperClient {
        self.client.clone()
    }

    /// What was last seen of it, and word of every change.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<HostView> {
        self.view.clone()
    }

    /// The spool and its watcher, where the daemon can read them in place.
    #[must_use]
    pub fn spool(&self) -> Option<(&spool::Root, &Watcher)> {
        Some((self.helper.root(), &self.watcher))
    }

    /// Looks again, so that what a user mended since (an installed tmux) is seen, and returns the newest view there
    /// is within two seconds.
    pub async fn refreshed(&self) -> HostView {
        let deadline = Instant::now() + REFRESH_DEADLINE;
        let (reply, done) = tokio::sync::oneshot::channel();
        let ask = async {
            if self.refresh.send(reply).await.is_ok() {
                // An error means that the driver ended with the daemon; the last view is then all there is.
                let _driver_ended = done.await;
            }
        };
        let _late = tokio::time::timeout_at(deadline, ask).await;
        self.view.borrow().clone()
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
        sessions: outlast_helper::service::SessionConfig {
            history_limit: config.sessions.history_limit,
            user_copy_mode_keys: config.sessions.user_copy_mode_keys,
        },
        scope: true,
    })
}

/// File name of the helper program.
pub const HELPER: &str = "outlast-helper";

/// The helper program is not installed beside the daemon.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("outlast-helper is neither beside outlastd nor in ../lib/outlast nor in $OUTLAST_LIBDIR")]
pub struct MissingHelper;
