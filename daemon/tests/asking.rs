//! Programs that ask without saying so: what reads a line of its terminal waits for an answer, whoever runs it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::fs;

use outlast_client::v1::{Activity, Session};
use outlast_testkit::{Client, DEADLINE, Sandbox, wait_until};
use serde_json::Value;
use support::cli::{create, json, outlast};

/// A deployment that asks.
const DEPLOY: &str = r#"read -p "Deploy to production? [y/N] " a; echo "got $a""#;

const QUESTION: &str = "Deploy to production? [y/N]";

fn does(sandbox: &Sandbox, name: &str, fits: impl Fn(&Session) -> bool) -> Session {
    Client::new(sandbox, DEADLINE).session(name, fits)
}

/// Waits until it asks, and returns what.
fn asks(sandbox: &Sandbox, name: &str, after: Option<&Value>) -> String {
    let seq = after.map(|sent| sent["after_seq"].as_u64().unwrap().to_string());
    let mut args = vec!["session", "wait", name, "--until", "waiting", "--timeout", "20s"];
    if let Some(seq) = &seq {
        args.extend(["--after", seq]);
    }
    outlast(sandbox, &args)
}

fn send(sandbox: &Sandbox, name: &str, text: &str) -> Value {
    json(sandbox, &["session", "send", name, text, "--json"])
}

/// Sends, and says how it rests.
fn sent(sandbox: &Sandbox, name: &str, text: &str) -> String {
    outlast(
        sandbox,
        &["session", "send", name, text, "--wait", "--timeout", "30s"],
    )
}

/// What was written down that this session does, with the source.
fn said(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let told = outlast(sandbox, &["events", "--json", "--kind", "session.activity"]);
    let events = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let data = events.map(|event| event["data"].clone());
    data.filter(|data| data["name"] == name)
        .map(|data| {
            let word = |key: &str| data[key].as_str().unwrap_or("-").to_owned();
            format!("{} {}", word("activity"), word("source"))
        })
        .collect()
}

fn shell(sandbox: &Sandbox, name: &str) {
    create(sandbox, name, &["bash", "--norc", "--noprofile", "-i"]);
    does(sandbox, name, |shell| shell.activity() == Activity::Idle);
}

#[test]
fn a_script_that_a_shell_runs_asks_is_told_once_and_answered() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        "[notify]\non = 'waiting'\nto = 'command'\ncommand = 'echo \"$OUTLAST_NOTICE_BODY\" >> told'\n",
    );
    let told = || fs::read_to_string(sandbox.home().join("told")).unwrap_or_default();
    shell(&sandbox, "sh");
    let line = format!("bash -c '{DEPLOY}'");
    let begun = send(&sandbox, "sh", &line);
    assert_eq!(asks(&sandbox, "sh", Some(&begun)), format!("{QUESTION}\n"));
    let waiting = json(&sandbox, &["session", "list", "--waiting", "--json"]);
    for (key, value) in [
        ("name", "sh"),
        ("activity", "waiting"),
        ("activity_source", "process:bash"),
        ("activity_message", QUESTION),
    ] {
        assert_eq!(waiting[0][key], value, "{waiting}");
    }
    let overview = outlast(&sandbox, &[]);
    assert!(
        overview.starts_with("Waiting for you\n") && overview.contains(QUESTION),
        "{overview}"
    );
    wait_until(DEADLINE, "that it is told", || {
        told().contains(QUESTION).then_some(())
    });
    // Half an answer is none.
    outlast(&sandbox, &["session", "send", "sh", "--no-enter", "y"]);
    let half = does(&sandbox, "sh", |shell| shell.activity() == Activity::Waiting);
    assert_eq!(half.activity_message.as_deref(), Some(QUESTION));
    assert_eq!(sent(&sandbox, "sh", "es"), "idle\n");
    assert!(outlast(&sandbox, &["session", "peek", "sh"]).contains("got yes"));
    assert_eq!(told(), format!("{QUESTION}\n"));
    // A sleep is none that asks, and neither is the shell.
    send(&sandbox, "sh", "sleep 2; true");
    does(&sandbox, "sh", |shell| {
        shell.activity_source.as_deref() == Some("process:sleep")
    });
    does(&sandbox, "sh", |shell| shell.activity() == Activity::Idle);
    let all = said(&sandbox, "sh");
    let asked = all.iter().filter(|said| said.starts_with("waiting")).count();
    assert!(asked <= 2, "once, and once more for the half: {all:?}");
}

#[test]
fn the_sessions_own_program_asks_one_after_the_other() {
    let sandbox = Sandbox::new();
    create(&sandbox, "own", &["bash", "-c", DEPLOY]);
    assert_eq!(asks(&sandbox, "own", None), format!("{QUESTION}\n"));
    outlast(&sandbox, &["session", "send", "own", "y"]);
    outlast(&sandbox, &["session", "wait", "own", "--timeout", "20s"]);
    let script = "import getpass, time
name = input('Name? ')
time.sleep(1)
getpass.getpass()
print('done', name)
input()";
    create(&sandbox, "py", &["python3", "-c", script]);
    assert_eq!(asks(&sandbox, "py", None), "Name?\n");
    let begun = std::time::Instant::now();
    assert_eq!(sent(&sandbox, "py", "me"), "waiting: Password:\n");
    println!("the next question, a second later, took {:?}", begun.elapsed());
    // It rests at once, although it asks nothing.
    assert_eq!(sent(&sandbox, "py", "secret"), "waiting\n");
    let screen = outlast(&sandbox, &["session", "peek", "py"]);
    assert!(
        screen.contains("done me") && !screen.contains("secret"),
        "{screen}"
    );
    // It is seen by whoever comes anew.
    sandbox.kill_daemon().expect("one runs");
    let before = said(&sandbox, "py");
    let py = does(&sandbox, "py", |py| py.last_activity_at.is_some());
    assert_eq!(py.activity_source.as_deref(), Some("process:python3"));
    assert_eq!(said(&sandbox, "py"), before, "it is no news");
}

#[test]
fn a_sign_to_type_behind_is_told_as_the_question_above_it() {
    let sandbox = Sandbox::new();
    let script = r#"echo "Which colour?"; select c in red blue; do break; done
        printf "\nsecret $c\n"; read -sp "> " a
        printf "\nYour name:\n"; read -p "> " a"#;
    create(&sandbox, "menu", &["bash", "-c", script]);
    assert_eq!(asks(&sandbox, "menu", None), "Which colour?\n");
    outlast(&sandbox, &["session", "send", "menu", "--no-enter", "0"]);
    let half = does(&sandbox, "menu", |menu| menu.activity() == Activity::Waiting);
    assert_eq!(half.activity_message.as_deref(), Some("Which colour?"));
    // Not every row above a sign is a question.
    assert_eq!(sent(&sandbox, "menu", "2"), "waiting: >\n");
    assert_eq!(sent(&sandbox, "menu", "secret"), "waiting: Your name:\n");
}

/// What is known of a session that is waited for.
fn known(session: &Session) -> String {
    format!(
        "{:?} since {:?}, {:?}: {:?}",
        session.activity(),
        session.activity_since,
        session.activity_source,
        session.activity_message
    )
}

#[test]
fn what_is_known_of_sessions_is_no_news_to_the_next_daemon() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        "[providers.mine]
        binary = 'sh'
        [[providers.mine.screen]]
        name = 'asks'
        doing = 'waiting'
        last_lines = 1
        pattern = '\\A(?P<message>Sure\\?) \\[y/n\\]\\z'
        ",
    );
    let script = "import threading, time
threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
input('server> ')";
    fs::write(sandbox.home().join("server.py"), script).unwrap();
    for name in ["idle", "reads", "runs"] {
        shell(&sandbox, name);
    }
    send(&sandbox, "reads", r#"read -p "Name? " name"#);
    send(&sandbox, "runs", "python3 server.py");
    create(&sandbox, "script", &["bash", "-c", DEPLOY]);
    create(&sandbox, "own", &["python3", "server.py"]);
    let create_read = ["session", "create", "mine", "--provider", "mine", "--"];
    let asks_read = ["sh", "-c", r#"printf "Sure? [y/n] "; read -r answer"#];
    outlast(&sandbox, &[&create_read[..], &asks_read].concat());
    let all = [
        ("idle", Activity::Idle, "process:bash"),
        ("reads", Activity::Waiting, "process:bash"),
        ("runs", Activity::Waiting, "process:server.py"),
        ("script", Activity::Waiting, "process:bash"),
        ("own", Activity::Waiting, "process:server.py"),
        ("mine", Activity::Waiting, "screen:mine/asks"),
    ];
    let look = |(name, doing, source): (&str, Activity, &str)| {
        let seen = does(&sandbox, name, |session| {
            session.activity() == doing && session.activity_source.as_deref() == Some(source)
        });
        (known(&seen), said(&sandbox, name))
    };
    let before = all.map(look);
    for _ in 0..2 {
        sandbox.kill_daemon().expect("one runs");
        // Longer than it takes to see it anew.
        let waits = ["session", "wait", "runs", "--until", "idle", "--timeout", "3s"];
        drop(sandbox.outlast(&waits).code(124));
        assert_eq!(all.map(look), before);
    }
    assert_eq!(sent(&sandbox, "reads", "me"), "idle\n");
    outlast(&sandbox, &["session", "send", "script", "y"]);
    outlast(&sandbox, &["session", "wait", "script", "--timeout", "20s"]);
}

#[test]
fn a_shell_that_marks_its_commands_hides_no_question() {
    let sandbox = Sandbox::new();
    let rc = sandbox.home().join("rc");
    fs::write(
        &rc,
        "PROMPT_COMMAND='printf \"\\e]133;D;%s\\a\" $?'\nPS1='\\[\\e]133;A\\a\\]$ \\[\\e]133;B\\a\\]'\nPS0='\\[\\e]133;C\\a\\]'\n",
    )
    .unwrap();
    create(
        &sandbox,
        "sh",
        &["bash", "--rcfile", &rc.display().to_string(), "-i"],
    );
    does(&sandbox, "sh", |shell| {
        shell.activity_source.as_deref() == Some("terminal:prompt")
    });
    let line = format!("bash -c '{DEPLOY}'");
    assert_eq!(sent(&sandbox, "sh", &line), format!("waiting: {QUESTION}\n"));
    assert_eq!(sent(&sandbox, "sh", "y"), "idle\n");
    // The shell itself.
    assert_eq!(sent(&sandbox, "sh", DEPLOY), format!("waiting: {QUESTION}\n"));
    assert_eq!(sent(&sandbox, "sh", "y"), "idle\n");
    // One within it that reads lines at its prompt and makes no marks.
    send(&sandbox, "sh", "dash");
    let begun = send(&sandbox, "sh", "echo with''in");
    let wait = ["session", "wait", "sh", "--until"];
    let printed = ["output", "--match", "^within", "--from", "start"];
    outlast(&sandbox, &[&wait[..], &printed].concat());
    let after = begun["after_seq"].as_u64().unwrap().to_string();
    let waits = ["waiting", "--after", &after, "--timeout", "2s"];
    drop(sandbox.outlast(&[&wait[..], &waits].concat()).code(124));
    // It rests all the same.
    let rests = |program: &str| {
        does(&sandbox, "sh", |shell| {
            let source = format!("process:{program}");
            shell.activity() == Activity::Idle && shell.activity_source == Some(source)
        });
    };
    rests("dash");
    assert_eq!(sent(&sandbox, "sh", "true"), "idle\n");
    send(&sandbox, "sh", "exec bash --norc --noprofile -i");
    rests("bash");
}

#[test]
fn what_gives_up_waiting_without_a_word_waits_no_more() {
    let sandbox = Sandbox::new();
    shell(&sandbox, "sh");
    let line = "timeout --foreground 1 bash -c 'read -p \"Go? \" x'; sleep 600";
    let begun = send(&sandbox, "sh", line);
    assert_eq!(asks(&sandbox, "sh", Some(&begun)), "Go?\n");
    let works = does(&sandbox, "sh", |shell| shell.activity() == Activity::Working);
    assert_eq!(works.activity_source.as_deref(), Some("process:sleep"));
    // One of which something else goes on.
    let script = "import os, threading, time
def serve():
    while not os.path.exists('go'): time.sleep(0.2)
    while True: pass
threading.Thread(target=serve, daemon=True).start()
input('server> ')";
    create(&sandbox, "server", &["python3", "-c", script]);
    assert_eq!(asks(&sandbox, "server", None), "server>\n");
    fs::write(sandbox.home().join("go"), "").unwrap();
    does(&sandbox, "server", |server| {
        server.activity() != Activity::Waiting
    });
}

#[test]
fn what_serves_and_takes_commands_does_not_wait_and_neither_does_a_shell_that_reads_lines() {
    let sandbox = Sandbox::new();
    let script = "import sys, threading, time
def serve():
    for number in range(12):
        print('GET /', number, flush=True)
        time.sleep(0.25)
    print('over', flush=True)
    time.sleep(600)
threading.Thread(target=serve, daemon=True).start()
for line in sys.stdin: print('command', line, flush=True)";
    fs::write(sandbox.home().join("server.py"), script).unwrap();
    shell(&sandbox, "sh");
    send(&sandbox, "sh", "python3 server.py");
    create(&sandbox, "dash", &["dash", "-i"]);
    outlast(
        &sandbox,
        &[
            "session",
            "wait",
            "sh",
            "--until",
            "output",
            "--match",
            "over",
            "--timeout",
            "20s",
        ],
    );
    let works = does(&sandbox, "sh", |shell| shell.activity() == Activity::Working);
    assert_eq!(works.activity_source.as_deref(), Some("process:server.py"));
    send(&sandbox, "dash", "sleep 1.5; echo do''ne");
    outlast(
        &sandbox,
        &[
            "session",
            "wait",
            "dash",
            "--until",
            "output",
            "--match",
            "^done",
            "--timeout",
            "20s",
        ],
    );
    let dash = does(&sandbox, "dash", |dash| dash.activity() == Activity::Idle);
    assert_eq!(dash.activity_source.as_deref(), Some("process:dash"));
    assert_eq!(sent(&sandbox, "dash", "true"), "idle\n");
    // Silent for longer than what could go on has to be.
    for name in ["sh", "dash"] {
        let all = said(&sandbox, name);
        assert!(
            !all.iter().any(|said| said.starts_with("waiting")),
            "{name}: {all:?}"
        );
    }
}
