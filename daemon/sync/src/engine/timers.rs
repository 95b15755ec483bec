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
/// Looks with all that comes of them may take one part of so many of the time, when changes never end: a file that is
/// always written to must not keep both machines busy with nothing else.
const SHARE: u32 = 4;
/// So much more they may take for a while, so that somebody who saves often does not wait.
const CREDIT: Duration = Duration::from_secs(1);
/// The longest rest that comes of it.
const REST: Duration = Duration::from_secs(3);
/// Deletions are waited for until none came for so long, but at most for [`HOLD_MOST`].
const HOLD: Duration = Duration::from_millis(100);
const HOLD_MOST: Duration = Duration::from_secs(2);

/// When what is due.
#[derive(Default)]
pub(super) struct Timers {
    pub(super) gather: Option<(Instant, Instant)>,
    /// Until when deletions are waited for.
    pub(super) hold: Option<Instant>,
    /// When the last look, with all that came of it, was over, and what all of them had taken then beyond their share.
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
                let at = (now + GATHER).max(self.rested(now));
                (at, at.max(now + GATHER_MOST))
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
        self.took(began, Instant::now());
    }

    fn took(&mut self, began: Instant, now: Instant) {
        let owed = self.owed(now) + (now - began);
        self.over = Some((now, owed.min(CREDIT + REST / SHARE)));
    }

    /// What looks have taken beyond their share until now.
    fn owed(&self, now: Instant) -> Duration {
        self.over.map_or(Duration::ZERO, |(at, owed)| {
            owed.saturating_sub(now.saturating_duration_since(at) / SHARE)
        })
    }

    /// When the next look may begin.
    fn rested(&self, now: Instant) -> Instant {
        now + self.owed(now).saturating_sub(CREDIT) * SHARE
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(5);

    /// Changes that come every so often, each looked at for as long; how long the looks rested, on average, in the last half.
    fn rests(every: Duration, look: Duration, changes: u32) -> Duration {
        let mut timers = Timers::default();
        let mut now = Instant::now();
        let mut rested = Duration::ZERO;
        for change in 0..changes {
            let came = now;
            let began = timers.rested(now);
            now = began + look;
            timers.took(began, now);
            now = now.max(came + every);
            if change >= changes / 2 {
                rested += began - came;
            }
        }
        rested / (changes - changes / 2)
    }

    #[test]
    fn who_saves_several_times_a_second_does_not_wait() {
        assert_eq!(rests(Duration::from_millis(100), LOOK, 1000), Duration::ZERO);
    }

    #[test]
    fn what_never_ends_gets_its_share() {
        let rest = rests(Duration::ZERO, LOOK, 4000);
        assert!((LOOK * (SHARE - 1)..=LOOK * SHARE).contains(&rest), "{rest:?}");
        assert_eq!(rests(Duration::ZERO, Duration::from_secs(60), 20), REST);
    }
}
