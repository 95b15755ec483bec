//! How nouns look to people.

use outlast_client::v1::{self, Activity, JobState, Link, SessionState};

use super::{
    away,
    escape::{command, escape},
    json,
    style::{Style, Tone},
    table::{Cell, Table},
    time::{rfc3339, seconds_since, seconds_until},
};
use crate::duration;

/// The first eight characters of an id.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What a person calls a job: its name, else its short id.
pub fn job_title(job: &v1::Job) -> String {
    match &job.name {
        Some(name) => format!("{} ({name})", short(&job.id)),
        None => short(&job.id).to_owned(),
    }
}

/// What to type for a job: its name, else its short id.
pub fn job_handle(job: &v1::Job) -> &str {
    job.name.as_deref().unwrap_or_else(|| short(&job.id))
}

/// True when a job has ended.
pub fn has_ended(job: &v1::Job) -> bool {
    !matches!(
        job.state(),
        JobState::Queued | JobState::Running | JobState::Unspecified
    )
}

/// Name of a signal, as `kill -l` has it.
pub fn signal(number: i32) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return format!("signal {number}"),
    };
    format!("SIG{name}")
}

/// How something ended: `0`, `7`, `SIGKILL`, or nothing.
pub fn exit(code: Option<i32>, killed: Option<i32>) -> String {
    match (code, killed) {
        (_, Some(number)) => signal(number),
        (Some(code), None) => code.to_string(),
        (None, None) => String::new(),
    }
}

/// How good the state of a job is.
pub fn job_tone(job: &v1::Job) -> Tone {
    match job.state() {
        JobState::Succeeded => Tone::Good,
        JobState::Failed | JobState::Lost => Tone::Bad,
        JobState::Running => Tone::Busy,
        JobState::Queued => Tone::Warn,
        JobState::Cancelled | JobState::Unspecified => Tone::Dim,
    }
}

fn job_state(job: &v1::Job) -> Cell {
    let state = json::job_state(job.state()).unwrap_or_else(|| "?".to_owned());
    let cell = if job.cancelling {
        Cell::short("cancelling", state)
    } else {
        Cell::new(state)
    };
    cell.tone(job_tone(job))
}

/// Time since, for people; the time itself for programs.
fn age(time: Option<&prost_types::Timestamp>) -> Cell {
    time.map_or_else(Cell::default, |time| {
        Cell::short(rough(seconds_since(time)), rfc3339(time).unwrap_or_default())
    })
}

/// An age needs one figure only.
pub fn rough(seconds: f64) -> String {
    // Ages are positive and far below 2^53.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m", whole / 60),
        3600..172_800 => format!("{}h", whole / 3600),
        _ => format!("{}d", whole / 86400),
    }
}

fn elapsed(job: &v1::Job) -> Cell {
    job.duration_s.map_or_else(Cell::default, |seconds| {
        Cell::short(duration::show(seconds), format!("{seconds:.3}"))
    })
}

/// Jobs, one a row.
pub fn jobs<'a>(jobs: impl IntoIterator<Item = &'a v1::Job>) -> Table {
    let mut table = Table::new(&["ID", "NAME", "STATE", "EXIT", "HOST", "AGE", "TIME", "COMMAND"]);
    for job in jobs {
        table.row(vec![
            Cell::short(short(&job.id), &job.id),
            Cell::new(job.name.as_deref().unwrap_or_default()).tone(Tone::Bold),
            job_state(job),
            Cell::new(exit(job.exit_code, job.signal)),
            Cell::new(&job.host),
            age(job.created_at.as_ref()),
            elapsed(job),
            Cell::new(command(&job.command)),
        ]);
    }
    table
}

/// How good the state of a session is.
pub fn session_tone(state: SessionState) -> Tone {
    match state {
        SessionState::Running => Tone::Good,
        SessionState::Creating => Tone::Busy,
        SessionState::Broken | SessionState::Lost => Tone::Bad,
        SessionState::Unknown => Tone::Warn,
        SessionState::Exited | SessionState::Stopped | SessionState::Unspecified => Tone::Dim,
    }
}

/// State of a session in words, with what it does where that is known.
fn session_state(session: &v1::Session) -> Cell {
    let state = json::session_state(session.state()).unwrap_or_else(|| "?".to_owned());
    let tone = if session.activity() == Activity::Waiting {
        Tone::Warn
    } else {
        session_tone(session.state())
    };
    let cell = match json::activity(session.activity()) {
        Some(activity) if session.state() == SessionState::Running => {
            Cell::short(format!("{state}, {activity}"), state)
        }
        _ => Cell::new(state),
    };
    cell.tone(tone)
}

/// What a session runs.
pub fn program(session: &v1::Session) -> String {
    if session.command.is_empty() {
        "login shell".to_owned()
    } else {
        command(&session.command)
    }
}

/// Sessions, one a row.
pub fn sessions<'a>(sessions: impl IntoIterator<Item = &'a v1::Session>) -> Table {
    let sessions: Vec<_> = sessions.into_iter().collect();
    let says = sessions.iter().any(|session| session.activity_message.is_some());
    let mut table = Table::new(if says {
        &[
            "NAME", "STATE", "EXIT", "HOST", "AGE", "ACTIVE", "VIEWERS", "COMMAND", "SAYS",
        ]
    } else {
        &[
            "NAME", "STATE", "EXIT", "HOST", "AGE", "ACTIVE", "VIEWERS", "COMMAND",
        ]
    });
    for session in sessions {
        let mut row = vec![
            Cell::new(&session.name).tone(Tone::Bold),
            session_state(session),
            Cell::new(exit(session.exit_code, session.signal)),
            Cell::new(&session.host),
            age(session.created_at.as_ref()),
            age(session.last_activity_at.as_ref()),
            Cell::new(session.attached.to_string()),
            Cell::new(program(session)),
        ];
        row.push(Cell::new(session.activity_message.as_deref().unwrap_or_default()));
        // People see it beside the state.
        row.push(Cell::new(json::activity(session.activity()).unwrap_or_default()));
        table.row(row);
    }
    table
}

/// How good a connection is.
pub fn link_tone(link: Link) -> Tone {
    match link {
        Link::Up => Tone::Good,
        Link::Connecting => Tone::Busy,
        Link::Down | Link::Backoff => Tone::Warn,
        Link::AuthFailed | Link::HostkeyChanged => Tone::Bad,
        Link::Unspecified => Tone::Dim,
    }
}

fn link(link: Link) -> Cell {
    Cell::new(json::link(link).unwrap_or_else(|| "unknown".to_owned())).tone(link_tone(link))
}

/// Where a host is, as one would write it: `me@build1:2222`.
fn place(host: &v1::Host) -> String {
    let Some(address) = &host.address else {
        return String::new();
    };
    if host.kind != "ssh" {
        return address.clone();
    }
    let user = host
        .user
        .as_deref()
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    match host.port.filter(|port| *port != SSH_PORT) {
        Some(port) if address.contains(':') => format!("{user}[{address}]:{port}"),
        Some(port) => format!("{user}{address}:{port}"),
        None => format!("{user}{address}"),
    }
}

/// The port that goes without saying.
const SSH_PORT: u32 = 22;

/// When a host that is away was seen last; nothing for one that is there.
fn seen(host: &v1::Host) -> Cell {
    match (&host.observed_at, host.link()) {
        (Some(time), Link::Up) => Cell::short("", rfc3339(time).unwrap_or_default()),
        (Some(time), _) => Cell::short(
            format!("{} ago", away::amount(seconds_since(time))),
            rfc3339(time).unwrap_or_default(),
        ),
        (None, _) => Cell::default(),
    }
}

/// Hosts, one a row.
pub fn hosts<'a>(hosts: impl IntoIterator<Item = &'a v1::Host>) -> Table {
    let mut table = Table::new(&[
        "NAME", "KIND", "LINK", "SESSIONS", "JOBS", "TMUX", "SYSTEM", "SEEN", "ADDRESS", "ERROR",
    ]);
    for host in hosts {
        let system = [host.os.as_deref(), host.arch.as_deref()];
        let system: Vec<&str> = system.into_iter().flatten().collect();
        let known = host.os.is_some();
        table.row(vec![
            Cell::new(&host.name).tone(Tone::Bold),
            Cell::new(&host.kind),
            link(host.link()),
            Cell::new(host.sessions.to_string()),
            Cell::new(host.jobs.to_string()),
            Cell::new(
                host.tmux_version
                    .as_deref()
                    .unwrap_or(if known { "none" } else { "" }),
            ),
            Cell::new(system.join(" ")),
            seen(host),
            Cell::new(place(host)),
            Cell::new(host.error.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// A time that a step took: `0.4 ms`, `12 ms`, `1.2 s`.
pub(super) fn took(ms: f64) -> String {
    if ms >= 1000.0 {
        format!("{:.1} s", ms / 1000.0)
    } else if ms >= 9.95 {
        format!("{ms:.0} ms")
    } else {
        format!("{ms:.1} ms")
    }
}

/// A step of a connection, for people.
pub fn step(step: &v1::CheckStep) -> String {
    let time = json::took_ms(step).map(took).unwrap_or_default();
    let failed = if step.ok { "" } else { "failed: " };
    format!("  {:<13} {time:>8}  {failed}{}", step.step, step.message)
}

/// A step of a connection as a line of the answer: columns for people, tabs for programs.
pub fn step_line(style: Style, host: &str, step: &v1::CheckStep) -> String {
    let mut line = String::new();
    if style.terminal {
        let tone = if step.ok { Tone::Plain } else { Tone::Bad };
        style.push(&mut line, tone, &escape(&self::step(step)));
    } else {
        let outcome = if step.ok { "ok" } else { "failed" };
        let time = json::took_ms(step)
            .map(|ms| format!("{ms:.3}"))
            .unwrap_or_default();
        let cells = [host, &step.step, outcome, &time, &step.message];
        line.push_str(&cells.map(|cell| escape(cell).into_owned()).join("\t"));
    }
    line.push('\n');
    line
}

/// That a host is connected, and by what.
pub fn connected(host: &v1::Host) -> String {
    let by = host
        .transport
        .as_deref()
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let rtt = host
        .rtt_ms
        .map(|ms| format!(", round trip {}", took(ms)))
        .unwrap_or_default();
    match host.link() {
        Link::Up => format!("host {} is connected{by}{rtt}", host.name),
        link => {
            let word = json::link(link).unwrap_or_else(|| "not tried yet".to_owned());
            format!("host {} is not connected yet ({word})", host.name)
        }
    }
}

/// Sizes with a unit: `999 B`, `1.5 KiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Shown with one decimal; a double is exact enough.
    #[allow(clippy::cast_precision_loss)]
    let mut size = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if size < 1023.95 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

/// Name and value lines of one thing.
pub type Facts = Vec<(&'static str, String, Tone)>;

pub(super) fn fact(facts: &mut Facts, name: &'static str, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        facts.push((name, value, Tone::Plain));
    }
}

pub(super) fn moment(time: Option<&prost_types::Timestamp>) -> Option<String> {
    let time = time?;
    Some(format!("{} ({} ago)", rfc3339(time)?, rough(seconds_since(time))))
}

/// Several values in one line.
fn some_of(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(" "))
}

/// A time that is to come.
fn due(time: &prost_types::Timestamp) -> Option<String> {
    Some(format!(
        "{} (in {})",
        rfc3339(time)?,
        away::amount(seconds_until(time))
    ))
}

/// Everything known about a job.
pub fn job_facts(job: &v1::Job) -> Facts {
    let mut facts = Facts::new();
    fact(&mut facts, "id", Some(job.id.clone()));
    fact(&mut facts, "name", job.name.clone());
    let state = json::job_state(job.state()).unwrap_or_else(|| "unknown".to_owned());
    let state = if job.cancelling {
        format!("{state}, being cancelled")
    } else {
        state
    };
    facts.push(("state", state, job_tone(job)));
    fact(&mut facts, "reason", job.reason.clone());
    fact(&mut facts, "exit", Some(exit(job.exit_code, job.signal)));
    fact(&mut facts, "command", Some(command(&job.command)));
    fact(&mut facts, "host", Some(host_and_link(&job.host, job.link())));
    fact(&mut facts, "workspace", job.workspace.clone());
    fact(&mut facts, "directory", job.cwd.clone());
    fact(&mut facts, "created", moment(job.created_at.as_ref()));
    fact(&mut facts, "started", moment(job.started_at.as_ref()));
    fact(&mut facts, "ended", moment(job.ended_at.as_ref()));
    fact(&mut facts, "time", job.duration_s.map(duration::show));
    let limit = job
        .timeout
        .and_then(|limit| std::time::Duration::try_from(limit).ok());
    fact(
        &mut facts,
        "time limit",
        limit.map(|limit| duration::show(limit.as_secs_f64())),
    );
    fact(&mut facts, "processor", job.cpu_s.map(duration::show));
    fact(&mut facts, "peak memory", job.max_rss_bytes.map(bytes));
    fact(&mut facts, "output", job.log_bytes.map(bytes));
    if job.dropped_bytes > 0 {
        facts.push(("not kept", bytes(job.dropped_bytes), Tone::Warn));
    }
    facts
}

pub(super) fn host_and_link(host: &str, link: Link) -> String {
    match link {
        Link::Up | Link::Unspecified => host.to_owned(),
        away => format!("{host} ({})", json::link(away).unwrap_or_default()),
    }
}

/// Everything known about a session.
pub fn session_facts(session: &v1::Session) -> Facts {
    let mut facts = Facts::new();
    fact(&mut facts, "name", Some(session.name.clone()));
    fact(&mut facts, "id", Some(session.id.clone()));
    let state = json::session_state(session.state()).unwrap_or_else(|| "unknown".to_owned());
    facts.push(("state", state, session_tone(session.state())));
    fact(&mut facts, "reason", session.reason.clone());
    fact(&mut facts, "exit", Some(exit(session.exit_code, session.signal)));
    let doing = json::activity(session.activity()).map(|activity| match &session.activity_source {
        Some(source) => format!("{activity} (read from {source})"),
        None => activity,
    });
    fact(&mut facts, "activity", doing);
    fact(&mut facts, "since", moment(session.activity_since.as_ref()));
    fact(&mut facts, "message", session.activity_message.clone());
    fact(&mut facts, "command", Some(program(session)));
    fact(&mut facts, "restart", session.restart_command.clone());
    fact(&mut facts, "template", session.template.clone());
    fact(&mut facts, "provider", session.provider.clone());
    fact(
        &mut facts,
        "host",
        Some(host_and_link(&session.host, session.link())),
    );
    fact(&mut facts, "workspace", session.workspace.clone());
    fact(&mut facts, "agent", Some(session.agent.clone()));
    fact(&mut facts, "directory", session.cwd.clone());
    fact(&mut facts, "pid", session.pid.map(|pid| pid.to_string()));
    fact(&mut facts, "attached", Some(session.attached.to_string()));
    fact(&mut facts, "created", moment(session.created_at.as_ref()));
    fact(&mut facts, "started", moment(session.started_at.as_ref()));
    fact(&mut facts, "ended", moment(session.ended_at.as_ref()));
    fact(&mut facts, "active", moment(session.last_activity_at.as_ref()));
    fact(
        &mut facts,
        "runs",
        (session.runs > 1).then(|| session.runs.to_string()),
    );
    facts
}

/// Everything known about a host.
pub fn host_facts(host: &v1::Host) -> Facts {
    let mut facts = Facts::new();
    fact(&mut facts, "name", Some(host.name.clone()));
    fact(&mut facts, "kind", Some(host.kind.clone()));
    let link = json::link(host.link()).unwrap_or_else(|| "unknown".to_owned());
    facts.push(("link", link, link_tone(host.link())));
    fact(&mut facts, "error", host.error.clone());
    fact(&mut facts, "reason", host.reason.clone());
    fact(&mut facts, "hint", host.hint.clone());
    fact(&mut facts, "key shown", host.key_shown.clone());
    fact(&mut facts, "keys known", some_of(&host.keys_known));
    fact(&mut facts, "next try", host.next_try_at.as_ref().and_then(due));
    fact(&mut facts, "address", host.address.clone());
    fact(&mut facts, "user", host.user.clone());
    fact(&mut facts, "port", host.port.map(|port| port.to_string()));
    fact(&mut facts, "system", host.os.clone());
    fact(&mut facts, "processor", host.arch.clone());
    fact(&mut facts, "helper", host.helper_version.clone());
    fact(&mut facts, "tmux", host.tmux_version.clone());
    fact(
        &mut facts,
        "round trip",
        host.rtt_ms.map(|ms| format!("{ms:.1} ms")),
    );
    fact(&mut facts, "transport", host.transport.clone());
    fact(&mut facts, "boot", host.boot_id.clone());
    fact(&mut facts, "sessions", Some(host.sessions.to_string()));
    fact(&mut facts, "jobs", Some(host.jobs.to_string()));
    fact(&mut facts, "seen", moment(host.observed_at.as_ref()));
    facts
}

/// Who the daemon is.
pub fn daemon_facts(daemon: &v1::Daemon) -> Facts {
    let mut facts = Facts::new();
    let version = format!("{} (protocol {})", daemon.version, daemon.protocol);
    facts.push(("outlastd", format!("running, pid {}", daemon.pid), Tone::Good));
    fact(&mut facts, "version", Some(version));
    fact(&mut facts, "up", Some(duration::show(daemon.uptime_s)));
    fact(&mut facts, "socket", Some(daemon.socket.clone()));
    fact(&mut facts, "state", Some(daemon.state_dir.clone()));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn ids_that_are_no_ids_do_not_break() {
        assert_eq!(short("0123456789"), "01234567");
        assert_eq!(short("ü"), "ü");
        assert_eq!(short("aaaaaaaü"), "aaaaaaaü");
    }
}
