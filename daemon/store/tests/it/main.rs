//! The store from outside: what it keeps, what it refuses, and what it does when its files are not as it left them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod child;
mod crash;
mod damage;
mod events;
mod fixture;
mod hosts;
mod jobs;
mod providers;
mod requests;
mod sessions;
mod syncs;
