//! A program on another machine that works, asks, idles and crashes, and what is known and told of it here, also when the
//! way there or the daemon breaks in between.

use std::fs;

use outlast_testkit::{DEADLINE, Process, Sandbox, wait_until};

use crate::{bed::far_by_proxy, watch::wait_link};

/// Goes on when a file named after the step is there.
const AGENT: &str = r#"
    say() { echo "$*" >> "$OUTLAST_REPORTS"; }
    say working reading
    read -r go
    say waiting First question?
    read -r answer
    say working "on $answer"
    while [ ! -e asked ]; do sleep 0.05; done
    say waiting Second question?
    read -r answer
    say idle
    read -r code
    exit "$code"
"#;

fn outlast(sandbox: &Sandbox, args: &[&str]) -> String {
    sandbox.outlast(args).success().out()
}

/// What the session does, as soon as it does this.
fn does(sandbox: &Sandbox, doing: &str) -> serde_json::Value {
    wait_until(DEADLINE, &format!("that it is {doing}"), || {
        let now = sandbox.outlast(&["session", "show", "agent", "--json"]).json();
        let now = now.get(0).cloned().unwrap_or(now);
        (now["activity"] == doing).then_some(now)
    })
}

fn waits(sandbox: &Sandbox) -> Process {
    sandbox.spawn(&["session", "wait", "agent", "--until", "waiting"])
}

/// What was told so far.
fn told(sandbox: &Sandbox) -> Vec<String> {
    let text = fs::read_to_string(sandbox.home().join("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_a_program_there_does_is_known_told_and_answered_across_cuts_and_restarts() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    sandbox.configure(&format!(
        "[notify]\non = \"waiting, lost, exited\"\nto = \"command\"\ncommand = '''echo \"$OUTLAST_NOTICE_BODY\" >> {}/told'''\n",
        sandbox.home().display()
    ));
    outlast(&sandbox, &["daemon", "restart"]);
    wait_link(&sandbox, &["up"]);
    outlast(
        &sandbox,
        &[
            "session", "create", "agent", "--host", "far", "--", "sh", "-c", AGENT,
        ],
    );
    assert_eq!(does(&sandbox, "working")["activity_message"], "reading");

    let waiting = waits(&sandbox);
    outlast(&sandbox, &["session", "send", "agent", "go"]);
    assert_eq!(waiting.finish(DEADLINE).success().out(), "First question?\n");
    wait_until(DEADLINE, "that it is told", || {
        (told(&sandbox).len() == 1).then_some(())
    });
    outlast(&sandbox, &["session", "send", "agent", "it"]);
    assert_eq!(does(&sandbox, "working")["activity_message"], "on it");

    // It asks while nobody can hear it; whoever waits hears it when the way is back.
    let waiting = waits(&sandbox);
    proxy.refuse();
    proxy.cut();
    wait_link(&sandbox, &["backoff"]);
    assert_eq!(does(&sandbox, "working")["link"], "backoff");
    let refused = sandbox
        .outlast(&["session", "send", "agent", "too early"])
        .code(6);
    assert!(refused.err().contains("hint: "), "{refused:?}");
    fs::write(sshd.home().join("asked"), "").unwrap();
    proxy.heal();
    assert_eq!(waiting.finish(DEADLINE).success().out(), "Second question?\n");
    wait_until(DEADLINE, "that it is told", || {
        (told(&sandbox).len() == 2).then_some(())
    });

    // A daemon that is killed knows it all when it is back, and tells nothing again.
    sandbox.kill_daemon().expect("one runs");
    let asks = does(&sandbox, "waiting");
    assert_eq!(asks["activity_message"], "Second question?");
    assert_eq!(asks["activity_source"], "report");
    wait_link(&sandbox, &["up"]);
    let sent = sandbox
        .outlast(&["session", "send", "agent", "yes", "--json"])
        .json();
    let after = sent["after_seq"].to_string();
    outlast(
        &sandbox,
        &[
            "session",
            "wait",
            "agent",
            "--until",
            "idle",
            "--after",
            &after,
            "--timeout",
            "30s",
        ],
    );
    outlast(&sandbox, &["session", "send", "agent", "9"]);
    let ended = sandbox.wait_session("agent", |state| state == "exited");
    assert_eq!(
        (&ended["exit_code"], &ended["activity"]),
        (&9.into(), &serde_json::Value::Null)
    );
    let all = wait_until(DEADLINE, "that the end is told", || {
        let told = told(&sandbox);
        (told.len() == 3).then_some(told)
    });
    assert_eq!(all[..2], ["First question?", "Second question?"]);
}

/// What goes on while the way is cut has the beginning it had, also where it takes a while to be seen anew.
#[test]
fn what_waits_there_is_no_news_when_the_way_is_back() {
    let (sandbox, _sshd, mut proxy) = far_by_proxy();
    let script = "import threading, time
threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
input('server> ')";
    let create = [
        "session", "create", "agent", "--host", "far", "--", "python3", "-c", script,
    ];
    outlast(&sandbox, &create);
    let before = does(&sandbox, "waiting");
    assert_eq!(before["activity_message"], "server>");
    let said = || outlast(&sandbox, &["events", "--json", "--kind", "session.activity"]);
    let all = said();
    proxy.refuse();
    proxy.cut();
    wait_link(&sandbox, &["backoff"]);
    proxy.heal();
    wait_link(&sandbox, &["up"]);
    // Longer than it takes to see it anew.
    let idles = ["session", "wait", "agent", "--until", "idle", "--timeout", "3s"];
    drop(sandbox.outlast(&idles).code(124));
    assert_eq!(said(), all);
    assert_eq!(
        does(&sandbox, "waiting")["activity_since"],
        before["activity_since"]
    );
}

/// What a program that says nothing of itself asks there, a password among it.
#[test]
fn what_a_program_there_asks_without_saying_so_is_known_and_answered() {
    let (sandbox, _sshd, mut proxy) = far_by_proxy();
    let script = r#"read -p "Deploy to production? [y/N] " a; stty -echo; read -p "Password: " b; stty echo
        echo; sleep 1.5; echo "got $a"; exec cat"#;
    let create = [
        "session", "create", "agent", "--host", "far", "--", "bash", "-c", script,
    ];
    outlast(&sandbox, &create);
    let asks = waits(&sandbox).finish(DEADLINE).success().out();
    assert_eq!(asks, "Deploy to production? [y/N]\n");
    assert_eq!(does(&sandbox, "waiting")["activity_source"], "process:bash");
    let send = |text: &str| {
        outlast(
            &sandbox,
            &["session", "send", "agent", text, "--wait", "--timeout", "30s"],
        )
    };
    assert_eq!(send("yes"), "waiting: Password:\n");
    // It is so still when the way is back.
    proxy.refuse();
    proxy.cut();
    wait_link(&sandbox, &["backoff"]);
    proxy.heal();
    wait_link(&sandbox, &["up"]);
    assert_eq!(does(&sandbox, "waiting")["activity_message"], "Password:");
    assert_eq!(send("secret"), "waiting\n");
    let screen = outlast(&sandbox, &["session", "peek", "agent"]);
    assert!(
        screen.contains("got yes") && !screen.contains("secret"),
        "{screen}"
    );
    let cat = does(&sandbox, "waiting");
    assert_eq!(
        (&cat["activity_source"], &cat["activity_message"]),
        (&"process:cat".into(), &serde_json::Value::Null)
    );
}
