//! Jobs: finite work with a durable log and a true exit status.
//!
//! ```text
//!   queued ──► running ──► succeeded | failed | cancelled | lost
//!      └────────────────► cancelled | failed (could not be started)
//! ```

use crate::{id::Id, name::Name};

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
