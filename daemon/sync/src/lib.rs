//! Continuous one-way mirrors of a local directory to a directory on a host: what counts ([`rules`]), what is there
//! ([`scan`]).
//!
//! This crate decides and reads; what is written is written by the helper on the host, which owns the truth about it.
//! It keeps no state but a cache that may be lost, and knows neither the database nor how a host is reached.

mod problem;
mod root;
pub mod rules;
pub mod scan;

pub use self::{
    problem::{Problem, ProblemKind},
    root::{Root, RootGone, Seen},
};
