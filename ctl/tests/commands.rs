//! What commands print and how they end: stdout, stderr and exit code together.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    sync::{Arc, Mutex},
};

use fake::{Fake, Script, home, job, outlast, run, session};
use outlast_client::v1::{self, Error, ErrorKind, JobState, SessionState};
use serde_json::json;

const JOB: &str = "0d6af9a8-5d30-480b-9343-05dfe31fdd1a";
const SESSION: &str = "11111111-5d30-480b-9343-05dfe31fdd1a";

fn things() -> Script {
    Script {
        jobs: [
            (JOB.to_owned(), job(JOB, Some("build"), JobState::Running)),
            ("build".to_owned(), job(JOB, Some("build"), JobState::Running)),
        ]
        .into(),
        sessions: [(
            "build".to_owned(),
            session(SESSION, "build", SessionState::Running),
        )]
        .into(),
        ..Script::default()
    }
}

#[test]
fn without_a_daemon_status_says_so_and_starts_none() {
    let home = home();
    let ran = run(outlast(&home, &["status"]));
    assert_eq!((ran.code, ran.text().as_str()), (7, ""));
    let socket = home.path().join("outlast/daemon.sock");
    assert_eq!(
        ran.err,
        format!(
            "error: outlastd is not running (nobody listens on {})\nhint: outlast daemon start\n",
            socket.display()
        )
    );
    let ran = run(outlast(&home, &["--json", "--no-start", "job", "list"]));
    assert_eq!(ran.code, 7);
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["kind"], "daemon_unreachable");
    assert_eq!(error["error"]["hint"], "outlast daemon start");
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "something was made"
    );
}

#[test]
fn usage_errors_are_one_line_a_hint_and_2_also_for_run() {
    let home = home();
    for (args, error, hint) in [
        (
            &["bogus"][..],
            "error: unrecognized subcommand 'bogus'\n",
            "hint: a similar subcommand exists: 'logs'\n",
        ),
        (
            &["run", "--timeout", "5x", "--", "true"],
            "error: invalid value '5x' for '--timeout <DUR>': a duration looks like 30s, 5m, 1h30m or 90 (seconds)\n",
            "hint: outlast run --help\n",
        ),
        (
            &["run"],
            "error: the following required arguments were not provided: <CMD>...\n",
            "hint: outlast run <CMD>...\n",
        ),
        (
            &["job", "list", "--limit", "many"],
            "error: invalid value 'many' for '--limit <N>': it is not a whole number\n",
            "hint: outlast job list --help\n",
        ),
        (
            &["--such"],
            "error: unexpected argument '--such' found\n",
            "hint: outlast --help\n",
        ),
        (
            &["session", "wait", "x", "--until", "idle", "--from", "now"],
            "error: --from goes with --until output and --until reacted\n",
            "hint: --until output\n",
        ),
        (
            &["session", "wait", "x", "--after", "7"],
            "error: --after goes with --until waiting, idle and reacted\n",
            "hint: --until waiting\n",
        ),
    ] {
        let ran = run(outlast(&home, args));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert_eq!(ran.err, format!("{error}{hint}"));
        assert_eq!(ran.out, b"");
    }
    let ran = run(outlast(&home, &["job", "wait", "--json"]));
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((ran.code, error["error"]["kind"].as_str()), (2, Some("usage")));
}

#[test]
fn without_a_terminal_no_editor_is_guessed() {
    let home = home();
    let ran = run(outlast(&home, &["config", "edit"]));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("VISUAL or EDITOR"), "{ran:?}");
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "something was made"
    );
}

#[test]
fn completion_is_installed_and_says_where() {
    let home = home();
    let ran = run(outlast(&home, &["--json", "completion", "install", "bash"]));
    let path = ran.json()["path"].as_str().unwrap().to_owned();
    assert!(fs::read_to_string(path).unwrap().contains("outlast"));
}

#[test]
fn what_is_not_there_is_3_and_125_where_the_command_stands_for_a_program() {
    let fake = Fake::start(Script::default());
    let ran = fake.outlast(&["job", "show", "nosuch"]);
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.err,
        "error: no job is called \"nosuch\"\nhint: outlast job list\n"
    );
    let ran = fake.outlast(&["--json", "job", "wait", "nosuch"]);
    assert_eq!(ran.code, 125);
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(
        error["error"],
        json!({
            "kind": "not_found", "message": "no job is called \"nosuch\"", "hint": "outlast job list",
            "subject": "nosuch"
        })
    );
}

#[test]
fn a_name_that_fits_both_is_a_conflict_that_names_both() {
    let fake = Fake::start(things());
    let ran = fake.outlast(&["logs", "build"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains(JOB) && ran.err.contains(SESSION), "{}", ran.err);
    // An exact id is better than anything.
    let ran = fake.outlast(&["wait", JOB, "--timeout", "10ms"]);
    assert_eq!(ran.code, 124);
}

#[test]
fn lists_are_tabs_for_programs_and_bare_arrays_in_json() {
    let fake = Fake::start(Script {
        jobs: [(JOB.to_owned(), job(JOB, Some("a\u{1b}[2J"), JobState::Running))].into(),
        ..Script::default()
    });
    let ran = fake.outlast(&["job", "list"]);
    assert_eq!(
        ran.text(),
        format!("{JOB}\ta\\e[2J\trunning\t\tlocal\t2026-11-21T10:00:00.000Z\t\tsleep 5\n")
    );
    let ran = fake.outlast(&["job", "list", "--json"]);
    assert_eq!(
        ran.json(),
        json!([{
            "id": JOB, "name": "a\u{1b}[2J", "host": "local", "workspace": null, "cwd": null,
            "command": ["sleep", "5"], "state": "running", "exit_code": null, "signal": null, "link": "up",
            "created_at": "2026-11-21T10:00:00.000Z", "started_at": null, "ended_at": null, "duration_s": null,
            "log_bytes": null, "reason": null, "cpu_s": null, "max_rss_bytes": null
        }])
    );
    let ran = fake.outlast(&["session", "list", "--json"]);
    assert_eq!(ran.json(), json!([]));
    assert_eq!(ran.err, "");
}

#[test]
fn programs_are_told_what_sessions_do_and_say() {
    let asks = v1::Session {
        activity: v1::Activity::Waiting.into(),
        activity_message: Some("Go\non?".to_owned()),
        ..session(SESSION, "agent", SessionState::Running)
    };
    let fake = Fake::start(Script {
        sessions: [
            ("agent".to_owned(), asks),
            ("other".to_owned(), session(JOB, "other", SessionState::Running)),
        ]
        .into(),
        ..Script::default()
    });
    let ran = fake.outlast(&["session", "list"]);
    let mut ends: Vec<(String, String)> = ran
        .text()
        .lines()
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!((cells.len(), cells[1]), (10, "running"), "{line}");
            (cells[8].to_owned(), cells[9].to_owned())
        })
        .collect();
    ends.sort();
    assert_eq!(
        ends,
        [
            (String::new(), String::new()),
            ("Go\\non?".to_owned(), "waiting".to_owned())
        ]
    );
}

#[test]
fn detached_the_id_alone_is_printed_and_the_job_gets_what_the_user_has() {
    let asked = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&asked);
    let fake = Fake::start(Script {
        create_job: Some(Box::new(move |request| {
            *kept.lock().unwrap() = Some(request);
            Ok(v1::CreateJobResponse {
                job: Some(job(JOB, None, JobState::Queued)),
            })
        })),
        ..Script::default()
    });
    let mut command = outlast(
        fake.home(),
        &[
            "run",
            "-d",
            "--no-start",
            "-e",
            "A=1",
            "-e",
            "KEPT",
            "--timeout",
            "1m30s",
            "--",
            "ls",
            "--json",
            "-d",
        ],
    );
    command
        .env("KEPT", "here")
        .env("TMUX", "x")
        .env("TMUX_PANE", "x")
        .env("OUTLAST_SESSION", "x");
    let ran = run(command);
    assert_eq!((ran.code, ran.text()), (0, format!("{JOB}\n")), "{ran:?}");
    assert_eq!(ran.err, "");
    let asked = asked.lock().unwrap().take().unwrap();
    assert_eq!(asked.command, ["ls", "--json", "-d"]);
    assert_eq!(asked.cwd.as_deref(), fake.home().path().to_str());
    assert_eq!(asked.timeout.map(|limit| limit.seconds), Some(90));
    assert_eq!(asked.request_id.map(|id| id.len()), Some(36));
    assert_eq!(
        asked.env,
        HashMap::from([
            ("A".to_owned(), "1".to_owned()),
            ("KEPT".to_owned(), "here".to_owned())
        ])
    );
    assert_eq!(asked.base_env.get("KEPT").map(String::as_str), Some("here"));
    assert!(
        !asked
            .base_env
            .keys()
            .any(|name| name.starts_with("TMUX") || name.starts_with("OUTLAST_")),
        "{:?}",
        asked.base_env
    );
}

#[test]
fn without_anybody_to_ask_a_delete_names_the_flag() {
    let mut things = things();
    let ended = session(SESSION, "build", SessionState::Exited);
    things.sessions.insert("build".to_owned(), ended);
    let fake = Fake::start(things);
    let ran = fake.outlast(&["session", "delete", "build"]);
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.err,
        "error: delete session build (exited) with its screen and log: there is nobody to ask\n\
         hint: add --yes to agree\n"
    );
}

#[test]
fn attach_refuses_without_a_terminal_and_inside_a_session() {
    let fake = Fake::start(things());
    let ran = fake.outlast(&["session", "attach", "build"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("session peek"), "{}", ran.err);
    let mut command = outlast(fake.home(), &["--no-start", "attach", "build"]);
    command.env("OUTLAST_SESSION", "web");
    let ran = run(command);
    assert_eq!(ran.code, 125);
    assert!(ran.err.contains("do not nest"), "{}", ran.err);
}

#[test]
fn a_daemon_of_another_protocol_is_one_sentence_and_7() {
    let fake = Fake::start(Script {
        cancel_job: Some(Box::new(|_| {
            Err(Error::new(ErrorKind::Incompatible, "outlastd speaks protocol 2, you speak 1").into_status())
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["job", "cancel", "x"]);
    assert_eq!(
        ran.err,
        "error: outlastd speaks protocol 2, you speak 1\nhint: outlast daemon restart\n"
    );
    assert_eq!(ran.code, 7);
}

/// A directory with the program and something that stands for outlastd beside it.
fn beside(script: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = dir.path().join("outlast");
    fs::hard_link(env!("CARGO_BIN_EXE_outlast"), &program).unwrap();
    let daemon = dir.path().join("outlastd");
    fs::write(&daemon, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&daemon, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, program)
}

#[test]
fn what_outlastd_says_when_it_cannot_start_is_told() {
    let home = home();
    for (script, code, err) in [
        (
            r#"echo 'error {"kind":"usage","message":"line 3: no such setting","hint":"outlast config edit"}' >/proc/self/fd/$2"#,
            7,
            "error: line 3: no such setting\nhint: outlast config edit\n",
        ),
        (
            "exit 1",
            7,
            "error: outlastd ended before it was ready\nhint: outlast daemon logs\n",
        ),
        (
            r#"echo 'error {"kind":"not_permitted","message":"it is not yours"}' >/proc/self/fd/$2"#,
            5,
            "error: it is not yours\n",
        ),
    ] {
        let (_dir, program) = beside(script);
        let ran = run(fake::command(program, &home, &["job", "list"]));
        assert_eq!((ran.code, ran.err.as_str()), (code, err));
    }
}

#[test]
fn a_started_daemon_is_detached_and_gets_the_socket_that_was_asked_for() {
    let home = home();
    let seen = home.path().join("seen");
    let script = format!(
        "echo \"$3 $4 $(pwd) $(cut -d' ' -f6 /proc/$$/stat) $$\" >{}\necho ready >/proc/self/fd/$2",
        seen.display()
    );
    let (_dir, program) = beside(&script);
    let socket = home.path().join("s/x.sock");
    let socket = socket.to_str().unwrap();
    let ran = run(fake::command(
        program,
        &home,
        &["--socket", socket, "daemon", "start"],
    ));
    // It said that it is ready and listens nowhere.
    assert_eq!(ran.code, 7, "{ran:?}");
    let said = fs::read_to_string(seen).unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words[..3], ["--socket", socket, "/"]);
    assert_eq!(words[3], words[4], "it leads no session of its own");
    let state = home.path().join(".local/state/outlast");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_state_directory_that_others_can_enter_is_refused_with_the_command_that_mends_it() {
    let home = home();
    let state = home.path().join(".local/state/outlast");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&state)
        .unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    let (_dir, program) = beside("exit 1");
    let ran = run(fake::command(program, &home, &["daemon", "start"]));
    assert_eq!(ran.code, 5);
    assert!(
        ran.err.contains(&format!("hint: chmod 700 {}", state.display())),
        "{}",
        ran.err
    );
}

#[test]
fn help_and_versions_need_no_daemon_and_go_to_stdout() {
    let home = home();
    for args in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["completion", "show", "bash"],
        &["version"],
    ] {
        let ran = run(outlast(&home, args));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        assert!(!ran.out.is_empty());
    }
    let ran = run(outlast(&home, &["version", "--json"]));
    assert_eq!(
        ran.json(),
        json!({"version": env!("CARGO_PKG_VERSION"), "protocol": 1, "daemon": null})
    );
}

#[test]
fn a_restart_with_a_bad_configuration_leaves_the_daemon_alone() {
    let fake = Fake::start(Script::default());
    let (_dir, program) =
        beside("echo 'error: line 3: no such setting' >&2; echo 'hint: try jobs' >&2; exit 2");
    let ran = run(fake::command(program, fake.home(), &["daemon", "restart"]));
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, "error: line 3: no such setting\nhint: try jobs\n");
}

#[test]
fn status_is_read_alike_with_flags_before_and_behind_it() {
    let home = home();
    for args in [
        &["--json", "status"][..],
        &["status", "--json"],
        &["daemon", "status", "--json"],
    ] {
        let ran = run(outlast(&home, args));
        assert_eq!(ran.code, 7);
        assert!(ran.err.starts_with("{\"error\""), "{}", ran.err);
    }
    let ran = run(outlast(&home, &["status", "extra"]));
    assert_eq!(
        ran.err,
        "error: unexpected argument 'extra' found\nhint: outlast status [OPTIONS]\n"
    );
    let ran = run(outlast(&home, &["status", "--help"]));
    assert!(ran.code == 0 && ran.text().contains("never starts it"), "{ran:?}");
}
