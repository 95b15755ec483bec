//! The program at the far end of a connection to a host, as a library.
//!
//! What the helper starts outlives it: jobs run under [`supervise`], the programs of sessions under [`pane`], and both
//! keep a directory of the [`spool`], which is all anybody needs to know about them.

pub mod askpass;
mod beat;
mod claim;
mod ending;
pub mod facts;
pub mod fd;
pub mod installed;
pub mod log;
pub mod login;
pub mod pane;
mod plain;
mod proc;
mod program;
pub mod pty;
pub mod reports;
pub mod scope;
pub mod serve;
pub mod service;
mod socket;
pub mod spool;
pub mod supervise;
mod sys;
mod target;
pub mod terminal;
pub mod tmux;
pub mod watch;
