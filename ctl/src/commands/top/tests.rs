//! The state by itself, and pictures of it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod keys_do;
mod pictures;
mod told;

use outlast_client::v1::{self, Activity, JobState, Link, SessionState, SyncState};
use prost_types::Timestamp;

use super::{
    input::{Effect, In},
    keys::Key,
    state::State,
};

/// The present of these tests, in seconds since 1970.
const NOW: i64 = 1_795_255_200;

fn at(seconds_ago: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: NOW - seconds_ago,
        nanos: 0,
    })
}

fn session(name: &str, activity: Activity, message: Option<&str>, since: i64) -> v1::Session {
    v1::Session {
        id: format!("id-{name}"),
        name: name.to_owned(),
        host: "build1".to_owned(),
        command: vec!["claude".to_owned()],
        state: SessionState::Running.into(),
        activity: activity.into(),
        activity_source: (activity != Activity::Unspecified).then(|| "report".to_owned()),
        activity_message: message.map(str::to_owned),
        activity_since: at(since),
        link: Link::Up.into(),
        created_at: at(3600),
        started_at: at(3600),
        runs: 1,
        ..v1::Session::default()
    }
}

fn job(name: &str, state: JobState, ago: i64) -> v1::Job {
    let ended = !matches!(state, JobState::Queued | JobState::Running);
    v1::Job {
        id: format!("id-{name}"),
        name: Some(name.to_owned()),
        host: "local".to_owned(),
        command: ["make", "test"].map(str::to_owned).into(),
        state: state.into(),
        exit_code: (state == JobState::Failed).then_some(7),
        link: Link::Up.into(),
        created_at: at(ago),
        started_at: at(ago),
        ended_at: at(ago).filter(|_| ended),
        ..v1::Job::default()
    }
}

fn host(name: &str, link: Link) -> v1::Host {
    v1::Host {
        name: name.to_owned(),
        kind: "ssh".to_owned(),
        link: link.into(),
        rtt_ms: Some(12.3),
        error: (link != Link::Up).then(|| "connection timed out".to_owned()),
        observed_at: at(if link == Link::Up { 0 } else { 75 }),
        ..v1::Host::default()
    }
}

fn sync(name: &str, state: SyncState) -> v1::Sync {
    v1::Sync {
        id: format!("id-{name}"),
        name: name.to_owned(),
        source: "/home/me/app".to_owned(),
        host: "build1".to_owned(),
        target: "src/app".to_owned(),
        state: state.into(),
        message: (state == SyncState::Halted).then(|| "the source is empty".to_owned()),
        link: Link::Up.into(),
        ..v1::Sync::default()
    }
}

fn event(seq: u64, kind: &str, subject: &str, data: &str) -> In {
    In::Event(Box::new(v1::Event {
        seq,
        time: at(5),
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        data_json: data.to_owned(),
        ..v1::Event::default()
    }))
}

/// Two sessions wait, one reports an error, and more.
fn overview() -> v1::GetOverviewResponse {
    v1::GetOverviewResponse {
        hosts: vec![
            host("local", Link::Up),
            host("build1", Link::Up),
            host("gpu", Link::Backoff),
        ],
        sessions: vec![
            session("calm", Activity::Idle, None, 600),
            session("late", Activity::Waiting, Some("Run the migration? [y/n]"), 20),
            session("busy", Activity::Working, None, 3),
            session("fell", Activity::Error, Some("rate limit"), 60),
            session("long", Activity::Waiting, Some("Which branch?"), 130),
        ],
        live_jobs: vec![job("nightly", JobState::Running, 40)],
        ended_jobs: vec![
            job("lint", JobState::Failed, 90),
            job("docs", JobState::Succeeded, 30),
        ],
        live_job_count: 1,
        syncs: vec![sync("app", SyncState::Watching), sync("site", SyncState::Halted)],
        ..v1::GetOverviewResponse::default()
    }
}

/// A dashboard that shows that.
fn state() -> State {
    // Far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    let mut state = State::new(NOW as f64);
    state.take(In::Overview(Box::new(overview())));
    state.take(event(
        41,
        "session.state",
        "id-calm",
        r#"{"name":"calm","host":"build1","state":"running"}"#,
    ));
    state.take(event(
        42,
        "host.link",
        "gpu",
        r#"{"link":"backoff","error":"connection timed out"}"#,
    ));
    state
}

/// Presses keys, one a character; the effects of the last.
fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.chars() {
        effects = state.take(In::Key(match key {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            '\u{1b}' => Key::Esc,
            key => Key::Char(key),
        }));
    }
    effects
}
