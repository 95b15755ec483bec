//! What the daemon drives: jobs and sessions, taken up where the last daemon left them.

use std::sync::Arc;

use outlast_client::v1::Error;

use crate::{adopt, app::App, jobs::Jobs, rpc::status::failure, sessions::Sessions, specs::Specs};

/// The registries of everything that lives longer than a request.
#[derive(Clone)]
pub struct Work {
    /// All jobs.
    pub jobs: Jobs,
    /// All sessions.
    pub sessions: Sessions,
}

impl Work {
    /// Brings the store in line with what is on this machine, and starts a driver for whatever lives. Before the
    /// first request is served. `store_lost_rows`: the database was made anew or came from a backup, so that rows of
    /// accepted work may be missing.
    ///
    /// # Errors
    /// When the specs or the store cannot be read.
    pub async fn start(app: &Arc<App>, store_lost_rows: bool) -> Result<Self, Error> {
        let dir = app.places.spec_dir();
        let specs = tokio::task::spawn_blocking(move || Specs::open(dir)).await;
        let specs = specs.map_err(failure)??;
        adopt::adopt(app, &specs, store_lost_rows).await?;
        let work = Self {
            jobs: Jobs::new(Arc::clone(app), specs.clone()),
            sessions: Sessions::new(Arc::clone(app), specs),
        };
        work.jobs.start().await?;
        work.sessions.start().await?;
        Ok(work)
    }

    /// Lets go of everything on a host that was removed. What runs there goes on.
    pub fn forget_host(&self, host: &str) {
        self.jobs.forget_host(host);
        self.sessions.forget_host(host);
    }
}
