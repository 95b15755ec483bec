//! Jobs: finite work with a durable log and a true exit status.
//!
//! ```text
//!   queued ──► running ──► succeeded | failed | cancelled | lost
//!      └────────────────► cancelled | failed (could not be started) | lost
//! ```
//!
//! An ended job stays as it ended; to do the work again is a new job.

use std::{fmt, str::FromStr};

use crate::{BadWord, id::Id, name::Name};

/// Milliseconds since 1970, wall clock; for people, never for order.
pub type TimeMs = i64;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Accepted, not started.
    Queued,
    /// Started and not known to have ended.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise, or could not be started.
    Failed,
    /// Ended because it was asked to.
    Cancelled,
    /// It is certain that nothing runs any more and that no status was left.
    Lost,
}

impl JobState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Lost,
    ];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Whether it is over for good.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Lost
        )
    }

    /// Whether it is queued or running: it holds its name, and something is still to come.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !self.is_ended()
    }

    /// Whether a job may go from this state to that one. To stay is always allowed.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            // A job that ended at once may never be seen running.
            Self::Queued => true,
            Self::Running => !matches!(next, Self::Queued),
            _ => self as u8 == next as u8,
        }
    }

    /// The state an outcome stands for.
    #[must_use]
    pub fn after(outcome: &Outcome) -> Self {
        match (outcome.reason.as_deref(), outcome.exit_code, outcome.signal) {
            (Some(reason::CANCELLED), _, _) => Self::Cancelled,
            (_, Some(0), None) => Self::Succeeded,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| BadWord::new("job state", text))
    }
}

/// The words a supervisor gives as the reason of an end. Any other text says why a program could not be started.
pub mod reason {
    /// The job's own time limit ended it.
    pub const TIMEOUT: &str = "timeout";
    /// A job ended because that was asked for.
    pub const CANCELLED: &str = "cancelled";
    /// A session ended because that was asked for.
    pub const STOPPED: &str = "stopped";
    /// A session's program lost its terminal: the tmux server is gone.
    pub const HANGUP: &str = "hangup";
}

/// How a program ended, as its supervisor saw it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Exit code. Absent when a signal ended it.
    pub exit_code: Option<i32>,
    /// Number of the signal that ended it.
    pub signal: Option<i32>,
    /// When it ended.
    pub ended_at: TimeMs,
    /// Processor microseconds used.
    pub cpu_us: Option<u64>,
    /// Peak resident memory of the largest process, bytes.
    pub max_rss_bytes: Option<u64>,
    /// "timeout", "cancelled", "stopped", "hangup", or why it could not be started.
    pub reason: Option<String>,
    /// Length of the log when the program ended.
    pub log_bytes: u64,
    /// Bytes of output that were not kept.
    pub dropped_bytes: u64,
}

/// What is kept of a job. The environment is not: it lies in the spec file only.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: Id,
    /// Its name, if the user gave one.
    pub name: Option<Name>,
    /// Host it runs on.
    pub host: String,
    /// Working directory. Absent: the home directory.
    pub cwd: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it stands.
    pub state: JobState,
    /// When it was accepted.
    pub created_at: TimeMs,
    /// When its program was started.
    pub started_at: Option<TimeMs>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it is in this state, where that is not plain.
    pub reason: Option<String>,
    /// Time limit in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The grace in milliseconds of a wish to end it.
    pub cancel_grace_ms: Option<u64>,
}

impl Job {
    /// Whether it was asked to end and has not yet.
    #[must_use]
    pub fn is_cancelling(&self) -> bool {
        self.state.is_live() && self.cancel_grace_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_ne!(state.is_live(), state.is_ended());
        }
        assert_eq!(
            "Running".parse::<JobState>().unwrap_err().to_string(),
            "\"Running\" is no job state"
        );
    }

    #[test]
    fn an_ended_job_stays_as_it_ended() {
        for from in JobState::ALL {
            for to in JobState::ALL {
                if from.is_ended() {
                    assert_eq!(from.can_become(to), from == to, "{from} to {to}");
                }
                assert!(from.can_become(from), "{from} may stay");
            }
        }
        assert!(!JobState::Running.can_become(JobState::Queued));
        assert!(JobState::Queued.can_become(JobState::Failed));
    }

    #[test]
    fn outcomes_stand_for_states() {
        let outcome = |exit_code, signal, reason: Option<&str>| Outcome {
            exit_code,
            signal,
            reason: reason.map(str::to_owned),
            ..Outcome::default()
        };
        assert_eq!(
            JobState::after(&outcome(Some(0), None, None)),
            JobState::Succeeded
        );
        assert_eq!(JobState::after(&outcome(Some(7), None, None)), JobState::Failed);
        assert_eq!(JobState::after(&outcome(None, Some(9), None)), JobState::Failed);
        assert_eq!(
            JobState::after(&outcome(Some(124), None, Some("timeout"))),
            JobState::Failed
        );
        assert_eq!(
            JobState::after(&outcome(None, Some(15), Some("cancelled"))),
            JobState::Cancelled
        );
        assert_eq!(
            JobState::after(&outcome(Some(0), None, Some("cancelled"))),
            JobState::Cancelled
        );
        assert_eq!(
            JobState::after(&outcome(None, None, None)),
            JobState::Failed,
            "nothing known is no success"
        );
    }
}
