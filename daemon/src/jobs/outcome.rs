//! What a report on a job means for its state. Pure.

use outlast_client::helper_v1;
use outlast_model::job::{JobState, Outcome, TimeMs, reason};
use tonic::Code;

/// The end of a job: its state, how its program ended if it did, and why where the outcome does not say it.
pub(crate) type End = (JobState, Option<Outcome>, Option<String>);

/// Why a job or session is lost whose directory somebody removed.
pub(crate) const DIRECTORY_GONE: &str = "its directory is gone";

/// An outcome as the helper reports it.
pub(crate) fn from_report(report: helper_v1::Outcome) -> Outcome {
    Outcome {
        exit_code: report.exit_code,
        signal: report.signal,
        ended_at: report.ended_at_ms,
        cpu_us: report.cpu_us,
        max_rss_bytes: report.max_rss_bytes,
        reason: report.reason,
        log_bytes: report.log_bytes,
        dropped_bytes: report.dropped_bytes,
    }
}

/// What the end of a program means. `cancelled_early`: it was asked to end before anybody saw it run, and that wish
/// counts even when the program was faster.
pub(super) fn ended(report: helper_v1::Outcome, cancelled_early: bool) -> (JobState, Outcome) {
    let outcome = from_report(report);
    let state = if cancelled_early {
        JobState::Cancelled
    } else {
        JobState::after(&outcome)
    };
    (state, outcome)
}

/// A job that was cancelled before it was started.
pub(super) fn cancelled_unstarted(now: TimeMs) -> End {
    let outcome = Outcome {
        ended_at: now,
        reason: Some(reason::CANCELLED.to_owned()),
        ..Outcome::default()
    };
    (JobState::Cancelled, Some(outcome), None)
}

/// A job that can never be started.
pub(super) fn not_startable(exit_code: i32, why: String, now: TimeMs) -> End {
    let outcome = Outcome {
        exit_code: Some(exit_code),
        ended_at: now,
        reason: Some(why),
        ..Outcome::default()
    };
    (JobState::Failed, Some(outcome), None)
}

/// The reason to show with a state: not where the state says it already.
pub(crate) fn reason_to_show(outcome: &Outcome) -> Option<String> {
    outcome
        .reason
        .clone()
        .filter(|reason| reason != reason::CANCELLED)
}

/// Whether a directory says that nothing of it was ever started.
pub(super) fn is_fresh(state: &helper_v1::SpoolState) -> bool {
    !state.alive && state.started.is_none() && state.ended.is_none() && state.lost.is_none()
}

/// Whether an answer of the helper's says that trying again cannot help.
pub(crate) fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(exit_code: Option<i32>, signal: Option<i32>, reason: Option<&str>) -> helper_v1::Outcome {
        helper_v1::Outcome {
            exit_code,
            signal,
            reason: reason.map(str::to_owned),
            ended_at_ms: 5,
            log_bytes: 3,
            ..helper_v1::Outcome::default()
        }
    }

    #[test]
    fn reports_mean_states() {
        for (exit_code, signal, reason, state, shown) in [
            (Some(0), None, None, JobState::Succeeded, None),
            (Some(7), None, None, JobState::Failed, None),
            (None, Some(9), None, JobState::Failed, None),
            (
                Some(124),
                None,
                Some("timeout"),
                JobState::Failed,
                Some("timeout"),
            ),
            (
                Some(127),
                None,
                Some("no such program: x"),
                JobState::Failed,
                Some("no such program: x"),
            ),
            (None, Some(15), Some("cancelled"), JobState::Cancelled, None),
            (Some(0), None, Some("cancelled"), JobState::Cancelled, None),
        ] {
            let (got, outcome) = ended(report(exit_code, signal, reason), false);
            assert_eq!(got, state, "{exit_code:?} {signal:?} {reason:?}");
            assert_eq!(reason_to_show(&outcome).as_deref(), shown);
            assert_eq!((outcome.ended_at, outcome.log_bytes), (5, 3));
        }
    }

    #[test]
    fn a_wish_that_came_before_the_start_counts() {
        let (state, outcome) = ended(report(Some(0), None, None), true);
        assert_eq!(state, JobState::Cancelled);
        assert_eq!(outcome.exit_code, Some(0));
    }

    #[test]
    fn only_refusals_are_final() {
        assert!(is_final(Code::InvalidArgument));
        for code in [
            Code::Unavailable,
            Code::Internal,
            Code::ResourceExhausted,
            Code::Cancelled,
            Code::Unknown,
        ] {
            assert!(!is_final(code), "{code:?}");
        }
    }
}
