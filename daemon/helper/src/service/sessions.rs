//! Sessions: watched, listed, stopped and removed. How their programs are comes from their directories alone; tmux is
//! asked whether there is a screen and who looks at it. What their programs do is read by [`Observer`].

use std::{sync::Arc, time::Duration};

use outlast_client::helper_v1::{
    DeleteSessionRequest, DeleteSessionResponse, ListSessionsResponse, Signs, SpoolState, StopSessionRequest,
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
    signs::{self, Observer},
};
use crate::{
    beat,
    spool::{Dir, State},
    tmux::{Error, View, quote::Commands},
};

/// Reports under way to a daemon that does not read.
const QUEUE: usize = 4;

/// Time between two reports that say nothing but that there was output.
const OUTPUT_EVERY: Duration = Duration::from_secs(1);

/// What is done in this rhythm is done for all sessions at the same moment.
const BEAT: Duration = Duration::from_millis(40);

/// Grace for what still runs in a session that is removed.
const DELETE_GRACE: Duration = Duration::from_millis(500);

/// How long a killed program may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Streams how a session is.
pub(super) fn watch(
    core: Arc<Core>,
    request: WatchSessionRequest,
) -> Result<Answers<WatchSessionResponse>, Status> {
    check_id(&request.id)?;
    let dir = core.root.session(&request.id);
    if !dir.exists() {
        return Err(not_found("session", &request.id));
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(status) = report(&core, &request, &dir, &sender).await {
            // Who left does not hear it.
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Answers::new(receiver))
}

async fn report(
    core: &Core,
    request: &WatchSessionRequest,
    dir: &Dir,
    to: &mpsc::Sender<Result<WatchSessionResponse, Status>>,
) -> Result<(), Status> {
    let id = &request.id;
    let mut watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let mut view = core.tmux.view();
    // So that the view is true. Where tmux cannot be reached it says so.
    if let Err(error) = core.tmux.reach().await {
        tracing::debug!("watching session {id}: {error}");
    }
    let name = tmux_name(id);
    let mut last: Option<(WatchSessionResponse, Instant)> = None;
    let mut settled: Option<State> = None;
    let mut known: Option<(State, u64)> = None;
    let mut observer = Observer::new(core, id, dir, request);
    let mut pace = Pace::new();
    while dir.exists() {
        let news = watch.news();
        // Output alone does not change how it is.
        let before = known.take().filter(|(_, before)| *before == news);
        let only_output = before.is_some();
        let state = match before {
            Some((state, _)) => state,
            None => {
                let state = dir.state(None).map_err(|error| failed(&error))?;
                settle(core, id, dir, state, &mut settled).await?
            }
        };
        let mut now = response(dir, &state, &view.borrow_and_update(), &name);
        now.signs = observe(&mut observer, &state, &now, !only_output).await;
        let runs = matches!(state, State::Running(_));
        known = Some((state, news));
        let changed = last
            .as_ref()
            .map(|(before, at)| (change(before, &now, observer.is_awaited()), *at));
        let later = match changed {
            Some((Change::None, _)) => None,
            Some((Change::Output, at)) if at.elapsed() < OUTPUT_EVERY => Some(at + OUTPUT_EVERY),
            _ => {
                if to.send(Ok(now.clone())).await.is_err() {
                    return Ok(());
                }
                if is_settled(&now) {
                    observer.told_settled();
                }
                last = Some((now, Instant::now()));
                None
            }
        };
        let looked = Instant::now();
        let mut output = false;
        loop {
            let due = beat::from(later.unwrap_or(looked + OUTPUT_EVERY), BEAT);
            tokio::select! {
                () = watch.changed() => {
                    if !runs || watch.news() != news || (!output && looked.elapsed() >= OUTPUT_EVERY) {
                        break;
                    }
                    // Of output it is enough to know that there is some.
                    observer.heard();
                    output = true;
                    pace.fruitless().await;
                }
                changed = view.changed() => match changed {
                    Ok(()) => break,
                    Err(_gone) => return Ok(()),
                },
                () = observer.due() => break,
                () = sleep_until(due), if output || later.is_some() => break,
                () = to.closed() => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Does what an end asks for, once for each, and answers how it is then.
async fn settle(
    core: &Core,
    id: &str,
    dir: &Dir,
    mut state: State,
    settled: &mut Option<State>,
) -> Result<State, Status> {
    if settled.as_ref() == Some(&state) {
        return Ok(state);
    }
    match &state {
        State::Ended(..) => state = settle::settle(core, id, dir, state).await?,
        State::Lost { .. } => report::reap(dir, &state).await,
        State::Fresh | State::Starting | State::Running(_) => return Ok(state),
    }
    *settled = Some(state.clone());
    Ok(state)
}

/// What its present run shows, if one runs.
async fn observe(
    observer: &mut Observer<'_>,
    state: &State,
    now: &WatchSessionResponse,
    news: bool,
) -> Option<Signs> {
    let State::Running(report) = state else {
        observer.forget();
        return None;
    };
    let log_bytes = now.state.as_ref().map_or(0, |state| state.log_bytes);
    Some(
        observer
            .shows(report, (log_bytes, now.last_output_ms), news)
            .await,
    )
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
        signs: None,
    }
}

/// How two responses differ. Nothing is copied for it: this is asked for every piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Not at all, but for the time.
    None,
    /// There was output, and what goes with it.
    Output,
    /// In something else.
    Other,
}

/// `awaited`: somebody may wait for it that all was looked at.
fn change(before: &WatchSessionResponse, now: &WatchSessionResponse, awaited: bool) -> Change {
    let WatchSessionResponse {
        state,
        in_tmux,
        attached,
        last_output_ms,
        signs,
    } = before;
    let same_state = match (state, &now.state) {
        (Some(before), Some(now)) => {
            let SpoolState {
                alive,
                started,
                ended,
                lost,
                log_bytes: _,
            } = before;
            (alive, started, ended, lost) == (&now.alive, &now.started, &now.ended, &now.lost)
        }
        (before, now) => before == now,
    };
    let same_view = (in_tmux, attached) == (&now.in_tmux, &now.attached);
    let signs = match (signs, &now.signs) {
        (Some(before), Some(now)) => signs::change(before, now),
        (None, None) => Change::None,
        _ => Change::Other,
    };
    let log_bytes = |state: &Option<SpoolState>| state.as_ref().map(|state| state.log_bytes);
    let more = log_bytes(state) != log_bytes(&now.state);
    let settles = is_settled(now) && (more || !is_settled(before));
    if !same_state || !same_view || signs == Change::Other || (settles && awaited) {
        Change::Other
    } else if *last_output_ms != now.last_output_ms || more || settles {
        Change::Output
    } else {
        signs
    }
}

fn is_settled(response: &WatchSessionResponse) -> bool {
    response.signs.as_ref().is_some_and(|signs| signs.settled)
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
