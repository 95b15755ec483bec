//! Waiting for facts, with a deadline.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// How long a fact may take that should be there at once. Long, because the machine may be busy; a test that meets it
/// has found something.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Looks again and again until `look` finds what it looks for, and gives that back.
///
/// # Panics
/// When the deadline passes first; `what` says in the message what was waited for.
pub fn wait_until<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < deadline,
            "{what}: still not so after {deadline:?}"
        );
        rest(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The one pause there is: between two looks at a fact that nobody announces (the state of a process or a screen).
/// It only saves processor time; no outcome depends on its length.
fn rest(pause: Duration) {
    let _ = poll(&mut [], Some(&timespec(pause)));
}

/// Watches one process until it is gone. Unlike a process id it can never come to mean another one.
#[derive(Debug)]
pub struct Gone {
    pidfd: OwnedFd,
    pid: u32,
}

impl Gone {
    /// Holds on to a process. None when there is no such process any more.
    #[must_use]
    pub fn watch(pid: u32) -> Option<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).ok()?;
        Some(Self { pidfd, pid })
    }

    /// Process id it had when it was found.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; a process that is gone already is fine.
    pub fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => panic!("sending {signal:?} to process {}: {error}", self.pid),
        }
    }

    /// True when it has ended within the time, zombies included.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> bool {
        let start = Instant::now();
        loop {
            let left = deadline.saturating_sub(start.elapsed());
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(error) => panic!("waiting for process {}: {error}", self.pid),
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).expect("test deadlines are short")
}

/// How many lines a file has; 0 when it is not there. Programs count their starts in one.
#[must_use]
pub fn lines_in(file: &Path) -> u64 {
    fs::read(file).map_or(0, |bytes| {
        bytes.iter().filter(|byte| **byte == b'\n').count() as u64
    })
}
