//! The spool with real processes: jobs under the real supervisor, sessions under the real pane in a real terminal.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says best by a panic what went wrong"
)]

mod bench;
mod faults;
mod jobs;
mod panes;
mod reading;
mod waking;
