//! Sessions in the store.

use outlast_model::{
    activity::Activity,
    event::NewEvent,
    host::{Removal, RemovalKind},
    id::Id,
    session::{Session, SessionState},
};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::{
    Store,
    error::{Fail, StoreError},
    event::{self, activity_event, session_event, session_removed},
    host,
    request::{self, Created, Request},
    resolve::{self, Resolved},
    rows,
};

/// Which sessions to list. Both must hold; within one any value will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only in these states. Empty: any.
    pub states: Vec<SessionState>,
    /// Only on these hosts. Empty: any.
    pub hosts: Vec<String>,
}

impl Store {
    /// Accepts a session: its row, a `session.state` event and the request, durably. A repeated request gives the
    /// session it made. Refused with [`StoreError::NameTaken`] when any session has the name,
    /// [`StoreError::RequestConflict`] when the request id was used for something else, [`StoreError::Gone`] when its
    /// session was removed, and [`StoreError::Exists`] when the id is there.
    pub async fn create_session(
        &self,
        session: &Session,
        request: Option<&Request>,
    ) -> Result<Created<Session>, StoreError> {
        let (session, request) = (session.clone(), request.cloned());
        self.writer()
            .write("accepting a session", true, move |connection| {
                create(connection, session, request.as_ref())
            })
            .await
    }

    /// Writes where a session stands now, with the event that says so. What a session is (name, host, command,
    /// directory) does not change; all else is taken from `session`. With `durable` it survives a power failure once
    /// this returns. Refused with [`StoreError::Missing`], and with [`StoreError::Stale`] when the stored session
    /// cannot become the new one: it is in a later run, or its run has ended.
    pub async fn update_session(
        &self,
        session: &Session,
        event: NewEvent,
        durable: bool,
    ) -> Result<(), StoreError> {
        let session = session.clone();
        self.writer()
            .write("updating a session", durable, move |connection| {
                update(connection, &session, &event)
            })
            .await
    }

    /// Writes what a run of a session does, with a `session.activity` event; the number of that event. Absent: not known.
    /// The event says whether somebody `answered` what it did before. Refused with [`StoreError::Missing`], and with
    /// [`StoreError::Stale`] when that run is over.
    pub async fn set_activity(
        &self,
        id: Id,
        run: u32,
        activity: Option<Activity>,
        answered: bool,
    ) -> Result<u64, StoreError> {
        self.writer()
            .write("updating a session", false, move |connection| {
                set_activity(connection, id, run, activity, answered)
            })
            .await
    }

    /// Writes an intent somebody asked for (stop, restart, recover, delete), durably: as [`Self::update_session`],
    /// with the request in the same transaction. A repeated request writes nothing and gives the session as it is
    /// now, or [`StoreError::Gone`].
    pub async fn request_session(
        &self,
        session: &Session,
        event: NewEvent,
        request: &Request,
    ) -> Result<Created<Session>, StoreError> {
        let (session, request) = (session.clone(), request.clone());
        self.writer()
            .write("updating a session", true, move |connection| {
                if let Some(session) = request::repeated(connection, &request, by_id)? {
                    return Ok(Created::Repeat(session));
                }
                update(connection, &session, &event)?;
                request::record(connection, &request, &session.id.to_string(), None)?;
                Ok(Created::New(session))
            })
            .await
    }

    /// Removes a session in whatever state, with a `session.removed` event, durably. The result is what was removed;
    /// absent when there was none.
    pub async fn delete_session(&self, id: Id) -> Result<Option<Session>, StoreError> {
        self.writer()
            .write("removing a session", true, move |connection| {
                delete(connection, id)
            })
            .await
    }

    /// Removes a session as [`Self::delete_session`] does, whose machine is away: what there is of it there is noted in
    /// the same transaction as a removal.
    pub async fn delete_session_away(&self, id: Id) -> Result<Option<Session>, StoreError> {
        self.writer()
            .write("removing a session", true, move |connection| {
                let session = delete(connection, id)?;
                if let Some(session) = &session {
                    let kind = RemovalKind::Session;
                    host::add_removal(connection, &session.host, Removal { kind, id })?;
                }
                Ok(session)
            })
            .await
    }

    /// One session by its id.
    pub async fn session(&self, id: Id) -> Result<Option<Session>, StoreError> {
        self.readers()
            .read("reading a session", move |connection| Ok(by_id(connection, id)?))
            .await
    }

    /// The session a user's word means: the one of that name, else the exact id, else the only id with that prefix.
    pub async fn resolve_session(&self, text: &str) -> Result<Resolved<Session>, StoreError> {
        let text = text.to_owned();
        self.readers()
            .read("looking for a session", move |connection| {
                resolve(connection, &text)
            })
            .await
    }

    /// Sessions, oldest first.
    pub async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.readers()
            .read("listing sessions", move |connection| list(connection, &filter))
            .await
    }
}

fn delete(connection: &Connection, id: Id) -> Result<Option<Session>, Fail> {
    let Some(session) = by_id(connection, id)? else {
        return Ok(None);
    };
    event::append(connection, &session_removed(&session))?;
    connection
        .prepare_cached("DELETE FROM sessions WHERE id = ?1")?
        .execute([id.to_string()])?;
    Ok(Some(session))
}

fn one(connection: &Connection, sql: &str, key: &str) -> rusqlite::Result<Option<Session>> {
    connection
        .prepare_cached(sql)?
        .query_row([key], |row| Ok(rows::session(row)?.1))
        .optional()
}

fn by_id(connection: &Connection, id: Id) -> rusqlite::Result<Option<Session>> {
    one(
        connection,
        &format!("SELECT {} FROM sessions WHERE id = ?1", rows::SESSION),
        &id.to_string(),
    )
}

fn with_name(connection: &Connection, name: &str) -> rusqlite::Result<Option<Session>> {
    one(
        connection,
        &format!("SELECT {} FROM sessions WHERE name = ?1", rows::SESSION),
        name,
    )
}

fn create(
    connection: &Connection,
    session: Session,
    request: Option<&Request>,
) -> Result<Created<Session>, Fail> {
    if let Some(request) = request
        && let Some(session) = request::repeated(connection, request, by_id)?
    {
        return Ok(Created::Repeat(session));
    }
    if by_id(connection, session.id)?.is_some() {
        return Err(StoreError::Exists {
            noun: "session",
            id: session.id,
        }
        .into());
    }
    if let Some(holder) = with_name(connection, session.name.as_str())? {
        let name = session.name.to_string();
        return Err(StoreError::NameTaken {
            noun: "session",
            name,
            holder: holder.id,
        }
        .into());
    }
    let changed = event::append(connection, &session_event(&session))?;
    let outcome = session.outcome.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO sessions (changed, id, name, host, cwd, command, restart_command, state, run, created_at, \
             started_at, pid, reason, size_columns, size_rows, stop_grace_ms, deleting, ended_at, exit_code, \
             signal, cpu_us, max_rss_bytes, end_reason, log_bytes, dropped_bytes, template, provider) \
             VALUES (:changed, :id, :name, :host, :cwd, :command, :restart_command, :state, :run, :created_at, \
             :started_at, :pid, :reason, :size_columns, :size_rows, :stop_grace_ms, :deleting, :ended_at, \
             :exit_code, :signal, :cpu_us, :max_rss_bytes, :end_reason, :log_bytes, :dropped_bytes, :template, \
             :provider)",
        )?
        .execute(named_params! {
            ":changed": rows::number(changed),
            ":id": session.id.to_string(),
            ":name": session.name.as_str(),
            ":host": session.host,
            ":cwd": session.cwd,
            ":command": rows::command_text(&session.command),
            ":restart_command": session.restart_command,
            ":state": session.state.as_str(),
            ":run": session.run,
            ":created_at": session.created_at,
            ":started_at": session.started_at,
            ":pid": session.pid,
            ":reason": session.reason,
            ":size_columns": session.size.0,
            ":size_rows": session.size.1,
            ":stop_grace_ms": session.stop_grace_ms.map(rows::number),
            ":deleting": session.deleting,
            ":ended_at": outcome.map(|outcome| outcome.ended_at),
            ":exit_code": outcome.and_then(|outcome| outcome.exit_code),
            ":signal": outcome.and_then(|outcome| outcome.signal),
            ":cpu_us": outcome.and_then(|outcome| outcome.cpu_us).map(rows::number),
            ":max_rss_bytes": outcome.and_then(|outcome| outcome.max_rss_bytes).map(rows::number),
            ":end_reason": outcome.and_then(|outcome| outcome.reason.as_deref()),
            ":log_bytes": outcome.map(|outcome| rows::number(outcome.log_bytes)),
            ":dropped_bytes": outcome.map(|outcome| rows::number(outcome.dropped_bytes)),
            ":template": session.template,
            ":provider": session.provider,
        })?;
    if let Some(request) = request {
        request::record(connection, request, &session.id.to_string(), None)?;
    }
    Ok(Created::New(session))
}

fn set_activity(
    connection: &Connection,
    id: Id,
    run: u32,
    activity: Option<Activity>,
    answered: bool,
) -> Result<u64, Fail> {
    let mut session = stored(connection, id)?;
    if session.run != run || session.state.is_ended() {
        return Err(stale(&session, "doing something").into());
    }
    session.activity = activity;
    let seq = event::append(connection, &activity_event(&session, answered))?;
    let activity = session.activity.as_ref();
    connection
        .prepare_cached(
            "UPDATE sessions SET activity = :activity, activity_source = :source, activity_message = :message, \
             activity_since = :since, activity_seq = :seq WHERE id = :id",
        )?
        .execute(named_params! {
            ":activity": activity.map(|activity| activity.doing.as_str()),
            ":source": activity.map(|activity| activity.source.as_str()),
            ":message": activity.and_then(|activity| activity.message.as_deref()),
            ":since": activity.map(|activity| activity.since),
            ":seq": rows::number(seq),
            ":id": id.to_string(),
        })?;
    Ok(seq)
}

fn stored(connection: &Connection, id: Id) -> Result<Session, Fail> {
    let missing = StoreError::Missing { noun: "session", id };
    Ok(by_id(connection, id)?.ok_or(missing)?)
}

fn stale(stored: &Session, wanted: &'static str) -> StoreError {
    StoreError::Stale {
        noun: "session",
        id: stored.id,
        stored: stored.state.as_str(),
        wanted,
    }
}

/// What a run did is not known any more when it is over.
fn update(connection: &Connection, session: &Session, event: &NewEvent) -> Result<(), Fail> {
    let stored = stored(connection, session.id)?;
    if !stored.can_become(session) {
        return Err(stale(&stored, session.state.as_str()).into());
    }
    let changed = event::append(connection, event)?;
    let outcome = session.outcome.as_ref();
    connection
        .prepare_cached(
            "UPDATE sessions SET changed = :changed, state = :state, run = :run, started_at = :started_at, \
             pid = :pid, reason = :reason, size_columns = :size_columns, size_rows = :size_rows, \
             stop_grace_ms = :stop_grace_ms, deleting = :deleting, ended_at = :ended_at, exit_code = :exit_code, \
             signal = :signal, cpu_us = :cpu_us, max_rss_bytes = :max_rss_bytes, end_reason = :end_reason, \
             log_bytes = :log_bytes, dropped_bytes = :dropped_bytes, \
             activity = CASE WHEN :goes_on THEN activity END, \
             activity_source = CASE WHEN :goes_on THEN activity_source END, \
             activity_message = CASE WHEN :goes_on THEN activity_message END, \
             activity_since = CASE WHEN :goes_on THEN activity_since END WHERE id = :id",
        )?
        .execute(named_params! {
            ":changed": rows::number(changed),
            ":goes_on": session.run == stored.run && session.state.is_live(),
            ":id": session.id.to_string(),
            ":state": session.state.as_str(),
            ":run": session.run,
            ":started_at": session.started_at,
            ":pid": session.pid,
            ":reason": session.reason,
            ":size_columns": session.size.0,
            ":size_rows": session.size.1,
            ":stop_grace_ms": session.stop_grace_ms.map(rows::number),
            ":deleting": session.deleting,
            ":ended_at": outcome.map(|outcome| outcome.ended_at),
            ":exit_code": outcome.and_then(|outcome| outcome.exit_code),
            ":signal": outcome.and_then(|outcome| outcome.signal),
            ":cpu_us": outcome.and_then(|outcome| outcome.cpu_us).map(rows::number),
            ":max_rss_bytes": outcome.and_then(|outcome| outcome.max_rss_bytes).map(rows::number),
            ":end_reason": outcome.and_then(|outcome| outcome.reason.as_deref()),
            ":log_bytes": outcome.map(|outcome| rows::number(outcome.log_bytes)),
            ":dropped_bytes": outcome.map(|outcome| rows::number(outcome.dropped_bytes)),
        })?;
    Ok(())
}

fn resolve(connection: &Connection, text: &str) -> Result<Resolved<Session>, Fail> {
    if let Some(session) = with_name(connection, text)? {
        return Ok(Resolved::One(session));
    }
    let sql = "SELECT id FROM sessions WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 5";
    match resolve::ids_with_prefix(connection, sql, text)?.as_slice() {
        [] => Ok(Resolved::None),
        [id] => Ok(by_id(connection, *id)?.map_or(Resolved::None, Resolved::One)),
        several => Ok(Resolved::Many(several.to_vec())),
    }
}

fn list(connection: &Connection, filter: &SessionFilter) -> Result<Vec<Session>, Fail> {
    let sql = format!(
        "SELECT {} FROM sessions \
         WHERE (:states IS NULL OR state IN (SELECT value FROM json_each(:states))) \
         AND (:hosts IS NULL OR host IN (SELECT value FROM json_each(:hosts))) ORDER BY row",
        rows::SESSION
    );
    let states = rows::any_of(filter.states.iter().map(|state| state.as_str()));
    let hosts = rows::any_of(filter.hosts.iter().map(String::as_str));
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(
        named_params! { ":states": states, ":hosts": hosts },
        rows::session,
    )?;
    Ok(found
        .map(|row| row.map(|(_, session)| session))
        .collect::<rusqlite::Result<Vec<_>>>()?)
}
