//! What a job on a host prints: how soon, and how fast.

use std::{
    io::Read as _,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    bed::{Bed, Floor, first_byte},
    measure::{rounds, turns},
    table::{Promise, Table},
};

/// From the command to the first byte of the job's output.
pub(crate) fn first(table: &mut Table) {
    let bed = Bed::new();
    let mut floor = Floor::new();
    let run = |name| bed.ours(&["--quiet", "run", "--host", name, "--", "echo", "x"]);
    let [near, peer] = turns(
        rounds().div_ceil(2),
        [&mut || first_byte(run("near")), &mut || {
            first_byte(bed.theirs(&bed.near, &["echo", "x"]))
        }],
    );
    let what = "run --host H -- echo x, first byte";
    table.add(
        what,
        "ms",
        near,
        Some(("ssh ControlMaster", peer)),
        &Promise::Nothing,
    );
    let [far, trip] = turns(
        rounds().div_ceil(2),
        [&mut || first_byte(run("far")), &mut || floor.round_trip()],
    );
    let what = "run --host H -- echo x, first byte, 40 ms";
    table.add(what, "ms", far, Some(("round trip", trip)), &Promise::Ratio(1.3));
}

/// Much output of a job through to a pipe.
pub(crate) fn throughput(table: &mut Table) {
    const MEBIBYTES: u64 = 512;
    let bed = Bed::new();
    let bytes = (MEBIBYTES << 20).to_string();
    let through = |mut command: Command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().expect("the command can be started");
        let mut out = child.stdout.take().expect("stdout is piped");
        let (mut buffer, mut total) = (vec![0; 1 << 18], 0);
        while let Ok(count @ 1..) = out.read(&mut buffer) {
            total += count as u64;
        }
        assert!(child.wait().expect("a child can be waited for").success());
        assert_eq!(total, MEBIBYTES << 20);
        (MEBIBYTES << 20) as f64 / 1e6 / start.elapsed().as_secs_f64()
    };
    let print = ["head", "-c", &bytes, "/dev/zero"];
    let run = ["--quiet", "run", "--host", "near", "--"];
    let run = [run.as_slice(), print.as_slice()].concat();
    let [own, peer] = turns(
        5,
        [
            &mut || {
                let speed = through(bed.ours(&run));
                drop(bed.sandbox.outlast(&["job", "prune", "--yes"]));
                speed
            },
            &mut || through(bed.theirs(&bed.near, &print)),
        ],
    );
    let what = "run --host H -- head -c 512M /dev/zero";
    table.add(
        what,
        "MB/s",
        own,
        Some(("ssh ControlMaster", peer)),
        &Promise::AtLeast(200.0),
    );
}
