//! Short commands, one at a time and many at once.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    bed::{Bed, Floor},
    measure::{rounds, time, turns},
    table::{Promise, Table},
};

/// What the peer is called.
const PEER: &str = "ssh ControlMaster";

/// A command on a host that is connected.
pub(crate) fn exec(table: &mut Table) {
    let bed = Bed::new();
    let mut floor = Floor::new();
    let mut ours = bed.ours(&["host", "exec", "near", "--", "true"]);
    let mut theirs = bed.theirs(&bed.near, &["true"]);
    let mut program = Command::new("true");
    let mut twice = || time(&mut program) + time(&mut program);
    let [own, peer, least] = turns(
        rounds(),
        [&mut || time(&mut ours), &mut || time(&mut theirs), &mut twice],
    );
    table.add(
        "host exec H -- true",
        "ms",
        own,
        Some((PEER, peer)),
        &Promise::Ratio(0.25),
    );
    // The control program here and the command there: what nobody who starts both can do without.
    let what = "two programs started, and nothing else";
    table.add(what, "ms", least, Some((PEER, peer)), &Promise::Nothing);

    let mut ours = bed.ours(&["host", "exec", "far", "--", "true"]);
    let mut theirs = bed.theirs(&bed.far, &["true"]);
    let [own, peer, trip] = turns(
        rounds(),
        [&mut || time(&mut ours), &mut || time(&mut theirs), &mut || {
            floor.round_trip()
        }],
    );
    let what = "host exec H -- true, 40 ms";
    table.add(what, "ms", own, Some(("round trip", trip)), &Promise::Ratio(1.15));
    table.add(what, "ms", own, Some((PEER, peer)), &Promise::Nothing);
}

/// Fifty commands at once.
pub(crate) fn crowd(table: &mut Table) {
    const MANY: usize = 50;
    let bed = Bed::new();
    for (machine, what) in [(&bed.near, "50 x sleep 0.2"), (&bed.far, "50 x sleep 0.2, 40 ms")] {
        let ours = || bed.ours(&["host", "exec", machine.name, "--", "sleep", "0.2"]);
        let theirs = || bed.theirs(machine, &["sleep", "0.2"]);
        let [own, peer] = turns(
            rounds().div_ceil(10),
            [&mut || together(MANY, ours), &mut || together(MANY, theirs)],
        );
        table.add(what, "ms", own, Some((PEER, peer)), &Promise::Ratio(0.7));
    }
}

/// Milliseconds from the start of the first of many commands to the end of the last.
fn together(many: usize, make: impl Fn() -> Command) -> f64 {
    let start = Instant::now();
    let start_one = |_| {
        let mut command = make();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("the command can be started")
    };
    let children: Vec<_> = (0..many).map(start_one).collect();
    for mut child in children {
        let status = child.wait().expect("a child can be waited for");
        assert!(status.success(), "{:?} failed: {status}", make());
    }
    start.elapsed().as_secs_f64() * 1e3
}
