//! A host that boots again, and one whose tmux is killed: what died there is told as lost, and sessions come back when
//! asked.

use outlast_testkit::{DEADLINE, Namespace, Sandbox, lines_in, wait_until};
use rustix::process::Signal;

use crate::{
    PATIENCE,
    bed::{Entrance, add, behind, far, processes_there},
};

#[test]
fn what_died_with_a_host_is_lost_and_sessions_come_back_when_asked() {
    let sandbox = Sandbox::new();
    let entrance = Entrance::new(&sandbox);
    let mut sshd = behind(&entrance, &sandbox);
    add(&sandbox);
    let file = sshd.home().join("ran");
    let path = file.to_str().unwrap();
    let script = "echo ran >>\"$1\"; exec cat";
    let create = [
        "session", "create", "web", "--host", "far", "--", "sh", "-c", script, "sh", path,
    ];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("web", |state| state == "running");
    let run = |script: &str| {
        let run = ["run", "-d", "--host", "far", "--", "sh", "-c", script];
        sandbox.outlast(&run).success().word()
    };
    let (job, ended) = (run("echo so far; exec sleep 1000"), run("exit 4"));
    sandbox.wait_job(&job, |state| state == "running");
    sandbox.wait_job(&ended, |state| state == "failed");
    sandbox
        .spawn(&["job", "logs", "-f", &job])
        .wait_line(|line| line == "so far");
    let host = |key: &str| {
        sandbox
            .outlast(&["host", "show", "far", "--json"])
            .success()
            .json()[key]
            .clone()
    };
    let before = host("boot_id");

    sshd.stop();
    sshd.signal_connections(Signal::KILL);
    // All at once, as a power cut does it: one that outlives tmux writes down that it was hung up.
    let there = processes_there(&sandbox, &sshd);
    for signal in [Signal::STOP, Signal::KILL] {
        for process in &there {
            process.signal(signal);
        }
    }
    for process in there {
        assert!(process.within(DEADLINE));
    }
    crate::watch::wait_link(&sandbox, &["backoff"]);
    // Nobody knows yet.
    let state = |noun: &str, name: &str| {
        sandbox.outlast(&[noun, "show", name, "--json"]).success().json()["state"].clone()
    };
    assert_eq!(
        (state("job", &job), state("session", "web")),
        ("running".into(), "running".into())
    );
    let boot = "echo 01234567-89ab-4def-8123-456789abcdef >\"$1/boot_id\"
        mount --bind \"$1/boot_id\" /proc/sys/kernel/random/boot_id";
    let namespace = Namespace::new(&sandbox, boot);
    entrance.lead(&sandbox, &namespace);
    sshd.start();

    let shown = sandbox.wait_job(&job, |state| state != "running");
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&"lost".into(), &"host rebooted".into()),
        "{shown}"
    );
    let shown = sandbox.wait_session("web", |state| state != "running");
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&"lost".into(), &"host rebooted".into()),
        "{shown}"
    );
    assert_eq!(state("job", &ended), "failed");
    assert_eq!(
        sandbox.outlast(&["job", "logs", &job]).success().out(),
        "so far\n"
    );
    assert_ne!(host("boot_id"), before);
    assert_eq!(lines_in(&file), 1, "it was brought back unasked");
    drop(
        sandbox
            .outlast(&["session", "recover", "--all", "--yes"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    wait_until(PATIENCE, "the recovered program", || {
        (lines_in(&file) == 2).then_some(())
    });
}

#[test]
fn sessions_of_a_tmux_server_that_is_killed_there_are_lost_and_can_be_recovered() {
    let (sandbox, sshd) = far();
    let create = [
        "session",
        "create",
        "web",
        "--host",
        "far",
        "--",
        "sh",
        "-c",
        "echo here; exec cat",
    ];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("web", |state| state == "running");
    let servers: Vec<_> = processes_there(&sandbox, &sshd)
        .into_iter()
        .filter(|process| {
            let comm = std::fs::read_to_string(format!("/proc/{}/comm", process.pid())).unwrap_or_default();
            comm.starts_with("tmux: server")
        })
        .collect();
    assert_eq!(servers.len(), 1);
    servers[0].signal(Signal::KILL);
    let lost = sandbox.wait_session("web", |state| state != "running");
    assert_eq!(
        (&lost["state"], &lost["reason"]),
        (&"lost".into(), &"tmux server ended".into()),
        "{lost}"
    );
    drop(sandbox.outlast(&["session", "recover", "web"]).success());
    sandbox.wait_session("web", |state| state == "running");
    drop(
        sandbox
            .outlast(&["session", "send", "web", "still here"])
            .success(),
    );
    wait_until(DEADLINE, "the echo", || {
        let peeked = sandbox.outlast(&["session", "peek", "web"]).success();
        peeked.out().contains("still here").then_some(())
    });
}
