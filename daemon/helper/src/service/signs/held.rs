//! A question that was reported and need not be on the screen yet: hooks are run before it is drawn. It is told when it was
//! seen, and else after a while. Knows no clock.

use std::time::Duration;

use tokio::time::Instant;

/// How long it is held back. Again after each output, but not for ever.
pub(super) const DRAWS: Duration = Duration::from_millis(500);
const DRAWS_MAX: Duration = Duration::from_secs(2);

/// How long it is on the screen until it can be answered: some take no keys before, lest one is meant for something else.
const TAKES_KEYS: Duration = Duration::from_millis(200);

/// A question that is held back.
pub(super) struct Held<T> {
    before: T,
    /// When it is told.
    until: Instant,
    /// When that is at the latest.
    limit: Instant,
    /// It was seen on the screen.
    seen: bool,
    /// What was told last did not tell of it.
    withheld: bool,
}

impl<T> Held<T> {
    /// One that is held back for so long, at first. `before`: what was told before.
    pub(super) fn new(before: T, now: Instant, left: Duration) -> Self {
        Self {
            before,
            until: now + left,
            limit: now + DRAWS_MAX,
            seen: false,
            withheld: false,
        }
    }

    /// What was told before.
    pub(super) const fn before(&self) -> &T {
        &self.before
    }

    /// Whether it was seen on the screen.
    pub(super) const fn is_seen(&self) -> bool {
        self.seen
    }

    /// Whether it is held back.
    pub(super) fn holds(&self, now: Instant) -> bool {
        now < self.until
    }

    /// There was output, which may be that it is about to be drawn.
    pub(super) fn hold_on(&mut self, now: Instant) {
        if !self.seen && self.holds(now) {
            self.until = (now + DRAWS).min(self.limit);
        }
    }

    /// It is on the screen.
    pub(super) fn see(&mut self, now: Instant) {
        if !self.seen {
            self.seen = true;
            self.until = self.until.min(now + TAKES_KEYS);
        }
    }

    /// Takes note whether what is told now does not tell of it.
    pub(super) const fn withheld(&mut self, withheld: bool) {
        self.withheld = withheld;
    }

    /// When it is to be told, which may be past. None: it was.
    pub(super) fn due(&self) -> Option<Instant> {
        self.withheld.then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_waited_for_and_not_for_ever() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut held = Held::new((), begun, DRAWS);
        assert!(held.holds(at(499)) && !held.holds(at(500)));
        held.hold_on(at(400));
        assert!(held.holds(at(899)) && !held.holds(at(900)));
        // That is too late.
        held.hold_on(at(900));
        assert!(!held.holds(at(900)));
        held.hold_on(at(899));
        held.hold_on(at(1_300));
        held.hold_on(at(1_700));
        assert!(held.holds(at(1_999)) && !held.holds(at(2_000)));
        held.see(at(1_750));
        held.hold_on(at(1_800));
        held.see(at(1_900));
        assert!(held.holds(at(1_949)) && !held.holds(at(1_950)));
    }

    #[test]
    fn what_was_withheld_is_due_also_when_its_time_has_passed_meanwhile() {
        let begun = Instant::now();
        let mut held = Held::new((), begun, DRAWS);
        assert_eq!(held.due(), None);
        held.withheld(held.holds(begun));
        let until = begun + DRAWS;
        assert_eq!(held.due(), Some(until));
        held.withheld(held.holds(until));
        assert_eq!(held.due(), None);
    }
}
