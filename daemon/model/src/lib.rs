//! The nouns, states and rules of outlast, as pure values.
//!
//! Everything here is data in, data out: no clock, no I/O, no SQL, no gRPC, no async.

pub mod activity;
pub mod admission;
pub mod event;
pub mod host;
pub mod id;
pub mod job;
pub mod name;
pub mod near;
pub mod notice;
pub mod provider;
pub mod session;
pub mod sync;
pub mod template;

/// A word that stands for nothing of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {what}")]
pub struct BadWord {
    /// What it should have been.
    what: &'static str,
    /// What it was.
    word: String,
}

impl BadWord {
    /// Longest piece of the word that is kept for the message, in characters.
    const SHOWN: usize = 40;

    pub(crate) fn new(what: &'static str, word: &str) -> Self {
        Self {
            what,
            word: word.chars().take(Self::SHOWN).collect(),
        }
    }
}
