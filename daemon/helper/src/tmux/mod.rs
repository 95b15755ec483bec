//! The tmux server in which sessions live: one per owner on a machine, on a socket of its own, with a configuration of
//! its own and an environment in which nothing secret stands.
//!
//! What is asked of it goes over one control-mode client, screens too, each in a reply that is fenced; what else carries a
//! program's output goes through short `tmux` processes and ptys. tmux carries terminals. It is not asked how a program ended; that is in the session's
//! directory.

mod client;
mod conf;
pub mod fence;
pub mod keys;
pub mod parse;
mod place;
pub mod quote;
mod server;
pub mod terminfo;
pub mod version;

pub use self::{
    client::Client,
    place::Place,
    server::{Tmux, View},
    version::Problem,
};

/// Why tmux did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is missing or too old.
    #[error("{}", .0.message)]
    Unusable(Problem),
    /// It refused, in its words.
    #[error("tmux: {0}")]
    Refused(String),
    /// It ended, or does not answer.
    #[error("the tmux server ended or does not answer")]
    Gone,
    /// It could not be started.
    #[error("starting tmux: {0}")]
    Start(String),
    /// An argument cannot be given to it.
    #[error(transparent)]
    Argument(#[from] quote::ZeroByte),
}
