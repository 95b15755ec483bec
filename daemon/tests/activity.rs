//! What a session does, from the program that says so to whoever asks for it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

use outlast_client::v1::{Activity, Session};
use outlast_testkit::{Client, DEADLINE, Process, Sandbox};
use rustix::process::Signal;
use serde_json::Value;

/// Asks, works on the answer, has nothing to do, and ends when told.
const AGENT: &str = r#"
    echo "waiting Go on?" >> "$OUTLAST_REPORTS"
    read -r answer
    echo "working $answer" >> "$OUTLAST_REPORTS"
    read -r more
    echo idle >> "$OUTLAST_REPORTS"
    read -r code
    exit "$code"
"#;

fn outlast(sandbox: &Sandbox, args: &[&str]) -> String {
    sandbox.outlast(args).success().out()
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Value {
    sandbox.outlast(args).success().json()
}

fn create(sandbox: &Sandbox, name: &str, script: &str) {
    outlast(sandbox, &["session", "create", name, "--", "sh", "-c", script]);
}

fn does(sandbox: &Sandbox, name: &str, fits: impl Fn(&Session) -> bool) -> Session {
    Client::new(sandbox, DEADLINE).session(name, fits)
}

fn after_seq(sent: &Value) -> String {
    sent["after_seq"].as_u64().unwrap().to_string()
}

fn activities(sandbox: &Sandbox) -> Vec<String> {
    let told = outlast(sandbox, &["events", "--json", "--kind", "session.activity"]);
    told.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["data"]["activity"].as_str().unwrap_or("-").to_owned()
        })
        .collect()
}

#[test]
fn a_program_that_reports_is_waited_for_answered_and_seen_across_a_restart() {
    let sandbox = Sandbox::new();
    create(&sandbox, "agent", AGENT);
    let asked = outlast(
        &sandbox,
        &[
            "session",
            "wait",
            "agent",
            "--until",
            "waiting",
            "--timeout",
            "20s",
        ],
    );
    assert_eq!(asked, "Go on?\n");
    let waiting = json(&sandbox, &["session", "list", "--waiting", "--json"]);
    let agent = &waiting[0];
    for (key, value) in [
        ("name", "agent"),
        ("activity", "waiting"),
        ("activity_source", "report"),
        ("activity_message", "Go on?"),
    ] {
        assert_eq!(agent[key], value, "{agent}");
    }
    let overview = outlast(&sandbox, &[]);
    assert!(overview.starts_with("Waiting for you\n"), "{overview}");
    assert!(overview.contains("Go on?"), "{overview}");

    // An answer ends it before anybody can look again.
    let sent = json(&sandbox, &["session", "send", "agent", "yes", "--json"]);
    let waiting = json(&sandbox, &["session", "list", "--waiting", "--json"]);
    assert_eq!(waiting, serde_json::json!([]));
    let works = does(&sandbox, "agent", |agent| agent.activity() == Activity::Working);
    assert_eq!(works.activity_message.as_deref(), Some("yes"));
    assert!(works.activity_seq > sent["after_seq"].as_u64());

    let sent = json(&sandbox, &["session", "send", "agent", "more", "--json"]);
    let wait = [
        "session",
        "wait",
        "agent",
        "--until",
        "idle",
        "--timeout",
        "20s",
        "--after",
    ];
    let seq = after_seq(&sent);
    outlast(&sandbox, &[&wait[..], &[&seq]].concat());
    // It was so since, however often that is asked.
    outlast(&sandbox, &[&wait[..], &[&seq]].concat());

    let before = activities(&sandbox);
    outlast(&sandbox, &["daemon", "restart"]);
    let idle = does(&sandbox, "agent", |agent| agent.last_activity_at.is_some());
    assert_eq!(idle.activity(), Activity::Idle);
    outlast(&sandbox, &["session", "send", "agent", "3"]);
    outlast(&sandbox, &["session", "wait", "agent", "--timeout", "20s"]);
    // Nothing was said twice, and the answer was the last of it.
    let all = activities(&sandbox);
    assert_eq!(all[..before.len()], before[..]);
    assert_eq!(all[before.len()..], ["-".to_owned()], "{all:?}");
    let agent = does(&sandbox, "agent", |agent| agent.exit_code == Some(3));
    assert_eq!(agent.activity(), Activity::Unspecified);
}

#[test]
fn what_ends_before_it_waits_is_told_apart() {
    let sandbox = Sandbox::new();
    create(&sandbox, "quick", "read -r go; exit 4");
    let mut wait = sandbox.command("outlast");
    wait.args(["session", "wait", "quick", "--until", "waiting"]);
    let wait = Process::start(wait);
    outlast(&sandbox, &["session", "send", "quick", "go"]);
    let waited = wait.finish(DEADLINE);
    assert_eq!(waited.exit(), 1, "{waited:?}");
    assert_eq!(
        waited.err(),
        "error: session quick exited with exit code 4 before it waited for anything\n"
    );
}

#[test]
fn a_shell_idles_and_what_it_runs_works() {
    let sandbox = Sandbox::new();
    outlast(
        &sandbox,
        &["session", "create", "sh", "--", "bash", "--norc", "-i"],
    );
    let idle = does(&sandbox, "sh", |shell| shell.activity() == Activity::Idle);
    assert_eq!(idle.activity_source.as_deref(), Some("process:bash"));
    // It reads from the terminal, and so runs until it is told otherwise.
    outlast(&sandbox, &["session", "send", "sh", "cat"]);
    let works = does(&sandbox, "sh", |shell| shell.activity() == Activity::Working);
    assert_eq!(works.activity_source.as_deref(), Some("process:cat"));
    let sent = json(&sandbox, &["session", "send", "sh", "--keys", "C-d", "--json"]);
    let seq = after_seq(&sent);
    outlast(
        &sandbox,
        &[
            "session",
            "wait",
            "sh",
            "--until",
            "idle",
            "--after",
            &seq,
            "--timeout",
            "20s",
        ],
    );
}

#[test]
fn what_was_asked_while_the_daemon_was_dead_is_seen_when_it_is_back() {
    let sandbox = Sandbox::new();
    let flag = sandbox.home().join("flag");
    let script = format!(
        r#"mkfifo {flag}; echo ready; read -r x < {flag}; echo "waiting After all?" >> "$OUTLAST_REPORTS"; read -r y"#,
        flag = flag.display()
    );
    create(&sandbox, "agent", &script);
    outlast(
        &sandbox,
        &[
            "session", "wait", "agent", "--until", "output", "--match", "ready", "--from", "start",
        ],
    );
    let status = json(&sandbox, &["status", "--json"]);
    let pid = i32::try_from(
        status["daemon"]["pid"]
            .as_i64()
            .or(status["pid"].as_i64())
            .unwrap(),
    )
    .unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    std::fs::write(&flag, "go\n").unwrap();
    let asked = outlast(
        &sandbox,
        &[
            "session",
            "wait",
            "agent",
            "--until",
            "waiting",
            "--timeout",
            "20s",
        ],
    );
    assert_eq!(asked, "After all?\n");
}
