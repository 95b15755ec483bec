//! `outlast-helper pane DIR --run N`: runs the program of a session in a terminal that tmux made, and records how it
//! ended.
//!
//! It stays in the background of its own program: both are in one process group whose parent is outside of the
//! terminal's process session, so that the kernel stops nobody there for Ctrl-Z while no shell is left that could wake
//! them. The keys that signal reach the program only. When the terminal goes away, so does what runs in it. What programs
//! say of themselves meanwhile is kept ([`crate::reports`]).

use std::{
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use libc::c_int;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, getpid, getsid, kill_process, kill_process_group},
    termios::tcgetpgrp,
};

use crate::{
    claim::{Claim, NotStarted},
    ending::{End, Ending, Owed},
    program::{self, Environment, Refusal},
    reports::{HELPER_VARIABLE, REPORTS_VARIABLE, Reports},
    spool::{Dir, Family, Kind, Waited},
    sys::{self, Exec, How, Start},
};

/// Time between HUP and KILL when the terminal went away.
const HANGUP_GRACE: Duration = Duration::from_secs(2);

/// Keys and job control are the program's business.
const IGNORED: [c_int; 9] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGPIPE,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGXFSZ,
];

/// What we hear by [`sys::signal_fd`]. TERM comes when the machine is shut down and means the same as HUP.
const HEARD: [c_int; 3] = [libc::SIGCHLD, libc::SIGHUP, libc::SIGTERM];

/// Variables that describe the terminal and so come from tmux, not from the spec.
const FROM_TERMINAL: [&str; 4] = ["TERM", "TMUX", "TMUX_PANE", "COLORTERM"];

/// Runs one run of a session to its end and returns the exit code of the program, or 128 and the signal. With `restart`
/// the restart command is run, if the session has one. A run that was started before is left alone: 0. To be called
/// while this process has one thread and owns no files.
///
/// # Errors
/// When the run could not be started and nothing was recorded of it; it can be tried again.
pub fn pane(dir: &Path, run: u32, restart: bool) -> io::Result<u8> {
    sys::close_inherited();
    sys::ignore_signals(&IGNORED);
    let signals = sys::signal_fd(&HEARD)?;
    let dir = Dir::new(std::path::absolute(dir)?);
    let Some(mut claim) = Claim::take(dir, Kind::Session, run)? else {
        return Ok(0);
    };
    let how = Start {
        own_session: false,
        stdio: None,
        on_our_death: libc::SIGHUP,
    };
    // A program that cannot report is better than none.
    let reports = Reports::open(&claim.dir, run).ok();
    let started = prepare(&claim, reports.as_ref(), restart)
        .map_err(NotStarted::Refused)
        .and_then(|exec| {
            let started = claim.start(&exec, &how)?;
            Ok((started, exec))
        });
    let mut pane = Pane {
        claim,
        signals,
        reports,
        main: None,
        outcome: None,
        exec: None,
        ending: None,
    };
    let end = match started {
        Ok((started, exec)) => {
            // A process number is never 0 and fits.
            pane.main = Pid::from_raw(started.pid.cast_signed());
            (pane.outcome, pane.exec) = (Some(started.outcome), Some(exec));
            pane.run()?
        }
        Err(NotStarted::Refused(refusal)) => End::Refused(refusal),
        Err(NotStarted::Unreported(error)) => {
            pane.claim.give_back();
            return Err(error);
        }
    };
    if let End::Refused(refusal) = &end {
        // The terminal may be gone.
        let _ = writeln!(io::stderr(), "outlast: {}", refusal.reason);
    }
    // Before the end is known: then the next run may make its own.
    drop(pane.reports.take());
    pane.record(&end);
    pane.clear();
    Ok(u8::try_from(end.shell_code()).unwrap_or(u8::MAX))
}

struct Pane {
    claim: Claim,
    signals: OwnedFd,
    /// What is said in the terminal's programs of themselves.
    reports: Option<Reports>,
    main: Option<Pid>,
    /// What the process says that could not become the program.
    outcome: Option<OwnedFd>,
    exec: Option<Exec>,
    ending: Option<Ending>,
}

impl Pane {
    /// Waits for the end of the program.
    fn run(&mut self) -> io::Result<End> {
        loop {
            let due = self.reports.as_ref().and_then(Reports::due);
            let left = Ending::deadline(self.ending.as_ref())
                .into_iter()
                .chain(due)
                .min();
            let left = left.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = vec![
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.claim.control.as_fd(), PollFlags::IN),
            ];
            let others = [
                self.outcome.as_ref().map(OwnedFd::as_fd),
                self.reports.as_ref().map(Reports::as_fd),
            ];
            let places = others.map(|fd| {
                fds.push(PollFd::from_borrowed_fd(fd?, PollFlags::IN));
                Some(fds.len() - 1)
            });
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = |place: Option<usize>| {
                let fd = place.and_then(|place| fds.get(place));
                fd.is_some_and(|fd| !fd.revents().is_empty())
            };
            let [outcome, reported] = places.map(is_ready);
            drop(fds);
            if outcome && let Some(refusal) = self.hear_outcome() {
                return Ok(End::Refused(refusal));
            }
            self.hear_control();
            self.hear_reports(reported);
            if let Some(end) = self.hear_signals() {
                return Ok(end);
            }
            if Ending::is_due(&mut self.ending) {
                self.kill();
            }
        }
    }

    fn hear_outcome(&mut self) -> Option<Refusal> {
        let (step, error) = sys::read_failure(&self.outcome.take()?)?;
        Some(program::refusal(self.exec.as_ref()?, step, &error))
    }

    fn hear_control(&mut self) {
        if let Some(grace) = self.claim.control.receive()
            && Ending::begin(&mut self.ending, "stopped", grace)
        {
            self.signal_foreground(&[Signal::HUP, Signal::TERM, Signal::CONT]);
        }
    }

    fn hear_reports(&mut self, reported: bool) {
        match &mut self.reports {
            Some(reports) if reported => reports.hear(rustix::stdio::stdin()),
            Some(reports) => reports.write_due(),
            None => {}
        }
    }

    fn hear_signals(&mut self) -> Option<End> {
        let gone = sys::take_signals(&self.signals)
            .iter()
            .any(|signal| *signal != libc::SIGCHLD);
        if gone && Ending::begin(&mut self.ending, "hangup", HANGUP_GRACE) {
            match self.family() {
                Some(family) => {
                    let _ = family.signal(Signal::HUP);
                    let _ = family.signal(Signal::CONT);
                }
                None => self.signal_foreground(&[Signal::HUP, Signal::CONT]),
            }
        }
        while let Some(changed) = sys::next_changed_child() {
            let main = self
                .main
                .filter(|main| main.as_raw_nonzero().get() == changed.pid.cast_signed());
            match changed.how {
                // Nobody here could wake it again.
                How::Stopped(_) => {
                    let _ = main.map(|main| kill_process(main, Signal::CONT));
                }
                _ if main.is_some() => {
                    self.main = None;
                    return Some(self.hear_outcome().map_or(End::Ran(changed), End::Refused));
                }
                _ => {}
            }
        }
        None
    }

    /// Signals the program and what has the terminal now.
    fn signal_foreground(&self, signals: &[Signal]) {
        let ours = rustix::process::getpgrp();
        // Our own group would include ourselves; of it only the program is meant.
        let foreground = tcgetpgrp(rustix::stdio::stdin())
            .ok()
            .filter(|group| *group != ours);
        for &signal in signals {
            // Failing means that they are gone.
            let _ = self.main.map(|main| kill_process(main, signal));
            let _ = foreground.map(|group| kill_process_group(group, signal));
        }
    }

    /// Kills everything in this terminal.
    fn kill(&self) {
        // Failing means that they are gone, or `/proc` is, and then there is the program at least.
        let _ = self.family().map(|family| family.kill());
        let _ = self.main.map(|main| kill_process(main, Signal::KILL));
    }

    /// All other processes of the terminal. None: the terminal is not ours, somebody runs us by hand.
    fn family(&self) -> Option<Family> {
        let session = getsid(None).ok().filter(|session| *session == getpid())?;
        Some(Family::of_session(session.as_raw_nonzero().get().cast_unsigned()))
    }

    /// Writes the status, however long the disk refuses it.
    fn record(&self, end: &End) {
        let mut owed = Owed::new(end.status(&self.claim.report, self.ending.as_ref()));
        while !owed.pay(&self.claim.dir, self.claim.dir.log_len(), 0) {
            let left = owed.at.saturating_duration_since(Instant::now());
            let _ = poll(&mut [], Timespec::try_from(left).ok().as_ref());
        }
    }

    /// After an end that was asked for, waits for what else is in the terminal, and kills it when the grace is over.
    fn clear(&mut self) {
        let Some(family) = self.family() else { return };
        while let Some(kill_at) = Ending::deadline(self.ending.as_ref()) {
            match family.wait(kill_at, Some(self.claim.control.as_fd())) {
                Ok(Waited::Woken) => self.hear_control(),
                Ok(Waited::TimeOver) => {
                    let _ = family.kill();
                    return;
                }
                Ok(Waited::Gone) | Err(_) => return,
            }
        }
    }
}

fn prepare(claim: &Claim, reports: Option<&Reports>, restart: bool) -> Result<Exec, Refusal> {
    let spec = &claim.spec;
    let mut env = program::environment(spec);
    for name in FROM_TERMINAL {
        match std::env::var_os(name) {
            Some(value) => drop(env.insert(name.into(), value)),
            None => drop(env.remove(std::ffi::OsStr::new(name))),
        }
    }
    name_session(&mut env, claim);
    if let Some(reports) = reports {
        env.insert(REPORTS_VARIABLE.into(), reports.path().into());
        // Ours exists for as long as we do, whatever is installed meanwhile.
        if let Ok(helper) = std::env::current_exe() {
            env.insert(HELPER_VARIABLE.into(), helper.into());
        }
    }
    let cwd = program::directory(spec, &env);
    let program = match &spec.restart_command {
        Some(line) if restart => {
            program::command(&["/bin/sh".to_owned(), "-c".to_owned(), line.clone()], env, cwd)
        }
        _ if spec.command.is_empty() => program::own_login_shell(env, cwd),
        _ => program::command(&spec.command, env, cwd),
    };
    program.prepare()
}

fn name_session(env: &mut Environment, claim: &Claim) {
    env.insert("OUTLAST_SESSION_ID".into(), claim.spec.id.clone().into());
    env.insert("OUTLAST_SESSION_DIR".into(), claim.dir.path().into());
    if let Some(name) = &claim.spec.name {
        env.insert("OUTLAST_SESSION".into(), name.into());
    }
}
