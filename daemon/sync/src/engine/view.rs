//! What an engine shows of itself.

use std::{sync::Arc, time::SystemTime};

use crate::Problem;

/// Problems that are told one by one; of more only the number is told.
pub const PROBLEMS: usize = 1000;

/// What a sync is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It has just begun.
    #[default]
    Starting,
    /// It looks at the whole source.
    Scanning,
    /// All that can be there is there; changes are waited for.
    Watching,
    /// Changes are on their way.
    Pushing,
    /// It was told to pause.
    Paused,
    /// It does not go on before somebody confirms that it should.
    Halted,
    /// The host is away. Changes are collected.
    Disconnected,
    /// It cannot go on, and tries again by itself.
    Error,
}

/// How far it is with what there is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files that were done.
    pub done_files: u64,
    /// Bytes of content that were done.
    pub done_bytes: u64,
    /// Files there are to do, with those that were done.
    pub total_files: u64,
    /// Bytes there are to do, with those that were done.
    pub total_bytes: u64,
    /// Bytes a second, lately.
    pub rate_bytes: u64,
}

/// What is known of a sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// What it is doing.
    pub state: State,
    /// Machine-readable cause of the state.
    pub reason: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// Files that are on the host as they are here.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that are not yet.
    pub pending_files: u64,
    /// Bytes in them.
    pub pending_bytes: u64,
    /// What is not as it should be, at most [`PROBLEMS`].
    pub problems: Arc<Vec<Problem>>,
    /// How many problems there are.
    pub problem_count: u64,
    /// When everything was last there.
    pub synced_at: Option<SystemTime>,
    /// The directory there, absolute. None: the host was not reached yet.
    pub target: Option<Vec<u8>>,
    /// Why changes are noticed by polling. None: by events.
    pub watch_problem: Option<String>,
    /// What it does now.
    pub progress: Option<Progress>,
}
