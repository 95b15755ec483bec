//! What somebody at a keyboard types in the first hour, with the real programs: one verb right after the other, slips
//! included.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

use outlast_testkit::{DEADLINE, Pty, Run, Sandbox};

/// Runs `outlast`, which has to work.
#[track_caller]
fn ok(sandbox: &Sandbox, args: &[&str]) -> Run {
    sandbox.outlast(args).success()
}

#[test]
fn a_session_can_be_used_in_the_moment_it_was_created() {
    let sandbox = Sandbox::new();
    for round in 0..3 {
        let name = format!("web{round}");
        let create = ["session", "create", &name, "--", "sh", "-c"];
        drop(ok(
            &sandbox,
            &[&create[..], &["read x; echo \"got <$x>\"; exec cat"]].concat(),
        ));
        drop(ok(&sandbox, &["session", "send", &name, "hello"]));
        let wait = [
            "session", "wait", &name, "--until", "output", "--match", "got", "--from", "start",
        ];
        assert_eq!(ok(&sandbox, &wait).word(), "got <hello>");
        let screen = ok(&sandbox, &["session", "peek", &name]);
        assert!(screen.out().ends_with("got <hello>\n"), "{screen}");
    }
    drop(ok(&sandbox, &["session", "create", "brief", "--", "cat"]));
    drop(ok(&sandbox, &["session", "interrupt", "brief"]));
    drop(ok(&sandbox, &["session", "wait", "brief"]));
    let gone = ok(&sandbox, &["session", "create", "gone", "--", "cat"]);
    assert!(gone.err().contains("outlast attach gone"), "{gone}");
    drop(ok(&sandbox, &["session", "stop", "gone"]));
    drop(ok(&sandbox, &["--yes", "session", "delete", "gone"]));
}

/// Programs that hear neither TERM nor HUP: only the end of the grace ends them.
const DEAF: &str = "trap '' HUP TERM; echo up; while :; do sleep 60 & wait; done";

#[test]
fn what_was_stopped_or_cancelled_has_ended_when_the_verb_returns() {
    let sandbox = Sandbox::new();
    for name in ["one", "two"] {
        drop(ok(&sandbox, &["session", "create", name, "--", "sh", "-c", DEAF]));
        drop(ok(
            &sandbox,
            &["run", "-d", "--name", name, "--", "sh", "-c", DEAF],
        ));
        let up = [
            "session", "wait", name, "--until", "output", "--match", "up", "--from", "start",
        ];
        drop(ok(&sandbox, &up));
        drop(sandbox.wait_job(name, |state| state == "running"));
    }
    let stopped = ok(&sandbox, &["session", "stop", "one", "two", "--grace", "300ms"]);
    assert_eq!(
        stopped.err(),
        "session one was stopped by SIGKILL\nsession two was stopped by SIGKILL\n"
    );
    drop(ok(&sandbox, &["--yes", "session", "delete", "one"]));
    let again = ok(&sandbox, &["session", "stop", "two"]);
    assert!(again.err().contains("had already ended"), "{again}");
    // Restarting returns when the program runs again, and removing when it is gone.
    drop(ok(&sandbox, &["session", "restart", "two"]));
    let pid = ok(&sandbox, &["--json", "session", "show", "two"]).json()["pid"].as_u64();
    let pid = pid.expect("a restarted session runs");
    drop(ok(&sandbox, &["session", "delete", "two", "--force"]));
    assert!(!sandbox.processes().contains(&u32::try_from(pid).unwrap()));

    let cancelled = ok(&sandbox, &["--json", "job", "cancel", "one", "--grace", "300ms"]);
    assert_eq!(cancelled.json()["state"], "cancelled");
    let left = sandbox
        .outlast(&["job", "cancel", "two", "--grace", "1m", "--timeout", "1ms"])
        .code(124);
    assert!(left.err().contains("is still being cancelled"), "{left}");
    let shorter = ok(&sandbox, &["job", "cancel", "two", "--grace", "1ms"]);
    assert!(shorter.err().ends_with("was cancelled by SIGKILL\n"), "{shorter}");
}

#[test]
fn a_session_that_cannot_start_is_told_with_the_reason() {
    let sandbox = Sandbox::new();
    let bad = sandbox
        .outlast(&["session", "create", "bad", "--", "/no/such"])
        .code(1);
    assert_eq!(bad.out(), "");
    assert_eq!(
        bad.err(),
        "error: session bad could not be started: cannot run /no/such: No such file or directory (os error 2)\n\
         hint: outlast session delete bad, then create it again\n"
    );
    let bad = sandbox
        .outlast(&["--json", "session", "create", "worse", "--", "/etc/passwd"])
        .code(1);
    let error = bad.json_error();
    let shown = sandbox.outlast(&["--json", "session", "show", "worse"]).json();
    assert_eq!(
        (&error["kind"], &error["subject"]),
        (&"failed".into(), &shown["id"])
    );
    drop(sandbox.outlast(&["session", "restart", "bad"]).code(1));

    let program = sandbox.path().join("program");
    std::fs::write(&program, "").unwrap();
    let mut attached = sandbox.command("outlast");
    attached
        .args(["session", "create", "worst", "--attach", "--"])
        .arg(program);
    let mut attached = Pty::start(&attached);
    assert_eq!(attached.wait_exit(DEADLINE).code(), Some(126));
    attached.wait_text("session worst could not be started");
}

#[test]
fn attaching_to_a_program_that_ends_at_once_gives_its_exit_code() {
    let sandbox = Sandbox::new();
    for round in 0..6 {
        let mut command = sandbox.command("outlast");
        command.args(["session", "create", &format!("brief{round}"), "--attach"]);
        command.args(["--", "sh", "-c", "exit 9"]);
        let mut terminal = Pty::start(&command);
        assert_eq!(terminal.wait_exit(DEADLINE).code(), Some(9));
        terminal.wait_text("exited with exit code 9");
    }
}

#[test]
fn deleting_asks_where_there_is_something_to_ask() {
    let sandbox = Sandbox::new();
    for name in ["runs", "ended"] {
        drop(ok(&sandbox, &["session", "create", name, "--", "cat"]));
    }
    let refused = sandbox.outlast(&["session", "delete", "runs"]).code(4);
    assert!(
        refused
            .err()
            .contains("hint: outlast session delete runs --force"),
        "{refused}"
    );
    drop(ok(&sandbox, &["session", "delete", "runs", "--force"]));
    drop(ok(&sandbox, &["session", "stop", "ended"]));
    let unanswered = sandbox.outlast(&["session", "delete", "ended"]).code(2);
    assert!(unanswered.err().contains("--yes"), "{unanswered}");
    drop(ok(&sandbox, &["--yes", "session", "delete", "ended"]));
    assert_eq!(sandbox.outlast(&["--json", "session", "list"]).word(), "[]");
}

#[test]
fn a_lost_session_still_shows_what_it_wrote_and_says_what_helps() {
    let sandbox = Sandbox::new();
    drop(ok(
        &sandbox,
        &["session", "create", "web", "--", "sh", "-c", "echo up; exec cat"],
    ));
    let wait = [
        "session", "wait", "web", "--until", "output", "--match", "up", "--from", "start",
    ];
    drop(ok(&sandbox, &wait));
    let mut attach = sandbox.command("outlast");
    attach.args(["attach", "web"]);
    let mut attached = Pty::start(&attach);
    attached.wait_text("up");
    drop(sandbox.tmux(&["kill-server"]));
    assert_eq!(attached.wait_exit(DEADLINE).code(), Some(125));
    attached.wait_text("session web was lost");
    attached.wait_text("hint: outlast session recover web");

    assert_eq!(ok(&sandbox, &["session", "logs", "web"]).word(), "up");
    let gone = sandbox.outlast(&["session", "peek", "web"]).code(4);
    assert_eq!(
        gone.err(),
        "error: the screen of session web is gone: its tmux server has ended\n\
         hint: outlast session logs web shows what it wrote; outlast session recover web starts it again\n"
    );
}
