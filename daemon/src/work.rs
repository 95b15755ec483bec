//! What the daemon drives: jobs, sessions and syncs, taken up where the last daemon left them.

use std::sync::Arc;

use outlast_client::v1::Error;
use outlast_helper::spool::Spec;
use outlast_model::id::Id;

use crate::{
    adopt, app::App, jobs::Jobs, rpc::status::failure, sessions::Sessions, specs::Specs, syncs::Syncs,
};

/// The registries of everything that lives longer than a request.
#[derive(Clone)]
pub struct Work {
    /// All jobs.
    pub jobs: Jobs,
    /// All sessions.
    pub sessions: Sessions,
    /// All syncs.
    pub syncs: Syncs,
    specs: Specs,
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
            sessions: Sessions::new(Arc::clone(app), specs.clone()),
            syncs: Syncs::new(Arc::clone(app)),
            specs,
        };
        work.jobs.start().await?;
        work.sessions.start().await?;
        work.syncs.start().await?;
        Ok(work)
    }

    /// Lets go of everything on a host that was removed, and of the specs of what it had. What runs there goes on.
    pub async fn forget_host(&self, host: &str, ids: Vec<Id>) {
        self.jobs.forget_host(host);
        self.sessions.forget_host(host);
        self.syncs.forget_host(host);
        let specs = self.specs.clone();
        let removal =
            tokio::task::spawn_blocking(move || ids.into_iter().try_for_each(|id| specs.remove(id)));
        if let Ok(Err(error)) = removal.await {
            tracing::warn!(host, %error, "specs of what a removed host had stay until the next start");
        }
    }

    /// Keeps the spec of something that was found on a host, so that it can be run again.
    pub async fn keep_spec(&self, id: Id, spec: &Spec) {
        let (specs, text) = (self.specs.clone(), serde_json::to_vec(spec));
        let placed = tokio::task::spawn_blocking(move || {
            let text = text.map_err(|error| error.to_string())?;
            let placed = specs.place(id, &text).and_then(|placed| placed.sync());
            placed.map_err(|error| error.to_string())
        });
        if let Ok(Err(error)) = placed.await {
            // What runs is worth more than that.
            tracing::warn!(%id, error, "what was found cannot be run again: its spec cannot be kept");
        }
    }
}
