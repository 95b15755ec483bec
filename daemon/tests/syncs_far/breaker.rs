//! What goes wrong while files are changed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use outlast_testkit::Random;
use rustix::process::Signal;

use crate::bed::{Bed, NAME};

/// Lets up to so many milliseconds pass, so that faults come at any moment. No outcome depends on it.
#[allow(
    clippy::disallowed_methods,
    reason = "a fault comes when it comes; nothing is waited for"
)]
pub fn some_time(random: &mut Random, most_ms: u64) {
    thread::park_timeout(Duration::from_millis(random.between(0, most_ms)));
}

/// Breaks things again and again, at most so often, until it is over.
pub fn break_things(bed: &Bed, random: &mut Random, most: u64, over: &AtomicBool) {
    for _ in 0..most {
        some_time(random, 150);
        if over.load(Ordering::Relaxed) {
            return;
        }
        break_one(bed, random);
    }
}

/// One thing that goes wrong, or that somebody does.
fn break_one(bed: &Bed, random: &mut Random) {
    let what = match random.between(0, 12) {
        0..4 => {
            bed.proxy.cut();
            "cut"
        }
        4..6 => {
            let _killed = bed.sandbox.kill_any_daemon();
            "daemon killed"
        }
        6..8 => {
            bed.kill_helpers();
            "helper killed"
        }
        8 => {
            bed.sshd.signal_connections(Signal::KILL);
            "sshd killed"
        }
        9 => {
            drop(bed.sandbox.outlast(&["daemon", "restart"]));
            "daemon restarted"
        }
        10 => {
            drop(bed.sandbox.outlast(&["sync", "pause", NAME]));
            "paused"
        }
        _ => {
            drop(bed.sandbox.outlast(&["sync", "resume", NAME]));
            "resumed"
        }
    };
    println!("  {what}");
}
