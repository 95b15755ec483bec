//! Much output from far away, while what is short has to stay quick.

use std::time::{Duration, Instant};

use outlast_testkit::Sandbox;

use crate::{PATIENCE, bed::far_by_proxy};

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
