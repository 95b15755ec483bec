//! Being told, from what happens to who hears of it: a command, a webhook on loopback, a desktop's bus, another terminal.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod bus;
mod receiver;

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::mpsc,
};

use bus::Bus;
use outlast_testkit::{DEADLINE, Pty, Sandbox, Terminal, run, wait_until, write_program};
use receiver::Receiver;

/// Ends with code 3 when it is told anything.
const ENDS: &str = "read -r go; exit 3";

/// The tests' command: what it is told goes into a file, a line each time.
struct Noted(PathBuf);

impl Noted {
    fn configure(sandbox: &Sandbox, more: &str) -> Self {
        let path = sandbox.home().join("told");
        let parts = ["TITLE", "BODY", "STATE", "SESSION", "JOB", "HOST", "COUNT"]
            .map(|part| format!("$OUTLAST_NOTICE_{part}"));
        sandbox.configure(&format!(
            "[notify]\nto = 'command'\ncommand = 'echo \"{}\" >> told'\n{more}",
            parts.join("|")
        ));
        Self(path)
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait(&self, count: usize) -> Vec<String> {
        wait_until(DEADLINE, "what is told", || {
            let lines = self.lines();
            (lines.len() >= count).then_some(lines)
        })
    }
}

/// Runs `outlast`, which has to succeed.
fn done(sandbox: &Sandbox, args: &[&str]) {
    drop(sandbox.outlast(args).success());
}

fn send(sandbox: &Sandbox, name: &str, text: &str) {
    done(sandbox, &["session", "send", name, text]);
}

fn create(sandbox: &Sandbox, name: &str, script: &str) {
    done(sandbox, &["session", "create", name, "--", "sh", "-c", script]);
    sandbox.wait_session(name, |state| state == "running");
}

#[test]
fn what_ends_is_told_together_and_what_was_asked_for_is_not() {
    let sandbox = Sandbox::new();
    let noted = Noted::configure(&sandbox, "on = 'exited, failed, lost'\n");
    let gate = File::create(sandbox.home().join("gate")).unwrap();
    gate.lock().unwrap();
    for name in ["a", "stopped"] {
        create(&sandbox, name, ENDS);
    }
    for name in ["b", "c", "d"] {
        create(&sandbox, name, "flock --shared gate true; exit 5");
    }
    done(&sandbox, &["session", "stop", "stopped"]);
    done(&sandbox, &["run", "--", "true"]);
    send(&sandbox, "a", "go");
    assert_eq!(noted.wait(1), ["a has ended|exit code 3|exited|a||local|1"]);
    // All three end at once.
    drop(gate);
    assert_eq!(
        noted.wait(4)[1..].join("\n"),
        "3 sessions have ended: b, c, d|b: exit code 5\nc: exit code 5\nd: exit code 5|exited|b,c,d||local|3"
    );
    drop(
        sandbox
            .outlast(&["run", "--name", "build", "--", "sh", "-c", "exit 7"])
            .code(7),
    );
    assert_eq!(
        noted.wait(5)[4..],
        ["job build failed|exit code 7|failed||build|local|1"]
    );
    done(&sandbox, &["daemon", "restart"]);
    create(&sandbox, "e", ENDS);
    send(&sandbox, "e", "go");
    // Nothing that was told before is told again.
    assert_eq!(noted.wait(6)[5..], ["e has ended|exit code 3|exited|e||local|1"]);
}

#[test]
fn what_asks_is_told_with_its_question_once() {
    let sandbox = Sandbox::new();
    let noted = Noted::configure(&sandbox, "");
    let asks = r#"
        echo "waiting Delete all of it?" >> "$OUTLAST_REPORTS"
        read -r answer
        echo "working $answer" >> "$OUTLAST_REPORTS"
        read -r more
        echo "idle" >> "$OUTLAST_REPORTS"
        read -r more
        echo "error out of words" >> "$OUTLAST_REPORTS"
        exec cat
    "#;
    create(&sandbox, "agent", asks);
    assert_eq!(
        noted.wait(1),
        ["agent waits|Delete all of it?|waiting|agent||local|1"]
    );
    // Somebody else's daemon knows what was told.
    done(&sandbox, &["daemon", "restart"]);
    let until = |what: &str| {
        let wait = ["session", "wait", "agent", "--timeout", "20s", "--until"];
        done(&sandbox, &[&wait[..], &[what]].concat());
    };
    until("waiting");
    for answer in ["no", "more"] {
        send(&sandbox, "agent", answer);
    }
    until("idle");
    send(&sandbox, "agent", "again");
    assert_eq!(
        noted.wait(2)[1..],
        ["agent reports an error|out of words|error|agent||local|1"]
    );
}

#[test]
fn what_was_asked_just_before_a_kill_is_told_by_the_next_daemon_once() {
    let sandbox = Sandbox::new();
    let noted = Noted::configure(&sandbox, "");
    let asks = r#"read -r go; echo "waiting $go" >> "$OUTLAST_REPORTS"; exec cat"#;
    let ask = |name: &str| {
        create(&sandbox, name, asks);
        send(&sandbox, name, "Sure?");
        let wait = ["session", "wait", name, "--timeout", "20s", "--until", "waiting"];
        done(&sandbox, &wait);
    };
    let agent = "agent waits|Sure?|waiting|agent||local|1";
    ask("agent");
    sandbox.kill_daemon().unwrap();
    sandbox.start_daemon();
    assert_eq!(noted.wait(1), [agent]);
    // A second later, when it is written that it was told.
    ask("b");
    noted.wait(2);
    sandbox.kill_daemon().unwrap();
    sandbox.start_daemon();
    ask("c");
    let told = wait_until(DEADLINE, "what is told last", || {
        let told = noted.lines();
        told.iter()
            .any(|line| line.starts_with("c waits") || line.contains("b, c"))
            .then_some(told)
    });
    assert_eq!(
        told.iter().filter(|line| line.contains("agent")).count(),
        1,
        "{told:?}"
    );
}

#[test]
fn what_is_asked_again_after_an_answer_is_told_again() {
    let sandbox = Sandbox::new();
    let noted = Noted::configure(&sandbox, "");
    let asks = r#"
        for question in 1 2 3; do
            echo "waiting Bash" >> "$OUTLAST_REPORTS"
            read -r answer
            echo "working" >> "$OUTLAST_REPORTS"
            sleep 0.5
        done
        exec cat
    "#;
    create(&sandbox, "agent", asks);
    for times in 1..=3 {
        let told = noted.wait(times);
        assert_eq!(told, vec!["agent waits|Bash|waiting|agent||local|1"; times]);
        send(&sandbox, "agent", "y");
    }
}

#[test]
fn several_that_wait_are_one_sentence_in_a_terminal_and_idle_is_told_to_who_wants_it() {
    let sandbox = Sandbox::new();
    sandbox.configure("[notify]\nto = 'terminal'\non = 'waiting, error, lost, failed, idle'\n");
    create(&sandbox, "other", "printf 'here I am\\n'; exec cat");
    let gate = File::create(sandbox.home().join("gate")).unwrap();
    gate.lock().unwrap();
    for name in ["cx", "fix"] {
        let asks = format!(
            "flock --shared gate true; echo 'waiting Write {name}?' >> \"$OUTLAST_REPORTS\"; \
             read -r x; echo 'idle Shall I?' >> \"$OUTLAST_REPORTS\"; exec cat"
        );
        create(&sandbox, name, &asks);
    }
    let mut command = sandbox.command("outlast");
    command.args(["attach", "other"]).env("TERM", "xterm-256color");
    let pty = Pty::start(&command);
    pty.wait_text("here I am");
    drop(gate);
    pty.wait_text("\x1b]9;outlast: 2 sessions wait: cx (Write cx?), fix (Write fix?)\x07");
    send(&sandbox, "fix", "y");
    pty.wait_text("\x1b]9;outlast: fix has nothing to do: Shall I?\x07");
}

#[test]
fn who_looks_is_not_told_and_rules_decide_for_the_others() {
    let sandbox = Sandbox::new();
    let noted = Noted::configure(
        &sandbox,
        "on = 'exited'\n[notify.rules.quiet]\nnames = 'quiet-*'\nto = 'none'\n",
    );
    for name in ["seen", "quiet-1", "last"] {
        create(&sandbox, name, ENDS);
    }
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "seen"]);
    wait_until(DEADLINE, "the attached terminal", || {
        let shown = sandbox.outlast(&["session", "show", "seen", "--json"]).success();
        (shown.json()["attached"] == 1).then_some(())
    });
    terminal.enter("go");
    assert_eq!(terminal.wait_exit(), 3);
    send(&sandbox, "quiet-1", "go");
    sandbox.wait_session("quiet-1", |state| state == "exited");
    send(&sandbox, "last", "go");
    assert_eq!(noted.wait(1), ["last has ended|exit code 3|exited|last||local|1"]);
    assert_eq!(noted.lines().len(), 1);
}

#[test]
fn what_happened_while_no_daemon_ran_is_told_when_it_is_found() {
    let sandbox = Sandbox::new();
    let noted = Noted::configure(&sandbox, "");
    for name in ["a", "b", "c"] {
        create(&sandbox, name, "exec cat");
    }
    sandbox.kill_daemon().unwrap();
    let _ended = sandbox.tmux(&["kill-server"]);
    let sessions = sandbox.spool().unwrap().join("sessions");
    wait_until(DEADLINE, "their ends", || {
        let mut all = fs::read_dir(&sessions).unwrap().map(|dir| dir.unwrap().path());
        all.all(|dir| dir.join("status").exists()).then_some(())
    });
    sandbox.start_daemon();
    assert_eq!(
        noted.wait(3).join("\n"),
        "3 sessions were lost: a, b, c|a: tmux server ended\nb: tmux server ended\nc: tmux server ended|lost|a,b,c||local|3"
    );
}

#[test]
fn a_webhook_hears_it_and_nobody_hears_of_the_webhook() {
    let sandbox = Sandbox::new();
    let (arrived, wait_arrived) = mpsc::channel();
    let (go_on, wait_go_on) = mpsc::channel::<()>();
    let receiver = Receiver::start(move |number| {
        if number == 1 {
            arrived.send(()).unwrap();
            // Until the test has looked around, or is over.
            let _ = wait_go_on.recv();
            return 503;
        }
        204
    });
    let secret = "s3cret-of-the-hook";
    sandbox.configure(&format!(
        "[notify]\non = 'exited'\nto = 'webhook'\nwebhook = '{}'\n",
        receiver.url(&format!("/hook/{secret}?x=%22"))
    ));
    create(&sandbox, "agent", ENDS);
    send(&sandbox, "agent", "go");
    wait_arrived.recv_timeout(DEADLINE).expect("the first post");
    for pid in sandbox.processes() {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&read("cmdline")).into_owned();
        assert!(!arguments.contains(secret), "{arguments}");
        assert!(!String::from_utf8_lossy(&read("environ")).contains(secret));
    }
    go_on.send(()).unwrap();
    let posted = wait_until(DEADLINE, "the second post", || {
        let posted = receiver.posted();
        (posted.len() == 2).then_some(posted)
    });
    let last = &posted[1];
    assert_eq!(last.line, format!("POST /hook/{secret}?x=%22 HTTP/1.1"));
    assert!(
        last.headers
            .contains(&"content-type: application/json".to_owned())
    );
    assert_eq!(last.json, posted[0].json);
    for (key, value) in [
        ("title", serde_json::json!("agent has ended")),
        ("body", "exit code 3".into()),
        ("state", "exited".into()),
        ("sessions", serde_json::json!(["agent"])),
        ("jobs", serde_json::json!([])),
        ("host", "local".into()),
        ("count", 1.into()),
    ] {
        assert_eq!(last.json[key], value, "{key}");
    }
    assert!(last.json["time"].as_str().unwrap().ends_with('Z'));

    let shown = sandbox.outlast(&["config", "show"]).success();
    assert!(shown.out().contains("webhook = \"(set; not shown)\""), "{shown}");
    let tested = sandbox.outlast(&["notify", "test", "--json"]).success();
    assert_eq!(
        tested.json(),
        serde_json::json!([{"channel": "webhook", "outcome": "told", "message": null, "hint": null}])
    );
    let events = sandbox.outlast(&["events", "--json"]).success();
    let logs: String = fs::read_dir(sandbox.state_dir().join("logs"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for text in [shown.out(), tested.out(), events.out(), logs] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_test_says_of_each_way_what_is_wrong_with_it() {
    let sandbox = Sandbox::new();
    let receiver = Receiver::start(|_| 404);
    sandbox.configure(&format!(
        "[notify]\nto = 'all'\ncommand = 'echo no such pager >&2; exit 4'\nwebhook = '{}'\n",
        receiver.url("/gone")
    ));
    // It never answers; what it started goes with it.
    write_program(
        &sandbox.bin().join("notify-send"),
        "#!/bin/sh\nsleep 1000 & wait\n",
    );
    let tested = sandbox.outlast(&["notify", "test"]).code(1);
    assert_eq!(
        tested.out(),
        "desktop   failed  notify-send did not end within 5 s, and was killed\n\
         \x20                 hint: try notify-send in a terminal; outlast config edit\n\
         terminal  nobody  no terminal is attached to a session\n\
         \x20                 hint: outlast attach NAME, in another terminal\n\
         command   failed  the command failed (exit status: 4): no such pager\n\
         \x20                 hint: try it in a shell; outlast config edit\n\
         webhook   failed  the receiver answered with HTTP status 404\n\
         \x20                 hint: see whether the URL still holds: outlast config edit, [notify] webhook\n"
    );
    // It heard, and does not want to hear it again.
    assert_eq!(receiver.posted().len(), 1);

    sandbox.configure("[notify]\nto = 'none'\n");
    done(&sandbox, &["daemon", "restart"]);
    let nothing = sandbox.outlast(&["notify", "test"]).code(1);
    assert!(nothing.err().contains("nothing is told"), "{nothing}");
    let unset = sandbox
        .outlast(&["notify", "test", "--to", "webhook,command"])
        .code(1);
    assert!(unset.out().contains("no webhook is configured"), "{unset}");
    assert!(unset.out().contains("no command is configured"), "{unset}");
    drop(sandbox.outlast(&["notify", "test", "--to", "pager"]).code(2));
}

#[test]
fn a_desktop_is_told_by_what_it_has() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    sandbox.configure("[notify]\non = 'exited'\nto = 'desktop'\n");
    let title = "agent has ended";
    create(&sandbox, "agent", ENDS);
    send(&sandbox, "agent", "go");
    let told = wait_until(DEADLINE, "a notification on the bus", || bus.told().pop());
    assert_eq!(told[1..], [title, "exit code 3"]);

    let file = sandbox.home().join("args");
    write_program(
        &sandbox.bin().join("notify-send"),
        &format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\n", file.display()),
    );
    done(&sandbox, &["notify", "test"]);
    assert_eq!(
        fs::read_to_string(file).unwrap(),
        "--app-name=outlast\n--\noutlast can tell you\nThis is a test.\n"
    );
    assert_eq!(bus.told().len(), 1);
}

#[test]
fn a_terminal_that_is_attached_elsewhere_is_told_without_a_mark_on_its_screen() {
    let sandbox = Sandbox::new();
    sandbox.configure("[notify]\non = 'exited'\nto = 'terminal'\n");
    create(&sandbox, "agent", ENDS);
    create(&sandbox, "other", "printf 'here I am\\n'; exec cat");
    let mut command = sandbox.command("outlast");
    command.args(["attach", "other"]).env("TERM", "xterm-256color");
    let mut pty = Pty::start(&command);
    pty.wait_text("here I am");
    send(&sandbox, "agent", "go");
    pty.wait_text("\x1b]9;outlast: agent has ended: exit code 3\x07");
    // It was no input, and what is typed still arrives.
    pty.write(b"still typing\r");
    pty.wait_for("the echo", |seen| {
        String::from_utf8_lossy(seen).matches("still typing").count() >= 2
    });
    let peek = sandbox.outlast(&["session", "peek", "other"]).success();
    assert!(!peek.out().contains("agent"), "{peek}");
    let tested = sandbox.outlast(&["notify", "test"]).success();
    assert_eq!(tested.out(), "terminal  told\n");
    pty.wait_text("\x1b]9;outlast: outlast can tell you: This is a test.\x07");
}

#[test]
fn what_is_wrong_in_the_configuration_is_named() {
    let sandbox = Sandbox::new();
    sandbox.configure("[notify]\nwebhook = 'hooks.example.com/s3cret'\n");
    let mut command = sandbox.command("outlastd");
    command.arg("--check-config");
    let checked = run(command, DEADLINE);
    assert_ne!(checked.exit(), 0);
    assert!(
        checked
            .err()
            .contains("config.toml:2:11: `notify.webhook` must be"),
        "{checked}"
    );
    assert!(!checked.err().contains("s3cret"), "{checked}");
}
