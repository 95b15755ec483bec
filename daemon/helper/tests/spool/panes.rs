//! Programs of sessions under the pane, in a terminal of our own.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use outlast_helper::spool::{State, Status, reap_lost};
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::bench::{Bench, HELPER, pid, runs, until};

/// A terminal with a pane in it.
struct Terminal {
    master: File,
    pane: Child,
    shown: String,
}

impl Terminal {
    fn open(bench: &Bench, args: &[&str]) -> Self {
        bench.dir.write_spec(&bench.spec).unwrap();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        let slave = ptsname(&master, Vec::new()).unwrap();
        let slave = open(
            slave,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        // As tmux does: a process session of its own, with this as its terminal.
        let pane = Command::new("setsid")
            .args(["--ctty", HELPER, "pane"])
            .arg(bench.dir.path())
            .args(args)
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("TERM", "tmux-256color"),
                ("TMUX_PANE", "%7"),
            ])
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("setsid of util-linux is needed");
        Self {
            master: master.into(),
            pane,
            shown: String::new(),
        }
    }

    fn run(bench: &Bench) -> Self {
        Self::open(bench, &["--run", "1"])
    }

    fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the screen has shown this since the last time.
    fn shows(&mut self, text: &str) {
        until(text, || {
            self.read();
            let at = self.shown.find(text)?;
            self.shown.drain(..at + text.len());
            Some(())
        });
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(got @ 1..) = self.master.read(&mut buffer) {
            self.shown.push_str(&String::from_utf8_lossy(&buffer[..got]));
        }
    }

    /// Waits for the pane to end, and returns its exit code and what it recorded.
    fn ends(&mut self, bench: &Bench) -> (Option<i32>, Status) {
        let code = until("the end of the pane", || {
            self.read();
            self.pane.try_wait().unwrap()
        });
        (code.code(), bench.dir.read_status().unwrap().expect("a status"))
    }
}

#[test]
fn the_true_exit_code_is_recorded() {
    let bench = Bench::session(&["sh", "-c", "exit 3"]);
    let (code, status) = Terminal::run(&bench).ends(&bench);
    assert_eq!(
        (code, status.exit_code, status.signal, status.reason, status.run),
        (Some(3), Some(3), None, None, 1)
    );
    assert!(status.cpu_us.is_some());
    let bench = Bench::session(&["sh", "-c", "kill -9 $$"]);
    let (code, status) = Terminal::run(&bench).ends(&bench);
    assert_eq!(
        (code, status.exit_code, status.signal),
        (Some(137), None, Some(9))
    );
}

#[test]
fn without_a_command_it_is_a_login_shell_with_the_terminals_own_variables() {
    let bench = Bench::session(&[]);
    let mut terminal = Terminal::run(&bench);
    terminal.types("echo \"[$0 $TERM $TMUX_PANE $OUTLAST_SESSION $OUTLAST_SESSION_ID ${COLORTERM-none}]\"; test -d $OUTLAST_SESSION_DIR && exit 5\n");
    terminal.shows("[-sh tmux-256color %7 web one none]");
    assert_eq!(terminal.ends(&bench).1.exit_code, Some(5));
}

#[test]
fn what_cannot_be_run_is_shown_and_recorded() {
    let bench = Bench::session(&["no-such-program"]);
    let mut terminal = Terminal::run(&bench);
    terminal.shows("outlast: cannot run no-such-program");
    let (code, status) = terminal.ends(&bench);
    assert_eq!((code, status.exit_code), (Some(127), Some(127)));
}

#[test]
fn a_run_is_run_once_and_the_next_one_replaces_it() {
    let mut bench = Bench::session(&["sh", "-c", "echo ran >> ran; exit 1"]);
    bench.spec.restart_command = Some("echo again >> ran; exit 2".to_owned());
    for _ in 0..2 {
        Terminal::run(&bench).ends(&bench);
    }
    assert!(matches!(bench.dir.state(Some(2)).unwrap(), State::Fresh));
    let (_, status) = Terminal::open(&bench, &["--run", "2", "--restart-command"]).ends(&bench);
    assert_eq!((status.run, status.exit_code), (2, Some(2)));
    let (_, status) = Terminal::open(&bench, &["--run", "3"]).ends(&bench);
    assert_eq!((status.run, status.exit_code), (3, Some(1)));
    assert_eq!(
        std::fs::read_to_string(bench.path("ran")).unwrap(),
        "ran\nagain\nran\n"
    );
    assert!(matches!(bench.dir.state(Some(1)).unwrap(), State::Ended(_, status) if status.run == 3));
}

#[test]
fn keys_that_signal_reach_the_program_alone() {
    let bench = Bench::session(&["sh", "-c", "trap 'exit 9' INT; echo up; while read x; do :; done"]);
    let mut terminal = Terminal::run(&bench);
    terminal.shows("up");
    terminal.types("\x03");
    let (_, status) = terminal.ends(&bench);
    assert_eq!((status.exit_code, status.reason), (Some(9), None));
}

#[test]
fn ctrl_z_freezes_nothing() {
    let bench = Bench::session(&["sh", "-c", "stty -echo; echo up; read x; echo got $x; exit 4"]);
    let mut terminal = Terminal::run(&bench);
    terminal.shows("up");
    terminal.types("\x1a");
    terminal.types("word\n");
    terminal.shows("got word");
    assert_eq!(terminal.ends(&bench).1.exit_code, Some(4));
}

#[test]
fn a_program_that_stops_itself_goes_on() {
    let bench = Bench::session(&["sh", "-c", "kill -STOP $$; exit 4"]);
    assert_eq!(Terminal::run(&bench).ends(&bench).1.exit_code, Some(4));
}

#[test]
fn a_terminal_that_goes_away_takes_its_programs_along() {
    let line = "trap '' HUP; sleep 1000 & echo $! > child; wait; exit 8";
    let bench = Bench::session(&["sh", "-c", line]);
    let terminal = Terminal::run(&bench);
    let child = bench.number("child");
    let Terminal { master, mut pane, .. } = terminal;
    drop(master);
    let status = bench.ended();
    assert_eq!(
        (status.signal, status.reason.as_deref()),
        (Some(9), Some("hangup"))
    );
    pane.wait().unwrap();
    assert!(!runs(child));
}

#[test]
fn stop_ends_the_program() {
    let bench = Bench::session(&[
        "sh",
        "-c",
        "trap 'exit 6' TERM; trap '' HUP; echo up; while :; do read x < gate; done",
    ]);
    bench.gate("gate");
    let mut terminal = Terminal::run(&bench);
    terminal.shows("up");
    assert!(bench.dir.signal_end(Duration::from_secs(50)).unwrap());
    let (_, status) = terminal.ends(&bench);
    assert_eq!(
        (status.exit_code, status.reason.as_deref()),
        (Some(6), Some("stopped"))
    );
}

#[test]
fn stop_kills_all_of_the_terminal_that_does_not_listen() {
    // With job control every child has a group of its own.
    let line = "set -m; (trap '' HUP TERM; sleep 1000 & echo $! > child; wait) & trap '' HUP TERM; echo up; wait; wait";
    let bench = Bench::session(&["sh", "-c", line]);
    let mut terminal = Terminal::run(&bench);
    terminal.shows("up");
    let child = bench.number("child");
    bench.dir.signal_end(Duration::from_millis(300)).unwrap();
    let (_, status) = terminal.ends(&bench);
    assert_eq!(
        (status.signal, status.reason.as_deref()),
        (Some(9), Some("stopped"))
    );
    assert!(!runs(child));
}

#[test]
fn stop_kills_what_the_program_left_in_the_terminal() {
    let line = "set -m; (trap '' HUP TERM; sleep 1000 & echo $! > child; wait) & echo up; wait";
    let bench = Bench::session(&["sh", "-c", line]);
    let mut terminal = Terminal::run(&bench);
    terminal.shows("up");
    let child = bench.number("child");
    bench.dir.signal_end(Duration::from_secs(3600)).unwrap();
    assert_eq!(bench.ended().reason.as_deref(), Some("stopped"));
    assert!(runs(child), "it has its grace");
    bench.dir.signal_end(Duration::ZERO).unwrap();
    terminal.ends(&bench);
    assert!(!runs(child));
}

#[test]
fn a_killed_pane_is_lost_and_what_it_left_is_ended() {
    let line = "trap '' HUP TERM; sleep 1000 & echo $! > child; wait";
    let bench = Bench::session(&["sh", "-c", line]);
    let mut terminal = Terminal::run(&bench);
    let child = bench.number("child");
    let report = bench.running();
    kill_process(pid(report.supervisor_pid), Signal::KILL).unwrap();
    terminal.pane.wait().unwrap();
    assert!(matches!(bench.state(), State::Lost { reason, .. } if reason == "supervisor killed"));
    assert!(runs(child));
    assert!(reap_lost(&bench.dir, &report).unwrap());
    assert!(!runs(child) && !runs(report.pid.unwrap()));
}
