//! Which program has a session's terminal, read from `/proc`, and since when, as far as that was seen.

use std::time::{Duration, Instant};

use super::names::{self, Name};
use crate::{proc, spool::now_ms};

/// Clock ticks round down by as much, milliseconds.
pub(super) const TICK_MS: i64 = 10;
/// A process that has no arguments for so long never gets any.
const BECOMING: Duration = Duration::from_millis(500);

/// Who has a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holds {
    /// Its name, and whether it is a shell.
    pub(super) name: Name,
    /// It is the session's own program.
    pub(super) own: bool,
    /// Since when, milliseconds since 1970.
    pub(super) since_ms: i64,
    /// Its process group.
    pub(super) group: u32,
    /// The process that the group is known by.
    pub(super) pid: u32,
    start_time: u64,
    comm: String,
    arguments: Vec<String>,
}

impl Holds {
    /// The process that it is known by and nobody else will be.
    pub(super) const fn process(&self) -> (u32, u64) {
        (self.pid, self.start_time)
    }
}

/// Remembers who has one terminal.
#[derive(Debug, Default)]
pub(super) struct Foreground {
    holds: Option<Holds>,
    /// A process that has it and is about to become another program, and when that was seen first.
    coming: Option<((u32, u64), Instant)>,
    /// When that was looked at last, milliseconds since 1970.
    looked_ms: Option<i64>,
}

impl Foreground {
    /// Who had it at the last look.
    pub(super) fn holds(&self) -> Option<&Holds> {
        self.holds.as_ref()
    }

    /// Whether it is to be looked at again soon, because a program is just beginning, of which nothing tells.
    pub(super) fn is_coming(&self) -> bool {
        self.coming.is_some()
    }

    /// Looks who has the terminal that this pane is in and this program was started in.
    pub(super) fn look(&mut self, pane: u32, program: u32) {
        let now = now_ms();
        self.holds = self.find(pane, program, now);
        if self.coming.is_none() {
            self.looked_ms = Some(now);
        }
    }

    fn find(&mut self, pane: u32, program: u32, now: i64) -> Option<Holds> {
        let (pane, pane_comm) = proc::named(pane)?;
        let group = pane.foreground?;
        let (before, came) = (self.holds.take(), self.coming.take());
        let (stat, comm) = if group == pane.group {
            proc::named(program)?
        } else {
            let known = before.as_ref().filter(|before| before.group == group);
            proc::leader(group, known.map(|known| known.pid))?
        };
        let had_ms = before.as_ref().map_or(0, |before| before.since_ms);
        let same = before.filter(|before| {
            (before.group, before.pid, before.start_time) == (group, stat.pid, stat.start_time)
        });
        // Both: what becomes another program may keep its name, as a script does that starts the program it is named after.
        let arguments = proc::arguments(stat.pid);
        if let Some(before) = &same
            && (&before.comm, &before.arguments) == (&comm, &arguments)
        {
            return same;
        }
        // The pane's own process until it becomes the program. And in between a process has a name and no arguments, but there
        // are some that never have.
        let is_pane = stat.pid == program && comm == pane_comm && arguments == proc::arguments(pane.pid);
        let process = (stat.pid, stat.start_time);
        let since = came.filter(|came| came.0 == process).map(|came| came.1);
        let since = since.unwrap_or_else(Instant::now);
        if is_pane || (arguments.is_empty() && since.elapsed() < BECOMING) {
            self.coming = Some((process, since));
            return None;
        }
        let name = names::name(&comm, &arguments);
        let own = group == pane.group || proc::stat(program).is_some_and(|program| program.group == group);
        let started = proc::started_ms(stat.start_time);
        // Whoever was started since the last look has had it from the start; whoever was there before got it back.
        let since_ms = match self.looked_ms {
            // It only calls itself something else.
            _ if let Some(before) = same.filter(|before| !before.name.shell && !name.shell) => {
                before.since_ms
            }
            Some(looked) if started + TICK_MS < looked => now,
            // But whoever was seen to have it before had it then.
            _ => started.max(had_ms).min(now),
        };
        Some(Holds {
            name,
            own,
            since_ms,
            group,
            pid: stat.pid,
            start_time: stat.start_time,
            comm,
            arguments,
        })
    }
}
