//! What the daemon does for itself: remarks about its own life in the log of events, pruning, backups, the watchdog.

use std::{sync::Arc, time::Duration};

use outlast_client::VERSION;
use outlast_model::event::{Kind, NewEvent};
use outlast_store::{Notice, StoreError};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    app::{App, now_ms},
    jobs::Jobs,
    shutdown::Ending,
    systemd::Manager,
};

/// How often old events and request outcomes are removed. Often enough that no run of it is long.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// How often the database is copied: a damaged one is restored to at most a day ago.
const BACKUP_EVERY_HOURS: u32 = 24;

/// How long outcomes of requests are kept, for clients that ask again. Promised: 24 hours.
const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long the last words in the log and the last copy of the database may take together. A large database is
/// copied while the daemon runs; at the end it must not keep the user waiting.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Says in the log of events that the daemon began, and whatever was out of the ordinary with its database.
pub async fn remark(app: &App, notice: Option<Notice>) {
    if let Some(notice) = notice {
        let message = notice.message();
        if notice.is_loss() {
            tracing::error!(%message, "the database was damaged");
        } else {
            tracing::info!(%message, "the database was upgraded");
        }
        if let Some(event) = notice.event() {
            append(app, event).await;
        }
    }
    append(app, life(Kind::DaemonStarted, &serde_json::Map::new())).await;
}

/// Says in the log of events that the daemon ends, and leaves a fresh copy of the database.
pub async fn farewell(app: &App) {
    let mut data = serde_json::Map::new();
    let restart = app.shutdown.ending() == Some(Ending::Restart);
    data.insert("restart".to_owned(), restart.into());
    let words = async {
        append(app, life(Kind::DaemonStopping, &data)).await;
        if let Err(error) = app.store.backup().await {
            tracing::warn!(%error, "copying the database");
        }
    };
    if tokio::time::timeout(FAREWELL_DEADLINE, words).await.is_err() {
        tracing::info!("no time for a copy of the database");
    }
}

/// Prunes and copies until the end.
pub async fn run(app: Arc<App>, jobs: Jobs) {
    let end = app.shutdown.token();
    let mut hours = interval_at(Instant::now() + PRUNE_EVERY, PRUNE_EVERY);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hour: u32 = 0;
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = hours.tick() => {}
        }
        hour = hour.wrapping_add(1);
        if let Err(error) = prune(&app).await {
            tracing::warn!(%error, "removing old events");
        }
        if let Some(days) = app.config.jobs.prune_after_days
            && let Err(error) = jobs.prune_older_than_days(days).await
        {
            tracing::warn!(error = %error.message, "removing old jobs");
        }
        if hour.is_multiple_of(BACKUP_EVERY_HOURS)
            && let Err(error) = app.store.backup().await
        {
            tracing::warn!(%error, "copying the database");
        }
    }
}

async fn prune(app: &App) -> Result<(), StoreError> {
    let now = now_ms();
    let events = &app.config.events;
    let oldest = now - i64::from(events.keep_days) * DAY_MS;
    let removed = app.store.prune_events(events.keep_count, oldest).await?;
    let kept_ms = i64::try_from(REQUESTS_KEPT.as_millis()).unwrap_or(DAY_MS);
    app.store.prune_requests(now - kept_ms).await?;
    if removed > 0 {
        tracing::debug!(removed, "removed old events");
    }
    Ok(())
}

/// Tells systemd that the daemon is not stuck, for as long as its store answers. Only when systemd asked for it.
pub async fn watchdog(app: Arc<App>, manager: Manager, every: Duration) {
    let end = app.shutdown.token();
    let mut ticks = interval_at(Instant::now(), every);
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if app.store.count_live_jobs().await.is_ok() {
            manager.alive();
        }
    }
}

/// An event about the daemon itself.
fn life(kind: Kind, more: &serde_json::Map<String, serde_json::Value>) -> NewEvent {
    let mut data = serde_json::json!({"pid": std::process::id(), "version": VERSION});
    if let Some(data) = data.as_object_mut() {
        data.extend(more.clone());
    }
    NewEvent {
        kind,
        subject: String::new(),
        data: data.to_string(),
    }
}

/// A full disk must not stop the daemon from serving what is there.
async fn append(app: &App, event: NewEvent) {
    let kind = event.kind;
    if let Err(error) = app.store.append_event(event).await {
        tracing::warn!(%kind, %error, "writing an event");
    }
}
