//! Sessions on another machine.

use std::fs;

use outlast_testkit::{DEADLINE, Terminal, wait_until};

use crate::bed::{far, names, seen};

/// Answers each line, and leaves at `bye`.
const ECHO: &str = "echo ready; while read x; do echo \"got $x\"; test \"$x\" = bye && exit 3; done";

#[test]
fn a_session_lives_there_from_its_creation_to_its_removal() {
    let (sandbox, sshd) = far();
    let outlast = |args: &[&str]| sandbox.outlast(args).success();
    let create = [
        "session", "create", "web", "--host", "far", "--", "sh", "-c", ECHO,
    ];
    drop(outlast(&create));
    let running = sandbox.wait_session("web", |state| state == "running");
    assert_eq!(running["host"], "far", "{running}");
    assert_eq!(running["link"], "up", "{running}");
    let answer = sandbox.spawn(&[
        "session",
        "wait",
        "web",
        "--until",
        "output",
        "--match",
        "^got hello$",
    ]);
    wait_until(DEADLINE, "the program's first words", || {
        outlast(&["session", "peek", "web"])
            .out()
            .contains("ready")
            .then_some(())
    });
    drop(outlast(&["session", "send", "web", "hello"]));
    drop(answer.finish(DEADLINE).success());
    wait_until(DEADLINE, "the answer on the screen", || {
        outlast(&["session", "peek", "web"])
            .out()
            .contains("got hello")
            .then_some(())
    });
    assert_eq!(seen(&sandbox, "far")["sessions"], 1);
    assert!(sandbox.tmux_socket().is_none(), "a tmux server was started here");

    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_text("got hello");
    terminal.enter("typed");
    terminal.wait_text("got typed");
    terminal.resize(100, 30);
    terminal.press(&["C-b", "d"]);
    assert_eq!(terminal.wait_exit(), 0);

    let waiter = sandbox.spawn(&["session", "wait", "web", "--until", "exited"]);
    let follower = sandbox.spawn(&["session", "logs", "web", "-f"]);
    drop(outlast(&["session", "send", "web", "bye"]));
    let ended = sandbox.wait_session("web", |state| state != "running");
    assert_eq!(
        (&ended["state"], &ended["exit_code"]),
        (&"exited".into(), &3.into()),
        "{ended}"
    );
    drop(waiter.finish(DEADLINE).success());
    let followed = follower.finish(DEADLINE);
    assert!(followed.out().contains("got bye"), "{followed}");
    // As the terminal was sent it, and as the screen shows it.
    assert_eq!(
        outlast(&["session", "logs", "web"]).out(),
        followed.out().replace('\r', "")
    );
    assert!(outlast(&["session", "peek", "web"]).out().contains("got bye"));

    drop(outlast(&["session", "restart", "web"]));
    sandbox.wait_session("web", |state| state == "running");
    drop(outlast(&["session", "interrupt", "web"]));
    let interrupted = sandbox.wait_session("web", |state| state == "exited");
    assert_eq!(interrupted["signal"], 2, "{interrupted}");
    drop(outlast(&["session", "restart", "web"]));
    sandbox.wait_session("web", |state| state == "running");
    drop(outlast(&["session", "stop", "web"]));
    sandbox.wait_session("web", |state| state == "stopped");

    drop(outlast(&["session", "delete", "web", "--yes"]));
    let list = outlast(&["session", "list", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 0, "{list}");
    let owner = fs::read_dir(sshd.state().join("outlast"))
        .unwrap()
        .flatten()
        .next()
        .unwrap();
    let machine = fs::read_dir(owner.path()).unwrap().flatten().next().unwrap();
    assert!(names(&machine.path().join("sessions")).is_empty());
}

#[test]
fn a_program_that_ends_at_once_is_told_with_its_last_words() {
    let (sandbox, _sshd) = far();
    for number in 0..5 {
        let name = format!("s{number}");
        let script = format!("echo last words {number}; exit {number}");
        let create = [
            "session", "create", &name, "--host", "far", "--", "sh", "-c", &script,
        ];
        drop(sandbox.outlast(&create).success());
        let ended = sandbox.wait_session(&name, |state| state == "exited");
        assert_eq!(ended["exit_code"], number, "{ended}");
        let said = format!("last words {number}");
        assert!(
            sandbox
                .outlast(&["session", "logs", &name])
                .success()
                .out()
                .contains(&said)
        );
        let peeked = sandbox.outlast(&["session", "peek", &name]).success();
        assert!(peeked.out().contains(&said), "{peeked}");
    }
}

#[test]
fn attaching_to_what_ends_meanwhile_tells_its_end() {
    let (sandbox, sshd) = far();
    let script = "echo here; while [ ! -e go-on ]; do sleep 0.05; done; echo gone; exit 9";
    let create = [
        "session", "create", "web", "--host", "far", "--", "sh", "-c", script,
    ];
    drop(sandbox.outlast(&create).success());
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_text("here");
    fs::write(sshd.home().join("go-on"), "").unwrap();
    assert_eq!(terminal.wait_exit(), 9);
    terminal.wait_text("session web exited");
}
