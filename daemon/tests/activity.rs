//! What a session does, from the program that says so to whoever asks for it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use outlast_client::v1::{Activity, Session};
use outlast_testkit::{Client, DEADLINE, Process, Sandbox};
use rustix::process::Signal;
use serde_json::Value;
use support::cli::{json, outlast};

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

/// What is read from the screens of these programs.
const RULES: &str = r"
    [providers.mine]
    binary = 'sh'
    [[providers.mine.screen]]
    name = 'asks'
    doing = 'waiting'
    last_lines = 1
    pattern = '\A(?P<message>Sure\?) \[y/n\]\z'
    [[providers.mine.screen]]
    name = 'works'
    doing = 'working'
    last_lines = 1
    pattern = '\AWorking\z'
    [[providers.mine.screen]]
    name = 'prompt'
    doing = 'idle'
    last_lines = 1
    pattern = '\A>\z'
    [[providers.mine.screen]]
    name = 'first prompt'
    doing = 'idle'
    last_lines = 1
    pattern = '\AFirst>\z'
";

/// Says that it asks before it does: longer before than it is held back after one output, and well within as long as it is
/// held back at all, also where all is slow.
const HASTY: &str = r#"
    echo working >> "$OUTLAST_REPORTS"
    read -r go
    echo "waiting a tool" >> "$OUTLAST_REPORTS"
    for step in 1 2 3 4; do printf "step $step\r"; sleep 0.2; done
    printf 'Sure? [y/n] '
    read -r answer
"#;

/// Says that it rests as soon as it does, draws its prompt again, and begins late: after the first look at it, and well before
/// it is rest again.
const EAGER: &str = r#"
    stty -echo
    printf 'First> '
    echo idle >> "$OUTLAST_REPORTS"
    read -r prompt
    printf '\r\033[K> '
    sleep 0.9
    echo working >> "$OUTLAST_REPORTS"
    read -r more
"#;

/// Draws its prompt again before it begins to work on what was typed there, for as long.
const SLOW: &str = r#"
    draw() { printf '\033[2J\033[H%s' "$1"; }
    stty -echo
    draw 'First> '
    read -r prompt
    draw 'half of'
    sleep 0.7
    draw '> '
    sleep 0.5
    draw 'Working'
    while [ ! -e go ]; do sleep 0.05; done
    draw '> '
    read -r more
"#;

fn create(sandbox: &Sandbox, name: &str, script: &str) {
    outlast(sandbox, &["session", "create", name, "--", "sh", "-c", script]);
}

/// One whose screen is read.
fn create_read(sandbox: &Sandbox, script: &str) {
    sandbox.configure(RULES);
    let home = sandbox.home().display().to_string();
    let create = ["session", "create", "mine", "--provider", "mine", "--cwd", &home];
    outlast(sandbox, &[&create[..], &["--", "sh", "-c", script]].concat());
}

/// Waits for what comes after a number, and gives back the message.
fn wait_for(sandbox: &Sandbox, name: &str, doing: &str, seq: &str) -> String {
    let wait = ["session", "wait", name, "--until", doing, "--after", seq];
    outlast(sandbox, &[&wait[..], &["--timeout", "20s"]].concat())
}

fn does(sandbox: &Sandbox, name: &str, fits: impl Fn(&Session) -> bool) -> Session {
    Client::new(sandbox, DEADLINE).session(name, fits)
}

fn after_seq(sent: &Value) -> String {
    sent["after_seq"].as_u64().unwrap().to_string()
}

fn activities(sandbox: &Sandbox) -> Vec<String> {
    activities_after(sandbox, 0)
}

fn activities_after(sandbox: &Sandbox, seq: u64) -> Vec<String> {
    let told = outlast(sandbox, &["events", "--json", "--kind", "session.activity"]);
    told.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["seq"].as_u64().unwrap() > seq)
        .map(|event| event["data"]["activity"].as_str().unwrap_or("-").to_owned())
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
    // Nothing was said twice, and the answer was the last of it, if there was time to say that before the end.
    let all = activities(&sandbox);
    assert_eq!(all[..before.len()], before[..]);
    assert!(
        all[before.len()..].iter().all(|said| said == "-") && all.len() <= before.len() + 1,
        "{all:?}"
    );
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
    let ended = "error: session quick exited with exit code 4; it does not wait for anything now\n\
                 hint: outlast session peek quick shows its last screen\n";
    assert_eq!(waited.err(), ended);
    // Whatever it did before it ended.
    for (until, ended) in [
        ("waiting", ended.to_owned()),
        ("idle", ended.replace("does not wait for anything", "is not idle")),
    ] {
        let mut wait = sandbox.command("outlast");
        wait.args(["session", "wait", "quick", "--until", until]);
        let waited = Process::start(wait).finish(DEADLINE);
        assert_eq!((waited.exit(), waited.err()), (1, ended));
    }
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
    outlast(&sandbox, &["session", "send", "sh", "sleep 600"]);
    let works = does(&sandbox, "sh", |shell| shell.activity() == Activity::Working);
    assert_eq!(works.activity_source.as_deref(), Some("process:sleep"));
    outlast(&sandbox, &["session", "interrupt", "sh"]);
    does(&sandbox, "sh", |shell| shell.activity() == Activity::Idle);
    // It reads lines, and so waits until there are no more.
    outlast(&sandbox, &["session", "send", "sh", "cat"]);
    let waits = does(&sandbox, "sh", |shell| shell.activity() == Activity::Waiting);
    assert_eq!(waits.activity_source.as_deref(), Some("process:cat"));
    assert_eq!(waits.activity_message, None);
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

#[test]
fn a_question_that_is_reported_is_told_when_it_can_be_seen() {
    let sandbox = Sandbox::new();
    create_read(&sandbox, HASTY);
    does(&sandbox, "mine", |mine| mine.activity() == Activity::Working);
    let sent = json(&sandbox, &["session", "send", "mine", "go", "--json"]);
    assert_eq!(
        wait_for(&sandbox, "mine", "waiting", &after_seq(&sent)),
        "a tool\n"
    );
    let screen = outlast(&sandbox, &["session", "peek", "mine"]);
    assert!(screen.contains("Sure? [y/n]"), "{screen}");
}

/// Nobody holds its rules against it.
#[test]
fn a_question_that_is_never_seen_is_told_too() {
    let sandbox = Sandbox::new();
    create_read(&sandbox, AGENT);
    let asked = outlast(&sandbox, &["session", "wait", "mine", "--until", "waiting"]);
    assert_eq!(asked, "Go on?\n");
}

#[test]
fn a_prompt_that_was_never_looked_at_before_an_answer_is_no_rest() {
    let sandbox = Sandbox::new();
    create_read(&sandbox, EAGER);
    // By the report, and so before the screen is looked at.
    does(&sandbox, "mine", |mine| mine.activity() == Activity::Idle);
    let sent = json(&sandbox, &["session", "send", "mine", "go", "--json"]);
    does(&sandbox, "mine", |mine| mine.activity() == Activity::Working);
    let told = activities_after(&sandbox, sent["after_seq"].as_u64().unwrap());
    assert!(!told.contains(&"idle".to_owned()), "{told:?}");
}

#[test]
fn a_prompt_that_is_drawn_again_after_an_answer_is_no_rest() {
    let sandbox = Sandbox::new();
    create_read(&sandbox, SLOW);
    does(&sandbox, "mine", |mine| mine.activity() == Activity::Idle);
    let sent = json(&sandbox, &["session", "send", "mine", "go", "--json"]);
    let works = does(&sandbox, "mine", |mine| {
        mine.activity_source.as_deref() == Some("screen:mine/works")
    });
    assert_eq!(works.activity(), Activity::Working);
    let told = activities_after(&sandbox, sent["after_seq"].as_u64().unwrap());
    assert!(!told.contains(&"idle".to_owned()), "{told:?}");
    std::fs::write(sandbox.home().join("go"), "").unwrap();
    wait_for(&sandbox, "mine", "idle", &after_seq(&sent));
}
