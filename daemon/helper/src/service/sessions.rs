//! Sessions: watched, listed, stopped and removed. How their programs are comes from their directories alone; tmux is
//! asked whether there is a screen and who looks at it.

use std::{sync::Arc, time::Duration};

use outlast_client::helper_v1::{
    DeleteSessionRequest, DeleteSessionResponse, ListSessionsResponse, SpoolState, StopSessionRequest,
    StopSessionResponse, WatchSessionRequest, WatchSessionResponse,
};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout_at},
};
use tonic::Status;

use super::{
    Answers, Core,
    error::{broken, check_id, failed, not_found, tmux},
    jobs::{end, grace},
    pace::Pace,
    report,
    settle::{self, tmux_name},
};
use crate::{
    spool::{Dir, State},
    tmux::{Error, View, quote::Commands},
};

/// Reports under way to a daemon that does not read.
const QUEUE: usize = 4;

/// Time between two reports that say nothing but that there was output.
const OUTPUT_EVERY: Duration = Duration::from_secs(1);

/// Grace for what still runs in a session that is removed.
const DELETE_GRACE: Duration = Duration::from_millis(500);

/// How long a killed program may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Streams how a session is.
pub(super) fn watch(
    core: Arc<Core>,
    request: &WatchSessionRequest,
) -> Result<Answers<WatchSessionResponse>, Status> {
    check_id(&request.id)?;
    let (id, dir) = (request.id.clone(), core.root.session(&request.id));
    if !dir.exists() {
        return Err(not_found("session", &id));
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(status) = report(&core, &id, &dir, &sender).await {
            // Who left does not hear it.
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Answers::new(receiver))
}

async fn report(
    core: &Core,
    id: &str,
    dir: &Dir,
    to: &mpsc::Sender<Result<WatchSessionResponse, Status>>,
) -> Result<(), Status> {
    let mut watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let mut view = core.tmux.view();
    // So that the view is true. Where tmux cannot be reached it says so.
    if let Err(error) = core.tmux.reach().await {
        tracing::debug!("watching session {id}: {error}");
    }
    let name = tmux_name(id);
    let mut last: Option<(WatchSessionResponse, Instant)> = None;
    let mut settled: Option<State> = None;
    let mut pace = Pace::new();
    while dir.exists() {
        let mut state = dir.state(None).map_err(|error| failed(&error))?;
        if settled.as_ref() != Some(&state) {
            match &state {
                State::Ended(..) => {
                    state = settle::settle(core, id, dir, state).await?;
                    settled = Some(state.clone());
                }
                State::Lost { .. } => {
                    report::reap(dir, &state).await;
                    settled = Some(state.clone());
                }
                State::Fresh | State::Starting | State::Running(_) => {}
            }
        }
        let now = response(dir, &state, &view.borrow_and_update(), &name);
        let later = match &last {
            Some((before, _)) if *before == now => {
                pace.fruitless().await;
                None
            }
            Some((before, at)) if only_output(before, &now) && at.elapsed() < OUTPUT_EVERY => {
                pace.fruitless().await;
                Some(*at + OUTPUT_EVERY)
            }
            _ => {
                if to.send(Ok(now.clone())).await.is_err() {
                    return Ok(());
                }
                last = Some((now, Instant::now()));
                None
            }
        };
        tokio::select! {
            () = watch.changed() => {}
            changed = view.changed() => if changed.is_err() { return Ok(()) },
            () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => {}
            () = to.closed() => return Ok(()),
        }
    }
    Ok(())
}

fn response(dir: &Dir, state: &State, view: &View, name: &str) -> WatchSessionResponse {
    let attached = view.sessions.get(name).copied();
    let mut state = report::spool_state(dir, state);
    if let Some(ended) = &mut state.ended {
        // Its last output arrived after it had ended.
        ended.log_bytes = state.log_bytes;
    }
    WatchSessionResponse {
        state: Some(state),
        in_tmux: attached.is_some(),
        attached: attached.unwrap_or_default(),
        last_output_ms: report::last_output_ms(dir),
    }
}

/// Whether there was output and nothing else.
fn only_output(before: &WatchSessionResponse, now: &WatchSessionResponse) -> bool {
    let silent = |response: &WatchSessionResponse| WatchSessionResponse {
        last_output_ms: 0,
        state: response.state.clone().map(|state| SpoolState {
            log_bytes: 0,
            ..state
        }),
        ..*response
    };
    silent(before) == silent(now)
}

/// All sessions.
pub(super) async fn list(core: Arc<Core>) -> Result<ListSessionsResponse, Status> {
    let sessions = spawn_blocking(move || {
        let ids = core.root.sessions()?;
        Ok(ids
            .into_iter()
            .map(|id| report::entry(&core.root.session(&id), id))
            .collect())
    });
    let sessions = sessions
        .await
        .map_err(|error| broken(format!("listing sessions: {error}")))?
        .map_err(|error: std::io::Error| failed(&error))?;
    Ok(ListSessionsResponse { sessions })
}

/// Ends a session's program. Its screen stays.
pub(super) async fn stop(core: &Core, request: &StopSessionRequest) -> Result<StopSessionResponse, Status> {
    check_id(&request.id)?;
    let dir = core.root.session(&request.id);
    if !dir.exists() {
        return Err(not_found("session", &request.id));
    }
    let told = end(core, &dir, grace(request.grace)?).await?;
    Ok(StopSessionResponse { told })
}

/// Ends what runs, and removes screen and directory.
pub(super) async fn delete(
    core: &Core,
    request: &DeleteSessionRequest,
) -> Result<DeleteSessionResponse, Status> {
    check_id(&request.id)?;
    let id = &request.id;
    let dir = core.root.session(id);
    let _alone = core.sessions.lock(id).await;
    if dir.exists() {
        end(core, &dir, DELETE_GRACE).await?;
        wait_until_over(core, id, &dir).await?;
    }
    if let Some(client) = core.tmux.reach().await.map_err(tmux)? {
        // The window, because the keeper has a link to it that would keep it.
        let target = format!("={}:", tmux_name(id));
        let kill = Commands::one(["kill-window", "-t", &target]).map_err(|error| tmux(error.into()))?;
        match client.run(kill).await {
            // There is none.
            Ok(_) | Err(Error::Refused(_) | Error::Gone) => {}
            Err(other) => return Err(tmux(other)),
        }
        core.tmux.refresh().await;
    }
    let removed = spawn_blocking(move || dir.remove()).await;
    removed
        .map_err(|error| broken(format!("removing a session: {error}")))?
        .map_err(|error| failed(&error))?;
    Ok(DeleteSessionResponse {})
}

/// Waits until nothing runs there.
async fn wait_until_over(core: &Core, id: &str, dir: &Dir) -> Result<(), Status> {
    let mut watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let give_up = Instant::now() + GONE_WITHIN;
    loop {
        let state = dir.state(None).map_err(|error| failed(&error))?;
        if !matches!(state, State::Starting | State::Running(_)) {
            report::reap(dir, &state).await;
            return Ok(());
        }
        // Looked at by the clock as well: output that never pauses would wake this for ever.
        if Instant::now() >= give_up || timeout_at(give_up, watch.changed()).await.is_err() {
            return Err(broken(format!(
                "the program of session {id} does not end, not even killed"
            )));
        }
    }
}
