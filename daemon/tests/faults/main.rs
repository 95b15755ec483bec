//! Bad input and faults: what users must see when something around outlast is wrong, with the real programs.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod config;
mod disk;
mod doors;
mod helper;
mod names;
mod reboot;
mod secrets;
mod tmux;

use std::time::Duration;

/// How long an answer may take at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `run -d` for a job that lives until it is ended.
const SLEEPER: [&str; 5] = ["run", "-d", "--", "sleep", "1000"];
