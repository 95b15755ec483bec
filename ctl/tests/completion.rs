//! Completion: what a shell offers after Tab.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{fs, path::Path, sync::Arc};

use fake::{Fake, Heard, Script, command, home, host, job, outlast, run, session, sync, talk};
use outlast_client::v1::{self, JobState, Link, SessionState, SyncState, exec_host_response::Event};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

type Answers = mpsc::Sender<Result<v1::ExecHostResponse, Status>>;

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

/// As [`things`], with a conflict in `app` and some directories on `build1`.
fn places() -> (Fake, Heard<Vec<String>>) {
    let asked = Heard::default();
    let heard = Arc::clone(&asked);
    let mut app = sync("app", SyncState::Watching);
    app.problems = [
        ("src/a.c", "conflict"),
        ("my file", "conflict"),
        ("dev", "special_file"),
    ]
    .map(|(path, kind)| v1::SyncProblem {
        path: path.to_owned(),
        kind: kind.to_owned(),
        message: String::new(),
    })
    .to_vec();
    let fake = Fake::start(Script {
        syncs: [("app".to_owned(), app)].into(),
        hosts: ["build1", "build2"]
            .map(|name| (name.to_owned(), host(name, Link::Up)))
            .into(),
        exec_host: talk(
            move |mut requests: Streaming<v1::ExecHostRequest>, answers: Answers| {
                let heard = Arc::clone(&heard);
                async move {
                    let open = requests.message().await.unwrap().unwrap();
                    if let Some(v1::exec_host_request::Event::Open(open)) = open.event {
                        heard
                            .lock()
                            .unwrap()
                            .push([vec![open.host], open.command].concat());
                    }
                    let listed = "file\nsrc/\nsrv/\nmy dir/\n.hidden/\n";
                    let ended = v1::ExecEnded {
                        exit_code: Some(0),
                        ..v1::ExecEnded::default()
                    };
                    for event in [Event::Stdout(listed.into()), Event::Ended(ended)] {
                        let event = Some(event);
                        let _gone = answers.send(Ok(v1::ExecHostResponse { event })).await;
                    }
                }
            },
        ),
        ..Script::default()
    });
    (fake, asked)
}

#[test]
fn values_of_flags_hosts_and_directories_are_told() {
    let (fake, asked) = places();
    for (word, words, names) in [
        ("--sync=a", &["run"][..], "app\n"),
        ("--host=", &["run"], "build1\nbuild2\n"),
        // What a shell would take apart is not offered.
        ("--adopt=", &["sync", "reset", "app"], "src/a.c\n"),
        ("", &["sync", "add"], ""),
        ("", &["sync", "add", "/tmp"], "build1:\nbuild2:\n"),
        ("build1:", &["sync", "add", "/tmp"], "build1:src/\nbuild1:srv/\n"),
        (
            "build1:s",
            &["sync", "add", "web", "/tmp"],
            "build1:src/\nbuild1:srv/\n",
        ),
        (
            "build1:~/x/sr",
            &["sync", "add", "/tmp"],
            "build1:~/x/src/\nbuild1:~/x/srv/\n",
        ),
        ("build1:/.h", &["sync", "add", "/tmp"], "build1:/.hidden/\n"),
    ] {
        let ran = fake.outlast(&[&["completion", "names", "--word", word, "--"], words].concat());
        assert_eq!(
            (ran.code, ran.text().as_str(), ran.err.as_str()),
            (0, names, ""),
            "{word}"
        );
    }
    let looked: Vec<_> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|asked| asked.last().cloned())
        .collect();
    assert_eq!(looked, ["./", "./", "x/", "/"].map(|dir| Some(dir.to_owned())));
    assert_eq!(asked.lock().unwrap()[0][..2], ["build1", "ls"]);
}

#[test]
fn bash_offers_what_comes_after_an_equals_sign_and_a_colon() {
    let (fake, _) = places();
    for (words, offered) in [
        (&["outlast", "run", "--sync", "="][..], &["app"][..]),
        (&["outlast", "run", "--sync", "=", "a"], &["app"]),
        (&["outlast", "run", "--host", "=", "b"], &["build1", "build2"]),
        (
            &["outlast", "sync", "reset", "app", "--adopt", "=", "s"],
            &["src/a.c"],
        ),
        (&["outlast", "sync", "add", "/tmp", "b"], &["build1:", "build2:"]),
        (
            &["outlast", "sync", "add", "/tmp", "build1", ":"],
            &["src/", "srv/"],
        ),
        (
            &["outlast", "sync", "add", "/tmp", "build1", ":", "sr"],
            &["src/", "srv/"],
        ),
    ] {
        assert_eq!(bash(&fake, words), offered, "{words:?}");
    }
}

#[test]
fn fish_offers_the_same() {
    let (fake, _) = places();
    let program = Path::new(env!("CARGO_BIN_EXE_outlast"));
    for (line, offered) in [
        ("outlast run --sync=", "--sync=app\n"),
        ("outlast sync add /tmp bui", "build1:\nbuild2:\n"),
        ("outlast sync add /tmp build1:sr", "build1:src/\nbuild1:srv/\n"),
        ("outlast sync flush a", "app\n"),
    ] {
        let script = format!("outlast completion show fish | source; complete -C '{line}'");
        let mut fish = command(
            "/usr/bin/fish".into(),
            fake.home(),
            &["--no-config", "-c", &script],
        );
        fish.env(
            "PATH",
            format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
        );
        let ran = run(fish);
        assert_eq!((ran.code, ran.text().as_str()), (0, offered), "{line}: {ran:?}");
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
    assert_eq!(bash(&fake, &["outlast", "to"]), ["top"]);
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
        "]::NAME",
        "]::PATH",
        "--host=[Host to look on (default\\: local)]:HOST",
        "Names of providers (all when left out)",
        "Names of templates (all when left out)",
        "--template=[Template to start it from; what is said here wins over it]:TEMPLATE",
        "--provider=[Provider whose program it runs]:PROVIDER",
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
    assert!(zsh.contains("the directory here, and where it goes:_outlast_places'"));
    assert!(zsh.trim_end().ends_with("fi"), "the registration stays last");
    let fish = script("fish");
    let names = "-a '(__fish_outlast_names)'";
    assert!(fish.contains(&format!("'__fish_outlast_names | string length -q' -f {names}\n")));
    // Of every verb that takes one.
    for verb in fish.lines().filter(|line| line.contains(" -l host -d ")) {
        assert!(
            [
                "run\"",
                "create\"",
                "list\"",
                "check\"",
                "install\"",
                "uninstall\""
            ]
            .iter()
            .any(|name| verb.contains(name)),
            "{verb}"
        );
    }
    assert!(fish.contains(&format!(
        "-n '__fish_seen_subcommand_from run create list check install uninstall' -l host -x {names}\n"
    )));
}
