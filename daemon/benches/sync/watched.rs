//! What a sync costs while nothing happens.

use std::{fs, time::Duration};

use rustix::event::{Timespec, poll};

use crate::{
    bed::Bed,
    mirror::Mirror,
    peers::Lsyncd,
    table::{Promise, Table},
    tree::Tree,
};

/// Memory and processor time of whoever watches 50,000 files.
pub(crate) fn watched(table: &mut Table) {
    const SECONDS: u64 = 10;
    let bed = Bed::new();
    let tree = Tree::new(bed.sandbox.path().join("many"), 500, 100, 256);
    let lsyncd = Lsyncd::start(&bed, &bed.near, &tree.root);
    let mirror = Mirror::new(&bed, &bed.near, &tree.root);
    mirror.flush();
    let mut ours = Vec::new();
    // After the first copy, and once it had only to see that all is there.
    for anew in [false, true] {
        if anew {
            drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
            mirror.flush();
        }
        let pid = bed.sandbox.daemon_pid().expect("the daemon runs");
        // Threads that the copy's end has woken go to rest within ten seconds.
        rest(Duration::from_secs(12));
        let before = processor(pid);
        let theirs_before = lsyncd.as_ref().map(|lsyncd| processor(lsyncd.pid()));
        rest(Duration::from_secs(SECONDS));
        let took = processor(pid) - before;
        let theirs = lsyncd.as_ref().zip(theirs_before);
        let theirs = theirs.map(|(lsyncd, before)| processor(lsyncd.pid()) - before);
        ours.push((took, theirs, memory(pid, "VmRSS:"), memory(pid, "VmHWM:")));
    }
    let theirs = lsyncd.map(|lsyncd| ("lsyncd", memory(lsyncd.pid(), "VmRSS:")));
    let after = ["after the first copy", "after a restart"];
    for ((took, idle, resident, most), after) in ours.into_iter().zip(after) {
        let what = |what: &str| format!("50,000 files watched, {after}: {what}");
        let idle = idle.map(|time| ("lsyncd", time));
        // A tick of the kernel's clock, which is as little as it counts.
        table.add(
            &what("processor in 10 s"),
            "ms",
            took,
            idle,
            &Promise::AtMost(10.0),
        );
        table.add(&what("memory"), "MB", resident, theirs, &Promise::AtMost(30.0));
        table.add(&what("most memory ever"), "MB", most, None, &Promise::Nothing);
    }
}

/// Time has to pass here: what is measured is what happens in it.
fn rest(time: Duration) {
    let time = Timespec::try_from(time).expect("a short time");
    let _ = poll(&mut [], Some(&time));
}

/// Milliseconds of processor time that a process has used, in steps of 10.
fn processor(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, numbers) = stat.rsplit_once(") ").expect("the kernel tells its name");
    let numbers: Vec<&str> = numbers.split(' ').collect();
    // utime and stime, fields 14 and 15, in hundredths of a second.
    let ticks: f64 = [11, 12]
        .iter()
        .filter_map(|at| numbers[*at].parse::<f64>().ok())
        .sum();
    ticks * 10.0
}

/// A size that the kernel tells of a process, MB.
fn memory(pid: u32, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(f64::NAN);
    kilobytes / 1024.0
}
