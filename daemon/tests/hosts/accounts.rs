//! Accounts as people have them: login shells of every kind with noisy start files, several users on one sshd, an sshd
//! that a user runs without privileges, and accounts that are less than a shell.

use std::{os::unix::fs::MetadataExt as _, thread};

use outlast_testkit::{Accounts, DEADLINE, Sandbox, Sshd, wait_until};
use rustix::process::Signal;

use crate::bed::seen;

/// An sshd among accounts, each of which is reached as `NAME@far`.
fn among(sandbox: &Sandbox, accounts: &Accounts) -> Sshd {
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .among(accounts)
        .start();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    sshd
}

/// Adds a user's account as the host of that name.
fn add(sandbox: &Sandbox, name: &str) {
    let address = format!("{name}@far");
    drop(sandbox.outlast(&["host", "add", name, &address]).success());
}

/// A shell with its start file, noisy and with one variable that tells that it was read.
fn serves(name: &str, shell: &str, file: &str, set: &str) {
    let sandbox = Sandbox::new();
    let accounts = Accounts::new(&sandbox, &[(name, shell)]);
    let noise = format!(
        "echo welcome to {shell}\nsh -c 'echo to stderr >&2; printf %0100000d 7; printf \"\\033[2J\"'\n"
    );
    accounts.write(name, file, &format!("{noise}{set}\n"));
    let _sshd = among(&sandbox, &accounts);
    add(&sandbox, name);
    let run = |words: &[&str]| {
        let run = [&["run", "--host", name, "--"], words].concat();
        sandbox.outlast(&run).success().out()
    };
    let told = run(&["sh", "-c", "echo $(id -un) $HOME $SHELL $FROM_START"]);
    let home = accounts.home(name).display().to_string();
    assert_eq!(told, format!("{name} {home} {shell} yes\n"));
    assert_eq!(
        run(&["printf", "<%s>", "a'b", "$x", "!", "a\\b\nc"]),
        "<a'b><$x><!><a\\b\nc>"
    );
    let exec = ["host", "exec", name, "--", "echo", "hi"];
    let ran = sandbox.outlast(&exec).success();
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("hi\n", ""));
    // Without a command a session is the login shell itself.
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", name])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    drop(
        sandbox
            .outlast(&["session", "send", "web", "echo \"<$FROM_START $SHELL>\""])
            .success(),
    );
    let wanted = format!("<yes {shell}>");
    wait_until(DEADLINE, &format!("{wanted} on the screen"), || {
        let peeked = sandbox.outlast(&["session", "peek", "web"]).success();
        peeked.out().contains(&wanted).then_some(())
    });
}

#[test]
fn bash_serves() {
    serves("bash", "/bin/bash", ".bashrc", "export FROM_START=yes");
}

#[test]
fn dash_serves() {
    serves("dash", "/bin/dash", ".profile", "export FROM_START=yes");
}

#[test]
fn zsh_serves() {
    serves("zsh", "/usr/bin/zsh", ".zshenv", "export FROM_START=yes");
}

#[test]
fn fish_serves() {
    serves(
        "fish",
        "/usr/bin/fish",
        ".config/fish/config.fish",
        "set -gx FROM_START yes",
    );
}

#[test]
fn tcsh_serves() {
    serves("tcsh", "/usr/bin/tcsh", ".tcshrc", "setenv FROM_START yes");
}

#[test]
fn csh_serves() {
    serves("csh", "/bin/csh", ".cshrc", "setenv FROM_START yes");
}

#[test]
fn an_account_that_is_less_than_a_shell_is_one_clear_error() {
    let sandbox = Sandbox::new();
    let users = [("caged", "/bin/rbash"), ("nobody-in", "/usr/sbin/nologin")];
    let accounts = Accounts::new(&sandbox, &users);
    let _sshd = among(&sandbox, &accounts);
    for (name, told) in [("caged", "restricted"), ("nobody-in", "not available")] {
        for transport in ["ssh2", "ssh"] {
            let address = format!("{name}@far");
            let add = ["host", "add", name, &address, "--transport", transport];
            let refused = sandbox.outlast(&add).code(6);
            println!("{refused}");
            assert!(refused.err().contains(told), "{refused}");
            let errors = refused
                .err()
                .lines()
                .filter(|line| line.starts_with("error:"))
                .count();
            assert_eq!(errors, 1, "{refused}");
        }
    }
}

#[test]
fn several_users_of_one_sshd_keep_to_themselves() {
    let sandbox = Sandbox::new();
    let users = [
        ("alice", "/bin/bash"),
        ("bob", "/usr/bin/zsh"),
        ("carol", "/bin/sh"),
    ];
    let accounts = Accounts::new(&sandbox, &users);
    let sshd = among(&sandbox, &accounts);
    let hostile = "set -g remain-on-exit off\nset-hook -g after-new-session kill-server\nkill-server\n";
    accounts.write("alice", ".tmux.conf", hostile);
    sandbox.start_daemon();
    let all = |each: &(dyn Fn(&str) + Sync)| {
        thread::scope(|scope| {
            for (name, _) in users {
                scope.spawn(move || each(name));
            }
        });
    };
    all(&|name| {
        add(&sandbox, name);
        let run = [
            "run",
            "--host",
            name,
            "--",
            "sh",
            "-c",
            "id -un; echo mine >mine; cat mine",
        ];
        let ran = sandbox.outlast(&run).success();
        assert_eq!(ran.out(), format!("{name}\nmine\n"));
        let create = [
            "session",
            "create",
            name,
            "--host",
            name,
            "--",
            "sh",
            "-c",
            "id -un; exec cat",
        ];
        drop(sandbox.outlast(&create).success());
        sandbox.wait_session(name, |state| state == "running");
        let run = ["run", "-d", "--host", name, "--name", name, "--", "sleep", "1000"];
        drop(sandbox.outlast(&run).success());
        sandbox.wait_job(name, |state| state == "running");
    });
    for (name, _) in users {
        let (home, uid) = (accounts.home(name), accounts.uid(name));
        for file in ["mine", ".local/state/outlast", ".cache/outlast/helper"] {
            let owner = home.join(file).metadata().unwrap().uid();
            assert_eq!(owner, uid, "{file} of {name}");
        }
    }
    // What is wrong with one is no business of the others.
    let arrived = |name: &str| seen(&sandbox, name)["observed_at"].clone();
    let before = users.map(|(name, _)| arrived(name));
    assert!(sshd.signal_connections(Signal::KILL) >= users.len());
    for ((name, _), before) in users.iter().zip(before) {
        wait_until(DEADLINE, "another connection", || {
            (seen(&sandbox, name)["link"] == "up" && arrived(name) != before).then_some(())
        });
    }
    all(&|name| {
        sandbox.wait_job(name, |state| state == "running");
        sandbox.wait_session(name, |state| state == "running");
        drop(
            sandbox
                .outlast(&["session", "send", name, "still here"])
                .success(),
        );
        wait_until(DEADLINE, "the echo", || {
            let peeked = sandbox.outlast(&["session", "peek", name]).success();
            (peeked.out().contains("still here") && peeked.out().contains(name)).then_some(())
        });
        drop(
            sandbox
                .outlast(&["job", "cancel", name, "--grace", "0s"])
                .success(),
        );
        sandbox.wait_job(name, |state| state == "cancelled");
    });
}

#[test]
fn an_sshd_that_a_user_runs_on_a_high_port_serves_that_user() {
    let sandbox = Sandbox::new();
    let accounts = Accounts::new(&sandbox, &[("alice", "/bin/bash"), ("bob", "/bin/bash")]);
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .run_by(&accounts, "alice")
        .start();
    assert!(sshd.address().port() > 1023);
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    add(&sandbox, "alice");
    let run = ["run", "--host", "alice", "--", "sh", "-c", "id -un; id -u; id -G"];
    let ran = sandbox.outlast(&run).success();
    let uid = accounts.uid("alice");
    assert_eq!(ran.out(), format!("alice\n{uid}\n{uid}\n"));
    let create = ["session", "create", "web", "--host", "alice", "--", "cat"];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("web", |state| state == "running");
    // Of what runs as somebody else hardly anything may be seen, but that it asks for a password may.
    let create = ["session", "create", "su", "--host", "alice", "--", "su", "root"];
    drop(sandbox.outlast(&create).success());
    let wait = ["session", "wait", "su", "--until", "waiting", "--timeout", "20s"];
    assert_eq!(sandbox.outlast(&wait).success().out(), "Password:\n");
    let before = seen(&sandbox, "alice")["observed_at"].clone();
    assert!(sshd.signal_connections(Signal::KILL) >= 1);
    wait_until(DEADLINE, "another connection", || {
        let host = seen(&sandbox, "alice");
        (host["link"] == "up" && host["observed_at"] != before).then_some(())
    });
    sandbox.wait_session("web", |state| state == "running");
    // Another's account is not its to give.
    let refused = sandbox.outlast(&["host", "add", "bob", "bob@far"]);
    println!("{refused}");
    assert!([5, 6].contains(&refused.exit()), "{refused}");
}
