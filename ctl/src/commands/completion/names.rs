//! `completion names`: what a word that is being typed may name. Whoever presses Tab wants an answer at once or none, so
//! nothing is started, nothing is waited for, and nothing is an error.

use std::{path::Path, time::Duration};

use clap::{Command, CommandFactory as _};
use outlast_client::{
    client::{Daemon, Start},
    v1::{
        GetSyncRequest, ListHostsRequest, ListJobsRequest, ListProvidersRequest, ListSessionsRequest,
        ListSyncsRequest, ListTemplatesRequest,
    },
};

use super::directories::directories;
use crate::{
    cli::{Cli, Words},
    context::Context,
    error::Result,
    pump::answer,
    render::people::job_handle,
};

/// How long a shell is held up at most.
const WITHIN: Duration = Duration::from_millis(500);

/// The newest jobs are offered; who means an older one knows its name.
const JOBS: u32 = 100;

/// What may be named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Jobs,
    Sessions,
    JobsAndSessions,
    Hosts,
    Syncs,
    /// Hosts, with the colon that comes after them.
    Places,
    /// Directories of a host, as far as they are typed.
    Directories {
        host: String,
        typed: String,
    },
    /// Paths that are in conflict in a sync.
    Conflicts {
        sync: String,
    },
    Providers,
    Templates,
}

pub async fn names(ctx: &Context, args: &Words) -> Result<u8> {
    let (words, word) = whole(&args.words, &args.word);
    let Some(wanted) = wanted(&words, &word) else {
        return Ok(0);
    };
    let found = tokio::time::timeout(WITHIN, look(ctx, wanted)).await;
    let mut names = found.ok().flatten().unwrap_or_default();
    names.retain(|name| !words.contains(name) && is_one_word(name));
    names.sort_unstable();
    names.dedup();
    names.iter_mut().for_each(|name| name.push('\n'));
    answer(&names.concat())?;
    Ok(0)
}

async fn look(ctx: &Context, wanted: Wanted) -> Option<Vec<String>> {
    let daemon = ctx.connect(Start::Never).await.ok()?;
    match wanted {
        Wanted::Jobs => jobs(&daemon).await,
        Wanted::Sessions => sessions(&daemon).await,
        Wanted::JobsAndSessions => {
            let mut names = sessions(&daemon).await?;
            names.extend(jobs(&daemon).await?);
            Some(names)
        }
        Wanted::Hosts => hosts(&daemon).await,
        Wanted::Places => {
            let hosts = hosts(&daemon).await?;
            Some(hosts.into_iter().map(|host| format!("{host}:")).collect())
        }
        Wanted::Directories { host, typed } => directories(ctx, &host, &typed).await,
        Wanted::Syncs => {
            let syncs = daemon.syncs().list_syncs(ListSyncsRequest {}).await.ok()?;
            let syncs = syncs.into_inner().syncs;
            Some(syncs.into_iter().map(|sync| sync.name).collect())
        }
        Wanted::Providers => {
            let found = daemon.providers().list_providers(ListProvidersRequest {}).await;
            let providers = found.ok()?.into_inner().providers;
            Some(providers.into_iter().map(|provider| provider.name).collect())
        }
        Wanted::Templates => {
            let found = daemon.templates().list_templates(ListTemplatesRequest {}).await;
            let templates = found.ok()?.into_inner().templates;
            Some(templates.into_iter().map(|template| template.name).collect())
        }
        Wanted::Conflicts { sync } => {
            let found = daemon.syncs().get_sync(GetSyncRequest { sync }).await.ok()?;
            let problems = found.into_inner().sync?.problems.into_iter();
            let conflicts = problems.filter(|problem| problem.kind == "conflict");
            Some(conflicts.map(|problem| problem.path).collect())
        }
    }
}

async fn jobs(daemon: &Daemon) -> Option<Vec<String>> {
    let request = ListJobsRequest {
        limit: JOBS,
        ..ListJobsRequest::default()
    };
    let jobs = daemon.jobs().list_jobs(request).await.ok()?.into_inner().jobs;
    Some(jobs.iter().map(|job| job_handle(job).to_owned()).collect())
}

async fn sessions(daemon: &Daemon) -> Option<Vec<String>> {
    let request = ListSessionsRequest::default();
    let sessions = daemon.sessions().list_sessions(request).await.ok()?;
    let sessions = sessions.into_inner().sessions;
    Some(sessions.into_iter().map(|session| session.name).collect())
}

async fn hosts(daemon: &Daemon) -> Option<Vec<String>> {
    let hosts = daemon.hosts().list_hosts(ListHostsRequest {}).await.ok()?;
    Some(
        hosts
            .into_inner()
            .hosts
            .into_iter()
            .map(|host| host.name)
            .collect(),
    )
}

/// Whether a shell takes a name for one word as it stands. What it does not is not offered.
fn is_one_word(name: &str) -> bool {
    !name
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || "'\"\\$`&|;<>()*?[]{}!#".contains(c))
}

/// Puts together what bash takes apart: the words before, and the one that is being typed.
fn whole(words: &[String], word: &str) -> (Vec<String>, String) {
    let mut whole: Vec<String> = Vec::new();
    let mut goes_on = false;
    for part in words.iter().map(String::as_str).chain([word]) {
        let joins = matches!(part, "=" | ":");
        match whole.last_mut() {
            Some(last) if joins || goes_on => last.push_str(part),
            _ => whole.push(part.to_owned()),
        }
        goes_on = joins;
    }
    let word = whole.pop().unwrap_or_default();
    (whole, word)
}

/// What the word after these may name, which is typed so far. Absent: a verb, a flag, or something that has no name yet.
fn wanted(words: &[String], word: &str) -> Option<Wanted> {
    let mut command = Cli::command();
    // Puts the global flags into every verb.
    command.build();
    let mut command = &command;
    let mut path = Vec::new();
    let mut given = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if word.starts_with('-') && word.len() > 1 {
            if takes_value(command, word) {
                // The value; when it is what is being typed, it is no name, but where one of these is asked for.
                if words.next().is_none() {
                    return of_flag(word, &given);
                }
            }
        } else if let Some(verb) = command.find_subcommand(word) {
            command = verb;
            path.push(verb.get_name());
        } else {
            given.push(word.as_str());
        }
    }
    if word.starts_with("--")
        && let Some((flag, _value)) = word.split_once('=')
    {
        return of_flag(flag, &given);
    }
    if path == ["sync", "add"] {
        return place(&given, word);
    }
    let positionals: Vec<_> = command.get_positionals().collect();
    // The last one may take all that follows.
    let last = positionals.last().filter(|last| takes_more(last));
    let next = positionals.get(given.len()).or(last)?;
    if !matches!(next.get_id().as_str(), "name" | "names") {
        return None;
    }
    match path.as_slice() {
        ["session", "create"] | ["host", "add"] => None,
        ["session", _] | ["attach"] => Some(Wanted::Sessions),
        ["job", _] => Some(Wanted::Jobs),
        ["host", _] => Some(Wanted::Hosts),
        ["sync", _] => Some(Wanted::Syncs),
        ["provider", _] => Some(Wanted::Providers),
        ["template", _] => Some(Wanted::Templates),
        ["logs" | "wait"] => Some(Wanted::JobsAndSessions),
        _ => None,
    }
}

/// What the value of a flag names.
fn of_flag(flag: &str, given: &[&str]) -> Option<Wanted> {
    match flag {
        "--host" => Some(Wanted::Hosts),
        "--sync" => Some(Wanted::Syncs),
        "--provider" => Some(Wanted::Providers),
        "--template" => Some(Wanted::Templates),
        "--adopt" => Some(Wanted::Conflicts {
            sync: (*given.first()?).to_owned(),
        }),
        _ => None,
    }
}

/// Where a new sync goes, once the directory here is given, which may have a name before it.
fn place(given: &[&str], word: &str) -> Option<Wanted> {
    match given {
        [local] if Path::new(local).is_dir() => {}
        [_name, _local] => {}
        _ => return None,
    }
    Some(match word.split_once(':') {
        Some((host, typed)) => Wanted::Directories {
            host: host.to_owned(),
            typed: typed.to_owned(),
        },
        None => Wanted::Places,
    })
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
        typing(line, "")
    }

    fn typing(line: &str, word: &str) -> Option<Wanted> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (words, word) = whole(&words, word);
        wanted(&words, &word)
    }

    #[test]
    fn values_and_places_are_offered_in_whatever_way_a_shell_takes_words_apart() {
        let conflicts = || Wanted::Conflicts {
            sync: "app".to_owned(),
        };
        let directories = |typed: &str| Wanted::Directories {
            host: "box".to_owned(),
            typed: typed.to_owned(),
        };
        for (line, word, expected) in [
            ("run", "--sync=", Some(Wanted::Syncs)),
            ("run", "--sync=a", Some(Wanted::Syncs)),
            ("run --sync", "=", Some(Wanted::Syncs)),
            ("run --sync =", "a", Some(Wanted::Syncs)),
            ("session create web --sync =", "a", Some(Wanted::Syncs)),
            ("run --sync", "", None),
            ("run --sync=app", "", None),
            ("run", "--host=b", Some(Wanted::Hosts)),
            ("run --host =", "b", Some(Wanted::Hosts)),
            ("run --host=b", "", None),
            ("run", "--name=b", None),
            ("sync reset app", "--adopt=", Some(conflicts())),
            ("sync reset app --adopt =", "a", Some(conflicts())),
            ("sync reset", "--adopt=", None),
            ("sync add", "", None),
            ("sync add nosuch", "", None),
            ("sync add .", "", Some(Wanted::Places)),
            ("sync add .", "bo", Some(Wanted::Places)),
            ("sync add web .", "bo", Some(Wanted::Places)),
            ("sync add --git .", "box:", Some(directories(""))),
            ("sync add .", "box:src/a", Some(directories("src/a"))),
            ("sync add . box", ":", Some(directories(""))),
            ("sync add . box :", "src/a", Some(directories("src/a"))),
            ("sync add web . box:app", "", None),
            ("sync add .", "--exclude=x", None),
        ] {
            assert_eq!(typing(line, word), expected, "{line} {word}");
        }
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
            ("provider", None),
            ("provider install", Some(Wanted::Providers)),
            ("provider check --host", Some(Wanted::Hosts)),
            ("provider check", Some(Wanted::Providers)),
            ("template show", Some(Wanted::Templates)),
            ("session create web --template", Some(Wanted::Templates)),
            ("session create web --provider", Some(Wanted::Providers)),
        ] {
            assert_eq!(after(line), expected, "{line}");
        }
    }
}
