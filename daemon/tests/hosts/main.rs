//! Machines reached over ssh or by a command, with the real programs and a real sshd: what people do there, and what they
//! see when the way there breaks.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod accounts;
mod activity;
mod adding;
mod away;
mod bed;
mod boxes;
mod bulk;
mod chaos;
mod credentials;
mod exec;
mod factors;
mod fleet;
mod forwarding;
mod jobs;
mod keys;
mod limits;
mod lines;
mod links;
mod outages;
mod places;
mod providers;
mod reboot;
mod sessions;
mod watch;

use std::time::Duration;

/// How long an answer may take at most.
const PATIENCE: Duration = Duration::from_secs(60);
