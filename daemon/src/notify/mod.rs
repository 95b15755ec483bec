//! Being told: one task follows the log of events and says to whoever is not looking what wants them.
//!
//! ```text
//!   log of events ──► change ──► Desk (model, pure) ──► Notice ──► desktop | terminal | command | webhook
//!                                  what, when, once                a task each
//! ```
//!
//! It begins at the newest event there is when the daemon starts, before anything is driven: what happened while no daemon
//! ran and is found now is told, and what an older daemon told is not told again. Nobody is told of a session that somebody
//! looks at. What is told goes to the channels and nowhere else: not into the log, and into no event.

mod change;
pub mod channels;
mod command;
mod desktop;
mod program;
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
use outlast_store::{SessionFilter, StoreError};
use tokio::time::{sleep, sleep_until};

use self::channels::Channels;
pub use self::{
    settings::{NotifyConfig, Webhook},
    terminal::{Listener, Terminals},
};
use crate::{app::App, rpc::status::failure, sessions::Sessions};

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
}

impl Notify {
    /// Notes what is so now; whatever is written from here on is told. Before any driver starts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(app: &Arc<App>) -> Result<Self, Error> {
        let mut desk = Desk::new(app.config.notify.rules.clone());
        let cursor = *app.store.position().borrow();
        let sessions = app.store.list_sessions(SessionFilter::default()).await;
        let now = Instant::now();
        for session in sessions.map_err(failure)? {
            for change in change::of_row(&session) {
                desk.known(change, now);
            }
        }
        Ok(Self {
            app: Arc::clone(app),
            desk,
            cursor,
        })
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
        }
        // The next daemon begins after what is written now.
        if let Err(error) = self.read().await {
            tracing::warn!(%error, "reading what is to be told");
        }
        if let Some(due) = self.desk.due() {
            self.tell(due, &sessions, &channels);
        }
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
        for (channel, notice) in self.desk.tell(now, |id| sessions.is_looked_at(id)) {
            channels.tell(channel, notice);
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
