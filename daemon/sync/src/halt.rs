//! Judges whether so much is to be deleted that somebody has to say so first. Pure: knows no clock and no files.
//!
//! What a `rm -rf` deletes is noticed in many small portions, none of which is large. So deletions are added up for as long
//! as they go on, and compared with how many files there were when they began.

use std::time::{Duration, Instant};

use crate::engine::Limits;

/// Deletions further apart than this have nothing to do with each other.
const QUIET: Duration = Duration::from_secs(10);

/// What is to be done about deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They may be done.
    Fine,
    /// They are not to be done before somebody confirms.
    TooMany {
        /// Files that would be gone, with those that went just before.
        files: u64,
        /// Files that were there when it began.
        of: u64,
    },
    /// The source has no file left. Nothing is to be deleted before somebody confirms.
    Emptied {
        /// Files that are there.
        of: u64,
    },
}

/// Deletions that belong together.
#[derive(Debug, Clone, Default)]
pub struct Deletions {
    window: Option<Window>,
}

#[derive(Debug, Clone)]
struct Window {
    /// Files that were there when it began.
    of: u64,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Deletions are counted. The last ones were at this time.
    Counting(Instant),
    /// Somebody has to confirm, however long that takes.
    Held,
    /// Somebody did, that so many go or that all do. Nothing was deleted since.
    Confirmed { all: bool },
}

impl Deletions {
    /// Nothing was deleted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges what is to be deleted next: so many of the files that are there, while others are made. What counts is how many
    /// fewer there are then than when it began, so that what comes and goes adds up to nothing. What it calls fine is to be
    /// done. What it does not is to be left, and to be judged again as a whole after [`Self::confirm`] or when it has become
    /// less. To be asked with nothing when nothing is left to be deleted.
    pub fn judge(
        &mut self,
        now: Instant,
        deleted_files: u64,
        made_files: u64,
        files_there: u64,
        limits: &Limits,
    ) -> Verdict {
        self.end_if_quiet(now);
        if deleted_files == 0 {
            // What was asked about is back: only what was let go before counts still.
            match self.window.as_ref().map(|window| window.stands) {
                Some(Stands::Held) => {
                    if let Some(window) = &mut self.window {
                        window.stands = Stands::Counting(now);
                    }
                }
                Some(Stands::Confirmed { .. }) => self.window = None,
                _ => {}
            }
            return Verdict::Fine;
        }
        let window = self.window.get_or_insert(Window {
            of: files_there,
            stands: Stands::Counting(now),
        });
        let left = files_there
            .saturating_sub(deleted_files)
            .saturating_add(made_files);
        let files = window.of.saturating_sub(left);
        match window.stands {
            Stands::Counting(_) | Stands::Held if are_too_many(files, window.of, limits) => {
                window.stands = Stands::Held;
                return Verdict::TooMany { files, of: window.of };
            }
            Stands::Counting(_) | Stands::Held => window.stands = Stands::Counting(now),
            // These were confirmed, and nothing that comes after them.
            Stands::Confirmed { .. } => self.window = None,
        }
        Verdict::Fine
    }

    /// How many of what is being deleted went already, while so many are there.
    #[must_use]
    pub fn gone(&self, now: Instant, files_there: u64) -> u64 {
        let going = self.window.as_ref().filter(|window| match window.stands {
            Stands::Counting(last) => now.saturating_duration_since(last) <= QUIET,
            Stands::Held | Stands::Confirmed { .. } => false,
        });
        going.map_or(0, |window| window.of.saturating_sub(files_there))
    }

    /// Judges a source with so many files, while so many are there. One without any file is more likely a disk that is not
    /// mounted than meant, however few files there are. A source that has files is not judged here.
    pub fn emptied(&mut self, now: Instant, files_here: u64, files_there: u64) -> Verdict {
        self.end_if_quiet(now);
        if files_here > 0 || files_there == 0 {
            return Verdict::Fine;
        }
        let window = self.window.get_or_insert(Window {
            of: files_there,
            stands: Stands::Held,
        });
        match window.stands {
            // That many go was confirmed, and not that all do.
            Stands::Counting(_) | Stands::Held | Stands::Confirmed { all: false } => {
                window.stands = Stands::Held;
                Verdict::Emptied { of: files_there }
            }
            Stands::Confirmed { all: true } => Verdict::Fine,
        }
    }

    /// Lets pass what is asked for next, which is what was held with what came to it since: that so many go, or that `all` do.
    /// Where nothing was judged yet it is what was held before a restart; where nothing is held, nothing is allowed in
    /// advance.
    pub fn confirm(&mut self, all: bool) {
        let stands = Stands::Confirmed { all };
        match &mut self.window {
            None => self.window = Some(Window { of: 0, stands }),
            Some(window) if matches!(window.stands, Stands::Held) => window.stands = stands,
            Some(_) => {}
        }
    }

    fn end_if_quiet(&mut self, now: Instant) {
        let ended = self.window.as_ref().is_some_and(|window| match window.stands {
            Stands::Counting(last) => now.saturating_duration_since(last) > QUIET,
            Stands::Held | Stands::Confirmed { .. } => false,
        });
        if ended {
            self.window = None;
        }
    }
}

fn are_too_many(files: u64, of: u64, limits: &Limits) -> bool {
    // Numbers of files are far below where a double becomes coarse.
    files > limits.deletions && files as f64 > limits.share * of as f64
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{Strategy, proptest},
    };

    use super::*;

    const LIMITS: Limits = Limits {
        deletions: 200,
        share: 0.5,
    };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn both_the_number_and_the_share_have_to_be_large() {
        for (deleted, there, fine) in [
            (200, 200, true),
            (201, 402, true),
            (201, 401, false),
            (201, 201, false),
            (5_000, 10_000, true),
            (5_001, 10_000, false),
            (0, 0, true),
        ] {
            let verdict = Deletions::new().judge(Instant::now(), deleted, 0, there, &LIMITS);
            let right = if fine {
                Verdict::Fine
            } else {
                Verdict::TooMany {
                    files: deleted,
                    of: there,
                }
            };
            assert_eq!(verdict, right, "{deleted} of {there}");
        }
    }

    #[test]
    fn many_small_portions_are_added_up() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        // 400 files, 20 at a time, a portion each five seconds.
        for portion in 0..10 {
            let there = 400 - portion * 20;
            let verdict = deletions.judge(after(start, portion * 5), 20, 0, there, &LIMITS);
            assert_eq!(verdict, Verdict::Fine, "portion {portion}");
        }
        let verdict = deletions.judge(after(start, 50), 20, 0, 200, &LIMITS);
        assert_eq!(verdict, Verdict::TooMany { files: 220, of: 400 });
    }

    #[test]
    fn what_went_is_known_while_it_goes_on() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        assert_eq!(deletions.gone(start, 400), 0);
        deletions.judge(start, 3, 0, 400, &LIMITS);
        assert_eq!(deletions.gone(after(start, 1), 400), 0, "not yet");
        assert_eq!(deletions.gone(after(start, 1), 397), 3);
        assert_eq!(deletions.gone(after(start, 11), 397), 0);
    }

    #[test]
    fn deletions_far_apart_are_not() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        assert_eq!(deletions.judge(start, 200, 0, 400, &LIMITS), Verdict::Fine);
        // Other changes in between do not make the pause shorter.
        assert_eq!(
            deletions.judge(after(start, 6), 0, 0, 200, &LIMITS),
            Verdict::Fine
        );
        assert_eq!(
            deletions.judge(after(start, 11), 199, 0, 200, &LIMITS),
            Verdict::Fine
        );
    }

    #[test]
    fn what_is_held_stays_held_until_it_is_confirmed() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        assert_eq!(deletions.judge(start, 150, 0, 400, &LIMITS), Verdict::Fine);
        let held = Verdict::TooMany { files: 250, of: 400 };
        assert_eq!(deletions.judge(start, 100, 0, 250, &LIMITS), held);
        // The rest alone would be fine after a while, but it belongs to what went before.
        assert_eq!(deletions.judge(after(start, 3600), 100, 0, 250, &LIMITS), held);
        deletions.confirm(false);
        assert_eq!(
            deletions.judge(after(start, 9000), 100, 0, 250, &LIMITS),
            Verdict::Fine
        );
        // What comes then was not.
        let verdict = deletions.judge(after(start, 9001), 300, 0, 300, &LIMITS);
        assert_eq!(verdict, Verdict::TooMany { files: 300, of: 300 });
    }

    #[test]
    fn what_came_back_is_held_no_more() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        deletions.judge(start, 300, 0, 400, &LIMITS);
        assert_eq!(
            deletions.judge(after(start, 60), 0, 0, 400, &LIMITS),
            Verdict::Fine
        );
        deletions.confirm(false);
        let verdict = deletions.judge(after(start, 61), 300, 0, 400, &LIMITS);
        assert_eq!(
            verdict,
            Verdict::TooMany { files: 300, of: 400 },
            "nothing was there to be confirmed"
        );
    }

    #[test]
    fn what_was_confirmed_and_not_needed_is_not_kept_for_another_time() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        let held = Verdict::TooMany { files: 300, of: 400 };
        assert_eq!(deletions.judge(start, 300, 0, 400, &LIMITS), held);
        deletions.confirm(false);
        // Everything came back meanwhile.
        assert_eq!(
            deletions.judge(after(start, 1), 0, 0, 400, &LIMITS),
            Verdict::Fine
        );
        assert_eq!(deletions.judge(after(start, 2), 300, 0, 400, &LIMITS), held);
        deletions.confirm(false);
        let all = deletions.emptied(after(start, 3), 0, 400);
        assert_eq!(
            all,
            Verdict::Emptied { of: 400 },
            "many were confirmed, and not all"
        );
    }

    #[test]
    fn what_was_held_before_a_restart_can_be_confirmed() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        deletions.confirm(false);
        assert_eq!(deletions.judge(start, 300, 0, 400, &LIMITS), Verdict::Fine);
        let verdict = deletions.judge(
            start,
            90,
            0,
            100,
            &Limits {
                deletions: 50,
                share: 0.5,
            },
        );
        assert_eq!(verdict, Verdict::TooMany { files: 90, of: 100 }, "once");
    }

    #[test]
    fn what_comes_and_goes_is_nothing() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        // A compiler's files: made, and gone a moment later.
        for second in 0..500 {
            let verdict = deletions.judge(after(start, second), 1, 0, 4, &LIMITS);
            assert_eq!(verdict, Verdict::Fine, "second {second}");
        }
        // A directory is renamed.
        let verdict = Deletions::new().judge(start, 300, 300, 301, &LIMITS);
        assert_eq!(verdict, Verdict::Fine);
    }

    #[test]
    fn a_source_without_files_is_held_however_few_there_were() {
        let (start, mut deletions) = (Instant::now(), Deletions::new());
        assert_eq!(
            deletions.emptied(start, 0, 0),
            Verdict::Fine,
            "there never was any"
        );
        assert_eq!(deletions.emptied(start, 1, 1000), Verdict::Fine, "one is left");
        assert_eq!(deletions.emptied(start, 0, 1), Verdict::Emptied { of: 1 });
        assert_eq!(
            deletions.emptied(after(start, 99), 0, 1),
            Verdict::Emptied { of: 1 }
        );
        deletions.confirm(true);
        assert_eq!(deletions.emptied(after(start, 200), 0, 1), Verdict::Fine);
        assert_eq!(
            deletions.judge(after(start, 200), 1, 0, 1, &LIMITS),
            Verdict::Fine
        );
        assert_eq!(
            deletions.emptied(after(start, 220), 0, 1),
            Verdict::Emptied { of: 1 },
            "another time"
        );
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (0..400_u64, 0..=100_u32).prop_map(|(deletions, percent)| Limits {
            deletions,
            share: f64::from(percent) / 100.0,
        })
    }

    proptest! {
        /// Whatever is asked and whenever: what went without a pause in between was never too much together.
        #[test]
        fn no_cutting_gets_more_through(
            steps in vec((0..15_000_u64, 0..300_u64), 0..100), there in 1..3_000_u64, limits in limits(),
        ) {
            let (mut deletions, mut now, mut there) = (Deletions::new(), Instant::now(), there);
            // What went: when, how many, and how many there were before.
            let mut gone: Vec<(Instant, u64, u64)> = Vec::new();
            for (wait, count) in steps {
                now += Duration::from_millis(wait);
                let count = count.min(there);
                if deletions.judge(now, count, 0, there, &limits) == Verdict::Fine && count > 0 {
                    gone.push((now, count, there));
                    there -= count;
                }
            }
            for run in gone.chunk_by(|before, after| after.0 - before.0 <= QUIET) {
                let sum = run.iter().map(|(_, count, _)| count).sum();
                assert!(!are_too_many(sum, run[0].2, &limits), "{sum} of {} went", run[0].2);
            }
        }

        #[test]
        fn portions_are_judged_as_they_would_be_together(
            portions in vec((0..=10_000_u64, 1..100_u64), 1..20), more in 0..2_000_u64, limits in limits(),
        ) {
            let sum = portions.iter().map(|(_, count)| count).sum::<u64>();
            let of = sum + more;
            let together = Deletions::new().judge(Instant::now(), sum, 0, of, &limits);
            let (mut deletions, mut now, mut there) = (Deletions::new(), Instant::now(), of);
            let mut all_fine = true;
            for (wait, count) in portions {
                now += Duration::from_millis(wait);
                all_fine &= deletions.judge(now, count, 0, there, &limits) == Verdict::Fine;
                there -= count;
            }
            assert_eq!(all_fine, together == Verdict::Fine);
        }
    }
}
