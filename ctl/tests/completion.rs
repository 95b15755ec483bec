//! Completion: what a shell offers after Tab.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{fs, path::Path};

use fake::{Fake, Script, command, home, host, job, outlast, run, session, sync};
use outlast_client::v1::{JobState, Link, SessionState, SyncState};

const JOB: &str = "0d6af9a8-5d30-480b-9343-05dfe31fdd1a";
const NAMED: &str = "1d6af9a8-5d30-480b-9343-05dfe31fdd1a";
const SESSION: &str = "2d6af9a8-5d30-480b-9343-05dfe31fdd1a";

fn things() -> Fake {
    Fake::start(Script {
        jobs: [
            (JOB.to_owned(), job(JOB, None, JobState::Running)),
            (NAMED.to_owned(), job(NAMED, Some("build"), JobState::Failed)),
        ]
        .into(),
        sessions: ["web", "worker"]
            .map(|name| (name.to_owned(), session(SESSION, name, SessionState::Running)))
            .into(),
        syncs: ["app", "site"]
            .map(|name| (name.to_owned(), sync(name, SyncState::Watching)))
            .into(),
        hosts: ["build1", "build2"]
            .map(|name| (name.to_owned(), host(name, Link::Up)))
            .into(),
        ..Script::default()
    })
}

#[test]
fn names_are_told_by_what_the_words_before_ask_for() {
    let fake = things();
    for (words, names) in [
        (&["session", "stop"][..], "web\nworker\n"),
        (&["session", "stop", "web"], "worker\n"),
        (&["job", "cancel", "--grace", "5s"], "0d6af9a8\nbuild\n"),
        (&["wait"], "0d6af9a8\nbuild\nweb\nworker\n"),
        (&["run", "--host"], "build1\nbuild2\n"),
        (&["session", "create", "new", "--host"], "build1\nbuild2\n"),
        (&["host", "check", "build1"], "build2\n"),
        (&["session", "create"], ""),
        (&["run", "--", "make"], ""),
        (&["sync", "remove", "app"], "site\n"),
    ] {
        let mut args = vec!["completion", "names", "--"];
        args.extend(words);
        let ran = fake.outlast(&args);
        assert_eq!((ran.code, ran.text().as_str(), ran.err.as_str()), (0, names, ""));
    }
}

#[test]
fn without_a_daemon_nothing_is_offered_and_nothing_is_started() {
    let home = home();
    let ran = run(outlast(&home, &["completion", "names", "--", "session", "stop"]));
    assert_eq!((ran.code, ran.text().as_str(), ran.err.as_str()), (0, "", ""));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

/// What bash offers for a command line whose last word is being typed.
fn bash(fake: &Fake, words: &[&str]) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_outlast"));
    let script = "source <(outlast completion show bash)\n\
                  COMP_WORDS=(\"$@\"); COMP_CWORD=$(($#-1))\n\
                  [[ $(complete -p outlast) =~ -F\\ ([^ ]+) ]] || exit 9\n\
                  ${BASH_REMATCH[1]} outlast \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"\n\
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut args = vec!["--norc", "-c", script, "bash"];
    args.extend(words);
    let mut bash = command("/bin/bash".into(), fake.home(), &args);
    bash.env(
        "PATH",
        format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
    );
    let ran = run(bash);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.text().lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_verbs_flags_and_names() {
    let fake = things();
    assert_eq!(bash(&fake, &["outlast", "sess"]), ["session"]);
    assert_eq!(bash(&fake, &["outlast", "session", "st"]), ["stop"]);
    assert_eq!(
        bash(&fake, &["outlast", "session", "stop", "w"]),
        ["web", "worker"]
    );
    assert_eq!(bash(&fake, &["outlast", "job", "cancel", "b"]), ["build"]);
    assert_eq!(bash(&fake, &["outlast", "sync", "fl"]), ["flush"]);
    assert_eq!(bash(&fake, &["outlast", "sync", "flush", "s"]), ["site"]);
    for words in [
        &["outlast", "run", "--host", "b"][..],
        &["outlast", "job", "list", "--host", "b"],
        &["outlast", "session", "create", "new", "--host", "b"],
        &["outlast", "host", "check", "b"],
        &["outlast", "host", "exec", "b"],
    ] {
        assert_eq!(bash(&fake, words), ["build1", "build2"], "{words:?}");
    }
    assert!(bash(&fake, &["outlast", "session", "stop", "--"]).contains(&"--no-block".to_owned()));
    // A program of the user's, as in any other place.
    assert!(bash(&fake, &["outlast", "run", "--", "bas"]).contains(&"bash".to_owned()));
}

#[test]
fn zsh_and_fish_ask_for_names_too() {
    let home = home();
    let script = |shell| {
        let ran = run(outlast(&home, &["completion", "show", shell]));
        assert_eq!(ran.code, 0);
        ran.text()
    };
    let zsh = script("zsh");
    // Wherever something is named, and not only where the functions are defined.
    for named in [
        "unique beginning of an id",
        "Only these jobs (default\\: all that have ended)",
        "Name of the host",
        "Names of hosts",
        "--host=[Host to run on (default\\: local)]:HOST",
        "--host=[Only those on these hosts]:HOST",
    ] {
        let all = zsh.matches(named).count();
        let asking = zsh.matches(&format!("{named}:_outlast_names'")).count();
        assert!(all > 0 && all == asking, "{named}: {asking} of {all}");
    }
    assert_eq!(
        zsh.matches("--host=").count(),
        zsh.matches("]:HOST:_outlast_names'").count()
    );
    assert!(zsh.contains("_outlast() {\n    local -a outlast_words;"));
    assert!(zsh.trim_end().ends_with("fi"), "the registration stays last");
    let fish = script("fish");
    let names = "-a '(__fish_outlast_names)'";
    assert!(fish.contains(&format!("'__fish_outlast_names | string length -q' -f {names}\n")));
    // Of every verb that takes one.
    for verb in fish.lines().filter(|line| line.contains(" -l host -d ")) {
        assert!(
            ["run\"", "create\"", "list\""]
                .iter()
                .any(|name| verb.contains(name)),
            "{verb}"
        );
    }
    assert!(fish.contains(&format!(
        "-n '__fish_seen_subcommand_from run create list' -l host -x {names}\n"
    )));
}
