//! Starts the runs of a session: a tmux session with one window whose pane runs `outlast-helper pane`, with
//! `outlast-helper log` beside it.

use std::time::Duration;

use outlast_client::helper_v1::{StartSessionRequest, StartSessionResponse, Started};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::{
    Core,
    base::{put_back, resolve},
    error::{broken, check_id, failed, not_found, tmux, usage, wrong_state},
    jobs::{keep_spec, spec},
    panes::{self, Seen},
    report,
};
use crate::{
    pty::Size,
    spool::{Dir, Kind, State},
};

/// How long a pane may take to start its program.
const START_WITHIN: Duration = Duration::from_secs(30);

/// Starts a run, unless it was started.
pub(super) async fn start(core: &Core, request: StartSessionRequest) -> Result<StartSessionResponse, Status> {
    check_id(&request.id)?;
    let (id, run) = (&request.id, request.run);
    if run == 0 {
        return Err(usage("runs are counted from 1"));
    }
    let size = request.size.and_then(|size| Size::new(size.columns, size.rows));
    let size = size.ok_or_else(|| usage("the size is none that a terminal can have"))?;
    let dir = core.root.session(id);
    let _alone = core.sessions.lock(id).await;
    let new = match request.spec_json.is_empty() {
        true if !dir.exists() => return Err(not_found("session", id)),
        true => None,
        false => Some(spec(&request.spec_json, Kind::Session, id)?),
    };
    let state = dir.state(Some(run)).map_err(|error| failed(&error))?;
    if matches!(state, State::Fresh) {
        if !is_under_way(core, &dir, &request).await? {
            // Before anything is written: without tmux there is to be no trace.
            let client = core.tmux.connect().await.map_err(tmux)?;
            let before = dir.state(None).map_err(|error| failed(&error))?;
            report::reap(&dir, &before).await;
            if let Some(spec) = new {
                let spec = resolve(core, spec).await;
                if run > 1 && dir.exists() {
                    // No earlier run reads it any more.
                    dir.write_spec(&spec).map_err(|error| failed(&error))?;
                }
                keep_spec(core, &dir, spec).await?;
            }
            put_back(core).await;
            panes::open(core, &client, &dir, &request, size).await?;
        }
        // So that nobody who is told of the start finds it not in tmux.
        core.tmux.refresh().await;
    }
    let started = wait(core, &dir, run).await?;
    Ok(StartSessionResponse {
        started: Some(started),
    })
}

/// Whether a run that was fresh a moment ago was started by another helper and only has to be waited for.
///
/// # Errors
/// When an earlier run still runs.
async fn is_under_way(core: &Core, dir: &Dir, request: &StartSessionRequest) -> Result<bool, Status> {
    let (id, run) = (&request.id, request.run);
    let newest = dir.state(None).map_err(|error| failed(&error))?;
    if !matches!(newest, State::Starting | State::Running(_)) {
        return Ok(false);
    }
    if !matches!(
        dir.state(Some(run)).map_err(|error| failed(&error))?,
        State::Fresh
    ) {
        return Ok(true);
    }
    // Who holds the lock says in a moment which run it is; tmux is told to start one only when all earlier ones are over.
    if let Some(client) = core.tmux.reach().await.map_err(tmux)?
        && panes::look(&client, id, run).await.map_err(tmux)? == Seen::Coming
    {
        return Ok(true);
    }
    let message = format!("an earlier run of session {id} still runs");
    Err(wrong_state(id, message, "stop it first: outlast session stop"))
}

/// Waits until the run has begun, or ended before it began.
async fn wait(core: &Core, dir: &Dir, run: u32) -> Result<Started, Status> {
    let mut watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let give_up = Instant::now() + START_WITHIN;
    loop {
        let state = dir.state(Some(run)).map_err(|error| failed(&error))?;
        match &state {
            State::Fresh | State::Starting => {}
            State::Running(_) | State::Ended(..) | State::Lost { .. } => {
                let report = report::report(&state);
                // What could not be started has no process, and its end says why.
                let none = Started {
                    pid: 0,
                    started_at_ms: 0,
                    run,
                };
                return Ok(report.and_then(report::started).unwrap_or(none));
            }
        }
        if Instant::now() >= give_up || timeout_at(give_up, watch.changed()).await.is_err() {
            return Err(broken("the session's program did not start within 30 s"));
        }
    }
}
