//! `completion names`: what a word that is being typed may name. Whoever presses Tab wants an answer at once or none, so
//! nothing is started, nothing is waited for, and nothing is an error.

use std::time::Duration;

use clap::{Command, CommandFactory as _};
use outlast_client::{
    client::Start,
    v1::{ListHostsRequest, ListJobsRequest, ListSessionsRequest, ListSyncsRequest},
};

use crate::{cli::Cli, context::Context, error::Result, pump::answer, render::people::job_handle};

/// How long a shell is held up at most.
const WITHIN: Duration = Duration::from_millis(500);

/// The newest jobs are offered; who means an older one knows its name.
const JOBS: u32 = 100;

/// What may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Jobs,
    Sessions,
    JobsAndSessions,
    Hosts,
    Syncs,
}

pub async fn names(ctx: &Context, words: &[String]) -> Result<u8> {
    let Some(wanted) = wanted(words) else { return Ok(0) };
    let found = tokio::time::timeout(WITHIN, look(ctx, wanted)).await;
    let mut names = found.ok().flatten().unwrap_or_default();
    names.retain(|name| !words.contains(name));
    names.iter_mut().for_each(|name| name.push('\n'));
    answer(&names.concat())?;
    Ok(0)
}

async fn look(ctx: &Context, wanted: Wanted) -> Option<Vec<String>> {
    let daemon = ctx.connect(Start::Never).await.ok()?;
    let mut names = Vec::new();
    if matches!(wanted, Wanted::Sessions | Wanted::JobsAndSessions) {
        let request = ListSessionsRequest::default();
        let sessions = daemon.sessions().list_sessions(request).await.ok()?;
        names.extend(
            sessions
                .into_inner()
                .sessions
                .into_iter()
                .map(|session| session.name),
        );
    }
    if matches!(wanted, Wanted::Jobs | Wanted::JobsAndSessions) {
        let request = ListJobsRequest {
            limit: JOBS,
            ..ListJobsRequest::default()
        };
        let jobs = daemon.jobs().list_jobs(request).await.ok()?.into_inner().jobs;
        names.extend(jobs.iter().map(|job| job_handle(job).to_owned()));
    }
    if wanted == Wanted::Hosts {
        let hosts = daemon.hosts().list_hosts(ListHostsRequest {}).await.ok()?;
        names.extend(hosts.into_inner().hosts.into_iter().map(|host| host.name));
    }
    if wanted == Wanted::Syncs {
        let syncs = daemon.syncs().list_syncs(ListSyncsRequest {}).await.ok()?;
        names.extend(syncs.into_inner().syncs.into_iter().map(|sync| sync.name));
    }
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// What the word after these may name. Absent: a verb, a flag, or something that has no name yet.
fn wanted(words: &[String]) -> Option<Wanted> {
    let mut command = Cli::command();
    // Puts the global flags into every verb.
    command.build();
    let mut command = &command;
    let mut path = Vec::new();
    let mut given = 0;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if word.starts_with('-') && word.len() > 1 {
            if takes_value(command, word) {
                // The value; when it is what is being typed, it is no name, but that of a host where one is asked for.
                if words.next().is_none() {
                    return (word == "--host").then_some(Wanted::Hosts);
                }
            }
        } else if let Some(verb) = command.find_subcommand(word) {
            command = verb;
            path.push(verb.get_name());
        } else {
            given += 1;
        }
    }
    let positionals: Vec<_> = command.get_positionals().collect();
    // The last one may take all that follows.
    let last = positionals.last().filter(|last| takes_more(last));
    let next = positionals.get(given).or(last)?;
    if !matches!(next.get_id().as_str(), "name" | "names") {
        return None;
    }
    match path.as_slice() {
        ["session", "create"] | ["host", "add"] => None,
        ["session", _] | ["attach"] => Some(Wanted::Sessions),
        ["job", _] => Some(Wanted::Jobs),
        ["host", _] => Some(Wanted::Hosts),
        ["sync", _] => Some(Wanted::Syncs),
        ["logs" | "wait"] => Some(Wanted::JobsAndSessions),
        _ => None,
    }
}

fn takes_more(arg: &clap::Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// Whether a flag is followed by its value as a word of its own.
fn takes_value(command: &Command, word: &str) -> bool {
    let flag = command.get_arguments().find(|arg| match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        // Of several short flags in one word the last may take a value.
        None => arg.get_short().is_some() && arg.get_short() == word.chars().next_back(),
    });
    flag.is_some_and(|flag| flag.get_action().takes_values() && !flag.is_require_equals_set())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> Option<Wanted> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        wanted(&words)
    }

    #[test]
    fn names_are_offered_where_something_is_named() {
        for (line, expected) in [
            ("", None),
            ("session", None),
            ("session stop", Some(Wanted::Sessions)),
            ("session stop web", Some(Wanted::Sessions)),
            ("session stop --grace", None),
            ("session stop --grace 5s", Some(Wanted::Sessions)),
            ("--json session --grace=5s stop", Some(Wanted::Sessions)),
            ("session create", None),
            ("session attach", Some(Wanted::Sessions)),
            ("session attach web", None),
            ("session send web", None),
            ("attach", Some(Wanted::Sessions)),
            ("logs -f", Some(Wanted::JobsAndSessions)),
            ("logs -n", None),
            ("logs -n 5", Some(Wanted::JobsAndSessions)),
            ("wait build", Some(Wanted::JobsAndSessions)),
            ("job cancel", Some(Wanted::Jobs)),
            ("job prune", Some(Wanted::Jobs)),
            ("job run", None),
            ("run --name", None),
            ("run -- make", None),
            ("host show", Some(Wanted::Hosts)),
            ("host add", None),
            ("run --host", Some(Wanted::Hosts)),
            ("run --sync --host", Some(Wanted::Hosts)),
            ("sync", None),
            ("sync show", Some(Wanted::Syncs)),
            ("sync flush web --timeout 5s", Some(Wanted::Syncs)),
            ("sync add", None),
            ("sync add web", None),
            ("events", None),
        ] {
            assert_eq!(after(line), expected, "{line}");
        }
    }
}
