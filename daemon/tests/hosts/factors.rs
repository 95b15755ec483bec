//! Logins that take more than a key: agents that are locked or gone, several factors, several questions. A daemon that
//! cannot log in says so and stops; whoever is there is asked.

use std::{fs, path::PathBuf};

use outlast_testkit::{
    Accounts, DEADLINE, Process, Run, Sandbox, Sshd, Terminal, keygen, run, wait_until, write_program,
};
use rustix::process::Signal;

use crate::{
    bed::{add_by, for_both, outlast_in, seen},
    links::quiet,
    watch::wait_link,
};

/// Asserts that the link is refused and stays so, that nobody is asked, and that what is needed is told at a command.
fn refused_for_good(sandbox: &Sandbox, sshd: &Sshd) -> String {
    let told = refused(sandbox);
    quiet(sandbox, sshd);
    for pid in sandbox.processes() {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        assert_ne!(comm.trim(), "ssh", "it waits for somebody");
    }
    let refused = sandbox.outlast(&["run", "--host", "far", "--", "true"]).code(125);
    assert!(refused.err().contains("auth_failed"), "{refused}");
    told
}

/// Waits until the link is refused, with no time for another attempt. What is told.
fn refused(sandbox: &Sandbox) -> String {
    let host = wait_link(sandbox, &["auth_failed"]);
    println!("{host}");
    assert_eq!(host["reason"], "auth_rejected", "{host}");
    assert!(host["next_try_at"].is_null(), "{host}");
    host["error"].as_str().unwrap().to_owned()
}

/// An agent with the one key that a host lets in.
struct Agent {
    process: Process,
    socket: PathBuf,
    sandbox_bin: PathBuf,
}

impl Agent {
    fn new(sandbox: &Sandbox, sshd: &Sshd) -> Self {
        let key = sandbox.path().join("in-agent");
        keygen(&key, "ed25519", "");
        let public = fs::read(key.with_extension("pub")).unwrap();
        fs::write(sshd.dir().join("authorized_keys"), public).unwrap();
        let socket = sandbox.path().join("agent");
        let mut command = sandbox.command("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket);
        let process = Process::start(command);
        wait_until(DEADLINE, "the agent", || socket.exists().then_some(()));
        let agent = Self {
            process,
            socket,
            sandbox_bin: sandbox.bin(),
        };
        drop(agent.add(sandbox, key.to_str().unwrap()).success());
        fs::remove_file(&key).unwrap();
        agent
    }

    /// Runs `ssh-add`, which hears a password for the agent when it asks.
    fn add(&self, sandbox: &Sandbox, what: &str) -> Run {
        let askpass = self.sandbox_bin.join("askpass");
        if !askpass.exists() {
            write_program(&askpass, "#!/bin/sh\necho keep out\n");
        }
        let mut command = sandbox.command("ssh-add");
        command.env("SSH_AUTH_SOCK", &self.socket).arg(what);
        command
            .env("SSH_ASKPASS", askpass)
            .env("SSH_ASKPASS_REQUIRE", "force");
        run(command, DEADLINE)
    }
}

#[test]
fn an_agent_that_is_locked_or_gone_is_named_and_nothing_is_tried_again() {
    for_both(locked_and_gone);
}

fn locked_and_gone(transport: &str) {
    let sandbox = Sandbox::new();
    let sshd = sandbox.sshd("far");
    let agent = Agent::new(&sandbox, &sshd);
    let set = [("SSH_AUTH_SOCK", agent.socket.to_str().unwrap())];
    let add = ["host", "add", "far", "far", "--transport", transport];
    drop(outlast_in(&sandbox, &set, &add).success());

    drop(agent.add(&sandbox, "-x").success());
    sshd.signal_connections(Signal::KILL);
    let told = refused_for_good(&sandbox, &sshd);
    println!("locked, by {transport}: {told}");
    drop(agent.add(&sandbox, "-X").success());
    drop(outlast_in(&sandbox, &set, &["host", "check", "far"]).success());
    assert_eq!(seen(&sandbox, "far")["link"], "up");

    agent.process.signal(Signal::KILL);
    sshd.signal_connections(Signal::KILL);
    let told = refused(&sandbox);
    println!("gone, by {transport}: {told}");
    assert!(told.contains("agent") || transport == "ssh", "{told}");
}

/// Two questions in one conversation, both of which count: the password, and a code.
fn two_questions(sandbox: &Sandbox) -> String {
    let check = sandbox.path().join("check-code");
    // What it hears ends with a zero byte.
    write_program(&check, "#!/bin/sh\n[ \"$(tr -d '\\000')\" = 123456 ]\n");
    format!(
        "auth required pam_unix.so\nauth [default=ignore] pam_ftp.so ignore\n\
         auth required pam_exec.so quiet expose_authtok {}\n\
         account required pam_permit.so\nsession required pam_permit.so\n",
        check.display()
    )
}

/// A host on which alice logs in by these methods.
fn guarded(sandbox: &Sandbox, stack: Option<&str>, options: &[&str]) -> (Accounts, Sshd) {
    let accounts = Accounts::with_pam(sandbox, &[("alice", "/bin/sh")], stack);
    let client = sandbox.ssh();
    let mut sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .among(&accounts);
    for option in options {
        sshd = sshd.option(option);
    }
    let sshd = sshd.start();
    client.know(&sshd.known_line());
    client.add_config(&format!("{}  User alice\n", sshd.alias("far")));
    (accounts, sshd)
}

/// Answers what is asked, in turn; a question is known by a word of it.
fn answered(sandbox: &Sandbox, label: &str, args: &[&str], answers: &[(&str, &str)]) {
    let terminal = Terminal::open(sandbox, label, "outlast", args);
    for (question, answer) in answers {
        terminal.wait_text(question);
        terminal.enter(answer);
    }
    let exit = terminal.wait_exit();
    let screen = terminal.screen();
    assert_eq!(exit, 0, "{screen}");
    for (_, answer) in answers {
        assert!(!screen.contains(answer), "{screen}");
    }
}

#[test]
fn several_questions_after_a_key_are_for_who_is_there() {
    for_both(several_questions);
}

fn several_questions(transport: &str) {
    let sandbox = Sandbox::new();
    let stack = two_questions(&sandbox);
    let options = [
        "UsePAM yes",
        "KbdInteractiveAuthentication yes",
        "AuthenticationMethods publickey,keyboard-interactive",
    ];
    let (_accounts, sshd) = guarded(&sandbox, Some(&stack), &options);
    let answers = [
        ("Password:", Accounts::PASSWORD),
        ("required for alice", "123456"),
    ];
    by_hand(&sandbox, &sshd, transport, &answers);
}

#[test]
fn a_password_after_a_key_is_for_who_is_there() {
    for_both(password_too);
}

fn password_too(transport: &str) {
    let sandbox = Sandbox::new();
    let options = [
        "PasswordAuthentication yes",
        "AuthenticationMethods publickey,password",
    ];
    let (_accounts, sshd) = guarded(&sandbox, None, &options);
    by_hand(&sandbox, &sshd, transport, &[("assword", Accounts::PASSWORD)]);
}

/// A host that lets in only who answers: with nobody there it is refused, and so is every later attempt of the daemon's.
fn by_hand(sandbox: &Sandbox, sshd: &Sshd, transport: &str, answers: &[(&str, &str)]) {
    let add = ["host", "add", "far", "far", "--transport", transport];
    let refused = sandbox.outlast(&add).code(5);
    println!("{refused}");
    assert!(refused.err().contains("hint:"), "{refused}");
    answered(sandbox, "add", &add, answers);
    assert_eq!(seen(sandbox, "far")["link"], "up");
    let job = [
        "run", "-d", "--host", "far", "--name", "long", "--", "sleep", "1000",
    ];
    drop(sandbox.outlast(&job).success());
    sandbox.wait_job("long", |state| state == "running");

    sshd.signal_connections(Signal::KILL);
    refused_for_good(sandbox, sshd);
    let shown = sandbox
        .outlast(&["job", "show", "long", "--json"])
        .success()
        .json();
    assert_eq!(shown["state"], "running", "{shown}");
    answered(sandbox, "check", &["host", "check", "far"], answers);
    assert_eq!(seen(sandbox, "far")["link"], "up");
    drop(sandbox.outlast(&["run", "--host", "far", "--", "true"]).success());
}

#[test]
fn a_key_with_a_passphrase_stops_a_daemon_with_nobody_to_ask() {
    for_both(nobody_to_ask);
}

fn nobody_to_ask(transport: &str) {
    let sandbox = Sandbox::new();
    let client = sandbox.ssh();
    let open = client.key();
    let sshd = sandbox.sshd("far");
    add_by(&sandbox, transport);
    // The same key, locked by its owner meanwhile.
    let mut lock = sandbox.command("ssh-keygen");
    lock.args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"])
        .arg(&open);
    drop(run(lock, DEADLINE).success());
    sshd.signal_connections(Signal::KILL);
    let told = refused_for_good(&sandbox, &sshd);
    println!("{transport}: {told}");
}
