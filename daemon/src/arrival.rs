//! What is done when a machine is there: what was to be removed on it goes, and what runs on it without a row, because
//! the database was lost or the host was added again, is taken up.
//!
//! Nothing is ever started here, and nothing of another owner is seen.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use outlast_client::{
    helper_v1::{
        DeleteJobRequest, DeleteSessionRequest, ForgetSyncRequest, ListJobsRequest, ListSessionsRequest,
        SpoolEntry,
    },
    v1::Error,
};
use outlast_helper::spool::Spec;
use outlast_model::{
    host::{Removal, RemovalKind},
    id::Id,
    job::{Job, JobState},
    session::{Session, SessionState},
};
use outlast_transport::HelperClient;
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::{
    adopt,
    app::App,
    hosts::{Host, Link},
    retry::Backoff,
    rpc::status::failure,
    work::Work,
};

/// How long a helper may take to list what it has.
const LIST_DEADLINE: Duration = Duration::from_secs(60);

/// Looks after the arrivals of every host until the daemon ends.
pub async fn keep(app: Arc<App>, work: Work) {
    let end = app.shutdown.token();
    let mut changes = app.hosts.changes();
    let mut keepers: BTreeMap<String, Arc<Host>> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let hosts = app.hosts.list();
        for host in hosts.into_iter().filter(|host| !host.is_local()) {
            // A host that was removed and added again is another one, and needs a keeper of its own.
            let kept = keepers.get(host.name());
            if kept.is_none_or(|kept| !Arc::ptr_eq(kept, &host)) {
                app.tasks
                    .spawn(keep_one(Arc::clone(&app), work.clone(), Arc::clone(&host)));
                keepers.insert(host.name().to_owned(), host);
            }
        }
        keepers.retain(|_name, host| !host.is_removed());
        tokio::select! {
            () = end.cancelled() => return,
            changed = changes.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Looks after the arrivals of one host until it is removed or the daemon ends.
async fn keep_one(app: Arc<App>, work: Work, host: Arc<Host>) {
    let end = app.shutdown.token();
    let mut view = host.view();
    let mut seen = 0;
    let mut taken_up = false;
    let mut backoff = Backoff::default();
    loop {
        let arrived = tokio::select! {
            () = end.cancelled() => return,
            () = host.removed() => return,
            arrived = view.wait_for(|view| view.link == Link::Up && view.arrivals > seen) => {
                arrived.map(|view| view.arrivals)
            }
        };
        let Ok(arrivals) = arrived else { return };
        match receive(&app, &work, &host, !taken_up).await {
            Ok(()) => {
                seen = arrivals;
                taken_up = true;
                backoff = Backoff::default();
            }
            Err(error) => {
                tracing::warn!(host = host.name(), error = %error.message, "looking at what a host has; trying again");
                tokio::select! {
                    () = end.cancelled() => return,
                    () = host.removed() => return,
                    () = sleep(backoff.pause()) => {}
                }
            }
        }
    }
}

async fn receive(app: &App, work: &Work, host: &Host, take_up: bool) -> Result<(), Error> {
    let name = host.name();
    let mut client = host.client();
    for removal in app.store.removals(name).await.map_err(failure)? {
        match remove(&mut client, removal).await {
            Ok(()) => app.store.removal_done(name, removal.id).await.map_err(failure)?,
            // The way there is gone, and all others would fail as well.
            Err(status) if host.is_cut_off(&status) => return Err(failure(status)),
            Err(status) => {
                tracing::warn!(host = name, id = %removal.id, error = status.message(), "something cannot be removed; it is tried again when the host comes back");
            }
        }
    }
    if !take_up {
        return Ok(());
    }
    let mut jobs = tonic::Request::new(ListJobsRequest {});
    jobs.set_timeout(LIST_DEADLINE);
    let jobs = client.list_jobs(jobs).await.map_err(failure)?.into_inner().jobs;
    for entry in jobs {
        let Some((id, spec)) = unknown(&entry, name) else {
            continue;
        };
        if app.store.job(id).await.map_err(failure)?.is_none() && !is_going(app, name, id).await? {
            work.keep_spec(id, &spec).await;
            let job = adopt::insert_job(app, job(id, spec, name, &entry)).await;
            work.jobs.take_up(&job.map_err(failure)?);
            tracing::info!(host = name, %id, "took up a job that had no row");
        }
    }
    let mut sessions = tonic::Request::new(ListSessionsRequest {});
    sessions.set_timeout(LIST_DEADLINE);
    let sessions = client.list_sessions(sessions).await.map_err(failure)?;
    for entry in sessions.into_inner().sessions {
        let Some((id, spec)) = unknown(&entry, name) else {
            continue;
        };
        if app.store.session(id).await.map_err(failure)?.is_none() && !is_going(app, name, id).await? {
            work.keep_spec(id, &spec).await;
            let session = adopt::insert_session(app, session(id, spec, name, &entry)).await;
            work.sessions.take_up(&session.map_err(failure)?);
            tracing::info!(host = name, %id, "took up a session that had no row");
        }
    }
    Ok(())
}

/// Removes something on a host. What is gone already is fine.
pub(crate) async fn remove(client: &mut HelperClient, removal: Removal) -> Result<(), Status> {
    let id = removal.id.to_string();
    let removed = match removal.kind {
        RemovalKind::Job => client.delete_job(DeleteJobRequest { id }).await.map(drop),
        RemovalKind::Session => client.delete_session(DeleteSessionRequest { id }).await.map(drop),
        RemovalKind::Sync => client.forget_sync(ForgetSyncRequest { id }).await.map(drop),
    };
    match removed {
        Err(status) if status.code() != Code::NotFound => Err(status),
        _ => Ok(()),
    }
}

/// Whether something without a row is still there because it could not be removed yet.
async fn is_going(app: &App, host: &str, id: Id) -> Result<bool, Error> {
    let removals = app.store.removals(host).await.map_err(failure)?;
    Ok(removals.iter().any(|removal| removal.id == id))
}

/// Id and spec, as one of this host, of what may be taken up: what was started, whatever became of it.
fn unknown(entry: &SpoolEntry, host: &str) -> Option<(Id, Spec)> {
    let state = entry.state.as_ref()?;
    if !state.alive && state.started.is_none() && state.ended.is_none() && state.lost.is_none() {
        return None;
    }
    let spec = Spec {
        // It may have been called otherwise when it was started.
        host: host.to_owned(),
        ..serde_json::from_slice(&entry.spec_json).ok()?
    };
    Some((entry.id.parse().ok()?, spec))
}

/// The row of a job that was found. It counts as running until its driver has had its log and its end.
fn job(id: Id, spec: Spec, host: &str, entry: &SpoolEntry) -> Job {
    let started = entry.state.as_ref().and_then(|state| state.started.as_ref());
    Job {
        id,
        name: spec.name.and_then(|name| name.parse().ok()),
        host: host.to_owned(),
        cwd: spec.cwd,
        command: spec.command,
        state: JobState::Running,
        created_at: spec.created_at_ms,
        started_at: started.map(|started| started.started_at_ms),
        outcome: None,
        reason: None,
        timeout_ms: spec.timeout_ms,
        cancel_grace_ms: None,
    }
}

/// The row of a session that was found. It counts as running until its driver has looked.
fn session(id: Id, spec: Spec, host: &str, entry: &SpoolEntry) -> Session {
    let started = entry.state.as_ref().and_then(|state| state.started.as_ref());
    let name = spec.name.and_then(|name| name.parse().ok());
    Session {
        id,
        name: name.unwrap_or_else(|| adopt::fallback(id)),
        host: host.to_owned(),
        cwd: spec.cwd,
        command: spec.command,
        restart_command: spec.restart_command,
        state: SessionState::Running,
        run: started.map_or(1, |started| started.run.max(1)),
        created_at: spec.created_at_ms,
        started_at: started.map(|started| started.started_at_ms),
        pid: started.map(|started| started.pid),
        outcome: None,
        reason: None,
        size: (80, 24),
        stop_grace_ms: None,
        deleting: false,
        activity: None,
        activity_seq: 0,
        template: spec.template,
        provider: spec.provider,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlast_client::helper_v1::{SpoolState, Started};

    fn entry(state: SpoolState) -> SpoolEntry {
        let id = Id::random().to_string();
        let spec =
            serde_json::json!({"version": 1, "kind": "job", "id": id, "command": ["true"], "name": "a b"});
        SpoolEntry {
            id,
            spec_json: spec.to_string().into_bytes().into(),
            state: Some(state),
        }
    }

    #[test]
    fn what_was_never_started_is_left_alone() {
        assert!(unknown(&entry(SpoolState::default()), "h").is_none());
        let started = Some(Started {
            run: 2,
            pid: 7,
            started_at_ms: 5,
        });
        let found = entry(SpoolState {
            started,
            ..SpoolState::default()
        });
        let (id, spec) = unknown(&found, "h").unwrap();
        assert_eq!(spec.host, "h");
        let session = session(id, spec.clone(), "h", &found);
        assert_eq!((session.run, session.pid), (2, Some(7)));
        assert_eq!(
            job(id, spec, "h", &found).name,
            None,
            "a name that is none is left out"
        );
    }
}
