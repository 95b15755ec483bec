//! Continuous one-way mirrors of a local directory to a directory on a host: what counts ([`rules`]), what is there
//! ([`scan`]), what is to be done about it, and doing it ([`engine`]).
//!
//! This crate decides and reads; what is written is written by the helper on the host, which owns the truth about it.
//! It keeps no state but a cache that may be lost, and knows neither the database nor how a host is reached.

mod cache;
mod delta;
pub mod engine;
mod halt;
mod plan;
mod preview;
mod problem;
mod root;
pub mod rules;
pub mod scan;
mod watch;

pub use self::{
    preview::{Paths, Preview, PreviewError, preview},
    problem::{Problem, ProblemKind},
    root::{Root, RootGone, Seen},
};
