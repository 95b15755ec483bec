//! What every part of the daemon may reach: one value, made once by [`crate::run`] and passed around.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use outlast_client::paths::Places;
use outlast_model::job::TimeMs;
use outlast_store::Store;
use tokio_util::task::TaskTracker;

use crate::{
    config::Config, hosts::Hosts, notify::Terminals, providers::Providers, secret::Secret, shutdown::Shutdown,
};

/// The daemon's parts. Handlers and drivers hold it in an `Arc` and own nothing of it.
pub struct App {
    /// The database.
    pub store: Store,
    /// What the user decided.
    pub config: Arc<Config>,
    /// The programs whose doings are known.
    pub providers: Providers,
    /// Where things are kept.
    pub places: Places,
    /// Id of this installation; whatever it makes on a host carries it.
    pub owner: String,
    /// What keys the fingerprints of requests.
    pub secret: Secret,
    /// The machines that work runs on.
    pub hosts: Hosts,
    /// The announcement of the end. Drivers and streams select on it.
    pub shutdown: Shutdown,
    /// Where drivers are spawned, so that the end can wait for them before the store is closed.
    pub tasks: TaskTracker,
    /// The terminals that are attached to sessions, for who has something to tell them.
    pub terminals: Terminals,
    /// Absolute path of the socket.
    pub socket: PathBuf,
    /// When the daemon began.
    pub started: Started,
}

/// A moment by the wall clock, for people, and by clocks that nobody sets, for differences.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// Milliseconds since 1970.
    pub at: TimeMs,
    /// The same moment by the monotonic clock.
    pub monotonic: Instant,
    /// The same moment as time since the boot, suspends included.
    pub since_boot: Duration,
}

impl Started {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self {
            at: now_ms(),
            monotonic: Instant::now(),
            since_boot: since_boot(),
        }
    }
}

/// Time since the boot, suspends included.
#[must_use]
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// The wall clock in milliseconds since 1970; 0 when it stands before that.
#[must_use]
pub fn now_ms() -> TimeMs {
    jiff::Timestamp::now().as_millisecond().max(0)
}
