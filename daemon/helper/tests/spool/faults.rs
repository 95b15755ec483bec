//! Disks that are full. A limit on the size of files fails writes just like one, and can be set for one process only.

use std::io::Write as _;

use outlast_helper::spool::{State, Stream};
use rustix::process::{Resource, Rlimit, prlimit};

use crate::bench::{Bench, HELPER, pid, runs, until};

fn limit(process: u32, bytes: Option<u64>) {
    prlimit(
        Some(pid(process)),
        Resource::Fsize,
        Rlimit {
            current: bytes,
            maximum: None,
        },
    )
    .unwrap();
}

#[test]
fn a_full_disk_loses_output_says_so_and_goes_on() {
    let line = "(read x < gate2; echo after) & echo before; read x < gate; head -c 20000 /dev/zero; exit 5";
    let bench = Bench::shell(line);
    bench.gate("gate");
    bench.gate("gate2");
    let bench = bench.start();
    bench.logged(7);
    let supervisor = bench.running().supervisor_pid;
    limit(supervisor, Some(4096));
    bench.open_gate("gate");
    let status = bench.ended();
    assert_eq!(
        (status.exit_code, status.log_bytes, status.dropped_bytes),
        (Some(5), 4096, 20_007 - 4096)
    );
    limit(supervisor, None);
    bench.open_gate("gate2");
    bench.gone();
    let log = bench.log();
    let marker = "\n[outlast: 15911 bytes of output were lost here: file too large]\n";
    assert_eq!(
        log[1..],
        [
            (Stream::Marker, marker.to_owned()),
            (Stream::Stdout, "after\n".to_owned())
        ]
    );
    assert_eq!(log[0].1.len(), 4096);
}

#[test]
fn a_status_that_finds_no_room_is_written_later() {
    let bench = Bench::shell("read x < gate; exit 6");
    bench.gate("gate");
    let bench = bench.start();
    let report = bench.running();
    limit(report.supervisor_pid, Some(0));
    bench.open_gate("gate");
    until("the end of the program", || {
        (!runs(report.pid.unwrap())).then_some(())
    });
    assert!(
        matches!(bench.state(), State::Running(_)),
        "not known, but not lost"
    );
    limit(report.supervisor_pid, None);
    assert_eq!(bench.ended().exit_code, Some(6));
    bench.gone();
}

#[test]
fn a_disk_that_is_full_at_the_start_starts_nothing() {
    let bench = Bench::shell("echo ran > ran");
    let _ = bench.supervise();
    let line = format!(
        "ulimit -f 0; exec {HELPER} supervise {}",
        bench.dir.path().display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &line])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("report"));
    assert_eq!(bench.state(), State::Fresh);
    let bench = bench.start();
    assert_eq!(bench.ended().exit_code, Some(0));
}

#[test]
fn the_logger_of_a_pane_appends_and_reads_on_when_the_disk_is_full() {
    let bench = Bench::session(&[]);
    bench.dir.write_spec(&bench.spec).unwrap();
    let logger = || {
        let mut command = std::process::Command::new(HELPER);
        command
            .arg("log")
            .arg(bench.dir.path())
            .args(["--run", "1"])
            .stdin(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let mut first = logger();
    first.stdin.take().unwrap().write_all(b"one\n").unwrap();
    assert!(first.wait().unwrap().success());
    let mut second = logger();
    let mut input = second.stdin.take().unwrap();
    input.write_all(b"two\n").unwrap();
    bench.logged(8);
    limit(second.id(), Some(8));
    // More than the pipe holds: it can only be taken if it is read.
    input.write_all(&[0; 1 << 20]).unwrap();
    // The last of it may still be in the pipe.
    until("the pipe to be read", || {
        (rustix::io::ioctl_fionread(&input).unwrap() == 0).then_some(())
    });
    drop(input);
    assert!(second.wait().unwrap().success());
    assert_eq!(bench.log(), [(Stream::Stdout, "one\ntwo\n".to_owned())]);
}
