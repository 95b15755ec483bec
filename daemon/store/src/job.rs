//! Jobs in the store.

use outlast_model::{
    event::NewEvent,
    id::Id,
    job::{Job, JobState, TimeMs},
};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::{
    Store,
    error::{Fail, StoreError},
    event::{self, job_event, job_removed},
    request::{self, Created, Request},
    resolve::{self, Resolved},
    rows,
};

/// Jobs in a page when no number is asked for.
const PAGE: u32 = 1_000;
/// Jobs in a page at most, so that one caller cannot make the daemon hold a whole history in memory.
const PAGE_MAX: u32 = 10_000;
/// Bytes of command lines after which a page ends early: most are short, but one may have more than a megabyte.
const PAGE_BYTES: usize = 8 << 20;

/// Which jobs to list. Filters of different kinds must all hold; within one kind any value will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only in these states. Empty: any.
    pub states: Vec<JobState>,
    /// Only on these hosts. Empty: any.
    pub hosts: Vec<String>,
    /// Only those that ended before this moment (wall clock); lost ones count by their acceptance. Absent: any.
    pub ended_before: Option<TimeMs>,
    /// How many at most. 0: 1,000. More than 10,000 counts as 10,000.
    pub limit: u32,
    /// Only those accepted before this place: the `next` of the page before. Absent: from the newest.
    pub before: Option<u64>,
}

/// Some things in order, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The things.
    pub items: Vec<T>,
    /// Give this as `before` to go on. Absent at the end.
    pub next: Option<u64>,
}

impl Store {
    /// Accepts a job: its row, a `job.state` event and the request, durably. A repeated request gives the job it
    /// made. Refused with [`StoreError::NameTaken`] when a live job has the name, [`StoreError::RequestConflict`]
    /// when the request id was used for something else, [`StoreError::Gone`] when its job was removed, and
    /// [`StoreError::Exists`] when the id is there.
    pub async fn create_job(&self, job: &Job, request: Option<&Request>) -> Result<Created<Job>, StoreError> {
        let (job, request) = (job.clone(), request.cloned());
        self.writer()
            .write("accepting a job", true, move |connection| {
                create(connection, job, request.as_ref())
            })
            .await
    }

    /// Writes where a job stands now, with the event that says so. What a job is (name, host, command, directory,
    /// limits) does not change; all else is taken from `job`. With `durable` it survives a power failure once this
    /// returns. Refused with [`StoreError::Missing`], and with [`StoreError::Stale`] when the stored state cannot
    /// become the new one: someone else wrote meanwhile.
    pub async fn update_job(&self, job: &Job, event: NewEvent, durable: bool) -> Result<(), StoreError> {
        let job = job.clone();
        self.writer()
            .write("updating a job", durable, move |connection| {
                update(connection, &job, &event)
            })
            .await
    }

    /// Writes an intent somebody asked for, durably: as [`Self::update_job`], with the request in the same
    /// transaction. A repeated request writes nothing and gives the job as it is now.
    pub async fn request_job(
        &self,
        job: &Job,
        event: NewEvent,
        request: &Request,
    ) -> Result<Created<Job>, StoreError> {
        let (job, request) = (job.clone(), request.clone());
        self.writer()
            .write("updating a job", true, move |connection| {
                if let Some(job) = request::repeated(connection, &request, by_id)? {
                    return Ok(Created::Repeat(job));
                }
                update(connection, &job, &event)?;
                request::record(connection, &request, &job.id.to_string(), None)?;
                Ok(Created::New(job))
            })
            .await
    }

    /// Removes ended jobs, each with a `job.removed` event, durably. Live and unknown ones are left out; the result
    /// is what was removed.
    pub async fn delete_jobs(&self, ids: &[Id]) -> Result<Vec<Job>, StoreError> {
        let ids = ids.to_vec();
        self.writer()
            .write("removing jobs", true, move |connection| delete(connection, &ids))
            .await
    }

    /// One job by its id.
    pub async fn job(&self, id: Id) -> Result<Option<Job>, StoreError> {
        self.readers()
            .read("reading a job", move |connection| Ok(by_id(connection, id)?))
            .await
    }

    /// The job a user's word means: the live job of that name, else the newest ended one, else the exact id, else the
    /// only id with that prefix.
    pub async fn resolve_job(&self, text: &str) -> Result<Resolved<Job>, StoreError> {
        let text = text.to_owned();
        self.readers()
            .read("looking for a job", move |connection| resolve(connection, &text))
            .await
    }

    /// Jobs, newest first, a page at a time.
    pub async fn list_jobs(&self, filter: JobFilter) -> Result<Page<Job>, StoreError> {
        self.readers()
            .read("listing jobs", move |connection| list(connection, &filter))
            .await
    }

    /// All queued and running jobs, oldest first.
    pub async fn live_jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.readers()
            .read("listing live jobs", |connection| {
                let sql = format!(
                    "SELECT {} FROM jobs WHERE state IN ('queued', 'running') ORDER BY row",
                    rows::JOB
                );
                collect(connection, &sql, [])
            })
            .await
    }

    /// How many jobs are queued or running.
    pub async fn count_live_jobs(&self) -> Result<u64, StoreError> {
        self.readers()
            .read("counting live jobs", |connection| {
                Ok(connection
                    .prepare_cached("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')")?
                    .query_row([], |row| row.get(0))?)
            })
            .await
    }

    /// The jobs that ended last, the latest first.
    pub async fn ended_jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError> {
        self.readers()
            .read("listing ended jobs", move |connection| {
                let sql = format!(
                    "SELECT {} FROM jobs WHERE state NOT IN ('queued', 'running') ORDER BY changed DESC LIMIT ?1",
                    rows::JOB
                );
                collect(connection, &sql, [limit.min(PAGE_MAX)])
            })
            .await
    }
}

fn collect(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Job>, Fail> {
    let mut statement = connection.prepare_cached(sql)?;
    let jobs = statement
        .query_map(params, rows::job)?
        .map(|row| row.map(|(_, job)| job));
    Ok(jobs.collect::<rusqlite::Result<Vec<_>>>()?)
}

fn one(connection: &Connection, sql: &str, key: &str) -> rusqlite::Result<Option<Job>> {
    connection
        .prepare_cached(sql)?
        .query_row([key], |row| Ok(rows::job(row)?.1))
        .optional()
}

pub(crate) fn by_id(connection: &Connection, id: Id) -> rusqlite::Result<Option<Job>> {
    one(
        connection,
        &format!("SELECT {} FROM jobs WHERE id = ?1", rows::JOB),
        &id.to_string(),
    )
}

pub(crate) fn create(
    connection: &Connection,
    job: Job,
    request: Option<&Request>,
) -> Result<Created<Job>, Fail> {
    if let Some(request) = request
        && let Some(job) = request::repeated(connection, request, by_id)?
    {
        return Ok(Created::Repeat(job));
    }
    if by_id(connection, job.id)?.is_some() {
        return Err(StoreError::Exists {
            noun: "job",
            id: job.id,
        }
        .into());
    }
    if let Some(name) = &job.name
        && job.state.is_live()
        && let Some(holder) = live_with_name(connection, name.as_str())?
    {
        return Err(StoreError::NameTaken {
            noun: "job",
            name: name.to_string(),
            holder: holder.id,
        }
        .into());
    }
    let changed = event::append(connection, &job_event(&job))?;
    let outcome = job.outcome.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO jobs (changed, id, name, host, cwd, command, state, created_at, started_at, reason, \
             timeout_ms, cancel_grace_ms, ended_at, exit_code, signal, cpu_us, max_rss_bytes, end_reason, \
             log_bytes, dropped_bytes) \
             VALUES (:changed, :id, :name, :host, :cwd, :command, :state, :created_at, :started_at, :reason, \
             :timeout_ms, :cancel_grace_ms, :ended_at, :exit_code, :signal, :cpu_us, :max_rss_bytes, :end_reason, \
             :log_bytes, :dropped_bytes)",
        )?
        .execute(named_params! {
            ":changed": rows::number(changed),
            ":id": job.id.to_string(),
            ":name": job.name.as_ref().map(|name| name.as_str()),
            ":host": job.host,
            ":cwd": job.cwd,
            ":command": rows::command_text(&job.command),
            ":state": job.state.as_str(),
            ":created_at": job.created_at,
            ":started_at": job.started_at,
            ":reason": job.reason,
            ":timeout_ms": job.timeout_ms.map(rows::number),
            ":cancel_grace_ms": job.cancel_grace_ms.map(rows::number),
            ":ended_at": outcome.map(|outcome| outcome.ended_at),
            ":exit_code": outcome.and_then(|outcome| outcome.exit_code),
            ":signal": outcome.and_then(|outcome| outcome.signal),
            ":cpu_us": outcome.and_then(|outcome| outcome.cpu_us).map(rows::number),
            ":max_rss_bytes": outcome.and_then(|outcome| outcome.max_rss_bytes).map(rows::number),
            ":end_reason": outcome.and_then(|outcome| outcome.reason.as_deref()),
            ":log_bytes": outcome.map(|outcome| rows::number(outcome.log_bytes)),
            ":dropped_bytes": outcome.map(|outcome| rows::number(outcome.dropped_bytes)),
        })?;
    if let Some(request) = request {
        request::record(connection, request, &job.id.to_string(), None)?;
    }
    Ok(Created::New(job))
}

fn update(connection: &Connection, job: &Job, event: &NewEvent) -> Result<(), Fail> {
    let stored = by_id(connection, job.id)?.ok_or(StoreError::Missing {
        noun: "job",
        id: job.id,
    })?;
    if !stored.state.can_become(job.state) {
        let (stored, wanted) = (stored.state.as_str(), job.state.as_str());
        return Err(StoreError::Stale {
            noun: "job",
            id: job.id,
            stored,
            wanted,
        }
        .into());
    }
    let changed = event::append(connection, event)?;
    let outcome = job.outcome.as_ref();
    connection
        .prepare_cached(
            "UPDATE jobs SET changed = :changed, state = :state, started_at = :started_at, reason = :reason, \
             cancel_grace_ms = :cancel_grace_ms, ended_at = :ended_at, exit_code = :exit_code, signal = :signal, \
             cpu_us = :cpu_us, max_rss_bytes = :max_rss_bytes, end_reason = :end_reason, log_bytes = :log_bytes, \
             dropped_bytes = :dropped_bytes WHERE id = :id",
        )?
        .execute(named_params! {
            ":changed": rows::number(changed),
            ":id": job.id.to_string(),
            ":state": job.state.as_str(),
            ":started_at": job.started_at,
            ":reason": job.reason,
            ":cancel_grace_ms": job.cancel_grace_ms.map(rows::number),
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

fn delete(connection: &Connection, ids: &[Id]) -> Result<Vec<Job>, Fail> {
    let mut removed = Vec::new();
    for id in ids {
        let Some(job) = by_id(connection, *id)?.filter(|job| job.state.is_ended()) else {
            continue;
        };
        event::append(connection, &job_removed(&job))?;
        connection
            .prepare_cached("DELETE FROM jobs WHERE id = ?1")?
            .execute([id.to_string()])?;
        removed.push(job);
    }
    Ok(removed)
}

fn live_with_name(connection: &Connection, name: &str) -> rusqlite::Result<Option<Job>> {
    let sql = format!(
        "SELECT {} FROM jobs WHERE name = ?1 AND state IN ('queued', 'running')",
        rows::JOB
    );
    one(connection, &sql, name)
}

fn resolve(connection: &Connection, text: &str) -> Result<Resolved<Job>, Fail> {
    if let Some(job) = live_with_name(connection, text)? {
        return Ok(Resolved::One(job));
    }
    let newest = format!(
        "SELECT {} FROM jobs WHERE name = ?1 ORDER BY row DESC LIMIT 1",
        rows::JOB
    );
    if let Some(job) = one(connection, &newest, text)? {
        return Ok(Resolved::One(job));
    }
    let sql = "SELECT id FROM jobs WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 5";
    match resolve::ids_with_prefix(connection, sql, text)?.as_slice() {
        [] => Ok(Resolved::None),
        [id] => Ok(by_id(connection, *id)?.map_or(Resolved::None, Resolved::One)),
        several => Ok(Resolved::Many(several.to_vec())),
    }
}

fn list(connection: &Connection, filter: &JobFilter) -> Result<Page<Job>, Fail> {
    let limit = if filter.limit == 0 {
        PAGE
    } else {
        filter.limit.min(PAGE_MAX)
    };
    let sql = format!(
        "SELECT {} FROM jobs WHERE row < :before \
         AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states))) \
         AND (:hosts IS NULL OR host IN (SELECT value FROM json_each(:hosts))) \
         AND (:ended_before IS NULL OR (state NOT IN ('queued', 'running') \
              AND coalesce(ended_at, created_at) < :ended_before)) \
         ORDER BY row DESC LIMIT :limit",
        rows::JOB
    );
    let states = rows::any_of(filter.states.iter().map(|state| state.as_str()));
    let hosts = rows::any_of(filter.hosts.iter().map(String::as_str));
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(
        named_params! {
            ":before": filter.before.map_or(i64::MAX, rows::number),
            ":states": states,
            ":hosts": hosts,
            ":ended_before": filter.ended_before,
            // One more than asked for tells whether there is a next page.
            ":limit": limit.saturating_add(1),
        },
        rows::job,
    )?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut items, mut last, mut bytes, mut more) = (Vec::new(), None, 0, false);
    for found in found {
        if items.len() >= limit || bytes >= PAGE_BYTES {
            more = true;
            break;
        }
        let (row, job) = found?;
        bytes += job.command.iter().map(String::len).sum::<usize>();
        last = Some(row);
        items.push(job);
    }
    let next = last.filter(|_| more);
    Ok(Page { items, next })
}
