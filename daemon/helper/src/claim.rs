//! Becoming the one who runs a job or a run of a session, and starting its program.
//!
//! However many try at the same time and however often, one gets to run it: the lock lets one in, and a report says to
//! all later ones that it was started before.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::event::{Timespec, poll};

use crate::{
    proc,
    program::{Refusal, no_process},
    spool::{CONTROL, Control, Dir, Kind, Lock, Report, SPOOL_VERSION, Spec, now_ms},
    sys::{self, Exec, Start},
};

/// How long the lock is waited for. Readers have it for an instant; a pane of the run before may be about to end.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// Time between two tries for the lock.
const LOCK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// A directory that is ours to run.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The directory.
    pub(crate) dir: Dir,
    /// What to run.
    pub(crate) spec: Spec,
    /// The report as it was written last.
    pub(crate) report: Report,
    /// Where requests to end come in.
    pub(crate) control: Control,
    _lock: Lock,
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process.
    pub(crate) pid: u32,
    /// Ends when it really runs, or says why it does not; see [`sys::read_failure`].
    pub(crate) outcome: OwnedFd,
}

/// Why a program was not started.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// It cannot be; that is how the run ended.
    Refused(Refusal),
    /// The report could not be written, so nothing was started and it can be tried again.
    Unreported(io::Error),
}

impl Claim {
    /// Takes a directory for this run, writes the report and removes the status of an earlier run. None: somebody else
    /// runs it, or ran it.
    pub(crate) fn take(dir: Dir, kind: Kind, run: u32) -> io::Result<Option<Self>> {
        let Some(lock) = lock(&dir, run)? else {
            return Ok(None);
        };
        if was_started(&dir, run)? {
            return Ok(None);
        }
        let spec = dir.read_spec()?;
        if spec.kind != kind {
            let path = dir.path().display();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("reading {path}/spec: it is not for a {kind:?}"),
            ));
        }
        let control = Control::open(&dir, CONTROL)?;
        let report = Report {
            version: SPOOL_VERSION,
            run,
            supervisor_pid: std::process::id(),
            boot_id: proc::boot_id()?,
            ..Report::default()
        };
        dir.write_report(&report)?;
        dir.remove_status()?;
        Ok(Some(Self {
            dir,
            spec,
            report,
            control,
            _lock: lock,
        }))
    }

    /// Starts the program. Its process is in the report before it runs, so that nothing of it can be missed whenever
    /// we are killed.
    pub(crate) fn start(&mut self, exec: &Exec, how: &Start<'_>) -> Result<Started, NotStarted> {
        let failed = |error: io::Error| NotStarted::Refused(no_process(&error));
        let gated = sys::start_gated(exec, how).map_err(failed)?;
        self.report.pid = Some(gated.pid);
        self.report.pid_start_time = proc::stat(gated.pid).map(|stat| stat.start_time);
        self.report.session_id = if how.own_session {
            Some(gated.pid)
        } else {
            proc::stat(std::process::id()).map(|stat| stat.session)
        };
        self.report.started_at_ms = Some(now_ms());
        if let Err(error) = self.dir.write_report(&self.report) {
            // The gate closes with this, and the process ends.
            return Err(NotStarted::Unreported(error));
        }
        // It fails when the process was killed meanwhile, of which we hear like of any end.
        let _ = rustix::io::write(&gated.gate, b"g");
        Ok(Started {
            pid: gated.pid,
            outcome: gated.outcome,
        })
    }

    /// Gives the run back: as if it had never been tried.
    pub(crate) fn give_back(self) {
        // If even this fails the run is lost, which says that nothing runs and is true.
        let _ = std::fs::remove_file(self.dir.file("report"));
    }
}

fn lock(dir: &Dir, run: u32) -> io::Result<Option<Lock>> {
    let until = Instant::now() + LOCK_DEADLINE;
    loop {
        if let Some(lock) = Lock::try_take(dir)? {
            return Ok(Some(lock));
        }
        if was_started(dir, run)? {
            return Ok(None);
        }
        if Instant::now() >= until {
            let path = dir.path().display();
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("locking {path}: another process keeps the lock"),
            ));
        }
        // There is no event to wait for: who holds it writes a report at once, or only looks.
        let _ = poll(&mut [], Some(&LOCK_AGAIN));
    }
}

fn was_started(dir: &Dir, run: u32) -> io::Result<bool> {
    match dir.read_report() {
        Ok(report) => Ok(report.is_some_and(|report| report.run >= run)),
        // It was there before the power failed.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(run == 1),
        Err(error) => Err(error),
    }
}
