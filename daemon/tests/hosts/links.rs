//! Hosts that are hard to reach, or less than they should be: each is handled or one clear error.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Sandbox, Sshd, wait_until, write_program};

use crate::{
    bed::{add, add_by, alias, behind_proxy, for_both, seen},
    watch::wait_link,
};

/// For how long nothing must happen that must not happen: the longest pause between two attempts while a loss is fresh,
/// and half of it more.
const QUIET: Duration = Duration::from_millis(2200);

/// For how long every connection is ended as soon as it is up.
const STORM: Duration = Duration::from_secs(4);

/// Asserts that `far` is not tried any more.
pub fn quiet(sandbox: &Sandbox, sshd: &Sshd) {
    let count = || sshd.log().matches("Connection from").count();
    let began = Instant::now();
    let before = count();
    let link = seen(sandbox, "far")["link"].clone();
    while began.elapsed() < QUIET {
        assert_eq!(seen(sandbox, "far")["link"], link);
    }
    assert_eq!(count(), before, "it is still tried: {}", sshd.log());
}

/// An sshd with options of its own, reached as `far`.
pub fn special(sandbox: &Sandbox, options: &[&str]) -> Sshd {
    let client = sandbox.ssh();
    let mut sshd = Sshd::options(&sandbox.path().join("far")).authorize(&client);
    for option in options {
        sshd = sshd.option(option);
    }
    let sshd = sshd.start();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    sshd
}

#[test]
fn a_link_that_flaps_is_tried_once_each_time() {
    let sandbox = Sandbox::new();
    let (_sshd, mut proxy) = behind_proxy(&sandbox);
    add(&sandbox);
    let job = sandbox
        .outlast(&["run", "-d", "--host", "far", "--", "sleep", "1000"])
        .success()
        .word();
    sandbox.wait_job(&job, |state| state == "running");
    let before = proxy.accepted();
    let began = Instant::now();
    let mut ups = 0;
    for _ in 0..5 {
        proxy.refuse();
        proxy.cut();
        wait_link(&sandbox, &["down", "backoff"]);
        proxy.heal();
        wait_link(&sandbox, &["up"]);
        ups += 1;
    }
    let tries = proxy.accepted() - before;
    println!("{ups} times up in {:?} with {tries} connections", began.elapsed());
    // One for each time it came up, and at most one that was cut while it was being made.
    assert!(tries <= 2 * ups, "{tries} connections for {ups}");
    assert_eq!(
        sandbox.outlast(&["job", "show", &job, "--json"]).success().json()["state"],
        "running"
    );
    let log: String = fs::read_dir(sandbox.state_dir().join("logs"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let lines = log
        .lines()
        .filter(|line| line.contains("not connected") || line.contains("connected"))
        .count();
    println!("{lines} lines in the log");
    assert!(lines <= 40, "{log}");
}

/// As when the helper is ended over and over by something on the host.
#[test]
fn connections_that_never_last_are_not_made_in_a_storm() {
    let sandbox = Sandbox::new();
    let (_sshd, proxy) = behind_proxy(&sandbox);
    add(&sandbox);
    let job = sandbox
        .outlast(&["run", "-d", "--host", "far", "--", "sleep", "1000"])
        .success()
        .word();
    sandbox.wait_job(&job, |state| state == "running");
    let before = proxy.accepted();
    let began = Instant::now();
    let mut cuts = 0;
    while began.elapsed() < STORM {
        if seen(&sandbox, "far")["link"] == "up" {
            proxy.cut();
            cuts += 1;
        }
    }
    let made = proxy.accepted() - before;
    println!("{made} connections for {cuts} cuts in {STORM:?}");
    // Pauses of 0.2, 0.4, 0.8, 1.5 and 1.5 s, less a quarter.
    assert!(made <= 7, "{made} connections for {cuts} cuts");
    wait_link(&sandbox, &["up"]);
    sandbox.wait_job(&job, |state| state == "running");
}

#[test]
fn a_slow_line_is_slow_and_nothing_else() {
    for_both(slow_line);
}

/// 300 ms there and back at 20 kbit/s.
fn slow_line(transport: &str) {
    let sandbox = Sandbox::new();
    let (_sshd, proxy) = behind_proxy(&sandbox);
    add_by(&sandbox, transport);
    proxy.delay(Duration::from_millis(150));
    proxy.throttle(Some(2500));
    let before = proxy.accepted();
    let script = "for n in 1 2 3 4 5 6 7 8 9 10; do head -c 1999 /dev/zero | tr '\\0' x; echo; done";
    let began = Instant::now();
    let job = sandbox.spawn(&["run", "--host", "far", "--name", "slow", "--", "sh", "-c", script]);
    job.wait_bytes(1);
    let mut longest = Duration::ZERO;
    while job.is_running() {
        let asked = Instant::now();
        let shown = sandbox
            .outlast(&["job", "show", "slow", "--json"])
            .success()
            .json();
        longest = longest.max(asked.elapsed());
        assert_eq!(shown["link"], "up", "{shown}");
    }
    let ran = job.finish(DEADLINE).success();
    println!(
        "20 kB took {:?}; the longest answer meanwhile {longest:?}",
        began.elapsed()
    );
    assert_eq!(ran.stdout.len(), 20_000);
    assert_eq!(proxy.accepted(), before, "the line was taken for dead");
    let began = Instant::now();
    proxy.cut();
    wait_link(&sandbox, &["down", "backoff"]);
    wait_link(&sandbox, &["up"]);
    println!(
        "back after {:?} with {} connections",
        began.elapsed(),
        proxy.accepted() - before
    );
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}

#[test]
fn a_name_without_an_address_is_told_and_tried_again() {
    let sandbox = Sandbox::new();
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .start();
    client.know(&sshd.known_line());
    let began = Instant::now();
    let refused = sandbox
        .outlast(&["host", "add", "far", "no-such-host.invalid"])
        .code(6);
    println!("{:?}: {refused}", began.elapsed());
    assert!(refused.err().contains("no-such-host.invalid"), "{refused}");
    // Ports that nobody listens on, and addresses that nobody answers at, are no other story.
    client.add_config(&alias("nobody", "127.0.0.1".parse().unwrap(), 1));
    let refused = sandbox.outlast(&["host", "add", "far", "nobody"]).code(6);
    assert!(refused.err().to_lowercase().contains("refused"), "{refused}");

    drop(
        sandbox
            .outlast(&["host", "add", "far", "no-such-host.invalid", "--no-check"])
            .success(),
    );
    let host = wait_link(&sandbox, &["backoff"]);
    assert_eq!(host["reason"], "no_address", "{host}");
    assert!(host["next_try_at"].is_string(), "{host}");
    let queued = sandbox
        .outlast(&["run", "-d", "--host", "far", "--", "echo", "at last"])
        .success()
        .word();
    assert_eq!(
        sandbox
            .outlast(&["job", "show", &queued, "--json"])
            .success()
            .json()["state"],
        "queued"
    );
    client.add_config(&sshd.alias("no-such-host.invalid"));
    drop(sandbox.outlast(&["job", "wait", &queued]).success());
    assert_eq!(
        sandbox.outlast(&["job", "logs", &queued]).success().out(),
        "at last\n"
    );
}

#[test]
fn a_host_that_answers_nothing_is_given_up_in_time() {
    let sandbox = Sandbox::new();
    let (_sshd, mut proxy) = behind_proxy(&sandbox);
    proxy.stall();
    let began = Instant::now();
    let refused = sandbox.outlast(&["host", "add", "far", "far"]).code(6);
    println!("{:?}: {refused}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20));
    drop(
        sandbox
            .outlast(&["host", "add", "far", "far", "--no-check"])
            .success(),
    );
    let began = Instant::now();
    let late = sandbox.outlast(&["host", "exec", "far", "--", "true"]).code(125);
    println!("{:?}: {late}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(12), "promised are 10 s");
    proxy.heal();
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}

#[test]
fn one_session_a_connection_is_enough() {
    let sandbox = Sandbox::new();
    let _sshd = special(&sandbox, &["MaxSessions 1"]);
    add(&sandbox);
    let script = "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end";
    let ran = sandbox
        .outlast(&["run", "--host", "far", "--", "sh", "-c", script])
        .success();
    assert_eq!(ran.stdout.len(), 5_000_000 + "\nend\n".len());
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}

#[test]
fn a_forced_command_is_one_clear_error() {
    let sandbox = Sandbox::new();
    let _sshd = special(&sandbox, &["ForceCommand echo only backups here"]);
    let refused = sandbox.outlast(&["host", "add", "far", "far"]).code(6);
    let told = refused.err();
    assert!(
        told.contains("only backups here") && told.contains("forced command"),
        "{refused}"
    );
    assert_eq!(
        told.lines().filter(|line| line.starts_with("error:")).count(),
        1,
        "{refused}"
    );
}

#[test]
fn a_restricted_shell_is_one_clear_error() {
    let sandbox = Sandbox::new();
    let _sshd = special(&sandbox, &["ForceCommand bash -r -c \"$SSH_ORIGINAL_COMMAND\""]);
    let refused = sandbox.outlast(&["host", "add", "far", "far"]).code(6);
    assert!(refused.err().contains("restricted"), "{refused}");
}

#[test]
fn what_start_files_print_is_passed_over() {
    let sandbox = Sandbox::new();
    let sshd = special(
        &sandbox,
        &["ForceCommand exec bash -i -c \"$SSH_ORIGINAL_COMMAND\""],
    );
    let noise = "echo welcome; echo to stderr >&2; printf '%0100000d\\n' 7; printf '\\033[2J'";
    for file in [".bashrc", ".profile", ".bash_profile"] {
        fs::write(sshd.home().join(file), noise).unwrap();
    }
    add(&sandbox);
    let ran = sandbox
        .outlast(&["run", "--host", "far", "--", "echo", "hi"])
        .success();
    assert_eq!(ran.out(), "hi\n");
    let ran = sandbox
        .outlast(&["host", "exec", "far", "--", "echo", "hi"])
        .success();
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("hi\n", ""));
}

#[test]
fn shells_that_are_not_like_sh_serve_too() {
    for shell in ["fish", "tcsh"] {
        let sandbox = Sandbox::new();
        let force = format!("ForceCommand exec {shell} -c \"$SSH_ORIGINAL_COMMAND\"");
        let _sshd = special(&sandbox, &[&force]);
        add(&sandbox);
        let ran = sandbox
            .outlast(&["run", "--host", "far", "--", "printf", "<%s>", "a'b", "$x", "!"])
            .success();
        assert_eq!(ran.out(), "<a'b><$x><!>", "{shell}: {ran}");
    }
}

/// A host whose tmux is this script.
fn far_with_tmux(script: &str) -> (Sandbox, Sshd) {
    let sandbox = Sandbox::new();
    let bin = sandbox.path().join("far-bin");
    fs::create_dir(&bin).unwrap();
    write_program(&bin.join("tmux"), script);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .env("PATH", &path)
        .start();
    fs::write(sshd.home().join(".profile"), format!("PATH={path}\n")).unwrap();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    add(&sandbox);
    (sandbox, sshd)
}

#[test]
fn a_tmux_there_that_is_too_old_is_named_with_its_version() {
    let (sandbox, _sshd) = far_with_tmux("#!/bin/sh\necho tmux 3.0\n");
    let refused = sandbox.outlast(&["session", "create", "web", "--host", "far"]);
    assert_ne!(refused.exit(), 0, "{refused}");
    for part in ["tmux", "3.0", "3.2"] {
        assert!(refused.err().contains(part), "{part:?} is missing: {refused}");
    }
    drop(sandbox.outlast(&["run", "--host", "far", "--", "true"]).success());
}

#[test]
fn a_tmux_there_that_is_newer_than_any_we_know_serves() {
    let newer = "#!/bin/sh\n[ \"$1\" != -V ] || exec echo tmux 99.1\nexec /usr/bin/tmux \"$@\"\n";
    let (sandbox, _sshd) = far_with_tmux(newer);
    assert_eq!(seen(&sandbox, "far")["tmux_version"], "99.1");
    let create = ["session", "create", "web", "--host", "far", "--", "cat"];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("web", |state| state == "running");
}

#[test]
fn without_tmux_there_jobs_work_and_sessions_say_what_to_install() {
    let sandbox = Sandbox::new();
    let client = sandbox.ssh();
    let bin = sandbox.path().join("far-bin");
    fs::create_dir(&bin).unwrap();
    for name in [
        "sh", "uname", "mkdir", "chmod", "head", "mv", "rm", "sleep", "cat", "echo", "true", "dd",
    ] {
        std::os::unix::fs::symlink(format!("/bin/{name}"), bin.join(name)).unwrap();
    }
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .env("PATH", bin.to_str().unwrap())
        .start();
    fs::write(sshd.home().join(".profile"), format!("PATH={}\n", bin.display())).unwrap();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    add(&sandbox);
    let ran = sandbox
        .outlast(&["run", "--host", "far", "--", "echo", "hi"])
        .success();
    assert_eq!(ran.out(), "hi\n");
    let refused = sandbox.outlast(&["session", "create", "web", "--host", "far"]);
    assert_ne!(refused.exit(), 0, "{refused}");
    assert!(
        refused.err().contains("tmux") && refused.err().contains("install"),
        "{refused}"
    );
    let checked = sandbox.outlast(&["host", "check", "far"]);
    println!("{checked}");
    // With it in its place everything works, with no step in between.
    std::os::unix::fs::symlink("/usr/bin/tmux", bin.join("tmux")).unwrap();
    wait_until(DEADLINE, "a session", || {
        let created = sandbox.outlast(&["session", "create", "web2", "--host", "far", "--", "cat"]);
        (created.exit() == 0).then_some(())
    });
    sandbox.wait_session("web2", |state| state == "running");
}

/// How soon a host has to be there, whatever others do: less than a login shell that hangs is waited for.
const UNDISTURBED: Duration = Duration::from_secs(8);

#[test]
fn hosts_with_a_login_shell_that_hangs_keep_nobody_waiting() {
    let sandbox = Sandbox::new();
    let client = sandbox.ssh();
    let hanging = Sshd::options(&sandbox.path().join("hanging"))
        .authorize(&client)
        .option("ForceCommand exec sleep 1000")
        .start();
    client.know(&hanging.known_line());
    client.add_config(&hanging.alias("h*"));
    let sshd = sandbox.sshd("far");
    drop(sandbox.outlast(&["daemon", "start"]).success());
    for number in 0..10 {
        let name = format!("h{number}");
        drop(
            sandbox
                .outlast(&["host", "add", &name, &name, "--no-check"])
                .success(),
        );
    }
    let let_in = || hanging.log().matches("Accepted publickey").count();
    wait_until(DEADLINE, "hosts that hang", || (let_in() >= 8).then_some(()));
    let began = Instant::now();
    drop(
        sandbox
            .outlast(&["host", "add", "far", "far", "--no-check"])
            .success(),
    );
    wait_link(&sandbox, &["up"]);
    println!("connected after {:?} beside hosts that hang", began.elapsed());
    assert!(began.elapsed() < UNDISTURBED, "{}", sshd.log());
}

#[test]
fn a_check_that_fails_says_so_while_an_older_connection_serves() {
    let sandbox = Sandbox::new();
    let (_sshd, mut proxy) = behind_proxy(&sandbox);
    add(&sandbox);
    proxy.refuse();
    let checks: Vec<_> = (0..2).map(|_| sandbox.spawn(&["host", "check", "far"])).collect();
    for check in checks {
        let failed = check.finish(DEADLINE).code(6);
        assert!(failed.err().to_lowercase().contains("refused"), "{failed}");
    }
    let json = sandbox
        .outlast(&["host", "check", "far", "--json"])
        .code(6)
        .json();
    assert_eq!(json["ok"], false, "{json}");
    assert_eq!(seen(&sandbox, "far")["link"], "up");
    assert!(seen(&sandbox, "far")["error"].is_null());
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
    proxy.heal();
    drop(sandbox.outlast(&["host", "check", "far"]).success());
}
