//! What the spool has and the database does not: after the database was lost, what runs is taken up again.
//!
//! Nothing is ever started here. What runs, ended or was lost gets a row that says so; a directory that was made and
//! never started is left alone, because it may be half of a removal. Specs of accepted work that never came to a
//! directory become lost rows when the database was damaged, so that nobody looks for them in vain; with a sound
//! database such a spec is half of a request that was never accepted, and goes.

use std::collections::HashSet;

use outlast_client::v1::Error;
use outlast_helper::spool::{self, Dir, Kind, Root, Spec, State};
use outlast_model::{
    id::Id,
    job::{Job, JobState, Outcome},
    name::Name,
    session::{Session, SessionState},
};
use outlast_store::{Created, JobFilter, SessionFilter, StoreError};

use crate::{
    app::App,
    hosts::LOCAL,
    rpc::status::failure,
    specs::{SpecError, Specs},
};

/// Jobs that are read from the store at a time.
const PAGE: u32 = 10_000;

/// Names that are tried for a thing whose name is taken.
const NAMES: u32 = 1000;

/// Longest name, bytes.
const NAME_MAX: usize = 63;

/// Why something is lost whose row went with the database before it was started.
const ROW_LOST: &str = "the database was damaged before it was started";

/// Something without a row.
#[derive(Debug)]
struct Found {
    id: Id,
    spec: Spec,
    /// What its directory says. Absent: there is none.
    state: Option<State>,
}

/// Gives everything on this machine that has no row one, and removes specs of what was never accepted.
///
/// # Errors
/// When the store, the spool or the specs cannot be read.
pub async fn adopt(app: &App, specs: &Specs, store_lost_rows: bool) -> Result<(), Error> {
    let known = known(app).await.map_err(failure)?;
    let Some(host) = app.hosts.get(LOCAL) else {
        return Ok(());
    };
    let (root, specs) = (host.spool().0.clone(), specs.clone());
    let search = move || find(&root, &specs, &known, store_lost_rows);
    let found = tokio::task::spawn_blocking(search).await.map_err(failure)?;
    for found in found.map_err(failure)? {
        let (id, kind) = (found.id, found.spec.kind);
        let adopted = match kind {
            Kind::Job => insert_job(app, job(&found)).await.map(drop),
            Kind::Session => insert_session(app, session(&found)).await.map(drop),
        };
        match adopted {
            Ok(()) => tracing::info!(%id, ?kind, "adopted what had no row"),
            Err(error) => tracing::warn!(%id, ?kind, %error, "cannot adopt what has no row"),
        }
    }
    Ok(())
}

/// Every id that has a row.
async fn known(app: &App) -> Result<HashSet<Id>, StoreError> {
    let sessions = app.store.list_sessions(SessionFilter::default()).await?;
    let mut known: HashSet<Id> = sessions.iter().map(|session| session.id).collect();
    let mut filter = JobFilter {
        limit: PAGE,
        ..JobFilter::default()
    };
    loop {
        let page = app.store.list_jobs(filter.clone()).await?;
        known.extend(page.items.iter().map(|job| job.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return Ok(known),
        }
    }
}

/// Looks through spool and specs. Blocking. The oldest comes first.
fn find(
    root: &Root,
    specs: &Specs,
    known: &HashSet<Id>,
    store_lost_rows: bool,
) -> Result<Vec<Found>, std::io::Error> {
    let mut found = Vec::new();
    let mut there: HashSet<Id> = HashSet::new();
    let jobs = root.jobs()?.into_iter().map(|id| (root.job(&id), id));
    let sessions = root.sessions()?.into_iter().map(|id| (root.session(&id), id));
    for (dir, id) in jobs.chain(sessions) {
        let Ok(id) = id.parse::<Id>() else { continue };
        there.insert(id);
        if known.contains(&id) {
            continue;
        }
        match look(&dir, id, specs) {
            Ok(Some(one)) => found.push(one),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(path = %dir.path().display(), %error, "cannot read a directory without a row");
            }
        }
    }
    for id in specs.ids().map_err(into_io)? {
        if known.contains(&id) || there.contains(&id) {
            continue;
        }
        if !store_lost_rows {
            specs.remove(id).map_err(into_io)?;
            continue;
        }
        let spec = specs.read(id).map_err(into_io)?;
        match serde_json::from_slice(&spec) {
            Ok(spec) => found.push(Found {
                id,
                spec,
                state: None,
            }),
            Err(error) => tracing::warn!(%id, %error, "cannot read a spec without a row"),
        }
    }
    found.sort_by_key(|found| found.spec.created_at_ms);
    Ok(found)
}

fn look(dir: &Dir, id: Id, specs: &Specs) -> std::io::Result<Option<Found>> {
    let state = dir.state(None)?;
    if state == State::Fresh {
        return Ok(None);
    }
    let spec = dir.read_spec()?;
    // `retry` and `restart` read it from here.
    if specs.read(id).is_err() {
        let placed = specs.place(id, &serde_json::to_vec(&spec)?);
        placed.and_then(|placed| placed.sync()).map_err(into_io)?;
    }
    let state = Some(state);
    Ok(Some(Found { id, spec, state }))
}

fn into_io(error: SpecError) -> std::io::Error {
    std::io::Error::other(error)
}

/// Gives a job a row, under another name where its own is taken.
///
/// # Errors
/// When the store refuses.
pub async fn insert_job(app: &App, mut job: Job) -> Result<Job, StoreError> {
    let first = job.name.clone();
    for number in 2..NAMES {
        match app.store.create_job(&job, None).await {
            Err(StoreError::NameTaken { .. }) => {
                job.name = first.as_ref().and_then(|name| numbered(name, number));
            }
            created => return created.map(Created::into_inner),
        }
    }
    job.name = None;
    app.store.create_job(&job, None).await.map(Created::into_inner)
}

/// Gives a session a row, under another name where its own is taken.
///
/// # Errors
/// When the store refuses.
pub async fn insert_session(app: &App, mut session: Session) -> Result<Session, StoreError> {
    let first = session.name.clone();
    for number in 2..NAMES {
        match app.store.create_session(&session, None).await {
            Err(StoreError::NameTaken { .. }) => match numbered(&first, number) {
                Some(name) => session.name = name,
                None => break,
            },
            created => return created.map(Created::into_inner),
        }
    }
    app.store
        .create_session(&session, None)
        .await
        .map(Created::into_inner)
}

fn job(found: &Found) -> Job {
    let spec = &found.spec;
    let mut job = Job {
        id: found.id,
        name: spec.name.as_ref().and_then(|name| name.parse().ok()),
        host: LOCAL.to_owned(),
        cwd: spec.cwd.clone(),
        command: spec.command.clone(),
        state: JobState::Running,
        created_at: spec.created_at_ms,
        started_at: None,
        outcome: None,
        reason: None,
        timeout_ms: spec.timeout_ms,
        cancel_grace_ms: None,
    };
    match &found.state {
        Some(State::Running(report)) => job.started_at = report.started_at_ms,
        Some(State::Ended(report, status)) => {
            let outcome = outcome(status);
            job.started_at = report.as_ref().and_then(|report| report.started_at_ms);
            job.state = JobState::after(&outcome);
            job.reason = crate::jobs::outcome::reason_to_show(&outcome);
            job.outcome = Some(outcome);
        }
        Some(State::Lost { report, reason }) => {
            job.started_at = report.started_at_ms;
            job.state = JobState::Lost;
            job.reason = Some(reason.clone());
        }
        Some(State::Starting | State::Fresh) => {}
        None => {
            job.state = JobState::Lost;
            job.reason = Some(ROW_LOST.to_owned());
        }
    }
    job
}

fn session(found: &Found) -> Session {
    let spec = &found.spec;
    let name = spec.name.as_ref().and_then(|name| name.parse().ok());
    let mut session = Session {
        id: found.id,
        name: name.unwrap_or_else(|| fallback(found.id)),
        host: LOCAL.to_owned(),
        cwd: spec.cwd.clone(),
        command: spec.command.clone(),
        restart_command: spec.restart_command.clone(),
        state: SessionState::Running,
        run: 1,
        created_at: spec.created_at_ms,
        started_at: None,
        pid: None,
        outcome: None,
        reason: None,
        size: (80, 24),
        stop_grace_ms: None,
        deleting: false,
        activity: None,
        activity_seq: 0,
        template: spec.template.clone(),
        provider: spec.provider.clone(),
    };
    let report = match &found.state {
        Some(State::Running(report) | State::Lost { report, .. }) => Some(report),
        Some(State::Ended(report, _)) => report.as_ref(),
        _ => None,
    };
    if let Some(report) = report {
        session.run = report.run.max(1);
        session.started_at = report.started_at_ms;
    }
    match &found.state {
        Some(State::Running(report)) => session.pid = report.pid,
        Some(State::Ended(_, status)) => {
            let outcome = outcome(status);
            session.state = SessionState::after(&outcome);
            session.reason = crate::sessions::reason_to_show(&outcome);
            session.outcome = Some(outcome);
        }
        Some(State::Lost { reason, .. }) => {
            session.state = SessionState::Lost;
            session.reason = Some(reason.clone());
        }
        Some(State::Starting | State::Fresh) => {}
        None => {
            session.state = SessionState::Lost;
            session.reason = Some(ROW_LOST.to_owned());
        }
    }
    session
}

fn outcome(status: &spool::Status) -> Outcome {
    Outcome {
        exit_code: status.exit_code,
        signal: status.signal,
        ended_at: status.ended_at_ms,
        cpu_us: status.cpu_us,
        max_rss_bytes: status.max_rss_bytes,
        reason: status.reason.clone(),
        log_bytes: status.log_bytes,
        dropped_bytes: status.dropped_bytes,
    }
}

/// The name with a number behind it, shortened so that it is still a name.
fn numbered(name: &Name, number: u32) -> Option<Name> {
    let suffix = format!("-{number}");
    let mut text = name.as_str().to_owned();
    text.truncate(NAME_MAX - suffix.len());
    (text + &suffix).parse().ok()
}

/// The name of a session whose own cannot be read: the beginning of its id.
#[allow(clippy::expect_used)]
pub fn fallback(id: Id) -> Name {
    let text: String = id.to_string().chars().take(8).collect();
    // Eight hexadecimal digits follow the rule for names, whatever they are.
    text.parse().expect("hexadecimal digits are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: Kind, state: Option<State>) -> Found {
        let id = Id::random();
        let spec = Spec {
            version: spool::SPOOL_VERSION,
            kind,
            id: id.to_string(),
            name: Some("web".to_owned()),
            host: LOCAL.to_owned(),
            command: vec!["true".to_owned()],
            restart_command: None,
            cwd: None,
            base: None,
            env: std::collections::BTreeMap::new(),
            timeout_ms: Some(5),
            log_max_bytes: None,
            created_at_ms: 1,
            template: None,
            provider: None,
        };
        Found { id, spec, state }
    }

    fn report(run: u32) -> spool::Report {
        spool::Report {
            run,
            pid: Some(7),
            started_at_ms: Some(2),
            ..spool::Report::default()
        }
    }

    fn lost() -> State {
        State::Lost {
            report: report(3),
            reason: "host rebooted".to_owned(),
        }
    }

    #[test]
    fn what_runs_and_what_is_lost_is_taken_up_as_such() {
        let running = job(&found(Kind::Job, Some(State::Running(report(1)))));
        assert_eq!((running.state, running.started_at), (JobState::Running, Some(2)));
        assert_eq!(job(&found(Kind::Job, Some(lost()))).state, JobState::Lost);
        assert_eq!(job(&found(Kind::Job, None)).reason.as_deref(), Some(ROW_LOST));

        let running = session(&found(Kind::Session, Some(State::Running(report(4)))));
        assert_eq!(
            (running.state, running.run, running.pid),
            (SessionState::Running, 4, Some(7))
        );
        let gone = session(&found(Kind::Session, Some(lost())));
        assert_eq!((gone.state, gone.run), (SessionState::Lost, 3));
        assert_eq!(gone.reason.as_deref(), Some("host rebooted"));
    }

    #[test]
    fn a_taken_name_gets_a_number_and_stays_a_name() {
        let long: Name = "x".repeat(63).parse().unwrap();
        assert_eq!(numbered(&long, 12).unwrap().as_str().len(), 63);
        assert_eq!(numbered(&"web".parse().unwrap(), 2).unwrap().as_str(), "web-2");
    }
}
