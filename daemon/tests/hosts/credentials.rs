//! Who is let in: keys that are refused, and passphrases that are asked for once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use outlast_testkit::{DEADLINE, Process, Sandbox, Sshd, Terminal, keygen, run, wait_until};
use rustix::process::Signal;

use crate::{
    bed::{far, outlast_in, seen},
    links::quiet,
    watch::wait_link,
};

#[test]
fn a_host_that_lets_nobody_in_any_more_is_not_tried_again() {
    let (sandbox, mut sshd) = far();
    let job = sandbox
        .outlast(&["run", "-d", "--host", "far", "--", "sleep", "1000"])
        .success()
        .word();
    sandbox.wait_job(&job, |state| state == "running");
    let authorized = sandbox.ssh().public_key();
    sshd.authorize_only("");
    sshd.signal_connections(Signal::KILL);
    let host = wait_link(&sandbox, &["auth_failed"]);
    println!("{host}");
    assert_eq!(host["reason"], "auth_rejected", "{host}");
    assert!(host["next_try_at"].is_null(), "{host}");
    quiet(&sandbox, &sshd);
    // What runs there knows nothing of it.
    let shown = sandbox.outlast(&["job", "show", &job, "--json"]).success().json();
    assert_eq!(
        (&shown["state"], &shown["link"]),
        (&"running".into(), &"auth_failed".into()),
        "{shown}"
    );
    let refused = sandbox.outlast(&["run", "--host", "far", "--", "true"]).code(125);
    assert!(
        refused.err().contains("auth_failed") && refused.err().contains("ssh-copy-id"),
        "{refused}"
    );

    sshd.authorize_only(&authorized);
    drop(sandbox.outlast(&["host", "check", "far"]).success());
    assert_eq!(seen(&sandbox, "far")["link"], "up");
    drop(sandbox.outlast(&["job", "cancel", &job]).success());
    sandbox.wait_job(&job, |state| state == "cancelled");
}

/// A host that lets in only a key with a passphrase.
fn locked(sandbox: &Sandbox) -> Sshd {
    let client = sandbox.ssh();
    let key = client.key();
    fs::remove_file(&key).unwrap();
    fs::remove_file(key.with_extension("pub")).unwrap();
    keygen(&key, "ed25519", "open sesame");
    sandbox.sshd("far")
}

#[test]
fn a_passphrase_is_asked_for_once_and_kept_in_memory_alone() {
    let sandbox = Sandbox::new();
    let sshd = locked(&sandbox);
    let refused = sandbox.outlast(&["host", "add", "far", "far"]).code(5);
    println!("{refused}");
    assert!(refused.err().contains("passphrase"), "{refused}");

    let terminal = Terminal::open(&sandbox, "t", "outlast", &["host", "add", "far", "far"]);
    terminal.wait_text("Passphrase of the key");
    terminal.enter("open sesame");
    assert_eq!(terminal.wait_exit(), 0);
    assert!(!terminal.screen().contains("sesame"), "{}", terminal.screen());
    assert_eq!(seen(&sandbox, "far")["link"], "up");

    // Again and again, with nobody there.
    for _ in 0..2 {
        let arrived = seen(&sandbox, "far")["observed_at"].clone();
        sshd.signal_connections(Signal::KILL);
        wait_until(DEADLINE, "another connection", || {
            let host = seen(&sandbox, "far");
            assert_ne!(host["link"], "auth_failed", "{host}");
            (host["link"] == "up" && host["observed_at"] != arrived).then_some(())
        });
    }
    drop(sandbox.outlast(&["run", "--host", "far", "--", "true"]).success());
    assert!(
        !written(sandbox.path(), b"open sesame"),
        "the passphrase is on the disk"
    );

    // With the daemon it is forgotten.
    sandbox.kill_daemon().unwrap();
    sandbox.start_daemon();
    let host = wait_link(&sandbox, &["auth_failed"]);
    quiet(&sandbox, &sshd);
    assert!(host["next_try_at"].is_null(), "{host}");
    let terminal = Terminal::open(&sandbox, "again", "outlast", &["host", "check", "far"]);
    terminal.wait_text("Passphrase of the key");
    terminal.enter("open sesame");
    assert_eq!(terminal.wait_exit(), 0);
    drop(sandbox.outlast(&["run", "--host", "far", "--", "true"]).success());
}

/// A host that lets in only a key of an agent: the host, the agent's socket and its process.
fn by_agent(sandbox: &Sandbox) -> (Sshd, PathBuf, Process) {
    let sshd = sandbox.sshd("far");
    let key = sandbox.path().join("in-agent");
    keygen(&key, "ed25519", "");
    fs::write(
        sshd.dir().join("authorized_keys"),
        fs::read(key.with_extension("pub")).unwrap(),
    )
    .unwrap();
    let socket = sandbox.path().join("agent");
    let mut command = sandbox.command("ssh-agent");
    command.args(["-D", "-a"]).arg(&socket);
    let agent = Process::start(command);
    wait_until(DEADLINE, "the agent", || socket.exists().then_some(()));
    let mut command = sandbox.command("ssh-add");
    command.env("SSH_AUTH_SOCK", &socket).arg(&key);
    drop(run(command, DEADLINE).success());
    fs::remove_file(&key).unwrap();
    (sshd, socket, agent)
}

#[test]
fn a_host_that_refused_is_tried_again_with_the_agent_of_the_next_command() {
    let sandbox = Sandbox::new();
    let (sshd, socket, _agent) = by_agent(&sandbox);
    drop(
        sandbox
            .outlast(&["host", "add", "far", "far", "--no-check"])
            .success(),
    );
    wait_link(&sandbox, &["auth_failed"]);
    // Another agent without the key: it is tried once, and no more.
    let other = sandbox.path().join("other");
    let mut command = sandbox.command("ssh-agent");
    command.args(["-D", "-a"]).arg(&other);
    let _other = Process::start(command);
    wait_until(DEADLINE, "the other agent", || other.exists().then_some(()));
    let other = other.display().to_string();
    let before = sshd.log().matches("Connection from").count();
    drop(outlast_in(&sandbox, &[("SSH_AUTH_SOCK", &other)], &["host", "list"]).success());
    wait_until(DEADLINE, "another attempt", || {
        (sshd.log().matches("Connection from").count() > before).then_some(())
    });
    wait_link(&sandbox, &["auth_failed"]);
    quiet(&sandbox, &sshd);
    let with_agent = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];
    drop(outlast_in(&sandbox, &with_agent, &["host", "list"]).success());
    wait_link(&sandbox, &["up"]);
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}

#[test]
fn the_agent_that_the_last_command_came_with_is_used() {
    let sandbox = Sandbox::new();
    let (sshd, socket, _agent) = by_agent(&sandbox);
    let with_agent = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];

    for transport in ["ssh2", "ssh"] {
        let add = ["host", "add", transport, "far", "--transport", transport];
        // The daemon was started without one, or knows one by now that is not this user's last word.
        drop(outlast_in(&sandbox, &with_agent, &add).success());
        drop(
            sandbox
                .outlast(&["host", "exec", transport, "--", "true"])
                .success(),
        );
    }
    // It is kept for when nobody is there.
    sshd.signal_connections(Signal::KILL);
    wait_until(DEADLINE, "both hosts to be back", || {
        let back = |name| sandbox.outlast(&["host", "exec", name, "--", "true"]).exit() == 0;
        (back("ssh2") && back("ssh")).then_some(())
    });
}

/// Whether a text is in any file of a directory.
fn written(dir: &Path, text: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => written(&path, text),
            Ok(kind) if kind.is_file() => {
                let bytes = fs::read(&path).unwrap_or_default();
                let found = bytes.windows(text.len()).any(|window| window == text);
                if found {
                    println!("found in {}", path.display());
                }
                found
            }
            _ => false,
        }
    })
}
