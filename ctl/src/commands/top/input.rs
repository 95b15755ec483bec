//! What comes to the dashboard, and what it wants done.

use outlast_client::v1;

use super::{keys::Key, picture::Picture};
use crate::error::{Failure, Result};

/// Something happened.
#[derive(Debug)]
pub enum In {
    /// A key was pressed.
    Key(Key),
    /// Everything, after a beginning or a gap.
    Overview(Box<v1::GetOverviewResponse>),
    /// All hosts.
    Hosts(Vec<v1::Host>),
    Session(Box<v1::Session>),
    Job(Box<v1::Job>),
    Sync(Box<v1::Sync>),
    /// There is no such thing any more: its id.
    Gone(String),
    /// An entry of the log, whatever has to be asked because of it.
    Event(Box<v1::Event>),
    /// The connection to outlastd broke; it is being made again.
    Away,
    /// What the session of this id shows.
    Screen(String, Picture),
    /// Why that cannot be seen.
    NoScreen(String, String),
    /// Something that was wanted is done, in words.
    Done(String),
    /// Something that was wanted failed: why, and what helps.
    Failed(String, Option<String>),
}

impl In {
    /// Something failed; what cannot be told goes on as it is.
    pub fn failed(failure: Failure) -> Result<Self> {
        match failure.message() {
            Some(why) => Ok(Self::Failed(why.to_owned(), failure.advice().map(str::to_owned))),
            None => Err(failure),
        }
    }
}

/// Something is to be done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Leave with this exit code.
    Quit(u8),
    /// Give the terminal to a session until it is left.
    Attach(Box<v1::Session>),
    /// Tell outlastd to do something.
    Do(Deed),
    /// Look at a session from now on, at nothing else; at none without one.
    Watch(Option<Watched>),
}

/// What the screen of a session depends on, apart from what its program writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub id: String,
    /// Its program runs, so that there is something to wait for.
    pub runs: bool,
    /// How often it was started.
    pub run: u32,
    /// Its host is there.
    pub up: bool,
}

/// What somebody at the dashboard can have done. Each names the thing by id, and as a person would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Type a line into a session.
    Send { id: String, name: String, text: String },
    /// Press Ctrl-C in a session.
    Interrupt { id: String, name: String },
    /// End the program of a session.
    Stop { id: String, name: String },
    /// End a job.
    Cancel { id: String, name: String },
}
