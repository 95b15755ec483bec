//! What the dashboard knows and shows, and how that changes. Pure: no clock, no terminal, no daemon.

use std::collections::{HashMap, VecDeque};

use outlast_client::v1::{self, SessionState};

use super::{
    choice::Choice,
    input::{Deed, Effect, In, Watched},
    order,
    picture::Picture,
    section::Section,
};
use crate::{follow::away, render::people::has_ended};

/// How many ended jobs are kept.
pub const ENDED: usize = 20;

/// How many events are kept.
pub const EVENTS: usize = 200;

/// What the keys mean now.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They move and act.
    #[default]
    Look,
    /// The help is shown; any key takes it away.
    Help,
    /// They make the filter.
    Filter,
    /// They make a line for a session.
    Line { id: String, name: String, text: String },
    /// They answer whether something is to be done.
    Ask { question: String, deed: Deed },
}

/// What the last line says instead of what keys there are.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// It is done.
    Done(String),
    /// It failed: why, and what helps.
    Failed(String, Option<String>),
}

/// What was seen of a session's screen.
#[derive(Debug)]
pub struct Seen {
    pub picture: Picture,
    /// When, in seconds since 1970.
    pub at: f64,
}

/// All there is.
#[derive(Debug)]
pub struct State {
    /// The present time in seconds since 1970. Whoever draws sets it before.
    pub now: f64,
    /// Since when there is no connection to outlastd.
    pub away_since: Option<f64>,
    /// What is shown was asked for at least once.
    pub ready: bool,
    pub hosts: Vec<v1::Host>,
    pub sessions: Vec<v1::Session>,
    pub jobs: Vec<v1::Job>,
    pub syncs: Vec<v1::Sync>,
    /// Oldest first.
    pub events: VecDeque<v1::Event>,
    /// The list that the keys are for.
    pub focus: Section,
    pub choices: [Choice; 5],
    /// Only what has this in it is shown.
    pub filter: String,
    /// Only what waits for somebody is shown.
    pub waiting_only: bool,
    pub mode: Mode,
    pub said: Option<Said>,
    /// Whether the screen of the selected session is shown.
    pub peek: bool,
    /// What was seen of sessions, by id.
    pub seen: HashMap<String, Seen>,
    /// Why the screen of the selected session cannot be seen now.
    pub unseen: Option<String>,
    /// What is looked at.
    pub watched: Option<Watched>,
}

impl State {
    pub fn new(now: f64) -> Self {
        Self {
            now,
            away_since: None,
            ready: false,
            hosts: Vec::new(),
            sessions: Vec::new(),
            jobs: Vec::new(),
            syncs: Vec::new(),
            events: VecDeque::new(),
            focus: Section::Sessions,
            choices: Default::default(),
            filter: String::new(),
            waiting_only: false,
            mode: Mode::default(),
            said: None,
            peek: true,
            seen: HashMap::new(),
            unseen: None,
            watched: None,
        }
    }

    /// Takes what happened; what is to be done because of it.
    pub fn take(&mut self, input: In) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            In::Key(key) => effects.extend(self.press(key)),
            In::Overview(overview) => self.overview(*overview),
            In::Hosts(hosts) => self.hosts = hosts,
            In::Session(session) => put(&mut self.sessions, *session, |session| &session.id),
            In::Job(job) => {
                put(&mut self.jobs, *job, |job| &job.id);
                self.forget_old_jobs();
            }
            In::Sync(sync) => put(&mut self.syncs, *sync, |sync| &sync.id),
            In::Gone(id) => self.forget(&id),
            In::Event(event) => self.event(*event),
            In::Away => self.away_since = Some(self.now),
            In::Screen(id, picture) => {
                self.unseen = None;
                self.seen.insert(
                    id,
                    Seen {
                        picture,
                        at: self.now,
                    },
                );
            }
            In::NoScreen(id, why) => {
                if self.watched.as_ref().is_some_and(|watched| watched.id == id) {
                    self.unseen = Some(why);
                }
            }
            In::Done(text) => self.said = Some(Said::Done(text)),
            In::Failed(why, hint) => self.said = Some(Said::Failed(why, hint)),
        }
        for section in Section::ALL {
            let ids = order::ids(self, section);
            self.choices[section.index()].settle(&ids);
        }
        effects.extend(self.watch());
        effects
    }

    fn overview(&mut self, overview: v1::GetOverviewResponse) {
        self.hosts = overview.hosts;
        self.sessions = overview.sessions;
        self.jobs = overview.live_jobs;
        self.jobs.extend(overview.ended_jobs);
        self.syncs = overview.syncs;
        self.away_since = None;
        self.ready = true;
        let sessions = &self.sessions;
        self.seen
            .retain(|id, _| sessions.iter().any(|session| session.id == *id));
    }

    fn event(&mut self, event: v1::Event) {
        if event.kind.ends_with(".removed") {
            self.forget(&event.subject);
        }
        self.events.push_back(event);
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    fn forget(&mut self, id: &str) {
        self.sessions.retain(|session| session.id != id);
        self.jobs.retain(|job| job.id != id);
        self.syncs.retain(|sync| sync.id != id);
        self.hosts.retain(|host| host.name != id);
        self.seen.remove(id);
    }

    /// Keeps the ended jobs few.
    fn forget_old_jobs(&mut self) {
        order::sort_jobs(&mut self.jobs);
        let mut ended = 0;
        self.jobs.retain(|job| {
            ended += usize::from(has_ended(job));
            !has_ended(job) || ended <= ENDED
        });
    }

    /// What was looked at before is looked at no more; what is to be done about that.
    pub fn look_again(&mut self) -> Vec<Effect> {
        self.watched = None;
        self.watch().into_iter().collect()
    }

    /// Looks at what is selected now.
    fn watch(&mut self) -> Option<Effect> {
        let wanted = self.selected_session().filter(|_| self.is_looking());
        let wanted = wanted.map(|session| Watched {
            id: session.id.clone(),
            runs: session.state() == SessionState::Running,
            run: session.runs,
            up: away(self.link(&session.host, session.link())).is_none(),
        });
        if wanted == self.watched {
            return None;
        }
        self.unseen = None;
        self.watched.clone_from(&wanted);
        Some(Effect::Watch(wanted))
    }

    fn is_looking(&self) -> bool {
        self.peek && self.away_since.is_none() && self.focus == Section::Sessions
    }

    /// How the connection to a host is: what the host says, else what was told with a thing on it.
    pub fn link(&self, host: &str, told: v1::Link) -> v1::Link {
        let known = self.hosts.iter().find(|known| known.name == host);
        known.map_or(told, v1::Host::link)
    }

    /// Which line of a list is selected.
    pub fn selected(&self, section: Section) -> Option<usize> {
        self.choices[section.index()].index(&order::ids(self, section))
    }

    /// The session that the keys are for when they are for sessions.
    pub fn selected_session(&self) -> Option<&v1::Session> {
        let index = self.selected(Section::Sessions)?;
        order::sessions(self).get(index).copied()
    }

    /// As [`State::selected_session`], for jobs.
    pub fn selected_job(&self) -> Option<&v1::Job> {
        let index = self.selected(Section::Jobs)?;
        order::jobs(self).get(index).copied()
    }
}

/// Puts a thing where its older self was, or behind the others.
fn put<T>(things: &mut Vec<T>, thing: T, id: impl Fn(&T) -> &str) {
    match things.iter_mut().find(|known| id(known) == id(&thing)) {
        Some(known) => *known = thing,
        None => things.push(thing),
    }
}
