//! Sessions: long-lived interactive terminals, held by tmux.
//!
//! ```text
//!   creating ──► running ──► exited | stopped | lost | broken
//!                   ▲            │
//!                   └─ restart, recover (a new run) ─┘
//! ```
//!
//! Within one run an ended session stays ended. A new run has a higher number and begins at `creating`.

use std::{fmt, str::FromStr};

use crate::{
    BadWord,
    activity::Activity,
    id::Id,
    job::{Outcome, TimeMs, reason},
    name::Name,
};

/// Whether a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Accepted; its terminal is being made.
    Creating,
    /// Its program runs.
    Running,
    /// Its program ended by itself.
    Exited,
    /// Its program was ended because that was asked for.
    Stopped,
    /// tmux and the session's directory disagree.
    Broken,
    /// It is certain that its program runs no more and left no status.
    Lost,
    /// Its host is away and it was never seen.
    Unknown,
}

impl SessionState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Creating,
        Self::Running,
        Self::Exited,
        Self::Stopped,
        Self::Broken,
        Self::Lost,
        Self::Unknown,
    ];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Stopped => "stopped",
            Self::Broken => "broken",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the present run is over for good.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Exited | Self::Stopped | Self::Lost)
    }

    /// Whether its program runs, is about to, or may run (`unknown`, `broken`).
    #[must_use]
    pub const fn is_live(self) -> bool {
        !self.is_ended()
    }

    /// Whether a session may go from this state to that one within one run. To stay is always allowed.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Creating | Self::Unknown => true,
            // What was seen running was created, and was seen.
            Self::Running => !matches!(next, Self::Creating | Self::Unknown),
            // Only an end mends it within the run.
            Self::Broken => matches!(next, Self::Broken) || next.is_ended(),
            Self::Exited | Self::Stopped | Self::Lost => self as u8 == next as u8,
        }
    }

    /// The state an outcome stands for.
    #[must_use]
    pub fn after(outcome: &Outcome) -> Self {
        match outcome.reason.as_deref() {
            Some(reason::STOPPED) => Self::Stopped,
            Some(reason::HANGUP) => Self::Lost,
            _ => Self::Exited,
        }
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionState {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| BadWord::new("session state", text))
    }
}

/// What is kept of a session. The environment is not: it lies in the spec file only.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// Host it runs on.
    pub host: String,
    /// Working directory. Absent: the home directory.
    pub cwd: Option<String>,
    /// Program and arguments. Empty: the login shell.
    pub command: Vec<String>,
    /// What restart and recover run instead, through `/bin/sh -c`.
    pub restart_command: Option<String>,
    /// Whether it lives.
    pub state: SessionState,
    /// Which run of the program is wanted or there: 1 after creation, one more for each restart or recovery.
    pub run: u32,
    /// When it was accepted.
    pub created_at: TimeMs,
    /// When the present run was started.
    pub started_at: Option<TimeMs>,
    /// Process id of the program of the present run.
    pub pid: Option<u32>,
    /// How the present run ended.
    pub outcome: Option<Outcome>,
    /// Why it is in this state, where that is not plain.
    pub reason: Option<String>,
    /// Columns and rows until someone attaches.
    pub size: (u16, u16),
    /// The grace in milliseconds of a wish to stop the present run.
    pub stop_grace_ms: Option<u64>,
    /// It was asked to go; its directory and tmux session are being removed.
    pub deleting: bool,
    /// What the present run does. Absent: not known.
    pub activity: Option<Activity>,
    /// Number of the event that said so. 0: nothing was said yet.
    pub activity_seq: u64,
    /// Name of the template it was made from.
    pub template: Option<String>,
    /// Name of the provider whose program it runs, whatever that is called.
    pub provider: Option<String>,
}

impl Session {
    /// Whether it was asked to stop and has not yet.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.state.is_live() && self.stop_grace_ms.is_some()
    }

    /// Whether this may be replaced by `next`: the same run goes on legally, or a later run has begun.
    #[must_use]
    pub fn can_become(&self, next: &Self) -> bool {
        next.run > self.run || (next.run == self.run && self.state.can_become(next.state))
    }

    /// The same session about to begin its next run.
    #[must_use]
    pub fn next_run(&self) -> Self {
        Self {
            state: SessionState::Creating,
            run: self.run.saturating_add(1),
            started_at: None,
            pid: None,
            outcome: None,
            reason: None,
            stop_grace_ms: None,
            activity: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for state in SessionState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_ne!(state.is_live(), state.is_ended());
        }
        assert_eq!(
            "gone".parse::<SessionState>().unwrap_err().to_string(),
            "\"gone\" is no session state"
        );
    }

    #[test]
    fn within_a_run_an_ended_session_stays_as_it_ended() {
        for from in SessionState::ALL {
            for to in SessionState::ALL {
                if from.is_ended() {
                    assert_eq!(from.can_become(to), from == to, "{from} to {to}");
                }
                if from == SessionState::Broken {
                    assert_eq!(from.can_become(to), to == from || to.is_ended(), "{from} to {to}");
                }
            }
            assert!(from.can_become(from), "{from} may stay");
        }
    }

    #[test]
    fn outcomes_stand_for_states() {
        let outcome = |reason: Option<&str>| Outcome {
            reason: reason.map(str::to_owned),
            ..Outcome::default()
        };
        assert_eq!(SessionState::after(&outcome(None)), SessionState::Exited);
        assert_eq!(
            SessionState::after(&outcome(Some("no such program"))),
            SessionState::Exited
        );
        assert_eq!(
            SessionState::after(&outcome(Some("stopped"))),
            SessionState::Stopped
        );
        assert_eq!(SessionState::after(&outcome(Some("hangup"))), SessionState::Lost);
    }
}
