//! What counts, compared with git itself: the same trees, patterns and tracked files for both.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod bed;
mod index;
mod named;
mod random;
