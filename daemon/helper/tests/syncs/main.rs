//! Targets of syncs through the helper's service, with real files: in this process, and where a helper has to be killed or
//! to be somebody else, in one of its own.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says best by a panic what went wrong"
)]

mod batches;
mod bed;
mod crash;
mod disk;
mod escapes;
mod limits;
mod opening;
mod parts;
mod pieces;
mod root;
