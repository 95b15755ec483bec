//! What the files of a directory say together.
//!
//! | status of the run | lock | report of the run | state |
//! |---|---|---|---|
//! | there | any | any | ended |
//! | none | held | with a process | running |
//! | none | held | without, or no report at all | starting |
//! | none | free | there | lost |
//! | none | any other | none | fresh |

use std::io;

use super::{Dir, Lock, Report, SPOOL_VERSION, Status};
use crate::proc;

/// Why a run is lost: its supervisor or pane was killed.
pub const SUPERVISOR_KILLED: &str = "supervisor killed";

/// Why a run is lost: the host was started anew.
pub const HOST_REBOOTED: &str = "host rebooted";

/// What a directory says of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was never started. Starting it is safe, also when somebody else does so at the same time.
    Fresh,
    /// A supervisor or pane is about to start it.
    Starting,
    /// It runs.
    Running(Report),
    /// It ended. Output of processes it left behind may still arrive.
    Ended(Option<Report>, Status),
    /// Nobody runs it any more and nobody said how it ended.
    Lost {
        /// Who ran it.
        report: Report,
        /// [`SUPERVISOR_KILLED`] or [`HOST_REBOOTED`].
        reason: String,
    },
}

pub(super) fn of(dir: &Dir, run: Option<u32>) -> io::Result<State> {
    if let Some(ended) = ended(dir, run)? {
        return Ok(ended);
    }
    if Lock::is_held(dir)? {
        return Ok(match report(dir)? {
            None => State::Starting,
            Some(report) if is_of(report.run, run) => match report.pid {
                Some(_) => State::Running(report),
                None => State::Starting,
            },
            Some(_) => State::Fresh,
        });
    }
    // A status is written before the lock is given back, so one that was missed above is there by now.
    if let Some(ended) = ended(dir, run)? {
        return Ok(ended);
    }
    Ok(match report(dir)? {
        Some(report) if is_of(report.run, run) => {
            let rebooted = proc::boot_id().is_ok_and(|id| id != report.boot_id);
            let reason = if rebooted {
                HOST_REBOOTED
            } else {
                SUPERVISOR_KILLED
            };
            State::Lost {
                report,
                reason: reason.to_owned(),
            }
        }
        _ => State::Fresh,
    })
}

/// Whether something of a run, or of a later one, answers the question for the run that is asked for.
fn is_of(run: u32, wanted: Option<u32>) -> bool {
    wanted.is_none_or(|wanted| run >= wanted)
}

fn ended(dir: &Dir, run: Option<u32>) -> io::Result<Option<State>> {
    let Some(status) = readable(dir.read_status())? else {
        return Ok(None);
    };
    let report = report(dir)?;
    // A report of a later run says that this status is about to be removed.
    let wanted = run.max(report.as_ref().map(|report| report.run));
    Ok((is_of(status.run, wanted)).then_some(State::Ended(report, status)))
}

/// The report; one that cannot be understood (the power failed before it was on disk) stands for a run before a reboot.
fn report(dir: &Dir) -> io::Result<Option<Report>> {
    match dir.read_report() {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Report {
            version: SPOOL_VERSION,
            run: 1,
            ..Report::default()
        })),
        other => other,
    }
}

/// A file that cannot be understood is none.
fn readable<T>(read: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        other => other,
    }
}
