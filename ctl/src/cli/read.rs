//! How the command line is read: what is asked all the time by itself, the rest by the whole tree.

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{Cli, Command, Global, Host, HostExec, Run};
use crate::render::escape::quote;

/// `status` and the global flags, nothing else.
#[derive(Debug, Parser)]
#[command(name = "outlast", disable_help_flag = true, disable_version_flag = true)]
struct StatusOnly {
    #[command(flatten)]
    global: Global,
    word: String,
}

/// The verbs that run a program, nothing else.
#[derive(Debug, Parser)]
#[command(name = "outlast", disable_help_flag = true, disable_version_flag = true)]
struct RunOnly {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: RunVerb,
}

/// As they stand in [`Command`].
#[derive(Debug, Subcommand)]
enum RunVerb {
    Run(Run),
    #[command(subcommand)]
    Host(ExecVerb),
}

/// As it stands in [`Host`].
#[derive(Debug, Subcommand)]
enum ExecVerb {
    Exec(HostExec),
}

/// The verb that never starts a daemon.
const STATUS: &str = "status";

impl Cli {
    /// Reads the command line.
    pub fn read() -> Result<Self, clap::Error> {
        let args: Vec<OsString> = std::env::args_os().collect();
        match Self::read_quickly(&args) {
            Some(cli) => Ok(cli),
            None => Self::try_parse_from(args),
        }
    }

    /// What scripts and prompts ask all the time, read by itself where that is possible: building the whole tree of
    /// commands takes longer than the question itself. None: the tree has to read it, which also knows all errors.
    fn read_quickly(args: &[OsString]) -> Option<Self> {
        let own = || args.iter().skip(1).take_while(|arg| *arg != "--");
        if own().any(|arg| arg == "run" || arg == "exec") {
            let RunOnly { global, command } = RunOnly::try_parse_from(args).ok()?;
            let command = match command {
                RunVerb::Run(run) => Command::Run(run),
                RunVerb::Host(ExecVerb::Exec(exec)) => Command::Host(Host::Exec(exec)),
            };
            return Some(Self {
                global,
                command: Some(command),
            });
        }
        let all_own = own().count() + 1 == args.len();
        if all_own && own().any(|arg| arg == STATUS) {
            let StatusOnly { global, word } = StatusOnly::try_parse_from(args).ok()?;
            return (word == STATUS).then_some(Self {
                global,
                command: Some(Command::Status),
            });
        }
        None
    }
}

/// What to type instead where `session send` lacks a text and was given `-y`, which is a flag everywhere and was meant as
/// that. Beside a text it is the flag.
pub fn meant_as_text(args: impl IntoIterator<Item = OsString>) -> Option<String> {
    let words = args
        .into_iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    let (texts, kept): (Vec<String>, Vec<String>) = words
        .take_while(|word| word != "--")
        .partition(|word| word == "-y");
    let mut plain = kept.iter().filter(|word| !word.starts_with('-'));
    if texts.is_empty() || (plain.next()?, plain.next()?) != (&"session".to_owned(), &"send".to_owned()) {
        return None;
    }
    let name = plain.next().is_none().then_some("NAME");
    let kept = kept.iter().map(|word| quote(word));
    let words: Vec<_> = kept.chain(name.map(Into::into)).collect();
    Some(format!("outlast {} -- {}", words.join(" "), texts.join(" ")))
}

/// What shows how the verb that was typed is used: its help.
pub fn help() -> String {
    let root = Cli::command();
    let (mut verb, mut words) = (&root, vec!["outlast".to_owned()]);
    let typed: Vec<_> = std::env::args_os().skip(1).collect();
    let typed = typed.iter().filter_map(|word| word.to_str());
    for word in typed.filter(|word| !word.starts_with('-')) {
        let Some(next) = verb.find_subcommand(word) else {
            break;
        };
        words.push(next.get_name().to_owned());
        verb = next;
    }
    words.push("--help".to_owned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_was_meant_as_text_is_noticed() {
        let meant = |line: &str| meant_as_text(line.split(' ').map(OsString::from));
        for (line, instead) in [
            ("outlast session send ct -y", "outlast session send ct -- -y"),
            (
                "outlast session send -y c't",
                "outlast session send 'c'\\''t' -- -y",
            ),
            (
                "outlast --json session send ct -y --wait --timeout 5s",
                "outlast --json session send ct --wait --timeout 5s -- -y",
            ),
            (
                "outlast session send ct -y -y",
                "outlast session send ct -- -y -y",
            ),
            ("outlast session send -y", "outlast session send NAME -- -y"),
        ] {
            assert_eq!(meant(line).as_deref(), Some(instead), "{line}");
        }
        for other in ["outlast session send ct -- -y", "outlast host add -y", "outlast"] {
            assert_eq!(meant(other), None, "{other}");
        }
    }

    /// What is read quickly, and what the whole tree reads.
    fn both(line: &str) -> (Option<String>, Option<String>) {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let quick = Cli::read_quickly(&args).map(|cli| format!("{cli:?}"));
        let whole = Cli::try_parse_from(args).ok().map(|cli| format!("{cli:?}"));
        (quick, whole)
    }

    #[test]
    fn what_is_read_quickly_is_what_the_tree_reads() {
        for line in [
            "outlast status",
            "outlast --json status --quiet",
            "outlast run true",
            "outlast -q run -d --name n --host h --env A=b --timeout 5s -- make --json status",
            "outlast run make -h",
            "outlast run --sync --sync-failure warn -- make",
            "outlast run --sync=app make test",
            "outlast host exec h -- true",
            "outlast --socket /s host exec h --cwd / -e A uname -a",
            "outlast host --json exec h sh -c exit",
        ] {
            let (quick, whole) = both(line);
            assert!(quick.is_some(), "{line}");
            assert_eq!(quick, whole, "{line}");
        }
    }

    #[test]
    fn the_rest_is_left_to_the_tree() {
        for line in [
            "outlast",
            "outlast job run true",
            "outlast run --help",
            "outlast run",
            "outlast host exec --help",
            "outlast host show exec",
            "outlast host list",
            "outlast daemon status",
            "outlast attach run",
            "outlast status -- x",
            "outlast status status",
        ] {
            let (quick, _) = both(line);
            assert_eq!(quick, None, "{line}");
        }
    }
}
