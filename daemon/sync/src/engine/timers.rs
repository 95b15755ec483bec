//! When an engine does what it does by itself: how long changes are gathered, and what is tried again. Knows the clock and
//! nothing of what is done.

use std::{collections::HashMap, time::Duration};

use outlast_tree::RelPath;
use tokio::time::Instant;

/// What changes within this time of the first change belongs together: an editor that saves by rename, a file that is
/// emptied and then written.
const GATHER: Duration = Duration::from_millis(1);
/// As long as more comes, it is waited for this long.
const GATHER_MOST: Duration = Duration::from_millis(20);
/// Changes that go on are gathered for longer each time, up to this.
const GATHER_WHILE_BUSY: Duration = Duration::from_millis(200);
/// Or for as long as the last look with all that came of it took, so that a large file which is always written to does not
/// keep the machine busy with nothing else; at most for this long.
const REST: Duration = Duration::from_secs(3);
/// Deletions are waited for until none came for so long, but at most for [`HOLD_MOST`].
const HOLD: Duration = Duration::from_millis(100);
const HOLD_MOST: Duration = Duration::from_secs(2);
/// What comes after such a pause is a first change again.
const CALM_AFTER: Duration = Duration::from_secs(1);

/// When what is due.
#[derive(Default)]
pub(super) struct Timers {
    pub(super) gather: Option<(Instant, Instant)>,
    /// Until when deletions are waited for.
    pub(super) hold: Option<Instant>,
    /// How long changes were gathered for last.
    pace: Duration,
    /// When the last look, with all that came of it, was over, and how long it took.
    over: Option<(Instant, Duration)>,
    pub(super) show: Option<Instant>,
    pub(super) quiet: Option<Instant>,
    pub(super) save: Option<Instant>,
    pub(super) saved: Option<Instant>,
    pub(super) poll: Option<Instant>,
    pub(super) again: Option<Instant>,
    pub(super) rules: Option<Instant>,
}

impl Timers {
    /// Something was heard, and there may be more of it.
    pub(super) fn gather(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.hold {
            self.gather = Some(((now + HOLD).min(last), last));
            return;
        }
        self.gather = Some(match self.gather {
            None => {
                self.pace = match self.over {
                    Some((at, took)) if now < at + CALM_AFTER.max(took) => {
                        (self.pace * 2).min(GATHER_WHILE_BUSY).max(took.min(REST))
                    }
                    _ => GATHER,
                };
                (now + self.pace, now + self.pace.max(GATHER_MOST))
            }
            Some((at, last)) => ((now + GATHER).clamp(at, last), last),
        });
    }

    /// There may be more deletions.
    pub(super) fn hold(&mut self) {
        self.hold = Some(Instant::now() + HOLD_MOST);
        self.gather();
    }

    /// A look that began then is over, with all that came of it.
    pub(super) fn over(&mut self, began: Instant) {
        let now = Instant::now();
        self.over = Some((now, now - began));
    }

    /// The next of those that are to come. What is due and cannot be done yet waits for something else, which wakes as well.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let gather = self.gather.map(|(at, _)| at);
        [
            gather, self.show, self.quiet, self.save, self.poll, self.again, self.rules,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
    }
}

/// What is tried again by itself.
#[derive(Default)]
pub(super) struct Again(HashMap<RelPath, Instant>);

impl Again {
    pub(super) fn add(&mut self, path: RelPath, after: Duration) {
        self.0.insert(path, Instant::now() + after);
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes those whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<RelPath> {
        let due = self.0.extract_if(|_, at| *at <= now);
        due.map(|(path, _)| path).collect()
    }
}
