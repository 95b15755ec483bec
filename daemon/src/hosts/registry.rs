//! All hosts: who there is, adding and removing, and a push to all of them when the network says that it changed.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

use outlast_helper::{service::Helper, spool, watch::Watcher};
use outlast_model::host as model;
use outlast_store::{Created, RemovedHost, Request, Store, StoreError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Host, Kind, LOCAL, Remote, agent::Agent, attempt::Means, local, mirror, remote, remove_mirror,
    view::HostView, wake::Wake, wanted_helper,
};
use crate::{config::Config, shutdown::Shutdown};

/// Hosts that are connected to at once: enough that fifty are there within seconds, few enough that neither this
/// machine nor a shared gateway feels a storm.
const AT_ONCE: usize = 8;

/// All hosts.
pub struct Hosts {
    local: Arc<Host>,
    others: Mutex<BTreeMap<String, Arc<Host>>>,
    /// Held by whoever adds or removes one: database, drivers and what goes with them change together.
    changing: tokio::sync::Mutex<()>,
    /// Counts additions and removals, for those who look after every host.
    changes: watch::Sender<u64>,
    means: Arc<Means>,
    limiter: Arc<Semaphore>,
    store: Store,
    state_dir: PathBuf,
    watcher: Watcher,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Hosts {
    /// Opens the hosts and starts their drivers on `tasks`. Inside a tokio runtime.
    ///
    /// # Errors
    /// When the local helper cannot be had, for want of its directory or of inotify, or the store cannot be read.
    pub async fn open(
        helper: outlast_helper::service::Config,
        config: &Config,
        store: &Store,
        shutdown: &Shutdown,
        tasks: &TaskTracker,
    ) -> Result<Self, OpenError> {
        let (state_dir, owner) = (helper.state_dir.clone(), helper.owner.clone());
        let helper = Helper::new(helper)?;
        let watcher = helper.watcher();
        let client = outlast_transport::local(Arc::clone(&helper))?;
        let (publish, view) = watch::channel(HostView::default());
        let (refresh, requests) = mpsc::channel(local::QUEUE);
        tasks.spawn(local::run(
            client.clone(),
            store.clone(),
            publish,
            requests,
            shutdown.token(),
        ));
        let local = Host {
            name: LOCAL.to_owned(),
            root: helper.root().clone(),
            watcher: watcher.clone(),
            view,
            kind: Kind::Local { client, refresh },
        };
        let hosts = Self {
            local: Arc::new(local),
            others: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            changes: watch::Sender::new(0),
            means: Arc::new(Means {
                helper: wanted_helper(&owner, config),
                agent: Agent::from_env(state_dir.clone()),
                passphrases: Mutex::default(),
            }),
            limiter: Arc::new(Semaphore::new(AT_ONCE)),
            store: store.clone(),
            state_dir,
            watcher,
            shutdown: shutdown.token(),
            tasks: tasks.clone(),
        };
        for host in store.hosts().await? {
            hosts.start(host);
        }
        Ok(hosts)
    }

    /// The host of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Host>> {
        if name == self.local.name {
            return Some(Arc::clone(&self.local));
        }
        self.others().get(name).cloned()
    }

    /// All hosts, `local` first, then by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Host>> {
        let mut all = vec![Arc::clone(&self.local)];
        all.extend(self.others().values().cloned());
        all
    }

    /// Word of every addition and removal.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The user's ssh-agent.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.means.agent
    }

    /// Waits until nobody else adds or removes hosts. Whoever does holds this meanwhile.
    pub async fn change(&self) -> Changing<'_> {
        Changing {
            hosts: self,
            _alone: self.changing.lock().await,
        }
    }

    /// Pushes every host whenever the network changes or the machine wakes up, until the daemon ends.
    pub async fn look_out(&self) {
        let wake = match Wake::listen() {
            Ok(wake) => wake,
            Err(error) => {
                tracing::warn!(%error, "changes of the network are not heard; lost hosts are tried by the clock alone");
                return;
            }
        };
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = wake.changed() => self.others().values().for_each(|host| host.wake()),
            }
        }
    }

    /// Starts the driver of a host.
    fn start(&self, host: model::Host) {
        let name = host.name.to_string();
        let (publish, view) = watch::channel(HostView::of(host.seen.as_ref()));
        let (clients, client) = watch::channel(None);
        let (inbox, commands) = mpsc::channel(remote::QUEUE);
        let followers = Arc::new(AtomicUsize::new(0));
        let end = self.shutdown.child_token();
        let driver = remote::Driver::new(remote::Parts {
            host: host.clone(),
            store: self.store.clone(),
            means: Arc::clone(&self.means),
            limiter: Arc::clone(&self.limiter),
            followers: Arc::clone(&followers),
            publish,
            client: clients,
            inbox: commands,
            end: end.clone(),
        });
        let handle = Host {
            root: spool::Root::new(mirror(&self.state_dir, &name)),
            watcher: self.watcher.clone(),
            view,
            kind: Kind::Remote(Box::new(Remote {
                away: outlast_transport::away(&name),
                host,
                client,
                inbox,
                followers,
                end,
                removed: CancellationToken::new(),
            })),
            name: name.clone(),
        };
        self.tasks.spawn(driver.run());
        self.others().insert(name, Arc::new(handle));
        self.changes.send_modify(|count| *count += 1);
    }

    fn others(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Host>>> {
        // Nothing under this lock can panic half way through a change.
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to add and remove hosts.
pub struct Changing<'a> {
    hosts: &'a Hosts,
    _alone: tokio::sync::MutexGuard<'a, ()>,
}

impl Changing<'_> {
    /// Adds a host and begins to connect. With a request that was made before, the host of that time.
    ///
    /// # Errors
    /// When the name is taken, or nothing can be written.
    pub async fn add(&self, host: model::Host, request: Option<&Request>) -> Result<Arc<Host>, OpenError> {
        let created = self.hosts.store.add_host(&host, request).await?;
        let name = match created {
            Created::New(host) => {
                let name = host.name.to_string();
                // What an earlier host of this name left is not this one's.
                self.remove_copies(&name).await;
                self.hosts.start(host);
                name
            }
            Created::Repeat(host) => host.name.to_string(),
        };
        self.hosts.get(&name).ok_or(OpenError::Ending)
    }

    /// Forgets a host and ends its driver; one with live work only by `force`.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn remove(
        &self,
        name: &str,
        force: bool,
        request: Option<&Request>,
    ) -> Result<RemovedHost, OpenError> {
        let removed = self.hosts.store.remove_host(name, force, request).await?;
        if !matches!(removed, RemovedHost::Now { .. }) {
            return Ok(removed);
        }
        if let Some(host) = self.hosts.others().remove(name)
            && let Kind::Remote(remote) = &host.kind
        {
            remote.removed.cancel();
            remote.end.cancel();
        }
        self.hosts.changes.send_modify(|count| *count += 1);
        self.remove_copies(name).await;
        Ok(removed)
    }

    /// Forgets what was copied from a host. It is only room on the disk: what stays is no reason to refuse anything.
    async fn remove_copies(&self, name: &str) {
        let (state_dir, host) = (self.hosts.state_dir.clone(), name.to_owned());
        let removed = tokio::task::spawn_blocking(move || remove_mirror(&state_dir, &host)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(host = name, %error, "copies of a removed host's logs stay");
        }
    }
}

/// Why hosts cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file operation failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The store refuses or fails.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The daemon is ending.
    #[error("the daemon is ending")]
    Ending,
}
