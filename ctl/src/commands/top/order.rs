//! What is shown of what is known, and in which order: what waits for somebody first, then what went wrong, then the
//! rest.

use std::cmp::Reverse;

use outlast_client::v1::{self, Activity, JobState, Link, SessionState, SyncState};

use super::{section::Section, state::State};
use crate::render::{
    json,
    people::{has_ended, job_handle},
    sync::wants_attention,
    time::seconds,
};

/// How much a thing wants somebody. The first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It goes on when somebody answers.
    Waits,
    /// Something went wrong.
    Wrong,
    Well,
}

pub fn of_session(session: &v1::Session) -> Rank {
    match (session.state(), session.activity()) {
        (SessionState::Running, Activity::Waiting) => Rank::Waits,
        (SessionState::Running, Activity::Error) | (SessionState::Broken | SessionState::Lost, _) => {
            Rank::Wrong
        }
        (SessionState::Exited, _) if has_crashed(session) => Rank::Wrong,
        _ => Rank::Well,
    }
}

/// Whether its program ended badly and nobody asked for that. A shell ends with what the last command in it ended with.
fn has_crashed(session: &v1::Session) -> bool {
    let failed = session.exit_code.is_some_and(|code| code != 0);
    session.signal.is_some() || (failed && !session.command.is_empty())
}

/// A job waits for nobody.
pub fn of_job(job: &v1::Job) -> Rank {
    match job.state() {
        JobState::Failed | JobState::Lost => Rank::Wrong,
        _ => Rank::Well,
    }
}

pub fn of_sync(sync: &v1::Sync) -> Rank {
    match sync.state() {
        SyncState::Halted => Rank::Waits,
        _ if wants_attention(sync) => Rank::Wrong,
        _ => Rank::Well,
    }
}

pub fn of_host(host: &v1::Host) -> Rank {
    match host.link() {
        Link::AuthFailed | Link::HostkeyChanged => Rank::Waits,
        Link::Down | Link::Backoff => Rank::Wrong,
        Link::Up | Link::Connecting | Link::Unspecified => Rank::Well,
    }
}

/// How many of some ranks wait, and how many went wrong.
pub fn count(ranks: impl Iterator<Item = Rank>) -> (usize, usize) {
    ranks.fold((0, 0), |(waits, wrong), rank| match rank {
        Rank::Waits => (waits + 1, wrong),
        Rank::Wrong => (waits, wrong + 1),
        Rank::Well => (waits, wrong),
    })
}

/// Sessions that are shown. Of those that wait the one that waits longest is first, the rest stand by name.
pub fn sessions(state: &State) -> Vec<&v1::Session> {
    let words = |session: &v1::Session| {
        let state = json::session_state(session.state()).unwrap_or_default();
        let activity = json::activity(session.activity()).unwrap_or_default();
        let said = [&session.activity_message, &session.activity_source].map(Option::as_deref);
        let [message, source] = said.map(Option::unwrap_or_default);
        let command = session.command.join(" ");
        [
            &session.name,
            &session.host,
            &state,
            &activity,
            message,
            source,
            &command,
        ]
        .join("\n")
    };
    let fits = |session: &&v1::Session| state.wants(of_session(session), || words(session));
    let mut shown: Vec<_> = state.sessions.iter().filter(fits).collect();
    let key = |session: &v1::Session| {
        let rank = of_session(session);
        let since = session.activity_since.filter(|_| rank == Rank::Waits);
        (
            rank,
            is_over(session),
            since.map(|time| (time.seconds, time.nanos)),
        )
    };
    shown.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name)));
    shown
}

/// Whether nothing goes on in a session any more, and nothing is wrong with that.
fn is_over(session: &v1::Session) -> bool {
    matches!(session.state(), SessionState::Exited | SessionState::Stopped)
}

/// Jobs that are shown: live ones, then those that ended, each newest first.
pub fn jobs(state: &State) -> Vec<&v1::Job> {
    let words = |job: &v1::Job| {
        let state = json::job_state(job.state()).unwrap_or_default();
        [job_handle(job), &job.host, &state, &job.command.join(" ")].join("\n")
    };
    let fits = |job: &&v1::Job| state.wants(of_job(job), || words(job));
    let mut shown: Vec<_> = state.jobs.iter().filter(fits).collect();
    shown.sort_by_key(|job| job_key(job));
    shown
}

/// Puts jobs into the order in which they are shown.
pub fn sort_jobs(jobs: &mut [v1::Job]) {
    jobs.sort_by_key(job_key);
}

/// Live ones first; then by when they ended, or began, the newest first.
fn job_key(job: &v1::Job) -> (bool, Reverse<(i64, i32)>) {
    let ended = job.ended_at.filter(|_| has_ended(job));
    let time = ended.or(job.created_at).unwrap_or_default();
    (has_ended(job), Reverse((time.seconds, time.nanos)))
}

/// Syncs that are shown.
pub fn syncs(state: &State) -> Vec<&v1::Sync> {
    let words = |sync: &v1::Sync| {
        let state = json::sync_state(sync.state()).unwrap_or_default();
        [&sync.name, &sync.host, &sync.source, &sync.target, &state]
            .map(String::as_str)
            .join("\n")
    };
    let fits = |sync: &&v1::Sync| state.wants(of_sync(sync), || words(sync));
    let mut shown: Vec<_> = state.syncs.iter().filter(fits).collect();
    shown.sort_by(|a, b| (of_sync(a), &a.name).cmp(&(of_sync(b), &b.name)));
    shown
}

/// Hosts that are shown; the daemon's own order where nothing is the matter.
pub fn hosts(state: &State) -> Vec<&v1::Host> {
    let words = |host: &v1::Host| {
        let link = json::link(host.link()).unwrap_or_default();
        let [address, error] = [&host.address, &host.error].map(|text| text.as_deref().unwrap_or_default());
        [&host.name, address, error, &link].join("\n")
    };
    let fits = |host: &&v1::Host| state.wants(of_host(host), || words(host));
    let mut shown: Vec<_> = state.hosts.iter().filter(fits).collect();
    shown.sort_by_key(|host| of_host(host));
    shown
}

/// Events that are shown, the newest first. What waits is always among them.
pub fn events(state: &State) -> Vec<&v1::Event> {
    let words = |event: &v1::Event| [&*event.kind, &event.subject, &event.data_json].join("\n");
    let fits = |event: &&v1::Event| state.wants(Rank::Waits, || words(event));
    state.events.iter().rev().filter(fits).collect()
}

/// What the lines of a list are about, in their order.
pub fn ids(state: &State, section: Section) -> Vec<String> {
    match section {
        Section::Sessions => sessions(state).iter().map(|session| session.id.clone()).collect(),
        Section::Jobs => jobs(state).iter().map(|job| job.id.clone()).collect(),
        Section::Syncs => syncs(state).iter().map(|sync| sync.id.clone()).collect(),
        Section::Hosts => hosts(state).iter().map(|host| host.name.clone()).collect(),
        Section::Events => events(state).iter().map(|event| event.seq.to_string()).collect(),
    }
}

impl State {
    /// Whether something of this rank is wanted, about which these are the words.
    fn wants(&self, rank: Rank, words: impl Fn() -> String) -> bool {
        if self.waiting_only && rank != Rank::Waits {
            return false;
        }
        self.filter.is_empty() || words().to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// Seconds since a time. None without one.
    pub fn age(&self, time: Option<&prost_types::Timestamp>) -> Option<f64> {
        time.map(|time| (self.now - seconds(time)).max(0.0))
    }
}
