//! One sync at work: looks at its source, sends what the host lacks, and does it again whenever something changes.
//!
//! It is one task. What it knows of the host comes from the record that the helper keeps there; what it keeps itself is
//! a cache that may be lost. It decides nothing about what a sync is called, where it is written down, or how its host
//! is reached.

mod adopt;
mod connect;
mod copy;
mod doubt;
mod flush;
mod lane;
mod large;
mod limit;
mod message;
mod outlet;
mod pass;
mod produce;
mod progress;
mod read;
mod refused;
mod serve;
mod session;
mod source;
mod timers;
mod view;
mod way;
mod window;
mod work;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::rules::{Places, RulesConfig};

pub use self::{
    view::{Progress, State, View},
    way::{Load, Way},
};

/// What a sync does about what is gone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It goes there too, if the sync wrote it.
    Mirror,
    /// Nothing is deleted.
    Update,
}

/// When so much is to be deleted at once that somebody should say so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// More files than this.
    pub deletions: u64,
    /// And a larger part of all files than this, between 0 and 1.
    pub share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deletions: 200,
            share: 0.5,
        }
    }
}

/// What a sync is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its id, a UUID.
    pub id: String,
    /// The directory here, absolute.
    pub source: PathBuf,
    /// The directory there: absolute, or relative to the home directory.
    pub target: Vec<u8>,
    /// What it does about what is gone here.
    pub mode: Mode,
    /// What counts.
    pub rules: RulesConfig,
    /// Where git keeps its configuration.
    pub places: Places,
    /// A directory of this sync's own for what may be lost. Made when it is missing.
    pub cache: PathBuf,
    /// When it halts.
    pub limits: Limits,
    /// Bytes a second it may send.
    pub limit_bytes: Option<u64>,
    /// What is there at paths of the source is replaced, until everything is there once.
    pub occupied: bool,
    /// It was halted for this when it ended last.
    pub halted: Option<Halt>,
}

/// Why nothing is to be done before somebody says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Machine-readable.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// What an engine is told.
#[derive(Debug)]
pub enum Command {
    /// Look at everything, and answer when it is there.
    Flush(oneshot::Sender<Result<(), Refused>>),
    /// Do nothing until resumed.
    Pause,
    /// Go on.
    Resume {
        /// Also where it is halted.
        confirm: bool,
    },
    /// Go on if what it is halted for is not so any more. Answered once that was looked at.
    LookAgain(oneshot::Sender<Result<(), Refused>>),
    /// Replace what is in conflict at and below some paths by what the source has. Answered when that is about to be sent.
    Adopt {
        /// Below the source.
        paths: Vec<Vec<u8>>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// Compare everything by content.
    Reset {
        /// Replace what is there at paths of the source.
        adopt: bool,
    },
}

/// The reason of a refusal: nothing is in conflict where that is to be solved.
pub const NO_CONFLICT: &str = "no_conflict";

/// Why a flush cannot come to an end, or nothing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// "paused", a reason to halt, or a word for the error.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// Works until it is stopped, the host is removed, or nobody holds the other end of the inbox.
pub async fn run(
    config: Config,
    way: Arc<dyn Way>,
    paused: bool,
    inbox: mpsc::Receiver<Command>,
    view: watch::Sender<View>,
    stop: CancellationToken,
) {
    work::Engine::new(config, way, paused, inbox, view, stop)
        .await
        .run()
        .await;
}
