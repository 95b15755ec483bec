//! Ending what a killed supervisor or pane left behind, and nothing else.
//!
//! A process is known by more than its number: it must belong to the process session (and for a job, the process group)
//! of the report and be no older than the program. It is held by a pidfd while it is looked at, so that the signal
//! reaches the one that was looked at.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Dir, Lock, Report};
use crate::proc::{self, Stat};

/// Time between TERM and KILL, and again between KILL and giving up.
const GRACE: Duration = Duration::from_secs(2);

/// How long a process may take from letting its files go to being dead.
const DYING: Duration = Duration::from_secs(1);

/// How often new processes of a family are looked for after KILL: one that forks faster than this is left to its user.
const ROUNDS: u32 = 20;

/// Ends what is left of the processes of a lost run: TERM, and KILL after 2 s. Takes up to a few seconds, so call it
/// where blocking is fine. True: nothing is left.
///
/// # Errors
/// When `/proc` or the directory cannot be read, or the run is not lost: who reported it still runs it.
pub fn reap_lost(dir: &Dir, report: &Report) -> io::Result<bool> {
    if Lock::is_held(dir)? && dir.read_report()?.as_ref() == Some(report) {
        return Err(io::Error::other(format!(
            "{}: somebody still runs this",
            dir.path().display()
        )));
    }
    let Some(family) = Family::of(report)? else {
        return Ok(true);
    };
    family.signal(Signal::TERM)?;
    if family.wait(Instant::now() + GRACE, None)? != Waited::Gone {
        family.kill()?;
    }
    Ok(family.members()?.is_empty())
}

/// Waits a moment for a pane that was killed: its lock is free a little before the kernel calls it dead, and meanwhile it
/// looks like a stranger who got its number.
fn await_death(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // None is one that is gone.
    let Some(held) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return;
    };
    let until = Instant::now() + DYING;
    let mut dead = false;
    while !dead {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let mut fds = [PollFd::from_borrowed_fd(held.as_fd(), PollFlags::IN)];
        let polled = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
        dead = polled.is_ok_and(|count| count > 0);
    }
}

/// The processes of one run.
#[derive(Debug)]
pub(crate) struct Family {
    session: u32,
    /// Only this process group of the session.
    group: Option<u32>,
    /// In clock ticks since boot.
    not_before: u64,
    /// The process that must not be touched: the one that asks.
    but: u32,
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// All processes are gone.
    Gone,
    /// They are not, but the time is over.
    TimeOver,
    /// Something else is there to be read.
    Woken,
}

impl Family {
    /// The family of a lost run. None: it is of another boot, was never started, or its numbers have others by now.
    pub(crate) fn of(report: &Report) -> io::Result<Option<Self>> {
        let (Some(pid), Some(start), Some(session)) = (report.pid, report.pid_start_time, report.session_id)
        else {
            return Ok(None);
        };
        if proc::boot_id()? != report.boot_id {
            return Ok(None);
        }
        if session == report.supervisor_pid {
            await_death(session);
        }
        // As long as one process is in a session, its number is given to no other process. So if a live process has
        // this number it is the leader, or the session is gone and it is a stranger.
        let stranger = proc::stat(session)
            .is_some_and(|leader| !leader.zombie && (session != pid || leader.start_time != start));
        Ok((!stranger).then(|| Self {
            session,
            group: (session == pid).then_some(pid),
            not_before: start,
            but: std::process::id(),
        }))
    }

    /// All processes of a session but ourselves. As long as its leader is not collected, the number is its own.
    pub(crate) fn of_session(session: u32) -> Self {
        Self {
            session,
            group: None,
            not_before: 0,
            but: std::process::id(),
        }
    }

    fn has(&self, stat: &Stat) -> bool {
        stat.session == self.session
            && self.group.is_none_or(|group| stat.group == group)
            && stat.start_time >= self.not_before
            && stat.pid != self.but
            && !stat.zombie
    }

    /// Those that are alive now.
    pub(crate) fn members(&self) -> io::Result<Vec<OwnedFd>> {
        let mut members = Vec::new();
        for stat in proc::all()? {
            if self.has(&stat)
                && let Some(pid) = i32::try_from(stat.pid).ok().and_then(Pid::from_raw)
                && let Ok(held) = pidfd_open(pid, PidfdFlags::empty())
                && proc::stat(stat.pid).is_some_and(|again| self.has(&again))
            {
                members.push(held);
            }
        }
        Ok(members)
    }

    /// Sends a signal to all of them. Those that may not be signalled, or are gone, are passed over.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        for member in self.members()? {
            let _ = pidfd_send_signal(&member, signal);
        }
        Ok(())
    }

    /// Waits until all are gone, or the time is over, or `other` can be read.
    pub(crate) fn wait(&self, until: Instant, other: Option<BorrowedFd<'_>>) -> io::Result<Waited> {
        loop {
            let members = self.members()?;
            let Some(member) = members.first() else {
                return Ok(Waited::Gone);
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TimeOver);
            }
            let mut fds = vec![PollFd::from_borrowed_fd(member.as_fd(), PollFlags::IN)];
            fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
            let left = Timespec::try_from(left).ok();
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if fds.get(1).is_some_and(|other| !other.revents().is_empty()) {
                return Ok(Waited::Woken);
            }
        }
    }

    /// Kills all of them, and those that they make meanwhile.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let until = Instant::now() + GRACE;
        for _ in 0..ROUNDS {
            self.signal(Signal::KILL)?;
            let next = Instant::now() + GRACE / ROUNDS;
            if self.wait(next.min(until), None)? == Waited::Gone {
                break;
            }
        }
        Ok(())
    }
}
