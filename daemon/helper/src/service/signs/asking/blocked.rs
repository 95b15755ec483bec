//! Whether a group of processes is blocked reading a line from its terminal.

use super::super::foreground::Holds;
use crate::proc::{
    self, Stat,
    threads::{self, Does, Looking, Terminal},
};

/// Most processes of a group that are looked at. More of them do not wait for a line together.
const PROCESSES_MAX: usize = 32;

/// Most threads of a group that are looked at.
const THREADS_MAX: usize = 256;

/// How a group is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Nothing of it goes on before it has a line.
    Whole,
    /// Something of it reads a line, something else could go on.
    Beside,
    /// It sleeps at a terminal that does not show what is typed, and more may not be seen of it: as a rule it asks for a
    /// password.
    Unseen,
}

/// What a group does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Something of it runs.
    Runs,
    /// It sleeps, and reads no line.
    Sleeps,
    /// It is blocked reading one.
    Blocked(Blocked),
}

/// One read of one thread. It is another one once the thread has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) pid: u32,
    pub(super) start_time: u64,
    pub(super) thread: u32,
    /// How often it had gone to sleep; of all threads together where it is not known who reads.
    pub(super) switches: Option<u64>,
}

/// A group that is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) how: How,
    pub(super) read: Read,
    /// CPU time that all of it has used, in clock ticks.
    pub(super) cpu_ticks: u64,
}

/// A process and its threads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    threads: Vec<(u32, Does)>,
}

impl Process {
    fn all(&self, fits: impl Fn(Does) -> bool) -> bool {
        self.threads.iter().all(|(_, does)| fits(*does))
    }

    fn one(&self, wanted: Does) -> Option<u32> {
        let found = self.threads.iter().find(|(_, does)| *does == wanted);
        found.map(|(thread, _)| *thread)
    }
}

/// What the group does that has this terminal. `pane`: the process that has it as its standard input, and is none of them.
pub(super) fn look(holds: &Holds, pane: u32, terminal: &Terminal) -> Group {
    try_look(holds, pane, terminal).unwrap_or(Group::Sleeps)
}

/// None: it is gone, or too much of it.
fn try_look(holds: &Holds, pane: u32, terminal: &Terminal) -> Option<Group> {
    let leader = proc::stat(holds.pid).filter(|leader| leader.group == holds.group)?;
    let stats = proc::group(&leader, pane, PROCESSES_MAX)?;
    if stats.iter().any(|stat| stat.busy) {
        return Some(Group::Runs);
    }
    let mut processes = Vec::new();
    let mut count = 0;
    for stat in &stats {
        let threads = threads::of(stat);
        count += threads.len();
        if count > THREADS_MAX {
            return None;
        }
        let looking = Looking::new(stat.pid, terminal);
        let does = |thread| (thread, looking.does(thread));
        processes.push(Process {
            pid: stat.pid,
            parent: stat.parent,
            threads: threads.into_iter().map(does).collect(),
        });
    }
    if processes.iter().any(runs) {
        return Some(Group::Runs);
    }
    let (how, pid, thread) = judge(&processes, terminal.echo)?;
    let start_time = stats.iter().find(|stat| stat.pid == pid)?.start_time;
    let switches = match how {
        How::Whole | How::Beside => threads::switches(pid, thread),
        How::Unseen => Some(all_switches(&processes)?),
    };
    let cpu_ticks = |stat: &Stat| stat.cpu_ticks;
    Some(Group::Blocked(Blocked {
        how,
        read: Read {
            pid,
            start_time,
            thread,
            switches,
        },
        cpu_ticks: stats.iter().map(cpu_ticks).fold(0, u64::saturating_add),
    }))
}

fn runs(process: &Process) -> bool {
    process.one(Does::Runs).is_some()
}

fn all_switches(processes: &[Process]) -> Option<u64> {
    let threads = processes
        .iter()
        .flat_map(|process| process.threads.iter().map(|(thread, _)| (process.pid, *thread)));
    threads
        .map(|(pid, thread)| threads::switches(pid, thread))
        .try_fold(0, |sum: u64, count| sum.checked_add(count?))
}

/// Whether these are blocked, and in which thread of which process. Pure.
fn judge(processes: &[Process], echo: bool) -> Option<(How, u32, u32)> {
    if processes.iter().any(runs) {
        return None;
    }
    let reads = |process: &Process| Some((process.pid, process.one(Does::ReadsTerminal)?));
    if let Some((pid, thread)) = processes.iter().find_map(reads) {
        // Whoever started it waits for it, in whatever way.
        let above = above(processes);
        let goes_on = |process: &Process| {
            let is_blocked =
                |does| matches!(does, Does::ReadsTerminal | Does::ReadsPipe | Does::WaitsForChild);
            !process.all(is_blocked) && !above.contains(&process.pid)
        };
        let how = if processes.iter().any(goes_on) {
            How::Beside
        } else {
            How::Whole
        };
        return Some((how, pid, thread));
    }
    if echo {
        return None;
    }
    let hidden = |process: &Process| Some((How::Unseen, process.pid, process.one(Does::Hidden)?));
    processes.iter().find_map(hidden)
}

/// Processes that do not read the terminal, and from which such descend that do.
fn above(processes: &[Process]) -> Vec<u32> {
    let is_reader = |process: &&Process| process.one(Does::ReadsTerminal).is_some();
    let mut above = Vec::new();
    for reader in processes.iter().filter(is_reader) {
        let mut parent = reader.parent;
        // No more steps than there are processes: read one after the other, they may seem to stand in a ring.
        for _ in processes {
            let Some(found) = processes.iter().find(|process| process.pid == parent) else {
                break;
            };
            if !is_reader(&found) {
                above.push(found.pid);
            }
            parent = found.parent;
        }
    }
    above
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn process(pid: u32, parent: u32, does: &[Does]) -> Process {
        Process {
            pid,
            parent,
            threads: (pid..).zip(does.iter().copied()).collect(),
        }
    }

    fn how(processes: &[Process], echo: bool) -> Option<How> {
        judge(processes, echo).map(|(how, ..)| how)
    }

    #[test]
    fn what_reads_a_line_is_blocked_unless_something_runs() {
        let reads = process(10, 1, &[Does::ReadsTerminal]);
        assert_eq!(
            judge(std::slice::from_ref(&reads), true),
            Some((How::Whole, 10, 10))
        );
        let script = process(9, 1, &[Does::WaitsForChild]);
        let filter = process(11, 9, &[Does::ReadsPipe]);
        let reads = process(10, 9, &[Does::ReadsTerminal]);
        let mut all = vec![script, filter, reads];
        assert_eq!(how(&all, true), Some(How::Whole));
        all.push(process(12, 9, &[Does::Sleeps]));
        assert_eq!(how(&all, true), Some(How::Beside));
        all.push(process(13, 9, &[Does::Runs]));
        assert_eq!(how(&all, true), None);
        assert_eq!(how(&[process(10, 1, &[Does::Sleeps])], true), None);
        assert_eq!(how(&[process(10, 1, &[Does::ReadsPipe])], true), None);
        assert_eq!(how(&[], true), None);
    }

    #[test]
    fn other_threads_could_go_on_and_whoever_started_it_does_not() {
        let reads = [Does::Sleeps, Does::ReadsTerminal];
        assert_eq!(
            judge(&[process(10, 1, &reads)], true),
            Some((How::Beside, 10, 11))
        );
        let runner = process(9, 1, &[Does::Sleeps, Does::Sleeps]);
        let script = process(10, 9, &[Does::WaitsForChild]);
        let asks = process(20, 10, &[Does::ReadsTerminal]);
        assert_eq!(how(&[runner.clone(), script, asks], true), Some(How::Whole));
        // What it started as well goes on.
        let server = process(30, 9, &[Does::Sleeps]);
        let asks = process(20, 9, &[Does::ReadsTerminal]);
        assert_eq!(how(&[runner, server, asks], true), Some(How::Beside));
    }

    #[test]
    fn what_may_not_be_seen_asks_where_nothing_is_shown_that_is_typed() {
        let hidden = process(10, 9, &[Does::Hidden]);
        let script = process(9, 1, &[Does::WaitsForChild]);
        assert_eq!(
            judge(&[script.clone(), hidden.clone()], false),
            Some((How::Unseen, 10, 10))
        );
        assert_eq!(how(&[script.clone(), hidden], true), None);
        assert_eq!(how(&[script], false), None);
    }

    fn any_does() -> impl Strategy<Value = Does> {
        prop_oneof![
            Just(Does::Runs),
            Just(Does::ReadsTerminal),
            Just(Does::ReadsPipe),
            Just(Does::WaitsForChild),
            Just(Does::Sleeps),
            Just(Does::Hidden),
        ]
    }

    fn any_process() -> impl Strategy<Value = Process> {
        let threads = proptest::collection::vec(any_does(), 0..4);
        (0..6_u32, 0..6_u32, threads).prop_map(|(pid, parent, does)| process(pid, parent, &does))
    }

    proptest! {
        #[test]
        fn whatever_stands_there_ends_in_a_true_answer(
            processes in proptest::collection::vec(any_process(), 0..6),
            echo in any::<bool>(),
        ) {
            let all: Vec<Does> = processes.iter().flat_map(|process| process.threads.iter().map(|(_, does)| *does)).collect();
            match judge(&processes, echo) {
                Some((how, pid, thread)) => {
                    prop_assert!(!all.contains(&Does::Runs));
                    let wanted = if how == How::Unseen { Does::Hidden } else { Does::ReadsTerminal };
                    prop_assert!(processes.iter().any(|process| process.pid == pid && process.threads.contains(&(thread, wanted))));
                    prop_assert!(how != How::Unseen || !echo);
                }
                None => prop_assert!(all.contains(&Does::Runs) || !all.contains(&Does::ReadsTerminal)),
            }
        }
    }
}
