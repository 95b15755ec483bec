//! The nouns, states and rules of outlast, as pure values.
//!
//! Everything here is data in, data out: no clock, no I/O, no SQL, no gRPC, no async.

pub mod admission;
pub mod event;
pub mod id;
pub mod job;
pub mod name;
pub mod session;
