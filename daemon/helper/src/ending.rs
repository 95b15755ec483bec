//! How a run comes to its end: the request for it with its two deadlines, and the status that has to be written
//! whatever the disk does.

use std::time::{Duration, Instant};

use crate::{
    program::Refusal,
    spool::{Dir, Report, SPOOL_VERSION, Status, now_ms},
    sys::{Changed, How},
};

/// First and longest time between two tries to write a status: a full disk is noticed soon when it is emptied, and a
/// disk that stays full costs nothing.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// A run that was told to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// What the status will give as the reason.
    pub(crate) reason: &'static str,
    /// When what is left is killed.
    pub(crate) kill_at: Instant,
    /// That was done.
    pub(crate) killed: bool,
}

impl Ending {
    /// Tells to end. The first reason stays, the earliest end counts. True: it is the first time.
    pub(crate) fn begin(ending: &mut Option<Self>, reason: &'static str, grace: Duration) -> bool {
        let kill_at = Instant::now() + grace;
        match ending {
            Some(ending) => {
                ending.kill_at = ending.kill_at.min(kill_at);
                false
            }
            None => {
                *ending = Some(Self {
                    reason,
                    kill_at,
                    killed: false,
                });
                true
            }
        }
    }

    /// When something has to be done.
    pub(crate) fn deadline(ending: Option<&Self>) -> Option<Instant> {
        ending
            .filter(|ending| !ending.killed)
            .map(|ending| ending.kill_at)
    }

    /// Whether it is time to kill; true once.
    pub(crate) fn is_due(ending: &mut Option<Self>) -> bool {
        match ending {
            Some(ending) if !ending.killed && Instant::now() >= ending.kill_at => {
                ending.killed = true;
                true
            }
            _ => false,
        }
    }
}

/// How a main process ended, for the status.
#[derive(Debug)]
pub(crate) enum End {
    /// It was never started.
    Refused(Refusal),
    /// It ran.
    Ran(Changed),
}

impl End {
    /// The exit code a shell would give it.
    pub(crate) fn shell_code(&self) -> i32 {
        match self {
            Self::Refused(refusal) => refusal.exit_code,
            Self::Ran(changed) => match changed.how {
                How::Exited(code) => code,
                How::Signalled(signal) | How::Stopped(signal) => 128 + signal,
            },
        }
    }

    /// As a status, except for what the log says.
    pub(crate) fn status(&self, report: &Report, ending: Option<&Ending>) -> Status {
        let mut status = Status {
            version: SPOOL_VERSION,
            run: report.run,
            ended_at_ms: now_ms(),
            ..Status::default()
        };
        match self {
            Self::Refused(refusal) => {
                status.exit_code = Some(refusal.exit_code);
                status.reason = Some(refusal.reason.clone());
            }
            Self::Ran(changed) => {
                match changed.how {
                    How::Exited(code) => status.exit_code = Some(code),
                    How::Signalled(signal) | How::Stopped(signal) => status.signal = Some(signal),
                }
                status.cpu_us = Some(changed.cpu_us);
                status.max_rss_bytes = Some(changed.max_rss_bytes);
                status.reason = ending.map(|ending| ending.reason.to_owned());
                if status.reason.as_deref() == Some("timeout") {
                    (status.exit_code, status.signal) = (Some(124), None);
                }
            }
        }
        status
    }
}

/// A status on its way to the disk.
#[derive(Debug)]
pub(crate) struct Owed {
    status: Status,
    again: Duration,
    /// When it is tried (again).
    pub(crate) at: Instant,
}

impl Owed {
    /// To be written now.
    pub(crate) fn new(status: Status) -> Self {
        Self {
            status,
            again: AGAIN_MIN,
            at: Instant::now(),
        }
    }

    /// Writes it if it is time. True: it stands there.
    pub(crate) fn pay(&mut self, dir: &Dir, log_bytes: u64, dropped_bytes: u64) -> bool {
        if Instant::now() < self.at {
            return false;
        }
        self.status.log_bytes = log_bytes;
        self.status.dropped_bytes = dropped_bytes;
        // A directory that was removed wants no status any more.
        if dir.write_status(&self.status).is_ok() || !dir.exists() {
            return true;
        }
        self.at = Instant::now() + self.again;
        self.again = (self.again * 2).min(AGAIN_MAX);
        false
    }
}
