//! How syncs look to people.

use std::collections::BTreeMap;

use outlast_client::v1::{self, SyncProblem, SyncState};

use super::{
    away, json,
    people::{Facts, bytes, fact, host_and_link, moment},
    style::Tone,
    table::{Cell, Table},
    time::{rfc3339, seconds_since},
};
use crate::duration;

/// How many paths of a kind of problem are shown unless all are asked for.
const SOME: usize = 10;

/// Kinds of problems that leave nothing missing: devices, pipes and sockets are no content, nor are bits that would stand for
/// other users there.
const NOT_MISSED: [&str; 2] = ["special_file", "special_bits"];

/// A number of things: `1 file`, `2 files`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Where a sync goes, as it is typed.
pub fn place(sync: &v1::Sync) -> String {
    format!("{}:{}", sync.host, sync.target)
}

/// How good the state of a sync is.
pub fn state_tone(state: SyncState) -> Tone {
    match state {
        SyncState::Watching => Tone::Good,
        SyncState::Starting | SyncState::Scanning | SyncState::Pushing => Tone::Busy,
        SyncState::Disconnected | SyncState::Paused => Tone::Warn,
        SyncState::Halted | SyncState::Error => Tone::Bad,
        SyncState::Unspecified => Tone::Dim,
    }
}

/// State of a sync in words, with its cause or its problems.
fn state(sync: &v1::Sync) -> Cell {
    let state = json::sync_state(sync.state()).unwrap_or_else(|| "?".to_owned());
    let mut about = Vec::new();
    about.extend(sync.reason.clone());
    if sync.problem_count > 0 {
        about.push(count(sync.problem_count, "problem"));
    }
    let tone = match sync.state() {
        SyncState::Watching if sync.problem_count > 0 => Tone::Warn,
        state => state_tone(state),
    };
    if about.is_empty() {
        Cell::new(state).tone(tone)
    } else {
        Cell::short(format!("{state} ({})", about.join(", ")), state).tone(tone)
    }
}

/// Whether somebody should look at a sync: it does not go on by itself, or leaves something out.
pub fn wants_attention(sync: &v1::Sync) -> bool {
    let stands = matches!(
        sync.state(),
        SyncState::Halted | SyncState::Error | SyncState::Disconnected | SyncState::Paused
    );
    stands || sync.problem_count > 0
}

/// Syncs, one a row.
pub fn syncs<'a>(syncs: impl IntoIterator<Item = &'a v1::Sync>) -> Table {
    let mut table = Table::new(&["NAME", "SOURCE", "TARGET", "STATE", "FILES", "PENDING", "SYNCED"]);
    for sync in syncs {
        let synced = sync.last_synced_at.as_ref().map_or_else(Cell::default, |time| {
            Cell::short(
                format!("{} ago", away::amount(seconds_since(time))),
                rfc3339(time).unwrap_or_default(),
            )
        });
        table.row(vec![
            Cell::new(&sync.name).tone(Tone::Bold),
            Cell::new(&sync.source),
            Cell::new(place(sync)),
            state(sync),
            Cell::new(sync.files.to_string()),
            Cell::new(sync.pending_files.to_string()),
            synced,
        ]);
    }
    table
}

/// Everything known about a sync but its problems.
pub fn facts(sync: &v1::Sync) -> Facts {
    let mut facts = Facts::new();
    fact(&mut facts, "name", Some(sync.name.clone()));
    fact(&mut facts, "id", Some(sync.id.clone()));
    let state = json::sync_state(sync.state()).unwrap_or_else(|| "unknown".to_owned());
    facts.push(("state", state, state_tone(sync.state())));
    fact(&mut facts, "reason", sync.reason.clone());
    fact(&mut facts, "message", sync.message.clone());
    fact(&mut facts, "hint", hint(sync));
    fact(&mut facts, "source", Some(sync.source.clone()));
    fact(&mut facts, "host", Some(host_and_link(&sync.host, sync.link())));
    fact(&mut facts, "target", Some(sync.target.clone()));
    fact(&mut facts, "mode", json::sync_mode(sync.mode()));
    fact(&mut facts, "there", Some(amount(sync.files, sync.bytes)));
    let pending = sync.pending_files > 0 || sync.pending_bytes > 0;
    fact(
        &mut facts,
        "pending",
        pending.then(|| amount(sync.pending_files, sync.pending_bytes)),
    );
    fact(&mut facts, "now", sync.progress.as_ref().map(progress));
    fact(&mut facts, "synced", moment(sync.last_synced_at.as_ref()));
    fact(&mut facts, "created", moment(sync.created_at.as_ref()));
    let exclude = (!sync.exclude.is_empty()).then(|| sync.exclude.join(" "));
    fact(&mut facts, "left out", exclude);
    let mut along = Vec::new();
    if sync.no_gitignore {
        along.push("what Git ignores");
    }
    if sync.git_dir {
        along.push(".git");
    }
    fact(&mut facts, "also", (!along.is_empty()).then(|| along.join(", ")));
    let limit = sync.limit_bytes.map(|limit| format!("{}/s", bytes(limit)));
    fact(&mut facts, "limit", limit);
    fact(&mut facts, "noticed by", sync.watch.clone());
    if let Some(problem) = &sync.watch_problem {
        facts.push(("because", problem.clone(), Tone::Warn));
    }
    if sync.problem_count > 0 {
        facts.push(("problems", sync.problem_count.to_string(), Tone::Warn));
    }
    facts
}

/// What helps a sync that does not go on by itself.
fn hint(sync: &v1::Sync) -> Option<String> {
    let (name, host) = (&sync.name, &sync.host);
    Some(match sync.state() {
        SyncState::Halted if holds_something(sync) => format!(
            "{}; outlast sync show {name} --preview shows first what would be replaced",
            confirm(sync)
        ),
        SyncState::Halted => confirm(sync),
        SyncState::Paused => format!("outlast sync resume {name}"),
        SyncState::Error => match sync.reason.as_deref() {
            // It can never be that target.
            Some("usage" | "conflict") => format!("outlast sync remove {name}, then {}", elsewhere(sync)),
            Some("not_permitted") => format!(
                "let its user write there, or: outlast sync remove {name}, then {}",
                elsewhere(sync)
            ),
            Some("exhausted") => format!("make room on host {host}; then: outlast sync resume {name}"),
            Some("unreachable") => format!("outlast host check {host}"),
            Some("broke") => "outlast daemon logs".to_owned(),
            _ => format!("outlast sync resume {name} tries again at once; outlast daemon logs tells more"),
        },
        _ => return None,
    })
}

/// What is typed so that the source goes somewhere else.
fn elsewhere(sync: &v1::Sync) -> String {
    format!("outlast sync add {} {}:PATH", sync.source, sync.host)
}

/// Whether a sync is halted because of what its target holds.
pub fn holds_something(sync: &v1::Sync) -> bool {
    sync.state() == SyncState::Halted && sync.reason.as_deref() == Some("target_not_empty")
}

/// What is typed so that a halted sync goes on.
pub fn confirm(sync: &v1::Sync) -> String {
    format!("outlast sync resume {} --confirm", sync.name)
}

/// Why a sync is halted, in a sentence.
pub fn why_halted(sync: &v1::Sync) -> String {
    let why = sync.message.as_deref().or(sync.reason.as_deref());
    match why {
        Some(why) => format!("sync {} is halted: {why}", sync.name),
        None => format!("sync {} is halted", sync.name),
    }
}

fn amount(files: u64, size: u64) -> String {
    format!("{}, {}", count(files, "file"), bytes(size))
}

/// Problems by what they are, as lines that are not escaped yet: some of each, or all.
pub fn problems(sync: &v1::Sync, all: bool) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for problem in &sync.problems {
        let group = groups.entry((&problem.kind, &problem.message)).or_default();
        group.push(&problem.path);
    }
    let mut lines = Vec::new();
    for ((kind, message), paths) in groups {
        let message = if message.is_empty() {
            String::new()
        } else {
            format!(", {message}")
        };
        lines.push(format!("{kind} ({}){message}", paths.len()));
        let shown = if all { paths.len() } else { SOME };
        lines.extend(paths.iter().take(shown).map(|path| format!("  {path}")));
        if paths.len() > shown {
            let more = paths.len() - shown;
            lines.push(format!(
                "  and {more} more: outlast sync show {} --all",
                sync.name
            ));
        }
    }
    let untold = untold(sync);
    if untold > 0 && !sync.problems.is_empty() {
        lines.push(format!("and {untold} more, of which no list is kept"));
    }
    lines
}

/// How many problems there are of which nothing but the number is known.
fn untold(sync: &v1::Sync) -> u64 {
    sync.problem_count.saturating_sub(sync.problems.len() as u64)
}

/// How many problems there are by their kinds, as `2 conflict, 1 unreadable`.
pub fn kinds<'a>(problems: impl IntoIterator<Item = &'a SyncProblem>, more: u64) -> String {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for problem in problems {
        *kinds.entry(&problem.kind).or_default() += 1;
    }
    let mut parts: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

/// Which problems leave paths of the source missing or different on the host: their number, and their kinds. Of those
/// that are only counted it cannot be said that they do not.
pub fn missing(sync: &v1::Sync) -> Option<(u64, String)> {
    let grave = || {
        sync.problems
            .iter()
            .filter(|problem| !NOT_MISSED.contains(&problem.kind.as_str()))
    };
    let number = grave().count() as u64 + untold(sync);
    (number > 0).then(|| (number, kinds(grave(), untold(sync))))
}

/// What is on the host, and how long it took to know.
pub fn arrived(sync: &v1::Sync, took_s: f64) -> String {
    format!(
        "{}: {} on {} in {}",
        sync.name,
        amount(sync.files, sync.bytes),
        place(sync),
        duration::show(took_s)
    )
}

/// What a sync does now, for one line: files, bytes, rate, time left.
pub fn doing(sync: &v1::Sync) -> String {
    let name = &sync.name;
    match (&sync.progress, sync.state()) {
        (Some(now), SyncState::Scanning) => format!("{name}: {}, still looking", progress(now)),
        (Some(now), _) => format!("{name}: {}", progress(now)),
        (None, SyncState::Scanning) => format!("{name}: looking at {}", sync.source),
        (None, state) => {
            let state = json::sync_state(state).unwrap_or_else(|| "waiting".to_owned());
            format!("{name}: {state}")
        }
    }
}

fn progress(now: &v1::SyncProgress) -> String {
    let mut text = format!(
        "{} of {}, {} of {}",
        now.done_files,
        count(now.total_files, "file"),
        bytes(now.done_bytes),
        bytes(now.total_bytes)
    );
    if now.rate_bytes > 0 {
        text.push_str(&format!(", {}/s", bytes(now.rate_bytes)));
        let left = now.total_bytes.saturating_sub(now.done_bytes);
        // A time of two figures needs no more than a double has.
        #[allow(clippy::cast_precision_loss)]
        let seconds = left as f64 / now.rate_bytes as f64;
        if seconds >= 1.0 {
            text.push_str(&format!(", {} left", away::amount(seconds)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(kinds: &[&str], problem_count: u64) -> v1::Sync {
        let problem = |(number, kind): (usize, &&str)| SyncProblem {
            path: format!("p{number}"),
            kind: (*kind).to_owned(),
            message: "it is so".to_owned(),
        };
        v1::Sync {
            name: "app".to_owned(),
            problems: kinds.iter().enumerate().map(problem).collect(),
            problem_count,
            ..v1::Sync::default()
        }
    }

    #[test]
    fn only_what_is_certainly_special_leaves_nothing_missing() {
        for (kinds, count, expected) in [
            (&[][..], 0, None),
            (&["special_file", "special_bits"], 2, None),
            (&["special_file"], 3, Some((2, "2 more"))),
            (
                &["conflict", "special_file", "unreadable", "conflict"],
                4,
                Some((3, "2 conflict, 1 unreadable")),
            ),
        ] {
            let expected = expected.map(|(number, kinds): (u64, &str)| (number, kinds.to_owned()));
            assert_eq!(missing(&sync(kinds, count)), expected);
        }
    }

    #[test]
    fn problems_are_grouped_and_limited_unless_all_are_wanted() {
        let mut many = sync(&["conflict"; 12], 40);
        many.problems[3].kind = "unreadable".to_owned();
        let lines = problems(&many, false);
        assert_eq!(lines[..2], ["conflict (11), it is so", "  p0"]);
        assert_eq!(
            lines[11..],
            [
                "  and 1 more: outlast sync show app --all",
                "unreadable (1), it is so",
                "  p3",
                "and 28 more, of which no list is kept",
            ]
        );
        assert_eq!(problems(&many, true).len(), 15);
    }

    #[test]
    fn progress_tells_files_bytes_rate_and_time_left() {
        let mut now = v1::SyncProgress {
            done_files: 120,
            done_bytes: 1 << 20,
            total_files: 2000,
            total_bytes: 31 << 20,
            rate_bytes: 3 << 20,
        };
        assert_eq!(
            progress(&now),
            "120 of 2000 files, 1.0 MiB of 31.0 MiB, 3.0 MiB/s, 10 s left"
        );
        now.rate_bytes = 0;
        assert_eq!(progress(&now), "120 of 2000 files, 1.0 MiB of 31.0 MiB");
    }
}
