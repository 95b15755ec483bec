//! Directories that are kept equal to one on a host, with the real programs and a real sshd: whatever happens to either
//! side and to the way between them, every file there is an old one or a new one, and in the end all are the same.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod bed;
mod breaker;
mod compare;
mod content;
mod edits;
mod expected;
mod foreign;
mod halts;
mod kills;
mod odd;
mod project;
mod resuming;
mod running;
mod storm;
mod targets;
mod tree;

use std::time::Duration;

/// How long a copy may take at most.
const PATIENCE: Duration = Duration::from_secs(90);
