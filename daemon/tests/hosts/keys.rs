//! Keys of hosts: unknown, changed, revoked. None is ever taken without somebody's word, and none is asked for twice.

use std::{fs, time::Instant};

use outlast_testkit::{Gone, Sandbox, Sshd, Terminal};

use crate::{
    bed::{add, far, processes_there, seen},
    links::quiet,
    watch::wait_link,
};

/// An sshd that lets us in, reached as `far`, whose key nobody knows.
fn stranger(sandbox: &Sandbox) -> Sshd {
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .start();
    client.add_config(&sshd.alias("far"));
    sshd
}

#[test]
fn an_unknown_key_is_taken_only_on_somebodys_word() {
    let sandbox = Sandbox::new();
    let sshd = stranger(&sandbox);
    let shown = sshd.fingerprint("ed25519");
    let refused = sandbox.outlast(&["host", "add", "far", "far"]).code(5);
    assert!(refused.err().contains(&shown), "{refused}");
    let listed = sandbox.outlast(&["host", "list", "--json"]).success().json();
    assert_eq!(
        listed.as_array().unwrap().len(),
        1,
        "it was added all the same: {listed}"
    );

    let other = format!("SHA256:{}", "A".repeat(43));
    let refused = sandbox
        .outlast(&["host", "add", "far", "far", "--accept-key", &other])
        .code(5);
    assert!(refused.err().contains(&shown), "{refused}");
    assert_eq!(fs::read_to_string(sandbox.ssh().known_hosts()).unwrap(), "");

    drop(
        sandbox
            .outlast(&["host", "add", "far", "far", "--accept-key", &shown])
            .success(),
    );
    let known = fs::read_to_string(sandbox.ssh().known_hosts()).unwrap();
    assert_eq!(known.lines().count(), 1, "{known}");
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}

#[test]
fn an_unknown_key_is_asked_about_at_a_terminal() {
    let sandbox = Sandbox::new();
    let sshd = stranger(&sandbox);
    let add = ["host", "add", "far", "far"];
    let terminal = Terminal::open(&sandbox, "no", "outlast", &add);
    terminal.wait_text("Trust this key?");
    terminal.enter("no");
    assert_eq!(terminal.wait_exit(), 5);
    let terminal = Terminal::open(&sandbox, "yes", "outlast", &add);
    terminal.wait_text("Trust this key?");
    assert!(
        terminal
            .screen()
            .replace('\n', "")
            .contains(&sshd.fingerprint("ed25519"))
    );
    terminal.enter("yes");
    assert_eq!(terminal.wait_exit(), 0);
    assert_eq!(seen(&sandbox, "far")["link"], "up");
}

#[test]
fn a_changed_key_is_refused_until_its_fingerprint_is_typed() {
    let (sandbox, mut sshd) = far();
    let before = sshd.fingerprint("ed25519");
    sshd.stop();
    sshd.change_host_keys();
    sshd.start();
    sshd.signal_connections(rustix::process::Signal::KILL);
    let host = wait_link(&sandbox, &["hostkey_changed"]);
    println!("{host}");
    assert_eq!(host["reason"], "key_changed", "{host}");
    assert!(host["next_try_at"].is_null(), "{host}");
    quiet(&sandbox, &sshd);
    let after = sshd.fingerprint("ed25519");
    let shown = sandbox.outlast(&["host", "show", "far"]).success();
    assert!(
        shown.out().contains(&before) && shown.out().contains(&after),
        "{shown}"
    );

    let began = Instant::now();
    let refused = sandbox.outlast(&["run", "--host", "far", "--", "true"]).code(125);
    assert!(refused.err().contains(&after), "{refused}");
    let refused = sandbox.outlast(&["host", "exec", "far", "--", "true"]).code(125);
    assert!(refused.err().contains("outlast host trust far"), "{refused}");
    println!("two refusals took {:?}", began.elapsed());

    let wrong = sandbox
        .outlast(&["host", "trust", "far", "--fingerprint", &before])
        .code(5);
    assert!(wrong.err().contains(&after), "{wrong}");
    assert_eq!(seen(&sandbox, "far")["link"], "hostkey_changed");
    drop(
        sandbox
            .outlast(&["host", "trust", "far", "--fingerprint", &after])
            .success(),
    );
    wait_link(&sandbox, &["up"]);
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}

#[test]
fn a_revoked_key_is_refused() {
    let sandbox = Sandbox::new();
    let sshd = stranger(&sandbox);
    let line = sshd.known_line();
    sandbox.ssh().know(&line);
    add(&sandbox);
    fs::write(
        sandbox.ssh().known_hosts(),
        format!("@revoked * {}\n", line.split_once(' ').unwrap().1),
    )
    .unwrap();
    sshd.signal_connections(rustix::process::Signal::KILL);
    let host = wait_link(&sandbox, &["hostkey_changed"]);
    assert_eq!(host["reason"], "key_revoked", "{host}");
    quiet(&sandbox, &sshd);
    let trusted = sandbox.outlast(&[
        "host",
        "trust",
        "far",
        "--fingerprint",
        &sshd.fingerprint("ed25519"),
    ]);
    println!("{trusted}");
    assert_ne!(trusted.exit(), 0, "a revoked key was trusted");
}

#[test]
fn a_connection_that_ends_while_a_check_asks_is_told_as_lost() {
    let (sandbox, sshd) = far();
    fs::write(sandbox.ssh().known_hosts(), "").unwrap();
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["host", "check", "far"]);
    terminal.wait_text("Trust this key?");
    assert_eq!(seen(&sandbox, "far")["link"], "up");
    // The one that serves, not the one that asks.
    for helper in serving(&sandbox, &sshd) {
        helper.signal(rustix::process::Signal::KILL);
    }
    let lost = wait_link(&sandbox, &["down", "backoff"]);
    println!("{lost}");
    drop(sandbox.outlast(&["session", "list"]).success());
    terminal.enter("yes");
    assert_eq!(terminal.wait_exit(), 0);
    wait_link(&sandbox, &["up"]);
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}

/// What serves the daemon at the far end.
fn serving(sandbox: &Sandbox, sshd: &Sshd) -> Vec<Gone> {
    let serves = |process: &Gone| {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"serve")
    };
    let there = processes_there(sandbox, sshd);
    let helpers: Vec<_> = there.into_iter().filter(serves).collect();
    assert!(!helpers.is_empty());
    helpers
}
