//! What people want of a host that is away: it is answered at once and done when the host is back, and what happened
//! there meanwhile is found.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Gone, Proxy, Sandbox, Sshd, Terminal, wait_until};
use rustix::process::Signal;

use crate::{
    bed::{far_by_proxy, names},
    watch::wait_link,
};

/// What answers of a host that is away may take on a busy machine; 50 ms are promised.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Prints its process id, and waits for a file of its name.
const LIVE: &str = "echo $$; while [ ! -e \"$1\" ]; do sleep 0.05; done; echo end; exit 6";

fn go_away(sandbox: &Sandbox, proxy: &mut Proxy) {
    proxy.refuse();
    proxy.cut();
    wait_link(sandbox, &["backoff"]);
}

/// A job that runs there, and its program.
fn live(sandbox: &Sandbox, name: &str) -> (String, Gone) {
    let run = [
        "run", "-d", "--host", "far", "--name", name, "--", "sh", "-c", LIVE, "sh", name,
    ];
    let job = sandbox.outlast(&run).success().word();
    let follower = sandbox.spawn(&["job", "logs", "-f", &job]);
    let pid = follower.wait_line(|line| !line.is_empty()).parse().unwrap();
    (job, Gone::watch(pid).expect("it runs"))
}

fn session(sandbox: &Sandbox, name: &str) {
    let create = [
        "session", "create", name, "--host", "far", "--", "sh", "-c", LIVE, "sh", name,
    ];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session(name, |state| state == "running");
}

/// Names of what the far end keeps of a kind.
fn kept(sshd: &Sshd, kind: &str) -> Vec<String> {
    let owner = fs::read_dir(sshd.state().join("outlast"))
        .unwrap()
        .flatten()
        .next()
        .unwrap();
    let machine = fs::read_dir(owner.path()).unwrap().flatten().next().unwrap();
    names(&machine.path().join(kind))
}

#[test]
fn what_is_wanted_while_a_host_is_away_is_done_when_it_is_back() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let outlast = |args: &[&str]| {
        let began = Instant::now();
        let ran = sandbox.outlast(args);
        println!("{:?} {args:?} {}", began.elapsed(), ran.exit());
        assert!(began.elapsed() < AT_ONCE, "{args:?} took {:?}", began.elapsed());
        ran
    };
    let (cancelled, cancelled_program) = live(&sandbox, "cancelled");
    let (pruned, _) = live(&sandbox, "pruned");
    fs::write(sshd.home().join("pruned"), "").unwrap();
    sandbox.wait_job(&pruned, |state| state == "failed");
    session(&sandbox, "stopped");
    session(&sandbox, "deleted");
    go_away(&sandbox, &mut proxy);

    let shown = outlast(&["job", "show", &cancelled, "--json"]).success().json();
    assert_eq!(
        (&shown["state"], &shown["link"]),
        (&"running".into(), &"backoff".into()),
        "{shown}"
    );
    let told = outlast(&["job", "list"]).success();
    assert!(told.err().contains("host far is away"), "{told}");
    let log = outlast(&["job", "logs", &cancelled]).success();
    assert_eq!(log.out(), format!("{}\n", cancelled_program.pid()));
    drop(outlast(&["job", "cancel", &cancelled]).success());
    drop(outlast(&["job", "prune", &pruned, "--yes"]).success());
    drop(outlast(&["session", "stop", "stopped"]));
    drop(outlast(&["session", "delete", "deleted", "--force", "--yes"]));
    let peeked = outlast(&["session", "peek", "stopped"]);
    assert_ne!(peeked.exit(), 0, "{peeked}");
    let sent = outlast(&["session", "send", "stopped", "x"]);
    assert_eq!(sent.exit(), 6, "{sent}");
    let queued = outlast(&["run", "-d", "--host", "far", "--", "echo", "at last"])
        .success()
        .word();
    let never = outlast(&["run", "-d", "--host", "far", "--", "touch", "never"])
        .success()
        .word();
    drop(outlast(&["job", "cancel", &never]).success());
    sandbox.wait_job(&never, |state| state == "cancelled");
    let late = outlast(&["session", "create", "late", "--host", "far", "--", "cat"]);
    assert_eq!(late.exit(), 0, "{late}");
    let followed = sandbox.spawn(&["run", "--host", "far", "--", "echo", "followed"]);
    followed.wait_error_line(|line| line.contains("host far is away"));
    assert!(!cancelled_program.within(Duration::ZERO));
    assert_eq!(
        sandbox
            .outlast(&["job", "show", &queued, "--json"])
            .success()
            .json()["state"],
        "queued"
    );

    proxy.heal();
    sandbox.wait_job(&cancelled, |state| state == "cancelled");
    assert!(cancelled_program.within(DEADLINE));
    sandbox.wait_session("stopped", |state| state == "stopped");
    sandbox.wait_session("late", |state| state == "running");
    drop(sandbox.outlast(&["job", "wait", &queued]).success());
    assert_eq!(followed.finish(DEADLINE).success().out(), "followed\n");
    wait_until(DEADLINE, "the removals there", || {
        let (jobs, sessions) = (kept(&sshd, "jobs"), kept(&sshd, "sessions"));
        (!jobs.contains(&pruned) && sessions.len() == 2).then_some(())
    });
    drop(sandbox.outlast(&["session", "show", "deleted"]).code(3));
    assert!(!sshd.home().join("never").exists());
}

#[test]
fn what_ends_while_its_host_is_away_has_its_true_end() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let (job, program) = live(&sandbox, "job");
    session(&sandbox, "web");
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_screen("the session", |screen| !screen.trim().is_empty());
    go_away(&sandbox, &mut proxy);
    for name in ["job", "web"] {
        fs::write(sshd.home().join(name), "").unwrap();
    }
    assert!(program.within(DEADLINE));
    let state = |noun: &str, name: &str| {
        sandbox.outlast(&[noun, "show", name, "--json"]).success().json()["state"].clone()
    };
    assert_eq!(
        (state("job", &job), state("session", "web")),
        ("running".into(), "running".into())
    );
    proxy.heal();
    assert_eq!(terminal.wait_exit(), 6);
    terminal.wait_text("session web exited");
    drop(sandbox.outlast(&["job", "wait", &job]).code(6));
    assert_eq!(
        sandbox.outlast(&["job", "logs", &job]).success().out(),
        format!("{}\nend\n", program.pid())
    );
    let ended = sandbox.wait_session("web", |state| state == "exited");
    assert_eq!(ended["exit_code"], 6, "{ended}");
    assert!(
        sandbox
            .outlast(&["session", "logs", "web"])
            .success()
            .out()
            .contains("end")
    );
}

#[test]
fn what_ends_while_no_daemon_runs_has_its_true_end() {
    let (sandbox, sshd, _proxy) = far_by_proxy();
    let (job, program) = live(&sandbox, "job");
    session(&sandbox, "web");
    sandbox.kill_daemon().unwrap();
    for name in ["job", "web"] {
        fs::write(sshd.home().join(name), "").unwrap();
    }
    assert!(program.within(DEADLINE));
    drop(sandbox.outlast(&["job", "wait", &job]).code(6));
    assert_eq!(
        sandbox.outlast(&["job", "logs", &job]).success().out(),
        format!("{}\nend\n", program.pid())
    );
    let ended = sandbox.wait_session("web", |state| state == "exited");
    assert_eq!(ended["exit_code"], 6, "{ended}");
}

#[test]
fn attaching_to_a_session_whose_host_is_away_waits_for_it() {
    let (sandbox, _sshd, mut proxy) = far_by_proxy();
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    go_away(&sandbox, &mut proxy);
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_text("outlast: host far is away");
    terminal.enter("lost");
    let other = Terminal::open(&sandbox, "u", "outlast", &["attach", "web"]);
    other.wait_text("outlast: host far is away");
    other.type_text("~.");
    assert_eq!(other.wait_exit(), 130);
    proxy.heal();
    terminal.wait_screen("the screen of the session", |screen| !screen.contains("outlast:"));
    terminal.enter("typed");
    let screen = terminal.wait_text("typed");
    assert!(!screen.contains("lost"), "{screen}");
    terminal.press(&["C-b", "d"]);
    assert_eq!(terminal.wait_exit(), 0);
}

#[test]
fn ctrl_c_leaves_a_job_whose_host_is_away_alone() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let script = "echo begun; while [ ! -e go-on ]; do sleep 0.05; done; echo end";
    let run = sandbox.spawn(&["run", "--host", "far", "--name", "long", "--", "sh", "-c", script]);
    run.wait_line(|line| line == "begun");
    go_away(&sandbox, &mut proxy);
    run.wait_error_line(|line| line.contains("host far is away"));
    run.signal(Signal::INT);
    let left = run.finish(DEADLINE).code(130);
    assert!(left.err().contains("still runs"), "{left}");
    proxy.heal();
    wait_link(&sandbox, &["up"]);
    fs::write(sshd.home().join("go-on"), "").unwrap();
    drop(sandbox.outlast(&["job", "wait", "long"]).success());
    assert_eq!(
        sandbox.outlast(&["job", "logs", "long"]).success().out(),
        "begun\nend\n"
    );
}
