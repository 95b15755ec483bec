//! The JSON files of a spool directory. Fields that are not known are ignored, so that older helpers can read newer
//! directories.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of everything that is written to a spool directory.
pub const SPOOL_VERSION: u32 = 1;

/// What a directory of the spool is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A job, run once by `supervise`.
    Job,
    /// A session, whose program is run by `pane`, again and again if wanted.
    Session,
}

/// What the variables of a spec are put on top of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// The login environment of the user on the host.
    Login,
}

/// The file `spec`: what to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Version of the spool, [`SPOOL_VERSION`].
    pub version: u32,
    /// Job or session.
    pub kind: Kind,
    /// Id of the job or session.
    pub id: String,
    /// Its name, if it has one.
    #[serde(default)]
    pub name: Option<String>,
    /// Name of the host as the daemon knows it.
    #[serde(default)]
    pub host: String,
    /// Program and arguments. Empty for a session: the login shell.
    #[serde(default)]
    pub command: Vec<String>,
    /// A line for `/bin/sh -c` that is run in place of `command` when a session is restarted.
    #[serde(default)]
    pub restart_command: Option<String>,
    /// Absolute path of the working directory. None: the home directory.
    #[serde(default)]
    pub cwd: Option<String>,
    /// What `env` is put on top of, in a spec on its way to a helper. No `spec` file has it: the helper writes the whole
    /// environment there. None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The whole environment of the program, unless there is a base. Empty and no base: that of the helper.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Milliseconds after which a job is ended.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Bytes of output that are kept. None: all.
    #[serde(default)]
    pub log_max_bytes: Option<u64>,
    /// Milliseconds since 1970 when it was made.
    #[serde(default)]
    pub created_at_ms: i64,
    /// Name of the template a session was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Name of the provider whose program a session runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// The file `report`: who runs it. Written before the program is started and again when its process is known, which is
/// before the first instruction of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the spool, [`SPOOL_VERSION`].
    pub version: u32,
    /// Which run it is, from 1. Jobs have one.
    pub run: u32,
    /// Process of the supervisor or pane.
    pub supervisor_pid: u32,
    /// Content of `/proc/sys/kernel/random/boot_id` when it was started.
    pub boot_id: String,
    /// Process of the program. None: not started yet, or it could not be.
    #[serde(default)]
    pub pid: Option<u32>,
    /// When that process was started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    #[serde(default)]
    pub pid_start_time: Option<u64>,
    /// Process session the program was started in: a job's own (the same number as `pid`), or the terminal's of a pane.
    #[serde(default)]
    pub session_id: Option<u32>,
    /// Milliseconds since 1970 when the program was started.
    #[serde(default)]
    pub started_at_ms: Option<i64>,
}

/// The file `status`: how the main process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the spool, [`SPOOL_VERSION`].
    pub version: u32,
    /// Which run ended.
    pub run: u32,
    /// Exit code; 127 or 126 when the program could not be started, 124 when it ran out of time. None: see `signal`.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Number of the signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Milliseconds since 1970 when it ended.
    pub ended_at_ms: i64,
    /// Processor microseconds used by it and the children it waited for.
    #[serde(default)]
    pub cpu_us: Option<u64>,
    /// Peak resident memory in bytes of the largest of these processes.
    #[serde(default)]
    pub max_rss_bytes: Option<u64>,
    /// `timeout`, `cancelled`, `stopped`, `hangup`, or why it could not be started. None: it ended by itself.
    #[serde(default)]
    pub reason: Option<String>,
    /// Length of the log when it ended.
    #[serde(default)]
    pub log_bytes: u64,
    /// Bytes of output that were not kept till then, for a limit or a full disk.
    #[serde(default)]
    pub dropped_bytes: u64,
}
