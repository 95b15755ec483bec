//! What an engine shows, as what is kept and told of its sync. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use outlast_model::{
    job::TimeMs,
    sync::{Seen, Sync, SyncState},
};
use outlast_sync::engine::{State, View};

/// What is seen of a sync now. A wish to pause counts from when it is written, not from when the engine has heard it; and
/// what an engine does not know yet stays as it was seen last.
pub(super) fn seen(sync: &Sync, view: &View) -> Seen {
    let before = &sync.seen;
    // An engine that was not at the host has no record to count in.
    let counted = view.target.is_some();
    let planned = counted || view.pending_files > 0;
    let looked = counted || view.problem_count > 0;
    let either = |known: bool, now: u64, before: u64| if known { now } else { before };
    let state = match (sync.paused, view.state) {
        (true, _) => SyncState::Paused,
        // It has not heard yet that it goes on.
        (false, State::Paused) => SyncState::Starting,
        (false, state) => of(state),
    };
    let says_why = state == of(view.state);
    Seen {
        state,
        reason: view.reason.clone().filter(|_| says_why),
        message: view.message.clone().filter(|_| says_why),
        files: either(counted, view.files, before.files),
        bytes: either(counted, view.bytes, before.bytes),
        pending_files: either(planned, view.pending_files, before.pending_files),
        pending_bytes: either(planned, view.pending_bytes, before.pending_bytes),
        problem_count: either(looked, view.problem_count, before.problem_count),
        synced_at: view.synced_at.map(millis).or(before.synced_at),
        target: view
            .target
            .as_ref()
            .map(|target| String::from_utf8_lossy(target).into_owned())
            .or_else(|| before.target.clone()),
    }
}

/// Whether a sync comes to this state and leaves it whenever something changes here.
pub(super) const fn is_routine(state: SyncState) -> bool {
    matches!(
        state,
        SyncState::Scanning | SyncState::Pushing | SyncState::Watching
    )
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> TimeMs {
    // A clock before 1970 counts as 1970.
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs::try_from(elapsed.as_millis()).unwrap_or(TimeMs::MAX)
}

const fn of(state: State) -> SyncState {
    match state {
        State::Starting => SyncState::Starting,
        State::Scanning => SyncState::Scanning,
        State::Watching => SyncState::Watching,
        State::Pushing => SyncState::Pushing,
        State::Paused => SyncState::Paused,
        State::Halted => SyncState::Halted,
        State::Disconnected => SyncState::Disconnected,
        State::Error => SyncState::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlast_model::{id::Id, sync::SyncMode};

    fn row(paused: bool) -> Sync {
        Sync {
            id: Id::random(),
            name: "web".parse().unwrap(),
            source: "/src/web".to_owned(),
            host: "far".to_owned(),
            target: "web".to_owned(),
            mode: SyncMode::Mirror,
            exclude: Vec::new(),
            no_gitignore: false,
            git_dir: false,
            limit_bytes: None,
            created_at: 0,
            paused,
            occupied: false,
            resetting: None,
            seen: Seen {
                state: SyncState::Watching,
                files: 7,
                bytes: 70,
                problem_count: 1,
                synced_at: Some(5),
                target: Some("/home/me/web".to_owned()),
                ..Seen::default()
            },
        }
    }

    #[test]
    fn what_a_new_engine_does_not_know_stays_as_it_was_seen_last() {
        let seen_now = seen(&row(false), &View::default());
        let right = Seen {
            state: SyncState::Starting,
            ..row(false).seen
        };
        assert_eq!(seen_now, right);
        let reached = View {
            state: State::Pushing,
            files: 1,
            pending_files: 2,
            target: Some(b"/home/me/web".to_vec()),
            ..View::default()
        };
        let seen_now = seen(&row(false), &reached);
        assert_eq!(
            (seen_now.files, seen_now.pending_files, seen_now.problem_count),
            (1, 2, 0)
        );
        assert_eq!((seen_now.bytes, seen_now.synced_at), (0, Some(5)));
    }

    #[test]
    fn a_wish_to_pause_counts_before_the_engine_has_heard_it() {
        let halted = View {
            state: State::Halted,
            reason: Some("source_missing".to_owned()),
            ..View::default()
        };
        let seen_now = seen(&row(true), &halted);
        assert_eq!((seen_now.state, seen_now.reason), (SyncState::Paused, None));
        let seen_now = seen(&row(false), &halted);
        assert_eq!(
            (seen_now.state, seen_now.reason.as_deref()),
            (SyncState::Halted, Some("source_missing"))
        );
        let paused = View {
            state: State::Paused,
            ..View::default()
        };
        assert_eq!(seen(&row(false), &paused).state, SyncState::Starting);
        assert_eq!(seen(&row(true), &paused).state, SyncState::Paused);
    }
}
