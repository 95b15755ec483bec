//! What the files of a directory say together.
//!
//! | status of the run | lock | report of the run | state |
//! |---|---|---|---|
//! | there | any | any | ended |
//! | none | held | with a process | running |
//! | none | held | without, or no report at all | starting |
//! | none | free | there | lost |
//! | none | gone | there | lost when who reported is gone as well, else as it reported |
//! | none | any other | none | fresh |
//!
//! The files are read one after the other while somebody may be changing them. A run is lost only by what held all at
//! once: its report was there before the lock was found free, and was still the same after no status was found. (A
//! status is written before the lock is given back, and is removed after the report of the next run was written.)

use std::io;

use super::{
    Dir, Report, SPOOL_VERSION, Status,
    lock::{Lock, Seen},
};
use crate::proc;

/// How often the files are read again because they changed meanwhile. A start changes the report twice.
const LOOKS: u32 = 8;

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
    judge(dir, run)
}

/// The files that are looked at.
trait Files {
    fn status(&self) -> io::Result<Option<Status>>;
    fn report(&self) -> io::Result<Option<Report>>;
    fn lock(&self) -> io::Result<Seen>;
}

impl Files for Dir {
    /// One that cannot be understood is none.
    fn status(&self) -> io::Result<Option<Status>> {
        match self.read_status() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            other => other,
        }
    }

    /// One that cannot be understood (the power failed before it was on disk) stands for a run before a reboot.
    fn report(&self) -> io::Result<Option<Report>> {
        match self.read_report() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Report {
                version: SPOOL_VERSION,
                run: 1,
                ..Report::default()
            })),
            other => other,
        }
    }

    fn lock(&self) -> io::Result<Seen> {
        Lock::look(self)
    }
}

fn judge(files: &impl Files, run: Option<u32>) -> io::Result<State> {
    for _ in 0..LOOKS {
        if let Some(ended) = ended(files, run)? {
            return Ok(ended);
        }
        let reported = files.report()?;
        let lock = files.lock()?;
        if lock == Seen::Held {
            return Ok(alive(files.report()?, run));
        }
        if let Some(ended) = ended(files, run)? {
            return Ok(ended);
        }
        if files.report()? == reported {
            return Ok(match reported {
                Some(report) if is_of(report.run, run) => match lost(&report, lock) {
                    Some(reason) => State::Lost {
                        report,
                        reason: reason.to_owned(),
                    },
                    None => alive(Some(report), run),
                },
                _ => State::Fresh,
            });
        }
    }
    // Whoever changes it all the time lives.
    Ok(State::Starting)
}

/// What is of a run whose supervisor or pane lives.
fn alive(report: Option<Report>, run: Option<u32>) -> State {
    match report {
        None => State::Starting,
        Some(report) if is_of(report.run, run) => match report.pid {
            Some(_) => State::Running(report),
            None => State::Starting,
        },
        Some(_) => State::Fresh,
    }
}

/// Why a run is lost whose lock nobody holds.
fn lost(report: &Report, lock: Seen) -> Option<&'static str> {
    if proc::boot_id().is_ok_and(|id| id != report.boot_id) {
        return Some(HOST_REBOOTED);
    }
    // A lock that was removed is held by whoever has it open, and cannot be asked. A program is no older than who ran it.
    let removed = lock == Seen::Missing;
    let lives = removed
        && proc::stat(report.supervisor_pid).is_some_and(|stat| {
            !stat.zombie && report.pid_start_time.is_none_or(|start| stat.start_time <= start)
        });
    (!lives).then_some(SUPERVISOR_KILLED)
}

/// Whether something of a run, or of a later one, answers the question for the run that is asked for.
fn is_of(run: u32, wanted: Option<u32>) -> bool {
    wanted.is_none_or(|wanted| run >= wanted)
}

fn ended(files: &impl Files, run: Option<u32>) -> io::Result<Option<State>> {
    let Some(status) = files.status()? else {
        return Ok(None);
    };
    let report = files.report()?;
    // A report of a later run says that this status is about to be removed.
    let wanted = run.max(report.as_ref().map(|report| report.run));
    Ok((is_of(status.run, wanted)).then_some(State::Ended(report, status)))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// What may happen to the files.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Step {
        Lock,
        /// A report, with the process of the program or without.
        Report(bool),
        RemoveStatus,
        Status,
        /// The holder ends or is killed.
        Unlock,
        RemoveReport,
        RemoveLock,
    }

    /// Files to which the next steps happen between two looks, so many before each look as the schedule says.
    struct Scripted<'a> {
        steps: &'a [Step],
        done: Cell<usize>,
        looks: Cell<usize>,
        /// Steps that are done by each look; those after its end are as the last one.
        schedule: &'a [usize],
        run: u32,
        now: RefCell<(Option<Status>, Option<Report>, Seen)>,
    }

    impl Scripted<'_> {
        fn look(&self) {
            let look = self.looks.replace(self.looks.get() + 1);
            let until = self.schedule.get(look).or(self.schedule.last()).copied().unwrap();
            while self.done.get() < until {
                self.step(self.steps[self.done.replace(self.done.get() + 1)]);
            }
        }

        fn step(&self, step: Step) {
            let (status, report, lock) = &mut *self.now.borrow_mut();
            match step {
                Step::Lock => *lock = Seen::Held,
                Step::Report(started) => *report = Some(reported(self.run, started)),
                Step::RemoveStatus => *status = None,
                Step::Status => *status = Some(ended_as(self.run)),
                Step::Unlock => *lock = Seen::Free,
                Step::RemoveReport => *report = None,
                Step::RemoveLock => *lock = Seen::Missing,
            }
        }

        fn is_over(&self) -> bool {
            self.steps[..self.done.get()].contains(&Step::Unlock)
        }
    }

    impl Files for Scripted<'_> {
        fn status(&self) -> io::Result<Option<Status>> {
            self.look();
            Ok(self.now.borrow().0.clone())
        }

        fn report(&self) -> io::Result<Option<Report>> {
            self.look();
            Ok(self.now.borrow().1.clone())
        }

        fn lock(&self) -> io::Result<Seen> {
            self.look();
            Ok(self.now.borrow().2)
        }
    }

    /// A report of this very process.
    fn reported(run: u32, started: bool) -> Report {
        let me = std::process::id();
        Report {
            version: SPOOL_VERSION,
            run,
            supervisor_pid: me,
            boot_id: proc::boot_id().unwrap(),
            pid: started.then_some(me),
            pid_start_time: started.then(|| proc::stat(me).unwrap().start_time),
            ..Report::default()
        }
    }

    fn ended_as(run: u32) -> Status {
        Status {
            version: SPOOL_VERSION,
            run,
            exit_code: Some(0),
            ..Status::default()
        }
    }

    /// Judges while the steps happen, at whatever moments they do, and gives every judgement to `check`.
    fn at_every_moment(
        steps: &[Step],
        run: u32,
        asked: Option<u32>,
        check: impl Fn(&State, &Scripted<'_>, &[usize]),
    ) {
        // A judgement without a change takes six looks.
        let mut schedule = vec![0; 9];
        loop {
            let before = (run > 1).then(|| (ended_as(run - 1), reported(run - 1, true)));
            let (status, report) = before.unzip();
            let lock = if run > 1 { Seen::Free } else { Seen::Missing };
            let files = Scripted {
                steps,
                done: Cell::new(0),
                looks: Cell::new(0),
                schedule: &schedule,
                run,
                now: RefCell::new((status, report, lock)),
            };
            let state = judge(&files, asked).unwrap();
            check(&state, &files, &schedule);
            // The next schedule that never goes back.
            let Some(at) = schedule.iter().rposition(|done| *done < steps.len()) else {
                return;
            };
            let next = schedule[at] + 1;
            schedule[at..].fill(next);
        }
    }

    const START: [Step; 4] = [
        Step::Lock,
        Step::Report(false),
        Step::RemoveStatus,
        Step::Report(true),
    ];

    #[test]
    fn a_run_that_is_just_starting_is_never_lost() {
        for run in [1, 2] {
            for asked in [None, Some(run)] {
                at_every_moment(&START, run, asked, |state, _, schedule| {
                    assert!(
                        !matches!(state, State::Lost { .. }),
                        "run {run}, {schedule:?}: {state:?}"
                    );
                });
            }
        }
    }

    #[test]
    fn a_run_that_starts_and_ends_is_never_lost() {
        let steps = [&START[..], &[Step::Status, Step::Unlock]].concat();
        for run in [1, 2] {
            at_every_moment(&steps, run, Some(run), |state, _, schedule| {
                assert!(!matches!(state, State::Lost { .. }), "{schedule:?}: {state:?}");
            });
        }
    }

    #[test]
    fn a_run_that_is_killed_is_lost_and_no_moment_earlier() {
        let steps = [&START[..], &[Step::Unlock]].concat();
        at_every_moment(&steps, 1, None, |state, files, schedule| {
            let lost = matches!(state, State::Lost { .. });
            assert!(!lost || files.is_over(), "{schedule:?}: {state:?}");
            assert!(lost || schedule[0] < steps.len(), "{schedule:?}: {state:?}");
        });
    }

    #[test]
    fn a_run_whose_files_are_removed_by_hand_is_not_taken_for_killed() {
        for removed in [
            [Step::RemoveLock, Step::RemoveReport],
            [Step::RemoveReport, Step::RemoveLock],
        ] {
            let steps = [&START[..], &removed].concat();
            at_every_moment(&steps, 1, None, |state, _, schedule| {
                assert!(!matches!(state, State::Lost { .. }), "{schedule:?}: {state:?}");
            });
        }
    }

    #[test]
    fn without_its_lock_a_run_is_lost_when_who_ran_it_is_gone() {
        let gone = Report {
            // It would have to be older than its program.
            pid_start_time: Some(0),
            ..reported(1, true)
        };
        assert_eq!(lost(&gone, Seen::Missing), Some(SUPERVISOR_KILLED));
        assert_eq!(lost(&reported(1, true), Seen::Missing), None);
        assert_eq!(lost(&reported(1, true), Seen::Free), Some(SUPERVISOR_KILLED));
        let rebooted = Report {
            boot_id: "another".to_owned(),
            ..reported(1, true)
        };
        assert_eq!(lost(&rebooted, Seen::Missing), Some(HOST_REBOOTED));
    }
}
