//! Getting a helper to run on a host, and noticing that it is gone: what is in the way there, what the user's own `ssh`
//! asks and says, and what becomes of a connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod bed;
mod bootstrap;
mod link;
mod shells;
mod ssh;
