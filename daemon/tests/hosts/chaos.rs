//! Work that is started, writes and ends while the way to its host breaks again and again, and the daemon with it: all of
//! it happens exactly once, and every byte arrives exactly once.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use outlast_testkit::{DEADLINE, Random, Terminal, lines_in, wait_until};
use rustix::process::Signal;

use crate::{PATIENCE, bed::far_by_proxy};

/// How many jobs, and how many sessions.
const JOBS: u64 = 16;
const SESSIONS: u64 = 4;

/// What the large job prints.
const LINES: u64 = 1_500_000;

/// Lets up to 150 ms pass, so that faults come at any moment. No outcome depends on it.
#[allow(
    clippy::disallowed_methods,
    reason = "a fault comes when it comes; nothing is waited for"
)]
fn some_time(random: &mut Random) {
    thread::park_timeout(Duration::from_millis(random.between(0, 150)));
}

#[test]
fn whatever_breaks_everything_happens_exactly_once() {
    let (sandbox, sshd, proxy) = far_by_proxy();
    let mut random = Random::from_env();
    let much = [
        "run",
        "--host",
        "far",
        "--name",
        "much",
        "--",
        "seq",
        &LINES.to_string(),
    ];
    let much = sandbox.spawn(&much);
    let over = AtomicBool::new(false);
    let mut breaker = random.fork();
    thread::scope(|scope| {
        let (sandbox, sshd, proxy, over) = (&sandbox, &sshd, &proxy, &over);
        scope.spawn(move || {
            let mut cuts = 0;
            while !over.load(Ordering::Relaxed) && cuts < 60 {
                some_time(&mut breaker);
                match breaker.between(0, 8) {
                    0 => drop(sandbox.kill_any_daemon()),
                    1 => drop(sshd.signal_connections(Signal::KILL)),
                    2 => sandbox
                        .processes()
                        .into_iter()
                        .filter(|pid| {
                            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                            line.split(|byte| *byte == 0).nth(1) == Some(b"serve")
                        })
                        .filter_map(outlast_testkit::Gone::watch)
                        .for_each(|helper| helper.signal(Signal::KILL)),
                    _ => proxy.cut(),
                }
                cuts += 1;
            }
            println!("{cuts} times something broke");
        });
        for number in 0..JOBS {
            let script = format!("echo ran >>job{number}; echo out {number}; sleep 0.2; exit {number}");
            let name = format!("j{number}");
            let run = [
                "run", "-d", "--host", "far", "--name", &name, "--", "sh", "-c", &script,
            ];
            // Somebody who hears no answer looks, and asks again.
            wait_until(PATIENCE, "an answer", || {
                let there = || sandbox.outlast(&["job", "show", &name]).exit() == 0;
                (there() || sandbox.outlast(&run).exit() == 0).then_some(())
            });
            if number < SESSIONS {
                let script = format!("echo ran >>session{number}; echo here; sleep 0.2; exit {number}");
                let name = format!("s{number}");
                let create = [
                    "session", "create", &name, "--host", "far", "--", "sh", "-c", &script,
                ];
                drop(sandbox.outlast(&create));
                wait_until(PATIENCE, "the session", || {
                    (sandbox.outlast(&["session", "show", &name]).exit() == 0).then_some(())
                });
            }
        }
        for number in 0..JOBS {
            let code = i32::try_from(number).unwrap();
            let waited = sandbox.outlast_within(PATIENCE, &["job", "wait", &format!("j{number}")]);
            assert_eq!(waited.exit(), code, "{waited}");
        }
        over.store(true, Ordering::Relaxed);
    });
    for number in 0..JOBS {
        assert_eq!(
            lines_in(&sshd.home().join(format!("job{number}"))),
            1,
            "job {number}"
        );
        let logs = sandbox.outlast(&["job", "logs", &format!("j{number}")]).success();
        assert_eq!(logs.out(), format!("out {number}\n"));
    }
    for number in 0..SESSIONS {
        let ended = sandbox.wait_session(&format!("s{number}"), |state| {
            state != "running" && state != "creating"
        });
        assert_eq!(
            (&ended["state"], &ended["exit_code"]),
            (&"exited".into(), &number.into()),
            "{ended}"
        );
        assert_eq!(
            lines_in(&sshd.home().join(format!("session{number}"))),
            1,
            "session {number}"
        );
    }
    let whole: String = (1..=LINES).map(|n| format!("{n}\n")).collect();
    let ran = much.finish(PATIENCE).success();
    assert!(
        ran.stdout == whole.as_bytes(),
        "{} of {} bytes",
        ran.stdout.len(),
        whole.len()
    );
    let logs = sandbox
        .outlast_within(DEADLINE, &["job", "logs", "much"])
        .success();
    assert!(
        logs.stdout == whole.as_bytes(),
        "{} of {} bytes",
        logs.stdout.len(),
        whole.len()
    );
}

#[test]
fn an_attached_terminal_outlives_cuts_at_any_moment() {
    let (sandbox, _sshd, proxy) = far_by_proxy();
    let mut random = Random::from_env();
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
            .success(),
    );
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    for number in 0..20 {
        let send = ["session", "send", "web", &format!("word{number}")];
        wait_until(DEADLINE, "the host", || {
            (sandbox.outlast(&send).exit() == 0).then_some(())
        });
        if number % 4 == 0 {
            terminal.wait_text(&format!("word{number}"));
        }
        some_time(&mut random);
        // Typed at the very moment: it is lost or not, and never takes the terminal with it.
        thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|_| terminal.press(&["x"])));
            scope.spawn(|| proxy.cut());
        });
    }
    let send = ["session", "send", "web", "the end"];
    wait_until(DEADLINE, "the host", || {
        (sandbox.outlast(&send).exit() == 0).then_some(())
    });
    terminal.wait_screen("the redrawn screen", |screen| {
        screen.contains("the end") && !screen.contains("outlast:")
    });
    terminal.press(&["C-b", "d"]);
    assert_eq!(terminal.wait_exit(), 0);
}
