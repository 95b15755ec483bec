//! An engine at work on real directories, against the helper that hosts run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod bed;
mod copies;
mod halts;
mod large;
mod line;
mod opening;
mod parts;
mod returns;
mod rules;
