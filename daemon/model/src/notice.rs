//! What somebody is told who is not looking, by which way, and when not. Pure.
//!
//! A [`Desk`] hears every change of sessions and jobs and gives out [`Notice`]s. What may be told is decided by [`Rules`];
//! what was told stays told until it was something else for a while; what comes together becomes one notice; and what is
//! over again by then is not told at all.
//!
//! Text of programs reaches this module cleaned: in one line, without what does something to a terminal.

mod desk;
mod rules;
mod words;

use std::{collections::BTreeSet, fmt, str::FromStr};

pub use self::{
    desk::Desk,
    rules::{Globs, Rule, Rules},
};
use crate::BadWord;

/// What a session or a job has come to. In the order of how much it wants somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A session waits for an answer.
    Waiting,
    /// A session reports an error.
    Error,
    /// A session is broken.
    Broken,
    /// A session or a job is lost.
    Lost,
    /// A job failed.
    Failed,
    /// The program of a session ended by itself.
    Exited,
    /// A session has nothing to do.
    Idle,
    /// A job succeeded.
    Succeeded,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Error,
        Self::Broken,
        Self::Lost,
        Self::Failed,
        Self::Exited,
        Self::Idle,
        Self::Succeeded,
    ];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Error => "error",
            Self::Broken => "broken",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Exited => "exited",
            Self::Idle => "idle",
            Self::Succeeded => "succeeded",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| BadWord::new("state to tell of", text))
    }
}

/// A way to reach somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A notification on the desktop of this machine.
    Desktop,
    /// The terminals that are attached to other sessions.
    Terminal,
    /// A command of the user's.
    Command,
    /// A URL that something is posted to.
    Webhook,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Desktop, Self::Terminal, Self::Command, Self::Webhook];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Terminal => "terminal",
            Self::Command => "command",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.as_str() == text)
            .ok_or_else(|| BadWord::new("way to tell", text))
    }
}

/// Reads a list such as `waiting, error`: words with commas between, or `all`, or `none`, which nothing is as well.
///
/// # Errors
/// The first word that is none of these.
pub fn list<T: FromStr<Err = BadWord> + Ord>(
    text: &str,
    all: impl IntoIterator<Item = T>,
) -> Result<BTreeSet<T>, BadWord> {
    match text.trim() {
        "" | "none" => Ok(BTreeSet::new()),
        "all" => Ok(all.into_iter().collect()),
        words => words.split(',').map(|word| word.trim().parse()).collect(),
    }
}

/// Writes a list so that [`list`] reads the same.
#[must_use]
pub fn listed<T: fmt::Display>(words: &BTreeSet<T>) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<_> = words.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// What kind of thing is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noun {
    /// A session.
    Session,
    /// A job.
    Job,
}

/// A session or a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// Which of both.
    pub noun: Noun,
    /// Its id.
    pub id: String,
    /// What users call it: its name, or the beginning of its id where it has none.
    pub name: String,
    /// Host it runs on.
    pub host: String,
}

/// A state and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it has come to.
    pub state: State,
    /// What it asks, why it ended, or nothing. Cleaned.
    pub text: String,
}

/// One change that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    thing: Thing,
    said: Said,
    /// For how many it stands: itself, and those that were held back before it.
    count: u32,
}

/// What happened to a session or a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A session does something else.
    Does {
        /// Which.
        thing: Thing,
        /// What. Absent: something nobody is told of.
        now: Option<Said>,
        /// Somebody answered what it did before: what it asks now is asked anew.
        answered: bool,
    },
    /// It stands otherwise. Absent: in a way nobody is told of.
    Stands {
        /// What.
        thing: Thing,
        /// How.
        now: Option<Said>,
        /// What it did before is over.
        over: bool,
    },
    /// It was removed; this is its id.
    Gone(String),
}

/// What is told at once by one channel. It tells of one thing at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// One line.
    pub title: String,
    /// What there is to say beside that: some lines, or nothing.
    pub body: String,
    /// Both in one line, for where there is no more: `2 sessions wait: a (Go on?), b (Sure?)`.
    pub sentence: String,
    /// Of all the states it tells of, the one that wants somebody most.
    pub state: State,
    /// What it tells of.
    pub things: Vec<Thing>,
    /// For how many changes it stands: one of each thing, and those that were held back before. 1 at least.
    pub count: u32,
}

impl Notice {
    /// Puts into words what happened, in the order of how much it wants somebody, and then of names. None when nothing did.
    fn of(mut told: Vec<Told>) -> Option<Self> {
        told.sort_by(|a, b| {
            (a.said.state, a.thing.noun, &a.thing.name).cmp(&(b.said.state, b.thing.noun, &b.thing.name))
        });
        let state = told.iter().map(|told| told.said.state).min()?;
        Some(Self {
            title: words::title(&told),
            body: words::body(&told),
            sentence: words::sentence(&told),
            state,
            count: told.iter().fold(0, |sum, told| sum.saturating_add(told.count)),
            things: told.into_iter().map(|told| told.thing).collect(),
        })
    }

    /// The notice that only shows that a channel works.
    #[must_use]
    pub fn test() -> Self {
        Self {
            title: "outlast can tell you".to_owned(),
            body: "This is a test.".to_owned(),
            sentence: "outlast can tell you: This is a test.".to_owned(),
            state: State::Waiting,
            things: Vec::new(),
            count: 1,
        }
    }

    /// Names of what it tells of, of one kind.
    pub fn names(&self, noun: Noun) -> impl Iterator<Item = &str> {
        let of_kind = self.things.iter().filter(move |thing| thing.noun == noun);
        of_kind.map(|thing| thing.name.as_str())
    }

    /// The host that all of it is on. Absent when there are several.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        words::common_host(self.things.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_lists_read_back() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        for channel in Channel::ALL {
            assert_eq!(channel.as_str().parse(), Ok(channel));
        }
        let states = list("lost,  waiting", State::ALL).unwrap();
        assert_eq!(listed(&states), "waiting, lost");
        assert_eq!(list(&listed(&states), State::ALL), Ok(states));
        assert_eq!(list("all", State::ALL).unwrap().len(), State::ALL.len());
        let none = list::<State>("none", State::ALL).unwrap();
        assert_eq!(
            (listed(&none), list("", State::ALL)),
            ("none".to_owned(), Ok(none))
        );
        assert_eq!(
            list("waiting, waitng", State::ALL).unwrap_err().to_string(),
            "\"waitng\" is no state to tell of"
        );
    }
}
