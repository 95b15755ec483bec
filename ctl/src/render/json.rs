//! The JSON of every noun, field by field as the contract lists them. Every field is always there; what is not known
//! is `null`.

mod host;
mod provider;
mod sync;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use outlast_client::v1;
use serde::Serialize;
use serde_json::Value;

pub use self::{
    host::{Check, ExecEnd, ExecLine, LinkLine, Listening, Problem, Removed, took_ms},
    provider::{Hooks, Provider, ProviderChecked, Template, millis},
    sync::{Sync, sync_mode, sync_state},
};
use super::time::rfc3339;

/// One line of JSON.
pub fn line(value: &impl Serialize) -> String {
    // These types serialise without failing: no maps with odd keys, no errors of their own.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

pub fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.and_then(rfc3339)
}

/// A number JSON can hold, to the millionth: what is below is noise.
fn finite(number: Option<f64>) -> Option<f64> {
    number
        .filter(|number| number.is_finite())
        .map(|number| (number * 1e6).round() / 1e6)
}

/// The word of an enum value: the name less its prefix, in lower case. Unspecified and unknown values are none.
fn word(name: &str, prefix: &str) -> Option<String> {
    let word = name.strip_prefix(prefix)?.to_ascii_lowercase();
    (word != "unspecified").then_some(word)
}

pub fn job_state(state: v1::JobState) -> Option<String> {
    word(state.as_str_name(), "JOB_STATE_")
}

pub fn session_state(state: v1::SessionState) -> Option<String> {
    word(state.as_str_name(), "SESSION_STATE_")
}

pub fn activity(activity: v1::Activity) -> Option<String> {
    word(activity.as_str_name(), "ACTIVITY_")
}

pub fn link(link: v1::Link) -> Option<String> {
    word(link.as_str_name(), "LINK_")
}

pub fn level(level: v1::FindingLevel) -> Option<String> {
    word(level.as_str_name(), "FINDING_LEVEL_")
}

pub fn notify_channel(channel: v1::NotifyChannel) -> Option<String> {
    word(channel.as_str_name(), "NOTIFY_CHANNEL_")
}

pub fn notify_outcome(outcome: v1::NotifyOutcome) -> Option<String> {
    word(outcome.as_str_name(), "NOTIFY_OUTCOME_")
}

pub fn stream(stream: v1::LogStream) -> Option<String> {
    word(stream.as_str_name(), "LOG_STREAM_")
}

#[derive(Serialize)]
pub struct Job<'a> {
    id: &'a str,
    name: Option<&'a str>,
    host: &'a str,
    workspace: Option<&'a str>,
    cwd: Option<&'a str>,
    command: &'a [String],
    state: Option<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    link: Option<String>,
    created_at: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    duration_s: Option<f64>,
    log_bytes: Option<u64>,
    reason: Option<&'a str>,
    cpu_s: Option<f64>,
    max_rss_bytes: Option<u64>,
}

impl<'a> From<&'a v1::Job> for Job<'a> {
    fn from(job: &'a v1::Job) -> Self {
        Self {
            id: &job.id,
            name: job.name.as_deref(),
            host: &job.host,
            workspace: job.workspace.as_deref(),
            cwd: job.cwd.as_deref(),
            command: &job.command,
            state: job_state(job.state()),
            exit_code: job.exit_code,
            signal: job.signal,
            link: link(job.link()),
            created_at: time(job.created_at.as_ref()),
            started_at: time(job.started_at.as_ref()),
            ended_at: time(job.ended_at.as_ref()),
            duration_s: finite(job.duration_s),
            log_bytes: job.log_bytes,
            reason: job.reason.as_deref(),
            cpu_s: finite(job.cpu_s),
            max_rss_bytes: job.max_rss_bytes,
        }
    }
}

#[derive(Serialize)]
pub struct Session<'a> {
    id: &'a str,
    name: &'a str,
    host: &'a str,
    workspace: Option<&'a str>,
    agent: &'a str,
    cwd: Option<&'a str>,
    command: &'a [String],
    state: Option<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    activity: Option<String>,
    activity_source: Option<&'a str>,
    attached: u32,
    link: Option<String>,
    pid: Option<u32>,
    created_at: Option<String>,
    last_activity_at: Option<String>,
    reason: Option<&'a str>,
    activity_since: Option<String>,
    activity_message: Option<&'a str>,
    template: Option<&'a str>,
    provider: Option<&'a str>,
}

impl<'a> From<&'a v1::Session> for Session<'a> {
    fn from(session: &'a v1::Session) -> Self {
        Self {
            id: &session.id,
            name: &session.name,
            host: &session.host,
            workspace: session.workspace.as_deref(),
            agent: &session.agent,
            cwd: session.cwd.as_deref(),
            command: &session.command,
            state: session_state(session.state()),
            exit_code: session.exit_code,
            signal: session.signal,
            activity: activity(session.activity()),
            activity_source: session.activity_source.as_deref(),
            attached: session.attached,
            link: link(session.link()),
            pid: session.pid,
            created_at: time(session.created_at.as_ref()),
            last_activity_at: time(session.last_activity_at.as_ref()),
            reason: session.reason.as_deref(),
            activity_since: time(session.activity_since.as_ref()),
            activity_message: session.activity_message.as_deref(),
            template: session.template.as_deref(),
            provider: session.provider.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub struct Host<'a> {
    name: &'a str,
    kind: &'a str,
    address: Option<&'a str>,
    user: Option<&'a str>,
    port: Option<u32>,
    link: Option<String>,
    error: Option<&'a str>,
    os: Option<&'a str>,
    arch: Option<&'a str>,
    helper_version: Option<&'a str>,
    tmux_version: Option<&'a str>,
    rtt_ms: Option<f64>,
    boot_id: Option<&'a str>,
    sessions: u32,
    jobs: u32,
    reason: Option<&'a str>,
    next_try_at: Option<String>,
    observed_at: Option<String>,
    transport: Option<&'a str>,
}

impl<'a> From<&'a v1::Host> for Host<'a> {
    fn from(host: &'a v1::Host) -> Self {
        Self {
            name: &host.name,
            kind: &host.kind,
            address: host.address.as_deref(),
            user: host.user.as_deref(),
            port: host.port,
            link: link(host.link()),
            error: host.error.as_deref(),
            os: host.os.as_deref(),
            arch: host.arch.as_deref(),
            helper_version: host.helper_version.as_deref(),
            tmux_version: host.tmux_version.as_deref(),
            rtt_ms: finite(host.rtt_ms),
            boot_id: host.boot_id.as_deref(),
            sessions: host.sessions,
            jobs: host.jobs,
            reason: host.reason.as_deref(),
            next_try_at: time(host.next_try_at.as_ref()),
            observed_at: time(host.observed_at.as_ref()),
            transport: host.transport.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub struct Daemon<'a> {
    pid: u32,
    socket: &'a str,
    version: &'a str,
    protocol: u32,
    started_at: Option<String>,
    uptime_s: f64,
}

impl<'a> From<&'a v1::Daemon> for Daemon<'a> {
    fn from(daemon: &'a v1::Daemon) -> Self {
        Self {
            pid: daemon.pid,
            socket: &daemon.socket,
            version: &daemon.version,
            protocol: daemon.protocol,
            started_at: time(daemon.started_at.as_ref()),
            uptime_s: finite(Some(daemon.uptime_s)).unwrap_or(0.0),
        }
    }
}

#[derive(Serialize)]
pub struct Event<'a> {
    epoch: Option<&'a str>,
    seq: Option<u64>,
    time: Option<String>,
    kind: &'a str,
    subject: Option<&'a str>,
    data: Value,
}

impl<'a> From<&'a v1::Event> for Event<'a> {
    fn from(event: &'a v1::Event) -> Self {
        let data = serde_json::from_str::<Value>(&event.data_json)
            .ok()
            .filter(Value::is_object)
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        Self {
            epoch: some(&event.epoch),
            seq: (event.seq > 0).then_some(event.seq),
            time: time(event.time.as_ref()),
            kind: &event.kind,
            subject: some(&event.subject),
            data,
        }
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[derive(Serialize)]
pub struct Finding<'a> {
    check: &'a str,
    level: Option<String>,
    message: &'a str,
    fix: Option<&'a str>,
}

impl<'a> From<&'a v1::Finding> for Finding<'a> {
    fn from(finding: &'a v1::Finding) -> Self {
        Self {
            check: &finding.check,
            level: level(finding.level()),
            message: &finding.message,
            fix: finding.fix.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub struct NotifyAttempt<'a> {
    channel: Option<String>,
    outcome: Option<String>,
    message: Option<&'a str>,
    hint: Option<&'a str>,
}

impl<'a> From<&'a v1::NotifyAttempt> for NotifyAttempt<'a> {
    fn from(attempt: &'a v1::NotifyAttempt) -> Self {
        Self {
            channel: notify_channel(attempt.channel()),
            outcome: notify_outcome(attempt.outcome()),
            message: attempt.message.as_deref(),
            hint: attempt.hint.as_deref(),
        }
    }
}

/// One line of a followed log. Bytes that are no text stand in `data_base64` instead of `data`.
#[derive(Serialize)]
pub struct LogLine<'a> {
    kind: &'static str,
    offset: u64,
    stream: Option<String>,
    time: Option<String>,
    data: Option<&'a str>,
    data_base64: Option<String>,
}

impl<'a> From<&'a v1::LogChunk> for LogLine<'a> {
    fn from(chunk: &'a v1::LogChunk) -> Self {
        let data = std::str::from_utf8(&chunk.data).ok();
        Self {
            kind: "log",
            offset: chunk.offset,
            stream: stream(chunk.stream()),
            time: time(chunk.time.as_ref()),
            data,
            data_base64: data.is_none().then(|| STANDARD.encode(&chunk.data)),
        }
    }
}

/// A job in a followed log: first of all, whenever its state changes, and last of all.
#[derive(Serialize)]
pub struct JobLine<'a> {
    kind: &'static str,
    job: Job<'a>,
}

impl<'a> From<&'a v1::Job> for JobLine<'a> {
    fn from(job: &'a v1::Job) -> Self {
        Self {
            kind: "job",
            job: job.into(),
        }
    }
}

/// A session at the end of a followed log.
#[derive(Serialize)]
pub struct SessionLine<'a> {
    kind: &'static str,
    session: Session<'a>,
}

impl<'a> From<&'a v1::Session> for SessionLine<'a> {
    fn from(session: &'a v1::Session) -> Self {
        Self {
            kind: "session",
            session: session.into(),
        }
    }
}

/// What the bare command shows.
#[derive(Serialize)]
pub struct Overview<'a> {
    daemon: Option<Daemon<'a>>,
    hosts: Vec<Host<'a>>,
    sessions: Vec<Session<'a>>,
    live_jobs: Vec<Job<'a>>,
    live_job_count: u64,
    ended_jobs: Vec<Job<'a>>,
    syncs: Vec<Sync<'a>>,
}

impl<'a> From<&'a v1::GetOverviewResponse> for Overview<'a> {
    fn from(overview: &'a v1::GetOverviewResponse) -> Self {
        Self {
            daemon: overview.daemon.as_ref().map(Daemon::from),
            hosts: overview.hosts.iter().map(Host::from).collect(),
            sessions: overview.sessions.iter().map(Session::from).collect(),
            live_jobs: overview.live_jobs.iter().map(Job::from).collect(),
            live_job_count: overview.live_job_count,
            ended_jobs: overview.ended_jobs.iter().map(Job::from).collect(),
            syncs: overview.syncs.iter().map(Sync::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of an object's fields in order.
    fn fields(value: &impl Serialize) -> String {
        let text = line(value);
        let mut names = Vec::new();
        let mut depth = 0;
        // Keys of the outermost object: strings at depth 1 that a colon follows.
        let bytes: Vec<char> = text.chars().collect();
        let mut at = 0;
        while let Some(c) = bytes.get(at) {
            match c {
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                '"' => {
                    let end = (at + 1..bytes.len()).find(|i| bytes[*i] == '"').unwrap();
                    if depth == 1 && bytes[end + 1] == ':' {
                        names.push(bytes[at + 1..end].iter().collect::<String>());
                    }
                    at = end;
                }
                _ => {}
            }
            at += 1;
        }
        names.join(" ")
    }

    #[test]
    fn every_noun_has_exactly_the_fields_of_the_contract_even_when_nothing_is_known() {
        assert_eq!(
            fields(&Job::from(&v1::Job::default())),
            "id name host workspace cwd command state exit_code signal link created_at started_at ended_at duration_s \
             log_bytes reason cpu_s max_rss_bytes"
        );
        assert_eq!(
            fields(&Session::from(&v1::Session::default())),
            "id name host workspace agent cwd command state exit_code signal activity activity_source attached link pid \
             created_at last_activity_at reason activity_since activity_message template provider"
        );
        assert_eq!(
            fields(&Host::from(&v1::Host::default())),
            "name kind address user port link error os arch helper_version tmux_version rtt_ms boot_id sessions jobs \
             reason next_try_at observed_at transport"
        );
        assert_eq!(
            fields(&Sync::from(&v1::Sync::default())),
            "id name source host target mode state reason files bytes pending_files pending_bytes problems problem_count \
             last_synced_at link message created_at exclude no_gitignore git_dir limit_bytes watch watch_problem progress"
        );
        assert_eq!(
            fields(&Daemon::from(&v1::Daemon::default())),
            "pid socket version protocol started_at uptime_s"
        );
        assert_eq!(
            fields(&Event::from(&v1::Event::default())),
            "epoch seq time kind subject data"
        );
        assert_eq!(
            fields(&Finding::from(&v1::Finding::default())),
            "check level message fix"
        );
    }

    #[test]
    fn enum_values_are_the_words_of_the_model() {
        assert_eq!(job_state(v1::JobState::Succeeded).as_deref(), Some("succeeded"));
        assert_eq!(job_state(v1::JobState::Unspecified), None);
        assert_eq!(link(v1::Link::HostkeyChanged).as_deref(), Some("hostkey_changed"));
        assert_eq!(session_state(v1::SessionState::Broken).as_deref(), Some("broken"));
        assert_eq!(activity(v1::Activity::Waiting).as_deref(), Some("waiting"));
    }

    #[test]
    fn a_gap_keeps_its_range_and_bad_data_is_an_empty_object() {
        let gap = v1::Event {
            kind: "gap".to_owned(),
            data_json: "{\"from\":1,\"to\":9}".to_owned(),
            ..v1::Event::default()
        };
        assert_eq!(
            line(&Event::from(&gap)),
            "{\"epoch\":null,\"seq\":null,\"time\":null,\"kind\":\"gap\",\"subject\":null,\"data\":{\"from\":1,\"to\":9}}\n"
        );
        let bad = v1::Event {
            data_json: "[1".to_owned(),
            ..v1::Event::default()
        };
        assert!(line(&Event::from(&bad)).ends_with("\"data\":{}}\n"));
    }

    #[test]
    fn numbers_carry_no_noise() {
        assert_eq!(finite(Some(12.922_543_999_999_998)), Some(12.922_544));
        assert_eq!((finite(Some(f64::NAN)), finite(None)), (None, None));
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        let chunk = v1::LogChunk {
            data: vec![0xff, 0x00].into(),
            ..v1::LogChunk::default()
        };
        let text = line(&LogLine::from(&chunk));
        assert!(text.contains("\"data\":null,\"data_base64\":\"/wA=\""), "{text}");
    }
}
