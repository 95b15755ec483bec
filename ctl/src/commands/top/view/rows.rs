//! What stands in each list.

use outlast_client::v1::{self, Activity, Link, SessionState};
use serde_json::Value;

use super::row::Row;
use crate::{
    commands::top::{
        order::{self, Rank},
        section::Section,
        state::State,
    },
    follow::away,
    render::{
        away::next_try,
        escape::command,
        json,
        people::{self, exit, has_ended, job_handle, job_tone, link_tone, rough, session_tone, short},
        style::Tone,
        sync,
    },
};

/// The rows of a list.
pub fn rows(state: &State, section: Section) -> Vec<Row> {
    match section {
        Section::Sessions => order::sessions(state)
            .into_iter()
            .map(|it| session(state, it))
            .collect(),
        Section::Jobs => order::jobs(state).into_iter().map(|it| job(state, it)).collect(),
        Section::Syncs => order::syncs(state)
            .into_iter()
            .map(|it| sync_row(state, it))
            .collect(),
        Section::Hosts => order::hosts(state)
            .into_iter()
            .map(|it| host(state, it))
            .collect(),
        Section::Events => order::events(state)
            .into_iter()
            .map(|it| event(state, it))
            .collect(),
    }
}

/// How long ago, or nothing.
fn ago(state: &State, time: Option<&prost_types::Timestamp>) -> (String, Tone) {
    (state.age(time).map(rough).unwrap_or_default(), Tone::Dim)
}

/// Where something is, and whether that is there.
fn place(state: &State, host: &str, told: Link) -> (String, Tone) {
    match away(state.link(host, told)) {
        Some(link) => (format!("{host} ({link})"), Tone::Warn),
        None => (host.to_owned(), Tone::Dim),
    }
}

fn session(state: &State, session: &v1::Session) -> Row {
    let runs = session.state() == SessionState::Running;
    let word = json::session_state(session.state()).unwrap_or_else(|| "?".to_owned());
    let (how, tone, since) = match json::activity(session.activity()).filter(|_| runs) {
        Some(activity) => {
            let tone = match session.activity() {
                Activity::Waiting => Tone::Warn,
                Activity::Error => Tone::Bad,
                Activity::Working | Activity::Starting => Tone::Busy,
                Activity::Idle | Activity::Unspecified => Tone::Plain,
            };
            (activity, tone, session.activity_since.as_ref())
        }
        None => {
            let since = session.ended_at.as_ref().filter(|_| !runs);
            let how = format!("{word} {}", exit(session.exit_code, session.signal));
            (
                how.trim_end().to_owned(),
                session_tone(session.state()),
                since.or(session.started_at.as_ref()),
            )
        }
    };
    let mut rest = Vec::new();
    let says = session.activity_message.as_deref().filter(|_| runs);
    match says.or(session.reason.as_deref()) {
        Some(says) => rest.push((
            says.to_owned(),
            if order::of_session(session) == Rank::Well {
                Tone::Plain
            } else {
                tone
            },
        )),
        None => rest.push((people::program(session), Tone::Dim)),
    }
    if let Some(source) = session.activity_source.as_deref().filter(|_| runs) {
        rest.push((format!("  ({source})"), Tone::Dim));
    }
    Row {
        cells: [
            (session.name.clone(), Tone::Bold),
            (how, tone),
            ago(state, since),
            place(state, &session.host, session.link()),
        ],
        rest,
    }
}

fn job(state: &State, job: &v1::Job) -> Row {
    let word = json::job_state(job.state()).unwrap_or_else(|| "?".to_owned());
    let how = if job.cancelling {
        "cancelling".to_owned()
    } else {
        format!("{word} {}", exit(job.exit_code, job.signal))
    };
    let since = if has_ended(job) {
        job.ended_at.as_ref()
    } else {
        job.started_at.as_ref().or(job.created_at.as_ref())
    };
    let mut rest = vec![(command(&job.command), Tone::Dim)];
    if let Some(reason) = &job.reason {
        rest.insert(0, (format!("{reason}: "), job_tone(job)));
    }
    Row {
        cells: [
            (job_handle(job).to_owned(), Tone::Bold),
            (how.trim_end().to_owned(), job_tone(job)),
            ago(state, since),
            place(state, &job.host, job.link()),
        ],
        rest,
    }
}

fn sync_row(state: &State, it: &v1::Sync) -> Row {
    let word = json::sync_state(it.state()).unwrap_or_else(|| "?".to_owned());
    let pending = if it.pending_files > 0 {
        format!("{} left", it.pending_files)
    } else {
        String::new()
    };
    let mut rest = Vec::new();
    if it.problem_count > 0 {
        rest.push((
            format!("{}  ", sync::count(it.problem_count, "problem")),
            Tone::Warn,
        ));
    }
    match it.message.as_deref().or(it.reason.as_deref()) {
        Some(why) => rest.push((why.to_owned(), sync::state_tone(it.state()))),
        None => rest.push((format!("{} to {}", it.source, it.target), Tone::Dim)),
    }
    Row {
        cells: [
            (it.name.clone(), Tone::Bold),
            (word, sync::state_tone(it.state())),
            (pending, Tone::Busy),
            place(state, &it.host, it.link()),
        ],
        rest,
    }
}

fn host(state: &State, host: &v1::Host) -> Row {
    let word = json::link(host.link()).unwrap_or_else(|| "unknown".to_owned());
    let up = host.link() == Link::Up;
    let rtt = host.rtt_ms.filter(|_| up).map(|ms| format!("{ms:.1} ms"));
    let runs = |name: &str| name == host.name;
    let sessions = state
        .sessions
        .iter()
        .filter(|it| runs(&it.host) && it.state() == SessionState::Running)
        .count();
    let jobs = state
        .jobs
        .iter()
        .filter(|it| runs(&it.host) && !has_ended(it))
        .count();
    let mut rest = vec![(
        format!("{}, {}", many(sessions, "session"), many(jobs, "job")),
        Tone::Dim,
    )];
    if !up {
        let seen = state
            .age(host.observed_at.as_ref())
            .map(|age| format!("seen {} ago", rough(age)));
        let why = [host.error.clone(), host.next_try_at.as_ref().map(next_try), seen];
        let why: Vec<_> = why.into_iter().flatten().collect();
        rest.insert(0, (format!("{}  ", why.join(", ")), link_tone(host.link())));
    }
    Row {
        cells: [
            (host.name.clone(), Tone::Bold),
            (word, link_tone(host.link())),
            (rtt.unwrap_or_default(), Tone::Dim),
            (host.address.clone().unwrap_or_default(), Tone::Dim),
        ],
        rest,
    }
}

fn many(number: usize, noun: &str) -> String {
    sync::count(number as u64, noun)
}

/// An entry of the log: its kind, whom it is about, and what became of that.
fn event(state: &State, event: &v1::Event) -> Row {
    let data: Value = serde_json::from_str(&event.data_json).unwrap_or(Value::Null);
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    let subject = text("name").unwrap_or_else(|| short(&event.subject));
    let mut rest = Vec::new();
    for key in ["state", "link", "activity", "message", "reason", "error"] {
        if let Some(value) = text(key).filter(|value| !value.is_empty()) {
            rest.push((
                format!("{}{value}", if rest.is_empty() { "" } else { ", " }),
                Tone::Plain,
            ));
        }
    }
    Row {
        cells: [
            (subject.to_owned(), Tone::Bold),
            (event.kind.clone(), Tone::Plain),
            ago(state, event.time.as_ref()),
            (text("host").unwrap_or_default().to_owned(), Tone::Dim),
        ],
        rest,
    }
}
