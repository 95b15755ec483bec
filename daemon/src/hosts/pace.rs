//! When a lost host is tried again. Pure.
//!
//! Pauses are counted from the start of an attempt, so that one that took its time is followed by the next at once. They
//! double up to a ceiling: short while somebody waits or the loss is fresh, long afterwards.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause after a failure.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause while somebody follows or attaches something there, or the loss is fresh: promised is to be back
/// within 2 s of the network, and an attempt takes its time too.
const CEILING_WATCHED: Duration = Duration::from_millis(1500);

/// The longest pause otherwise: what a person accepts before a mended host is noticed.
const CEILING: Duration = Duration::from_secs(30);

/// How long a loss is fresh.
const FRESH: Duration = Duration::from_secs(300);

/// How long a connection has to last so that its loss is a new one. A link that flaps must not be tried ever faster.
const STABLE: Duration = Duration::from_secs(10);

/// Pauses between the attempts of one host.
#[derive(Debug, Clone)]
pub struct Pace {
    lost_at: Instant,
    next: Duration,
    up_at: Option<Instant>,
}

impl Pace {
    /// A host that is not connected since `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            lost_at: now,
            next: Duration::ZERO,
            up_at: None,
        }
    }

    /// It is connected.
    pub fn up(&mut self, now: Instant) {
        self.up_at = Some(now);
    }

    /// The connection is lost. When to begin the next attempt: at once, or, where it did not last, as after an attempt that
    /// failed.
    pub fn lost(&mut self, now: Instant, watched: bool, jitter: u8) -> Instant {
        let lasted = self.up_at.take().map(|since| now - since);
        if lasted.is_none_or(|lasted| lasted >= STABLE) {
            *self = Self::new(now);
            now
        } else {
            self.next(now, watched, jitter)
        }
    }

    /// A person wants it now: the pauses begin anew.
    pub fn hurry(&mut self) {
        self.next = Duration::ZERO;
    }

    /// When to begin the next attempt, after one that began at `began` has failed. `watched`: somebody waits for it.
    /// `jitter` from 0 to 255 takes off up to a quarter, so that many hosts do not try in step.
    pub fn next(&mut self, began: Instant, watched: bool, jitter: u8) -> Instant {
        let fresh = began.saturating_duration_since(self.lost_at) < FRESH;
        let ceiling = if watched || fresh {
            CEILING_WATCHED
        } else {
            CEILING
        };
        self.next = (self.next * 2).clamp(FIRST, ceiling);
        began + (self.next - self.next / 4 * u32::from(jitter) / 256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses of attempts that fail at once.
    fn pauses(pace: &mut Pace, from: Instant, count: usize, watched: bool) -> Vec<Duration> {
        let mut now = from;
        (0..count)
            .map(|_| {
                let next = pace.next(now, watched, 0);
                let pause = next - now;
                now = next;
                pause
            })
            .collect()
    }

    #[test]
    fn pauses_stay_short_while_fresh_or_watched_and_grow_afterwards() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let all = pauses(&mut pace, start, 1000, false);
        assert_eq!(all[0], FIRST);
        assert!(all.iter().all(|pause| *pause <= CEILING));
        assert_eq!(all[20], CEILING_WATCHED);
        assert_eq!(all[999], CEILING);
        let watched = pauses(&mut pace, start + FRESH * 2, 3, true);
        assert!(watched.iter().all(|pause| *pause <= CEILING_WATCHED));
    }

    #[test]
    fn a_link_that_flaps_is_tried_ever_slower_and_one_that_lasted_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut lost_after = |lasted| {
            pace.up(start);
            pace.lost(start + lasted, true, 0) - (start + lasted)
        };
        let brief = Duration::from_secs(1);
        assert_eq!([lost_after(brief), lost_after(brief)], [FIRST, FIRST * 2]);
        for _ in 0..10 {
            lost_after(brief);
        }
        assert_eq!(lost_after(brief), CEILING_WATCHED);
        assert_eq!(lost_after(STABLE), Duration::ZERO);
        assert_eq!(pauses(&mut pace, start + STABLE, 1, false)[0], FIRST);
    }

    #[test]
    fn an_attempt_that_took_long_is_followed_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let next = pace.next(start, true, 255);
        assert!(next < start + Duration::from_secs(2));
    }
}
