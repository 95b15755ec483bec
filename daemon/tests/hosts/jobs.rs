//! Jobs on another machine, as somebody at a terminal and as a script runs them.

use std::fs;

use outlast_testkit::{DEADLINE, wait_until};

use crate::bed::{far, names, outlast_in, seen};

#[test]
fn a_job_runs_there_with_its_streams_apart_and_its_exit_code() {
    let (sandbox, sshd) = far();
    let script = "echo out; echo err >&2; pwd; exit 7";
    let ran = sandbox
        .outlast(&[
            "run", "--host", "far", "--name", "first", "--", "sh", "-c", script,
        ])
        .code(7);
    assert_eq!(ran.out(), format!("out\n{}\n", sshd.home().display()), "{ran}");
    assert!(ran.err().lines().any(|line| line == "err"), "{ran}");
    let killed = sandbox
        .outlast(&["run", "--host", "far", "--", "sh", "-c", "kill -TERM $$"])
        .code(128 + 15);
    assert_eq!(killed.out(), "");
    let missing = sandbox
        .outlast(&["run", "--host", "far", "--", "no-such-program"])
        .code(127);
    assert!(missing.err().contains("no-such-program"), "{missing}");
    let not_one = sandbox
        .outlast(&["run", "--host", "far", "--", "/etc/passwd"])
        .code(126);
    assert_eq!(not_one.out(), "");

    let shown = sandbox
        .outlast(&["job", "show", "first", "--json"])
        .success()
        .json();
    assert_eq!(shown["host"], "far", "{shown}");
    assert_eq!(shown["state"], "failed", "{shown}");
    assert_eq!(shown["link"], "up", "{shown}");
    let logs = |stream| {
        sandbox
            .outlast(&["job", "logs", "first", "--stream", stream])
            .success()
    };
    let (out, err) = (logs("stdout"), logs("stderr"));
    assert_eq!((&out.stdout, out.err().as_str()), (&ran.stdout, ""));
    assert_eq!((err.out().as_str(), err.stderr.as_slice()), ("", &b"err\n"[..]));
    assert_eq!(seen(&sandbox, "far")["jobs"], 0);
}

#[test]
fn a_job_is_left_alone_waited_for_cancelled_retried_and_pruned() {
    let (sandbox, sshd) = far();
    let script = "echo begun; while [ ! -e go-on ]; do sleep 0.05; done; echo done; exit 3";
    let detached = ["run", "-d", "--host", "far", "--", "sh", "-c", script];
    let job = sandbox.outlast(&detached).success().word();
    let follower = sandbox.spawn(&["job", "logs", "-f", &job]);
    follower.wait_line(|line| line == "begun");
    let waiter = sandbox.spawn(&["job", "wait", &job]);
    assert_eq!(seen(&sandbox, "far")["jobs"], 1);
    fs::write(sshd.home().join("go-on"), "").unwrap();
    drop(waiter.finish(DEADLINE).code(3));
    assert_eq!(follower.finish(DEADLINE).success().out(), "begun\ndone\n");

    let retried = sandbox.outlast(&["job", "retry", &job, "--json"]);
    println!("{retried}");
    let again = sandbox
        .outlast(&["job", "list", "--host", "far", "--json"])
        .success()
        .json();
    let all: Vec<_> = again
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap())
        .collect();
    assert_eq!(all.len(), 2, "{again}");
    let second = all.iter().find(|id| **id != job).unwrap().to_string();
    drop(sandbox.outlast(&["job", "wait", &second]).code(3));
    assert_eq!(
        sandbox.outlast(&["job", "logs", &second]).success().out(),
        "begun\ndone\n"
    );

    let stubborn = "trap '' TERM; echo up; while :; do sleep 1; done";
    let live = sandbox
        .outlast(&["run", "-d", "--host", "far", "--", "sh", "-c", stubborn])
        .success()
        .word();
    sandbox
        .spawn(&["job", "logs", "-f", &live])
        .wait_line(|line| line == "up");
    drop(
        sandbox
            .outlast(&["job", "cancel", &live, "--grace", "100ms"])
            .success(),
    );
    let ended = sandbox.wait_job(&live, |state| state != "running");
    assert_eq!(ended["state"], "cancelled", "{ended}");

    let jobs = || {
        let owner = fs::read_dir(sshd.state().join("outlast"))
            .unwrap()
            .flatten()
            .next()
            .unwrap();
        let machine = fs::read_dir(owner.path()).unwrap().flatten().next().unwrap();
        names(&machine.path().join("jobs"))
    };
    assert_eq!(jobs().len(), 3);
    let pruned = sandbox.outlast(&["job", "prune", "--yes"]);
    println!("{pruned}");
    drop(pruned.success());
    wait_until(DEADLINE, "the removal of what was pruned", || {
        jobs().is_empty().then_some(())
    });
    let left = sandbox.outlast(&["job", "list", "--json"]).success().json();
    assert_eq!(left.as_array().unwrap().len(), 0, "{left}");
}

#[test]
fn a_job_has_the_login_environment_of_there_and_what_it_is_given() {
    let (sandbox, sshd) = far();
    fs::write(sshd.home().join(".profile"), "export FROM_PROFILE=far\n").unwrap();
    fs::create_dir(sshd.home().join("sub")).unwrap();
    drop(sandbox.outlast(&["host", "check", "far"]).success());
    let env = |args: &[&str]| {
        let all = [&["run", "--host", "far"], args, &["--", "env"]].concat();
        outlast_in(&sandbox, &[("ONLY_HERE", "near")], &all)
            .success()
            .out()
    };
    let plain = env(&["-e", "GIVEN=a b"]);
    let has = |line: &str| plain.lines().any(|one| one == line);
    assert!(has("GIVEN=a b") && has("FROM_PROFILE=far"), "{plain}");
    assert!(has(&format!("HOME={}", sshd.home().display())), "{plain}");
    assert!(!plain.contains("ONLY_HERE"), "{plain}");
    let ours = plain
        .lines()
        .filter(|line| line.starts_with("OUTLAST_") && !line.starts_with("OUTLAST_JOB_ID="));
    assert_eq!(ours.count(), 0, "{plain}");
    let taken = env(&["-e", "ONLY_HERE"]);
    assert!(taken.lines().any(|line| line == "ONLY_HERE=near"), "{taken}");

    let sub = sshd.home().join("sub");
    let run = [
        "run",
        "--host",
        "far",
        "--cwd",
        sub.to_str().unwrap(),
        "--",
        "pwd",
    ];
    assert_eq!(sandbox.outlast(&run).success().word(), sub.to_str().unwrap());
    let nowhere = ["run", "--host", "far", "--cwd", "/no/such/place", "--", "pwd"];
    let refused = sandbox.outlast(&nowhere);
    println!("{refused}");
    assert!([125, 126, 127].contains(&refused.exit()), "{refused}");
    assert!(refused.err().contains("/no/such/place"), "{refused}");
}
