//! Jobs under the supervisor.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::Duration,
};

use outlast_helper::spool::{LogReader, State, Stream, reap_lost};
use rustix::process::{Signal, kill_process};

use crate::bench::{Bench, HELPER, after, pid, runs, until};

#[test]
fn streams_are_kept_apart_and_in_order() {
    let bench = Bench::job(&[]);
    let (first, second) = (after(bench.dir.path(), 4), after(bench.dir.path(), 8));
    let line = format!("echo out; {first}; echo err >&2; {second}; echo end; exit 7");
    let mut bench = bench;
    bench.spec.command = ["/bin/sh", "-c", &line].map(str::to_owned).to_vec();
    let bench = bench.start();
    let status = bench.ended();
    assert_eq!(
        (status.exit_code, status.signal, status.reason),
        (Some(7), None, None)
    );
    assert_eq!((status.log_bytes, status.dropped_bytes, status.run), (12, 0, 1));
    let of = |stream, text: &str| (stream, text.to_owned());
    assert_eq!(
        bench.log(),
        [
            of(Stream::Stdout, "out\n"),
            of(Stream::Stderr, "err\n"),
            of(Stream::Stdout, "end\n"),
        ]
    );
    bench.gone();
}

#[test]
fn every_byte_is_kept_as_it_was() {
    let bench = Bench::job(&["cat", "bytes"]);
    let bytes: Vec<u8> = (0..=255)
        .cycle()
        .take(70_000)
        .chain(*b"\xff\xfe no newline")
        .collect();
    fs::write(bench.path("bytes"), &bytes).unwrap();
    let bench = bench.start();
    assert_eq!(bench.ended().log_bytes, bytes.len() as u64);
    assert_eq!(fs::read(bench.dir.path().join("log")).unwrap(), bytes);
}

#[test]
fn a_line_of_100_mb_arrives_byte_for_byte() {
    let bench = Bench::job(&["cat", "line"]);
    // No period that any buffer could have.
    let part: Vec<u8> = (0..1_000_003_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let mut file = fs::File::create(bench.path("line")).unwrap();
    for _ in 0..100 {
        file.write_all(&part).unwrap();
    }
    let bench = bench.start();
    assert_eq!(bench.ended().log_bytes, 100 * part.len() as u64);
    let mut original = fs::File::open(bench.path("line")).unwrap();
    let mut reader = LogReader::open(&bench.dir, 0).unwrap();
    let mut expected = Vec::new();
    while let Some(chunk) = reader.next(1 << 20).unwrap() {
        expected.resize(chunk.data.len(), 0);
        original.read_exact(&mut expected).unwrap();
        assert!(chunk.data == expected, "differs from offset {} on", chunk.offset);
    }
    assert_eq!(reader.offset(), 100 * part.len() as u64);
}

#[test]
fn a_signal_is_no_exit_code() {
    let status = Bench::shell("kill -9 $$").start().ended();
    assert_eq!(
        (status.exit_code, status.signal, status.reason),
        (None, Some(9), None)
    );
}

#[test]
fn what_it_used_is_told() {
    let status = Bench::shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
        .start()
        .ended();
    let (cpu, rss) = (status.cpu_us.unwrap(), status.max_rss_bytes.unwrap());
    assert!((1_000..60_000_000).contains(&cpu), "{cpu} us");
    assert!((500_000..1_000_000_000).contains(&rss), "{rss} bytes");
}

#[test]
fn what_cannot_be_run_ends_like_in_a_shell() {
    let refused = |bench: Bench| {
        let status = bench.start().ended();
        (status.exit_code.unwrap(), status.reason.unwrap())
    };
    let none = refused(Bench::job(&["no-such-program"]));
    assert_eq!(
        none,
        (
            127,
            "cannot run no-such-program: there is no such program in PATH".to_owned()
        )
    );
    assert_eq!(refused(Bench::job(&["./none"])).0, 127);
    assert_eq!(refused(Bench::job(&[])).0, 127);
    assert_eq!(refused(Bench::job(&["/etc/passwd"])).0, 126);
    assert_eq!(refused(Bench::job(&["/usr"])).0, 126);
    assert_eq!(refused(Bench::job(&["true", "a\0b"])).0, 126);
    let mut bench = Bench::job(&["true"]);
    bench.spec.cwd = Some("/no/such/place".to_owned());
    let (code, reason) = refused(bench);
    assert_eq!(code, 126);
    assert!(reason.contains("/no/such/place"), "{reason}");
    // Found, but the kernel cannot run it: said by the process itself.
    let bench = Bench::job(&["./garbage"]);
    fs::write(bench.path("garbage"), b"#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(bench.path("garbage"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(refused(bench).0, 127);
}

#[test]
fn programs_are_found_in_the_path_of_the_spec_and_scripts_need_no_interpreter() {
    let mut bench = Bench::job(&["mine", "a b"]);
    fs::create_dir(bench.path("bin")).unwrap();
    fs::write(bench.path("bin/mine"), "echo \"mine $1\"\n").unwrap();
    fs::set_permissions(bench.path("bin/mine"), fs::Permissions::from_mode(0o755)).unwrap();
    bench
        .spec
        .env
        .insert("PATH".to_owned(), "/none:bin:/usr/bin".to_owned());
    let bench = bench.start();
    assert_eq!(bench.ended().exit_code, Some(0));
    assert_eq!(bench.log(), [(Stream::Stdout, "mine a b\n".to_owned())]);
}

#[test]
fn nothing_of_who_started_it_reaches_the_program() {
    // The masks are read by the shell itself: around the start of a program it blocks everything for a moment.
    let line = "umask; pwd; readlink /proc/$$/fd/0; ls /proc/$$/fd; \
                while read -r mask; do case $mask in SigBlk:*|SigIgn:*) echo \"$mask\";; esac; done </proc/$$/status; \
                cut -d' ' -f5,6 /proc/$$/stat; echo $$; env";
    let bench = Bench::shell(line);
    let _ = bench.supervise();
    let hostile = format!(
        "trap '' INT TERM HUP CHLD PIPE XFSZ; umask 077; exec 9>leak; FOREIGN=1 exec {HELPER} supervise {}",
        bench.dir.path().display()
    );
    let status = Command::new("sh")
        .args(["-c", &hostile])
        .current_dir(bench.path("."))
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(bench.ended().exit_code, Some(0));
    let log = bench.log();
    let text = &log[0].1;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0022");
    assert_eq!(lines[1], bench.path("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(lines[2], "/dev/null");
    assert_eq!(lines[3..6], ["0", "1", "2"]);
    assert_eq!(lines[6], "SigBlk:\t0000000000000000");
    assert_eq!(lines[7], "SigIgn:\t0000000000000000");
    let [session, own] = [lines[8], lines[9]];
    assert_eq!(session, format!("{own} {own}"), "its own group and session");
    assert!(
        text.contains("OUTLAST_JOB_ID=one\n") && !text.contains("FOREIGN"),
        "{text}"
    );
}

#[test]
fn without_an_environment_it_has_the_helpers() {
    let mut bench = Bench::job(&["env"]);
    bench.spec.env.clear();
    bench.spec.cwd = Some("/".to_owned());
    assert!(
        bench
            .supervise()
            .env("PATH", "/usr/bin:/bin")
            .env("MINE", "1")
            .status()
            .unwrap()
            .success()
    );
    bench.ended();
    assert!(bench.log()[0].1.contains("MINE=1\n"));
}

#[test]
fn a_timeout_ends_it() {
    let mut bench = Bench::shell("sleep 1000 & echo $! > child; wait");
    bench.spec.timeout_ms = Some(300);
    let bench = bench.start();
    let child = bench.number("child");
    let status = bench.ended();
    assert_eq!(
        (status.exit_code, status.signal, status.reason.as_deref()),
        (Some(124), None, Some("timeout"))
    );
    bench.gone();
    assert!(!runs(child));
}

#[test]
fn a_timeout_in_the_far_future_is_none() {
    let mut bench = Bench::job(&["true"]);
    bench.spec.timeout_ms = Some(u64::MAX);
    assert_eq!(bench.start().ended().exit_code, Some(0));
}

#[test]
fn cancel_ends_the_whole_group() {
    let bench = Bench::shell("sleep 1000 & echo $! > child; wait").start();
    let child = bench.number("child");
    assert!(bench.dir.signal_end(Duration::from_secs(50)).unwrap());
    let status = bench.ended();
    assert_eq!(
        (status.exit_code, status.signal, status.reason.as_deref()),
        (None, Some(15), Some("cancelled"))
    );
    bench.gone();
    assert!(!runs(child));
    assert!(
        !bench.dir.signal_end(Duration::ZERO).unwrap(),
        "nobody is there any more"
    );
}

#[test]
fn cancel_kills_who_does_not_listen() {
    let bench = Bench::shell("trap '' TERM; sleep 1000 & echo $! > child; echo up; wait").start();
    let child = bench.number("child");
    bench.logged(3);
    bench.dir.signal_end(Duration::from_millis(200)).unwrap();
    let status = bench.ended();
    assert_eq!(
        (status.signal, status.reason.as_deref()),
        (Some(9), Some("cancelled"))
    );
    bench.gone();
    assert!(!runs(child));
}

#[test]
fn cancel_kills_a_child_that_outlives_the_program_and_its_output() {
    let line = "(trap '' TERM; exec >/dev/null 2>&1; sleep 1000 & echo $! > child; wait) & wait";
    let bench = Bench::shell(line).start();
    let child = bench.number("child");
    bench.dir.signal_end(Duration::from_millis(500)).unwrap();
    assert_eq!(bench.ended().signal, Some(15));
    bench.gone();
    assert!(!runs(child));
}

#[test]
fn a_second_cancel_can_only_shorten() {
    let bench = Bench::shell("trap '' TERM; echo up; while :; do read x < gate; done");
    bench.gate("gate");
    let bench = bench.start();
    bench.logged(3);
    bench.dir.signal_end(Duration::from_secs(3600)).unwrap();
    bench.dir.signal_end(Duration::ZERO).unwrap();
    bench.dir.signal_end(Duration::from_secs(3600)).unwrap();
    assert_eq!(bench.ended().signal, Some(9));
}

#[test]
fn a_stopped_job_can_be_cancelled() {
    let bench = Bench::shell("kill -STOP $$").start();
    let report = bench.running();
    until("the stop", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", report.pid.unwrap())).ok()?;
        stat.contains(") T ").then_some(())
    });
    bench.dir.signal_end(Duration::from_secs(50)).unwrap();
    assert_eq!(bench.ended().signal, Some(15));
}

#[test]
fn however_often_it_is_started_it_runs_once() {
    let bench = Bench::shell("echo ran >> ran; read x < gate");
    bench.gate("gate");
    let racing: Vec<_> = (0..20).map(|_| bench.supervise().spawn().unwrap()).collect();
    for mut one in racing {
        // Readers look at the lock all the time, which must keep nobody out.
        while one.try_wait().unwrap().is_none() {
            bench.state();
        }
        assert!(one.wait().unwrap().success());
    }
    bench.open_gate("gate");
    bench.ended();
    bench.gone();
    assert!(
        bench.supervise().status().unwrap().success(),
        "starting it again when it ended is fine"
    );
    assert_eq!(fs::read_to_string(bench.path("ran")).unwrap(), "ran\n");
}

#[test]
fn late_output_of_what_it_left_behind_is_kept() {
    let bench = Bench::shell("(read x < gate; echo late; echo gone > done) & echo early");
    bench.gate("gate");
    let bench = bench.start();
    assert_eq!(bench.ended().log_bytes, 6);
    assert!(bench.is_held(), "the supervisor listens on");
    assert!(matches!(bench.state(), State::Ended(..)));
    bench.open_gate("gate");
    bench.gone();
    assert_eq!(bench.log(), [(Stream::Stdout, "early\nlate\n".to_owned())]);
}

#[test]
fn a_child_that_never_stops_writing_does_not_hold_up_the_end() {
    let bench = Bench::shell("yes & echo $! > child; echo up").start();
    let child = bench.number("child");
    assert_eq!(bench.ended().exit_code, Some(0));
    bench.dir.signal_end(Duration::from_secs(50)).unwrap();
    bench.gone();
    assert!(!runs(child));
}

#[test]
fn the_log_ends_at_its_limit_and_the_job_does_not() {
    let mut bench = Bench::shell("head -c 5000 /dev/zero; echo more >&2; exit 3");
    bench.spec.log_max_bytes = Some(1000);
    let bench = bench.start();
    let status = bench.ended();
    assert_eq!((status.exit_code, status.dropped_bytes), (Some(3), 4005));
    let log = bench.log();
    assert_eq!((log.len(), log[0].1.len()), (2, 1000));
    let marker = "\n[outlast: the log limit of 1000 bytes was reached; what follows was not kept]\n";
    assert_eq!(log[1], (Stream::Marker, marker.to_owned()));
}

#[test]
fn a_killed_supervisor_is_lost_and_takes_the_program_along() {
    let bench = Bench::shell("echo up; exec sleep 1000").start();
    bench.logged(3);
    let report = bench.running();
    kill_process(pid(report.supervisor_pid), Signal::KILL).unwrap();
    let reason = until("the loss", || match bench.state() {
        State::Lost { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason, "supervisor killed");
    until("the end of the program", || {
        (!runs(report.pid.unwrap())).then_some(())
    });
    assert!(bench.supervise().status().unwrap().success());
    assert!(
        matches!(bench.state(), State::Lost { .. }),
        "it is never started a second time"
    );
}

#[test]
fn what_a_killed_supervisor_left_behind_is_ended() {
    let bench =
        Bench::shell("trap '' TERM; sleep 1000 & echo $! > child; setsid sleep 1000 & echo $! > other; wait");
    let bench = bench.start();
    let (child, other) = (bench.number("child"), bench.number("other"));
    let report = bench.running();
    assert!(reap_lost(&bench.dir, &report).is_err(), "it is not lost");
    kill_process(pid(report.supervisor_pid), Signal::KILL).unwrap();
    bench.gone();
    let mut foreign = report.clone();
    foreign.pid_start_time = Some(u64::MAX);
    assert!(reap_lost(&bench.dir, &foreign).unwrap());
    let mut rebooted = report.clone();
    rebooted.boot_id = "other".to_owned();
    assert!(reap_lost(&bench.dir, &rebooted).unwrap());
    assert!(
        runs(child) && runs(report.pid.unwrap()),
        "who does not fit the report is left alone"
    );
    assert!(reap_lost(&bench.dir, &report).unwrap());
    assert!(!runs(child) && !runs(report.pid.unwrap()));
    assert!(runs(other), "what left the group is not ours");
    kill_process(pid(other), Signal::KILL).unwrap();
}

#[test]
fn another_boot_is_told_from_a_killed_supervisor() {
    let bench = Bench::job(&["true"]);
    let report = r#"{"version":1,"run":1,"supervisor_pid":1,"boot_id":"other","pid":1,"new_field":{}}"#;
    fs::write(bench.dir.path().join("report"), report).unwrap();
    assert!(matches!(bench.state(), State::Lost { reason, .. } if reason == "host rebooted"));
    // Not on disk yet when the power failed.
    fs::write(bench.dir.path().join("report"), "").unwrap();
    assert!(matches!(bench.state(), State::Lost { reason, .. } if reason == "host rebooted"));
}

#[test]
fn what_cannot_be_started_at_all_says_why_and_leaves_no_trace() {
    let bench = Bench::job(&["true"]);
    let output = Command::new(HELPER)
        .arg("supervise")
        .arg(bench.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("spec"),
        "no spec was written"
    );
    assert_eq!(bench.state(), State::Fresh);
}

#[test]
fn usage_is_one_line_and_2() {
    for args in [
        &[][..],
        &["what"],
        &["supervise"],
        &["pane", "d"],
        &["pane", "d", "--run", "0"],
        &["log", "a"],
        &["log", "a", "--run", "1", "--restart-command"],
    ] {
        let output = Command::new(HELPER).args(args).output().unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(2), 0),
            "{args:?}"
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    }
}
