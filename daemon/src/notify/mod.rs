//! Being told: one task follows the log of events and says to whoever is not looking what wants them.
//!
//! ```text
//!   log of events ──► change ──► Desk (model, pure) ──► Notice ──► desktop | terminal | command | webhook
//!                                  what, when, once                a task each
//! ```
//!
//! It begins where an older daemon had told everything, before anything is driven: what that one did not come to tell is told if
//! it is still so, what happened while no daemon ran is told when it is found, and what was told is not told again. How far it
//! was told is written when the channels have told it: after a kill just then it is told twice. Nobody is told of a session that somebody
//! looks at. What is told goes to the channels and nowhere else: not into the log, and into no event.

mod change;
pub mod channels;
mod command;
mod desktop;
#[cfg(test)]
mod fixture;
mod program;
mod progress;
mod recall;
pub(crate) mod rules;
pub(crate) mod settings;
mod terminal;
mod webhook;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use outlast_client::v1::Error;
use outlast_model::notice::Desk;
use outlast_store::{SessionFilter, StoreError, ToldTo};
use tokio::time::{sleep, sleep_until};

use self::{channels::Channels, progress::Progress};
pub use self::{
    settings::{NotifyConfig, Webhook},
    terminal::{Listener, Terminals},
};
use crate::{
    app::{App, now_ms},
    rpc::status::failure,
    sessions::Sessions,
};

/// Events that are read in one go.
const PAGE: u32 = 1000;

/// How long events are let gather before they are read: nothing is told within a second anyway, and a daemon that writes
/// many has better things to do than to read each by itself.
const PAUSE: Duration = Duration::from_millis(50);

/// When the log is read again that could not be.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The task, before it begins.
pub struct Notify {
    app: Arc<App>,
    desk: Desk,
    /// Every event up to here was looked at.
    cursor: u64,
    progress: Progress,
}

impl Notify {
    /// Notes what is so now and was told; whatever is written from here on is told. Before any driver starts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(app: &Arc<App>) -> Result<Self, Error> {
        let mut desk = Desk::new(app.config.notify.rules.clone());
        let store = &app.store;
        let cursor = *store.position().borrow();
        let sessions = store.list_sessions(SessionFilter::default()).await;
        let sessions = sessions.map_err(failure)?;
        // A number that was not given yet is that of a log that was lost.
        let told = store.told_to().await.map_err(failure)?;
        if let Some(told) = told.filter(|told| told.seq <= cursor) {
            recall::recall(store, &mut desk, &told, cursor, &sessions, now_ms())
                .await
                .map_err(failure)?;
        } else {
            let now = Instant::now();
            for change in sessions.iter().flat_map(change::of_row) {
                desk.known(change, now);
            }
        }
        let mut notify = Self {
            app: Arc::clone(app),
            desk,
            cursor,
            progress: Progress::new(store),
        };
        if notify.desk.due().is_none() {
            notify.so_far();
            // Before anything happens that may have to be told.
            notify.progress.keep().await;
        }
        Ok(notify)
    }

    /// Tells until the daemon ends. What waits to be told then is told at once.
    pub async fn run(mut self, sessions: Sessions) {
        let end = self.app.shutdown.token();
        let channels = Channels::start(&self.app);
        let mut position = self.app.store.position();
        loop {
            tokio::select! {
                () = end.cancelled() => break,
                () = until(self.desk.due()) => {}
                () = until(self.progress.due()) => {}
                () = self.progress.changed() => {}
                changed = position.changed() => match changed {
                    Ok(()) => sleep(PAUSE).await,
                    Err(_closed) => break,
                },
            }
            position.mark_unchanged();
            if let Err(error) = self.read().await {
                tracing::warn!(%error, "reading what is to be told");
                sleep(AGAIN_AFTER).await;
                // Whatever came meanwhile.
                position.mark_changed();
                continue;
            }
            let now = Instant::now();
            if self.desk.due().is_some_and(|due| due <= now) {
                self.tell(now, &sessions, &channels);
            }
            if self.desk.is_done() {
                self.so_far();
            }
            self.progress.keep().await;
        }
        if let Err(error) = self.read().await {
            tracing::warn!(%error, "reading what is to be told");
        }
        while let Some(due) = self.desk.due() {
            self.tell(due, &sessions, &channels);
        }
        // The next daemon begins here.
        self.so_far();
        drop(channels);
        self.progress.finish().await;
    }

    /// All that was looked at is told by now, or being told, or waits for its turn.
    fn so_far(&mut self) {
        let left = self.desk.held().map(str::to_owned).collect();
        self.progress.so_far(ToldTo {
            seq: self.cursor,
            left,
        });
    }

    /// Takes in what was written since the last time.
    async fn read(&mut self) -> Result<(), StoreError> {
        loop {
            let page = self.app.store.events_after(self.cursor, PAGE).await?;
            let now = Instant::now();
            let Some(last) = page.events.last() else {
                return Ok(());
            };
            self.cursor = last.seq;
            for change in page.events.iter().filter_map(change::of_event) {
                self.desk.take(change, now);
            }
        }
    }

    fn tell(&mut self, now: Instant, sessions: &Sessions, channels: &Channels) {
        let telling = self.progress.begin();
        for (channel, notice) in self.desk.tell(now, |id| sessions.is_looked_at(id)) {
            channels.tell(channel, notice, &telling);
        }
    }
}

/// Waits until then; for ever, when there is no such time.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}
