//! Much output from far away, while what is short has to stay quick.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Namespace, Sandbox, wait_until};

use crate::{
    PATIENCE,
    bed::{Entrance, add, behind, far_by_proxy},
};

/// How much the job prints.
const MUCH: usize = 50_000_000;

/// What nothing short may take on a busy machine; the figures are printed.
const SHORT: Duration = Duration::from_secs(3);

fn median(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort();
    (all[all.len() / 2], *all.last().unwrap())
}

fn measure(sandbox: &Sandbox, args: &[&str], while_true: impl Fn() -> bool) -> (Duration, Duration, usize) {
    let mut all = Vec::new();
    while all.is_empty() || (all.len() < 20 && while_true()) {
        let began = Instant::now();
        drop(sandbox.outlast(args).success());
        all.push(began.elapsed());
    }
    let count = all.len();
    let (middle, longest) = median(all);
    (middle, longest, count)
}

#[test]
fn much_output_from_far_away_delays_nothing_short() {
    let (sandbox, _sshd, proxy) = far_by_proxy();
    proxy.delay(Duration::from_millis(20));
    let exec = ["host", "exec", "far", "--", "true"];
    let idle = measure(&sandbox, &exec, || true);
    println!("on an idle link: {exec:?} {idle:?}");
    let script = format!("yes 0123456789abcdef | head -c {MUCH}");
    let began = Instant::now();
    let job = sandbox.spawn(&[
        "run", "--host", "far", "--name", "much", "--", "sh", "-c", &script,
    ]);
    job.wait_bytes(2_000_000);
    let busy = || job.is_running();
    let execs = measure(&sandbox, &exec, busy);
    let lists = measure(&sandbox, &["job", "list"], busy);
    println!("under load: {exec:?} {execs:?}; job list {lists:?}");
    let ran = job.finish(PATIENCE).success();
    let took = began.elapsed();
    println!(
        "{MUCH} bytes in {took:?}: {:.1} MB/s",
        MUCH as f64 / took.as_secs_f64() / 1e6
    );
    assert_eq!(ran.stdout.len(), MUCH);
    let line = b"0123456789abcdef\n";
    assert!(ran.stdout.chunks(line.len()).all(|chunk| line.starts_with(chunk)));
    assert!(execs.1 < SHORT && lists.1 < SHORT, "{execs:?} {lists:?}");
}

/// Enough for a second connection.
const ENOUGH: usize = 3_000_000;

/// As with login nodes that share a name.
#[test]
fn a_second_connection_that_leads_to_another_machine_is_not_used() {
    let sandbox = Sandbox::new();
    let entrance = Entrance::new(&sandbox);
    let sshd = behind(&entrance, &sandbox);
    add(&sandbox);
    let script = format!(
        "echo begun; while [ ! -e go-on ]; do sleep 0.05; done; yes 0123456789abcdef | head -c {ENOUGH}; \
         while [ ! -e end ]; do sleep 0.05; done; echo; echo end"
    );
    let job = sandbox.spawn(&[
        "run", "--host", "far", "--name", "much", "--", "sh", "-c", &script,
    ]);
    job.wait_line(|line| line == "begun");
    let other = "echo 0123456789abcdef0123456789abcdef >\"$1/machine-id\"
        mount --bind \"$1/machine-id\" /etc/machine-id";
    let namespace = Namespace::new(&sandbox, other);
    entrance.lead(&sandbox, &namespace);
    let made = || sshd.log().matches("Accepted publickey").count();
    let before = made();
    fs::write(sshd.home().join("go-on"), "").unwrap();
    wait_until(DEADLINE, "a second connection", || {
        (made() > before).then_some(())
    });
    job.wait_bytes(ENOUGH);
    fs::write(sshd.home().join("end"), "").unwrap();
    let ran = job.finish(PATIENCE).success();
    assert_eq!(ran.stdout.len(), "begun\n".len() + ENOUGH + "\nend\n".len());
    let shown = sandbox
        .outlast(&["job", "show", "much", "--json"])
        .success()
        .json();
    assert_eq!(shown["state"], "succeeded", "{shown}");
}

/// Just enough for a connection that carries faster, so that the machine is at rest when it is asked how near the host is.
const HUGE: usize = 68_000_000;

/// Has a job on a near host print what is huge, with this done by the user's `ssh` when it is to carry that. Gives back how
/// often it was to.
fn print_what_is_huge(then: &str) -> usize {
    let sandbox = Sandbox::new();
    let sshd = sandbox.sshd("near");
    sandbox.start_daemon();
    drop(sandbox.outlast(&["host", "add", "near", "near"]).success());
    let program = sandbox.ssh().program().to_owned();
    let (real, hauls) = (program.with_extension("real"), program.with_extension("hauls"));
    fs::rename(&program, &real).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *ControlPath=none*) echo >>'{}'; {then} ;; esac\nexec '{}' \"$@\"\n",
        hauls.display(),
        real.display(),
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::metadata(&real).unwrap().permissions()).unwrap();
    // What was measured while everything there was starting may be long.
    wait_until(PATIENCE, "a way that seems short", || {
        drop(sandbox.outlast(&["host", "check", "near"]).success());
        let shown = sandbox
            .outlast(&["host", "show", "near", "--json"])
            .success()
            .json();
        (shown["rtt_ms"].as_f64()? < 20.0).then_some(())
    });
    let print = format!(
        "yes 0123456789abcdef | head -c {HUGE}; while [ ! -e end ]; do sleep 0.05; done; echo; echo end"
    );
    let job = sandbox.spawn(&[
        "run", "--host", "near", "--name", "huge", "--", "sh", "-c", &print,
    ]);
    job.wait_bytes(HUGE);
    let tried = wait_until(DEADLINE, "another connection", || {
        fs::read(&hauls).ok().filter(|tried| !tried.is_empty())
    });
    fs::write(sshd.home().join("end"), "").unwrap();
    let ran = job.finish(PATIENCE).success();
    assert_eq!(ran.stdout.len(), HUGE + "\nend\n".len());
    let line = b"0123456789abcdef\n";
    assert!(
        ran.stdout[..HUGE]
            .chunks(line.len())
            .all(|chunk| line.starts_with(chunk))
    );
    // Once more, so that it is seen what is made of an attempt that failed.
    let again = format!("yes 0123456789abcdef | head -c {HUGE}");
    let ran = sandbox.outlast_within(PATIENCE, &["run", "--host", "near", "--", "sh", "-c", &again]);
    assert_eq!(ran.success().stdout.len(), HUGE);
    assert_eq!(fs::read(&hauls).unwrap().len(), tried.len());
    tried.len()
}

#[test]
fn what_is_huge_goes_by_the_users_ssh_where_the_host_is_near() {
    assert_eq!(print_what_is_huge(":"), 1);
}

/// As where its configuration wants what nobody is there to give.
#[test]
fn where_the_users_ssh_fails_what_is_huge_goes_on_and_that_is_not_tried_again() {
    assert_eq!(print_what_is_huge("exit 255"), 1);
}
