//! Much output from far away, while what is short has to stay quick.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Namespace, Sandbox};

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
    outlast_testkit::wait_until(DEADLINE, "a second connection", || {
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
