//! Between rows and nouns.

use std::str::FromStr;

use outlast_model::{
    activity::Activity,
    job::{Job, Outcome},
    session::Session,
    sync::{self, Seen},
};
use rusqlite::{Row, types::Type};

/// The columns of a job, in the order of [`job`].
pub(crate) const JOB: &str = "row, id, name, host, cwd, command, state, created_at, started_at, reason, \
     timeout_ms, cancel_grace_ms, ended_at, exit_code, signal, cpu_us, max_rss_bytes, end_reason, log_bytes, \
     dropped_bytes";

/// The columns of a session, in the order of [`session`].
pub(crate) const SESSION: &str = "row, id, name, host, cwd, command, state, created_at, started_at, reason, \
     restart_command, stop_grace_ms, ended_at, exit_code, signal, cpu_us, max_rss_bytes, end_reason, log_bytes, \
     dropped_bytes, run, pid, size_columns, size_rows, deleting, activity, activity_source, activity_message, \
     activity_since, activity_seq, template, provider";

/// A job and its place in the order of acceptance.
pub(crate) fn job(row: &Row<'_>) -> rusqlite::Result<(u64, Job)> {
    let job = Job {
        id: word(row, 1)?,
        name: optional_word(row, 2)?,
        host: row.get(3)?,
        cwd: row.get(4)?,
        command: command(row, 5)?,
        state: word(row, 6)?,
        created_at: row.get(7)?,
        started_at: row.get(8)?,
        reason: row.get(9)?,
        timeout_ms: row.get(10)?,
        cancel_grace_ms: row.get(11)?,
        outcome: outcome(row)?,
    };
    Ok((row.get(0)?, job))
}

/// A session and its place in the order of acceptance.
pub(crate) fn session(row: &Row<'_>) -> rusqlite::Result<(u64, Session)> {
    let session = Session {
        id: word(row, 1)?,
        name: word(row, 2)?,
        host: row.get(3)?,
        cwd: row.get(4)?,
        command: command(row, 5)?,
        state: word(row, 6)?,
        created_at: row.get(7)?,
        started_at: row.get(8)?,
        reason: row.get(9)?,
        restart_command: row.get(10)?,
        stop_grace_ms: row.get(11)?,
        outcome: outcome(row)?,
        run: row.get(20)?,
        pid: row.get(21)?,
        size: (row.get(22)?, row.get(23)?),
        deleting: row.get(24)?,
        activity: activity(row)?,
        activity_seq: row.get(29)?,
        template: row.get(30)?,
        provider: row.get(31)?,
    };
    Ok((row.get(0)?, session))
}

/// The columns 25 to 28 of a session.
fn activity(row: &Row<'_>) -> rusqlite::Result<Option<Activity>> {
    let Some(doing) = optional_word(row, 25)? else {
        return Ok(None);
    };
    Ok(Some(Activity {
        doing,
        source: row.get::<_, Option<String>>(26)?.unwrap_or_default(),
        message: row.get(27)?,
        since: row.get::<_, Option<i64>>(28)?.unwrap_or_default(),
    }))
}

/// The columns of a sync, in the order of [`sync()`].
pub(crate) const SYNC: &str = "id, name, source, host, target, mode, exclude, no_gitignore, git_dir, limit_bytes, created_at, \
     paused, occupied, resetting, state, reason, message, files, bytes, pending_files, pending_bytes, problem_count, \
     synced_at, found_target";

/// A sync.
pub(crate) fn sync(row: &Row<'_>) -> rusqlite::Result<sync::Sync> {
    Ok(sync::Sync {
        id: word(row, 0)?,
        name: word(row, 1)?,
        source: row.get(2)?,
        host: row.get(3)?,
        target: row.get(4)?,
        mode: word(row, 5)?,
        exclude: command(row, 6)?,
        no_gitignore: row.get(7)?,
        git_dir: row.get(8)?,
        limit_bytes: row.get(9)?,
        created_at: row.get(10)?,
        paused: row.get(11)?,
        occupied: row.get(12)?,
        resetting: optional_word(row, 13)?,
        seen: Seen {
            state: word(row, 14)?,
            reason: row.get(15)?,
            message: row.get(16)?,
            files: row.get(17)?,
            bytes: row.get(18)?,
            pending_files: row.get(19)?,
            pending_bytes: row.get(20)?,
            problem_count: row.get(21)?,
            synced_at: row.get(22)?,
            target: row.get(23)?,
        },
    })
}

/// The columns 12 to 19 of jobs and sessions.
fn outcome(row: &Row<'_>) -> rusqlite::Result<Option<Outcome>> {
    let Some(ended_at) = row.get(12)? else {
        return Ok(None);
    };
    Ok(Some(Outcome {
        ended_at,
        exit_code: row.get(13)?,
        signal: row.get(14)?,
        cpu_us: row.get(15)?,
        max_rss_bytes: row.get(16)?,
        reason: row.get(17)?,
        log_bytes: row.get::<_, Option<u64>>(18)?.unwrap_or(0),
        dropped_bytes: row.get::<_, Option<u64>>(19)?.unwrap_or(0),
    }))
}

/// An unsigned number as SQLite keeps it; what does not fit is the largest that does.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The program and its arguments as they are kept.
pub(crate) fn command_text(command: &[String]) -> String {
    serde_json::Value::from(command).to_string()
}

/// A list of words as it is kept.
pub(crate) fn command(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

/// A word that stands for something.
pub(crate) fn word<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(column)?
        .as_str()?
        .parse()
        .map_err(|error| unreadable(column, error))
}

/// A word that stands for something, if it is there.
pub(crate) fn optional_word<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(|text| text.parse().map_err(|error| unreadable(column, error)))
        .transpose()
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// A filter for `json_each`: one of these words. None: no filter.
pub(crate) fn any_of<'a>(words: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    (words.len() > 0).then(|| {
        words
            .map(serde_json::Value::from)
            .collect::<serde_json::Value>()
            .to_string()
    })
}
