//! The event log: writing within a transaction, reading, pruning; and what the events of the nouns say.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use outlast_model::{
    event::{Event, Kind, NewEvent},
    host::Link,
    job::{Job, Outcome, TimeMs},
    session::Session,
    sync::Sync,
};
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value};

use crate::{
    Store, database,
    error::{Fail, StoreError},
    rows,
};

/// Events a single read gives at most, whatever was asked for.
const PAGE: u32 = 10_000;
/// Events removed in one operation, so that pruning a long log holds up nobody.
const PRUNE_STEP: u64 = 2_000;

/// Some events in order, and what surrounds them. All from the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Events after the asked-for number, oldest first.
    pub events: Vec<Event>,
    /// The oldest number that is still stored; one more than `newest` when none is. When it is greater than the
    /// asked-for number plus one, the numbers between are gone: a gap.
    pub oldest_stored: u64,
    /// The newest number that was ever given; 0 before the first.
    pub newest: u64,
}

/// The event that says where a job stands now.
#[must_use]
pub fn job_event(job: &Job) -> NewEvent {
    let mut data = Map::new();
    put(&mut data, "name", job.name.as_ref().map(|name| name.as_str()));
    put(&mut data, "host", Some(job.host.as_str()));
    put(&mut data, "state", Some(job.state.as_str()));
    put(&mut data, "cancelling", job.is_cancelling().then_some(true));
    put_run(
        &mut data,
        job.started_at,
        job.outcome.as_ref(),
        job.reason.as_deref(),
    );
    NewEvent {
        kind: Kind::JobState,
        subject: job.id.to_string(),
        data: Value::Object(data).to_string(),
    }
}

/// The event that says where a session stands now.
#[must_use]
pub fn session_event(session: &Session) -> NewEvent {
    let mut data = Map::new();
    put(&mut data, "name", Some(session.name.as_str()));
    put(&mut data, "host", Some(session.host.as_str()));
    put(&mut data, "state", Some(session.state.as_str()));
    put(&mut data, "run", Some(session.run));
    put(&mut data, "stopping", session.is_stopping().then_some(true));
    put(&mut data, "deleting", session.deleting.then_some(true));
    put(&mut data, "pid", session.pid);
    put_run(
        &mut data,
        session.started_at,
        session.outcome.as_ref(),
        session.reason.as_deref(),
    );
    NewEvent {
        kind: Kind::SessionState,
        subject: session.id.to_string(),
        data: Value::Object(data).to_string(),
    }
}

/// The event that says what a session does, and whether somebody answered what it did before.
pub(crate) fn activity_event(session: &Session, answered: bool) -> NewEvent {
    let activity = session.activity.as_ref();
    let mut data = Map::new();
    put(&mut data, "name", Some(session.name.as_str()));
    put(&mut data, "host", Some(session.host.as_str()));
    put(
        &mut data,
        "activity",
        activity.map(|activity| activity.doing.as_str()),
    );
    put(
        &mut data,
        "source",
        activity.map(|activity| activity.source.as_str()),
    );
    put(
        &mut data,
        "message",
        activity.and_then(|activity| activity.message.as_deref()),
    );
    put(
        &mut data,
        "since",
        activity.and_then(|activity| time_text(activity.since)),
    );
    put(&mut data, "answered", answered.then_some(true));
    NewEvent {
        kind: Kind::SessionActivity,
        subject: session.id.to_string(),
        data: Value::Object(data).to_string(),
    }
}

/// The event that says how the connection to a host is.
#[must_use]
pub fn host_link_event(
    host: &str,
    link: Link,
    error: Option<&str>,
    reason: Option<&str>,
    next_try_at: Option<TimeMs>,
) -> NewEvent {
    let mut data = Map::new();
    put(&mut data, "link", Some(link.as_str()));
    put(&mut data, "error", error);
    put(&mut data, "reason", reason);
    put(&mut data, "next_try_at", next_try_at.and_then(time_text));
    NewEvent {
        kind: Kind::HostLink,
        subject: host.to_owned(),
        data: Value::Object(data).to_string(),
    }
}

/// The event that says that a job was removed.
pub(crate) fn job_removed(job: &Job) -> NewEvent {
    let mut data = Map::new();
    put(&mut data, "name", job.name.as_ref().map(|name| name.as_str()));
    put(&mut data, "host", Some(job.host.as_str()));
    put(&mut data, "state", Some(job.state.as_str()));
    NewEvent {
        kind: Kind::JobRemoved,
        subject: job.id.to_string(),
        data: Value::Object(data).to_string(),
    }
}

/// The event that says that a session was removed.
pub(crate) fn session_removed(session: &Session) -> NewEvent {
    let mut data = Map::new();
    put(&mut data, "name", Some(session.name.as_str()));
    put(&mut data, "host", Some(session.host.as_str()));
    put(&mut data, "state", Some(session.state.as_str()));
    NewEvent {
        kind: Kind::SessionRemoved,
        subject: session.id.to_string(),
        data: Value::Object(data).to_string(),
    }
}

/// The event that says where a sync stands now.
pub(crate) fn sync_event(sync: &Sync) -> NewEvent {
    let seen = &sync.seen;
    let mut data = Map::new();
    put(&mut data, "name", Some(sync.name.as_str()));
    put(&mut data, "host", Some(sync.host.as_str()));
    put(&mut data, "state", Some(seen.state.as_str()));
    put(&mut data, "reason", seen.reason.as_deref());
    put(&mut data, "message", seen.message.as_deref());
    put(&mut data, "files", Some(seen.files));
    put(&mut data, "bytes", Some(seen.bytes));
    put(&mut data, "pending_files", Some(seen.pending_files));
    put(&mut data, "pending_bytes", Some(seen.pending_bytes));
    put(&mut data, "problem_count", Some(seen.problem_count));
    put(&mut data, "last_synced_at", seen.synced_at.and_then(time_text));
    NewEvent {
        kind: Kind::SyncState,
        subject: sync.id.to_string(),
        data: Value::Object(data).to_string(),
    }
}

/// The event that says that a sync was removed.
pub(crate) fn sync_removed(sync: &Sync) -> NewEvent {
    let mut data = Map::new();
    put(&mut data, "name", Some(sync.name.as_str()));
    put(&mut data, "host", Some(sync.host.as_str()));
    put(&mut data, "state", Some(sync.seen.state.as_str()));
    NewEvent {
        kind: Kind::SyncRemoved,
        subject: sync.id.to_string(),
        data: Value::Object(data).to_string(),
    }
}

/// What jobs and sessions say about a run. The reason of the noun comes before that of its supervisor.
fn put_run(
    data: &mut Map<String, Value>,
    started_at: Option<TimeMs>,
    outcome: Option<&Outcome>,
    reason: Option<&str>,
) {
    put(data, "exit_code", outcome.and_then(|outcome| outcome.exit_code));
    put(data, "signal", outcome.and_then(|outcome| outcome.signal));
    put(
        data,
        "reason",
        reason.or_else(|| outcome.and_then(|outcome| outcome.reason.as_deref())),
    );
    put(data, "started_at", started_at.and_then(time_text));
    put(
        data,
        "ended_at",
        outcome.and_then(|outcome| time_text(outcome.ended_at)),
    );
    put(data, "log_bytes", outcome.map(|outcome| outcome.log_bytes));
}

fn put(data: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        data.insert(key.to_owned(), value.into());
    }
}

/// RFC 3339 UTC with milliseconds. Absent for times no calendar holds.
fn time_text(time: TimeMs) -> Option<String> {
    Timestamp::from_millisecond(time)
        .ok()
        .map(|time| format!("{time:.3}"))
}

/// Now, by the wall clock.
pub(crate) fn now_ms() -> TimeMs {
    // A clock before 1970 counts as 1970.
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs::try_from(elapsed.as_millis()).unwrap_or(TimeMs::MAX)
}

/// Writes an event within the present transaction; its number.
pub(crate) fn append(connection: &Connection, event: &NewEvent) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("INSERT INTO events (time, kind, subject, data) VALUES (?1, ?2, ?3, ?4)")?
        .execute((now_ms(), event.kind.as_str(), &event.subject, &event.data))?;
    Ok(u64::try_from(connection.last_insert_rowid()).unwrap_or(0))
}

impl Store {
    /// Writes an event that belongs to no row; its number. It is flushed to the disk with the next durable write.
    pub async fn append_event(&self, event: NewEvent) -> Result<u64, StoreError> {
        self.writer()
            .write("writing an event", false, move |connection| {
                Ok(append(connection, &event)?)
            })
            .await
    }

    /// Events with a number greater than `after`, oldest first, at most `limit` (and never more than 10,000).
    pub async fn events_after(&self, after: u64, limit: u32) -> Result<EventPage, StoreError> {
        self.readers()
            .read("reading events", move |connection| {
                events_after(connection, after, limit)
            })
            .await
    }

    /// Removes all but the newest `keep_count` events, and those written before `older_than_ms` (wall clock). What
    /// is left has no holes. The result is how many were removed.
    pub async fn prune_events(&self, keep_count: u64, older_than_ms: TimeMs) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let step = self
                .writer()
                .write("pruning events", false, move |connection| {
                    prune(connection, keep_count, older_than_ms)
                })
                .await?;
            removed += step;
            if step < PRUNE_STEP {
                return Ok(removed);
            }
        }
    }
}

fn events_after(connection: &Connection, after: u64, limit: u32) -> Result<EventPage, Fail> {
    let newest = database::newest_event(connection)?;
    let oldest_stored = oldest(connection)?.unwrap_or(newest.saturating_add(1));
    let mut statement = connection.prepare_cached(
        "SELECT seq, time, kind, subject, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let events = statement
        .query_map((rows::number(after), limit.min(PAGE)), read_event)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(EventPage {
        events,
        oldest_stored,
        newest,
    })
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        seq: row.get(0)?,
        time: row.get(1)?,
        kind: row.get(2)?,
        subject: row.get(3)?,
        data: row.get(4)?,
    })
}

fn oldest(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT min(seq) FROM events")?
        .query_row([], |row| row.get(0))
}

/// Removes one step of what is to go, from the old end only; how many went.
fn prune(connection: &Connection, keep_count: u64, older_than_ms: TimeMs) -> Result<u64, Fail> {
    let Some(oldest) = oldest(connection)? else {
        return Ok(0);
    };
    let beyond = database::newest_event(connection)?.saturating_add(1);
    // Up to the first that is young enough: the clock may have gone back, but the log must not get holes.
    let first_young: Option<u64> = connection
        .prepare_cached("SELECT seq FROM events WHERE time >= ?1 ORDER BY seq LIMIT 1")?
        .query_row([older_than_ms], |row| row.get(0))
        .optional()?;
    let keep_from = first_young
        .unwrap_or(beyond)
        .max(beyond.saturating_sub(keep_count));
    let step_to = keep_from.min(oldest.saturating_add(PRUNE_STEP));
    let removed = connection
        .prepare_cached("DELETE FROM events WHERE seq < ?1")?
        .execute([rows::number(step_to)])?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}
