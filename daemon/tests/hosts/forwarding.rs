//! The user's ssh-agent on another machine: what was started there once finds it again after every reconnect.

use std::path::PathBuf;

use outlast_testkit::{DEADLINE, Process, Sandbox, keygen, run, wait_until};
use rustix::process::Signal;

use crate::bed::{outlast_in, seen};

/// An agent that holds one key; its comment is what lists show.
fn agent(sandbox: &Sandbox, name: &str) -> (Process, PathBuf) {
    let socket = sandbox.path().join(name);
    let mut command = sandbox.command("ssh-agent");
    command.args(["-D", "-a"]).arg(&socket);
    let agent = Process::start(command);
    wait_until(DEADLINE, "the agent", || socket.exists().then_some(()));
    let key = sandbox.path().join(format!("key-of-{name}"));
    keygen(&key, "ed25519", "");
    let mut command = sandbox.command("ssh-keygen");
    command
        .args(["-q", "-c", "-C", name, "-P", ""])
        .arg("-f")
        .arg(&key);
    drop(run(command, DEADLINE).success());
    let mut command = sandbox.command("ssh-add");
    command.env("SSH_AUTH_SOCK", &socket).arg(&key);
    drop(run(command, DEADLINE).success());
    (agent, socket)
}

#[test]
fn programs_there_reach_the_agent_here_across_reconnects() {
    let sandbox = Sandbox::new();
    let sshd = sandbox.sshd("far");
    sandbox.ssh().add_config("Host far\n  ForwardAgent yes\n");
    let (_first, socket) = agent(&sandbox, "first");
    let with_first = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];
    drop(outlast_in(&sandbox, &with_first, &["host", "add", "far", "far"]).success());
    let list = ["host", "exec", "far", "--", "ssh-add", "-l"];
    wait_until(DEADLINE, "the agent there", || {
        let listed = outlast_in(&sandbox, &with_first, &list);
        listed.out().contains("first").then_some(())
    });

    // A session that asks for its keys whenever it is sent a line.
    let asking = "while read x; do ssh-add -l; echo \"asked $x\"; done";
    let create = [
        "session", "create", "keys", "--host", "far", "--", "sh", "-c", asking,
    ];
    drop(outlast_in(&sandbox, &with_first, &create).success());
    sandbox.wait_session("keys", |state| state == "running");
    let ask = |word: &str| {
        drop(sandbox.outlast(&["session", "send", "keys", word]).success());
        let answered = format!("asked {word}");
        wait_until(DEADLINE, &answered, || {
            let screen = sandbox.outlast(&["session", "peek", "keys"]).success().out();
            screen.contains(&answered).then_some(screen)
        })
    };
    let screen = ask("one");
    assert!(screen.contains("first"), "{screen}");

    // After a cut, with another agent: the user logged in anew here, and the path there is as it was.
    let (_second, socket) = agent(&sandbox, "second");
    let with_second = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];
    let arrived = seen(&sandbox, "far")["observed_at"].clone();
    sshd.signal_connections(Signal::KILL);
    wait_until(DEADLINE, "another connection", || {
        let host = seen(&sandbox, "far");
        (host["link"] == "up" && host["observed_at"] != arrived).then_some(())
    });
    wait_until(DEADLINE, "the second agent there", || {
        let listed = outlast_in(&sandbox, &with_second, &list);
        listed.out().contains("second").then_some(())
    });
    let screen = ask("two");
    assert!(screen.contains("second"), "{screen}");
}

/// Who did not ask for it has no agent there.
#[test]
fn without_the_users_word_no_agent_is_forwarded() {
    let sandbox = Sandbox::new();
    let _sshd = sandbox.sshd("far");
    let (_agent, socket) = agent(&sandbox, "kept");
    let env = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];
    drop(outlast_in(&sandbox, &env, &["host", "add", "far", "far"]).success());
    let told = [
        "host",
        "exec",
        "far",
        "--",
        "sh",
        "-c",
        "echo \"agent: $SSH_AUTH_SOCK\"",
    ];
    let shown = outlast_in(&sandbox, &env, &told).success();
    assert_eq!(shown.out().trim(), "agent:", "{shown}");
}
