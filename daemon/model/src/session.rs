//! Sessions: long-lived interactive terminals, held by tmux.
//!
//! ```text
//!   creating ──► running ──► exited | stopped | lost | broken
//!                   ▲            │
//!                   └─ restart, recover (a new run) ─┘
//! ```

use crate::{
    id::Id,
    job::{Outcome, TimeMs},
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
}
