//! What a directory of the spool says, in the protocol's words.

use std::{io, time::UNIX_EPOCH};

use outlast_client::helper_v1::{Lost, Outcome, SpoolEntry, SpoolState, Started};
use serde_json::Value;

use crate::spool::{Dir, Report, SUPERVISOR_KILLED, State, Status, reap_lost};

/// Why a pane ended when its terminal did.
const HANGUP: &str = "hangup";

/// What the daemon is told then.
const TMUX_ENDED: &str = "tmux server ended";

/// A program that was started.
pub(super) fn started(report: &Report) -> Option<Started> {
    Some(Started {
        pid: report.pid?,
        started_at_ms: report.started_at_ms.unwrap_or_default(),
        run: report.run,
    })
}

/// The report of a state, where it has one.
pub(super) fn report(state: &State) -> Option<&Report> {
    match state {
        State::Running(report) | State::Lost { report, .. } => Some(report),
        State::Ended(report, _) => report.as_ref(),
        State::Fresh | State::Starting => None,
    }
}

/// How it ended, for an end that is one.
pub(super) fn outcome(status: &Status) -> Outcome {
    Outcome {
        exit_code: status.exit_code,
        signal: status.signal,
        ended_at_ms: status.ended_at_ms,
        cpu_us: status.cpu_us,
        max_rss_bytes: status.max_rss_bytes,
        reason: status.reason.clone(),
        log_bytes: status.log_bytes,
        dropped_bytes: status.dropped_bytes,
    }
}

/// Everything that is known.
pub(super) fn spool_state(dir: &Dir, state: &State) -> SpoolState {
    let (ended, lost) = match state {
        State::Ended(_, status) if status.reason.as_deref() == Some(HANGUP) => {
            (None, Some(TMUX_ENDED.to_owned()))
        }
        State::Ended(_, status) => (Some(outcome(status)), None),
        State::Lost { reason, .. } => (None, Some(reason.clone())),
        State::Fresh | State::Starting | State::Running(_) => (None, None),
    };
    SpoolState {
        alive: matches!(state, State::Starting | State::Running(_)),
        started: report(state).and_then(started),
        ended,
        lost: lost.map(|reason| Lost { reason }),
        log_bytes: dir.log_len(),
    }
}

/// A directory as an entry of a list. One that cannot be read is an entry without a state.
pub(super) fn entry(dir: &Dir, id: String) -> SpoolEntry {
    let spec = std::fs::read(dir.path().join("spec")).ok();
    SpoolEntry {
        id,
        spec_json: spec
            .and_then(|spec| without_environment(&spec))
            .unwrap_or_default()
            .into(),
        state: dir.state(None).ok().map(|state| spool_state(dir, &state)),
    }
}

/// A spec less the environment, in which secrets stand.
fn without_environment(spec: &[u8]) -> Option<Vec<u8>> {
    let mut spec: Value = serde_json::from_slice(spec).ok()?;
    spec.as_object_mut()?.remove("env");
    serde_json::to_vec(&spec).ok()
}

/// Ends what a killed supervisor left behind, so that `lost` is certain to mean that nothing runs. Takes seconds when
/// something resists.
pub(super) async fn reap(dir: &Dir, state: &State) {
    let State::Lost { report, reason } = state else {
        return;
    };
    if reason != SUPERVISOR_KILLED {
        return;
    }
    let (dir, report) = (dir.clone(), report.clone());
    let reaped = tokio::task::spawn_blocking(move || reap_lost(&dir, &report)).await;
    match reaped {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => tracing::warn!("processes that a killed supervisor left resist KILL"),
        Ok(Err(error)) => tracing::warn!("looking for what a killed supervisor left: {error}"),
        Err(error) => tracing::warn!("looking for what a killed supervisor left: {error}"),
    }
}

/// Milliseconds since 1970 of the last output. 0: none yet.
pub(super) fn last_output_ms(dir: &Dir) -> i64 {
    let modified = || -> io::Result<i64> {
        let meta = std::fs::metadata(dir.path().join("index"))?;
        let since = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or_default())
    };
    modified().unwrap_or_default()
}
