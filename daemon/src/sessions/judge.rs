//! What a report on a session means for its row. Pure.

use outlast_client::helper_v1::WatchSessionResponse;
use outlast_model::{
    job::{Outcome, TimeMs, reason},
    session::{Session, SessionState},
};

use crate::jobs::outcome::{self, DIRECTORY_GONE};

/// Why a session is lost whose terminal went away.
const TMUX_ENDED: &str = "tmux server ended";

/// Why a session is broken that runs outside of tmux.
pub(super) const NOT_IN_TMUX: &str = "its program runs, but tmux does not know its terminal";

/// What has to be done before a run can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing: start it. Harmless when it was started before.
    Start,
    /// An older run is alive and has to end first.
    EndOlder,
    /// It was asked to stop and was never started: it is stopped.
    NeverStart,
}

/// What is to be done for a session that is `creating`, by the first report on it.
pub(super) fn before_start(session: &Session, report: &WatchSessionResponse) -> Before {
    let state = report.state.clone().unwrap_or_default();
    let run = state.started.as_ref().map(|started| started.run);
    match run {
        Some(run) if run >= session.run => Before::Start,
        Some(_) if state.alive => Before::EndOlder,
        // It is alive and has not said which run it is: starting ours finds out.
        None if state.alive => Before::Start,
        _ if session.stop_grace_ms.is_some() => Before::NeverStart,
        _ => Before::Start,
    }
}

/// What a report says of the run that the row is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Nothing new, or about an older run.
    Same,
    /// The row is to be this.
    Now(Box<Session>),
    /// It runs, but tmux does not know it: broken, if that stays so.
    Outside,
}

/// Judges a report on a session whose run was started.
pub(super) fn judge(session: &Session, report: &WatchSessionResponse) -> Verdict {
    let state = report.state.clone().unwrap_or_default();
    let about_older = state
        .started
        .as_ref()
        .is_some_and(|started| started.run < session.run);
    if about_older || session.state.is_ended() {
        return Verdict::Same;
    }
    let mut now = session.clone();
    if let Some(started) = &state.started {
        now.started_at = Some(started.started_at_ms);
        now.pid = Some(started.pid);
    }
    if let Some(ended) = state.ended {
        let ended = outcome::from_report(ended);
        now.state = SessionState::after(&ended);
        now.reason = reason_to_show(&ended);
        now.pid = None;
        now.outcome = Some(ended);
    } else if let Some(lost) = state.lost {
        now.state = SessionState::Lost;
        now.reason = Some(lost.reason);
        now.pid = None;
    } else if state.alive {
        if !report.in_tmux {
            return Verdict::Outside;
        }
        if state.started.is_none() || session.state == SessionState::Broken {
            return Verdict::Same;
        }
        now.state = SessionState::Running;
        now.reason = None;
    } else if matches!(session.state, SessionState::Creating | SessionState::Broken) {
        // Not there yet, or never was: what is broken stays so until somebody mends it.
        return Verdict::Same;
    } else {
        now.state = SessionState::Lost;
        now.reason = Some(DIRECTORY_GONE.to_owned());
        now.pid = None;
    }
    if now == *session {
        Verdict::Same
    } else {
        Verdict::Now(Box::new(now))
    }
}

/// Whether a report says that the run the row is about is over.
pub(super) fn is_over(session: &Session, report: &WatchSessionResponse) -> bool {
    matches!(judge(session, report), Verdict::Now(now) if now.state.is_ended())
}

/// A session that was asked to stop before it was started.
pub(super) fn stopped_unstarted(session: &Session, now: TimeMs) -> Session {
    let outcome = Outcome {
        ended_at: now,
        reason: Some(reason::STOPPED.to_owned()),
        ..Outcome::default()
    };
    Session {
        state: SessionState::Stopped,
        outcome: Some(outcome),
        reason: None,
        pid: None,
        ..session.clone()
    }
}

/// The reason to show with a state: not where the state says it already.
pub(crate) fn reason_to_show(outcome: &Outcome) -> Option<String> {
    match outcome.reason.as_deref() {
        Some(reason::STOPPED) => None,
        Some(reason::HANGUP) => Some(TMUX_ENDED.to_owned()),
        other => other.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlast_client::helper_v1::{self, Lost, SpoolState, Started};
    use outlast_model::id::Id;

    fn row(state: SessionState, run: u32) -> Session {
        Session {
            id: Id::random(),
            name: "web".parse().unwrap(),
            host: "local".to_owned(),
            cwd: None,
            command: vec![],
            restart_command: None,
            state,
            run,
            created_at: 0,
            started_at: None,
            pid: None,
            outcome: None,
            reason: None,
            size: (80, 24),
            stop_grace_ms: None,
            deleting: false,
            activity: None,
            activity_seq: 0,
            template: None,
            provider: None,
        }
    }

    fn report(alive: bool, run: Option<u32>) -> WatchSessionResponse {
        WatchSessionResponse {
            state: Some(SpoolState {
                alive,
                started: run.map(|run| Started {
                    pid: 7,
                    started_at_ms: 3,
                    run,
                }),
                ..SpoolState::default()
            }),
            in_tmux: alive,
            ..WatchSessionResponse::default()
        }
    }

    fn ended(run: Option<u32>, exit_code: Option<i32>, reason: Option<&str>) -> WatchSessionResponse {
        let mut report = report(false, run);
        if let Some(state) = &mut report.state {
            state.ended = Some(helper_v1::Outcome {
                exit_code,
                reason: reason.map(str::to_owned),
                ended_at_ms: 9,
                ..helper_v1::Outcome::default()
            });
        }
        report
    }

    fn state_after(session: &Session, report: &WatchSessionResponse) -> (SessionState, Option<String>) {
        match judge(session, report) {
            Verdict::Now(now) => (now.state, now.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reports_mean_states() {
        let running = row(SessionState::Running, 1);
        for (report, state, reason) in [
            (ended(Some(1), Some(3), None), SessionState::Exited, None),
            (ended(Some(1), None, Some("stopped")), SessionState::Stopped, None),
            (
                ended(Some(1), None, Some("hangup")),
                SessionState::Lost,
                Some("tmux server ended"),
            ),
            (
                ended(None, Some(127), Some("no such program")),
                SessionState::Exited,
                Some("no such program"),
            ),
            (
                report(false, None),
                SessionState::Lost,
                Some("its directory is gone"),
            ),
        ] {
            let (got, why) = state_after(&running, &report);
            assert_eq!((got, why.as_deref()), (state, reason), "{report:?}");
        }
    }

    #[test]
    fn a_lost_one_is_lost_with_the_evidence() {
        let mut gone = report(false, Some(1));
        gone.state.as_mut().unwrap().lost = Some(Lost {
            reason: "host rebooted".to_owned(),
        });
        let (state, reason) = state_after(&row(SessionState::Running, 1), &gone);
        assert_eq!(
            (state, reason.as_deref()),
            (SessionState::Lost, Some("host rebooted"))
        );
    }

    #[test]
    fn a_started_run_is_running_with_its_pid() {
        match judge(&row(SessionState::Creating, 1), &report(true, Some(1))) {
            Verdict::Now(now) => {
                assert_eq!(now.state, SessionState::Running);
                assert_eq!((now.pid, now.started_at), (Some(7), Some(3)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn word_of_an_older_run_changes_nothing() {
        let second = row(SessionState::Creating, 2);
        assert_eq!(judge(&second, &ended(Some(1), Some(0), None)), Verdict::Same);
        assert_eq!(judge(&second, &report(true, Some(1))), Verdict::Same);
    }

    #[test]
    fn a_program_outside_of_tmux_is_suspected() {
        let mut outside = report(true, Some(1));
        outside.in_tmux = false;
        assert_eq!(judge(&row(SessionState::Running, 1), &outside), Verdict::Outside);
    }

    #[test]
    fn an_ended_session_stays_as_it_ended() {
        assert_eq!(
            judge(&row(SessionState::Stopped, 1), &report(true, Some(1))),
            Verdict::Same
        );
    }

    #[test]
    fn an_older_run_ends_before_the_next_begins() {
        let second = row(SessionState::Creating, 2);
        assert_eq!(before_start(&second, &report(true, Some(1))), Before::EndOlder);
        assert_eq!(before_start(&second, &report(false, Some(1))), Before::Start);
        assert_eq!(before_start(&second, &report(true, Some(2))), Before::Start);
        assert_eq!(before_start(&second, &report(false, None)), Before::Start);
    }

    #[test]
    fn a_stop_before_the_start_means_it_never_starts() {
        let mut stopping = row(SessionState::Creating, 2);
        stopping.stop_grace_ms = Some(5);
        assert_eq!(
            before_start(&stopping, &report(false, Some(1))),
            Before::NeverStart
        );
        assert_eq!(before_start(&stopping, &report(false, None)), Before::NeverStart);
        // It was started after all: then it is ended like any other.
        assert_eq!(before_start(&stopping, &report(true, Some(2))), Before::Start);
        assert_eq!(stopped_unstarted(&stopping, 4).state, SessionState::Stopped);
    }
}
