//! How far it is with what there is to do.

use std::time::{Duration, Instant};

use super::Progress;

/// Over how long the rate is taken.
const LATELY: Duration = Duration::from_secs(3);

/// Counts from when something was to be done until nothing is.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    now: Progress,
    marks: Vec<(Instant, u64)>,
}

impl Counter {
    /// More is to be done.
    pub(crate) fn add(&mut self, files: u64, bytes: u64) {
        self.now.total_files += files;
        self.now.total_bytes += bytes;
    }

    /// Some of it was done.
    pub(crate) fn did(&mut self, files: u64, bytes: u64) {
        self.now.done_files = (self.now.done_files + files).min(self.now.total_files);
        self.now.done_bytes = (self.now.done_bytes + bytes).min(self.now.total_bytes);
    }

    /// Bytes of a file that is not done yet.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.did(0, bytes);
    }

    /// Bytes of a file that is not done yet turned out to be there. They say nothing of the rate.
    pub(crate) fn was_there(&mut self, bytes: u64) {
        self.did(0, bytes);
        for (_, done) in &mut self.marks {
            *done += bytes;
        }
    }

    /// Some of it is to be done once more.
    pub(crate) fn undo(&mut self, bytes: u64) {
        self.now.done_bytes = self.now.done_bytes.saturating_sub(bytes);
    }

    /// Some of it is not to be done any more.
    pub(crate) fn less(&mut self, files: u64, bytes: u64) {
        self.now.total_files = self
            .now
            .total_files
            .saturating_sub(files)
            .max(self.now.done_files);
        self.now.total_bytes = self
            .now
            .total_bytes
            .saturating_sub(bytes)
            .max(self.now.done_bytes);
    }

    /// Nothing is to be done.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// As it is now. None: nothing is to be done.
    pub(crate) fn read(&mut self, now: Instant) -> Option<Progress> {
        if self.now == Progress::default() {
            return None;
        }
        self.marks.push((now, self.now.done_bytes));
        let old = now.checked_sub(LATELY);
        // The newest of those that are older stays, to measure from.
        while self
            .marks
            .get(1)
            .is_some_and(|(at, _)| old.is_some_and(|old| *at < old))
        {
            self.marks.remove(0);
        }
        if let Some((at, bytes)) = self.marks.first() {
            let millis = now.duration_since(*at).as_millis().max(1);
            let bytes = u128::from(self.now.done_bytes - bytes.min(&self.now.done_bytes));
            self.now.rate_bytes = u64::try_from(bytes * 1000 / millis).unwrap_or(u64::MAX);
        }
        Some(self.now)
    }

    /// What is not done yet: files and bytes.
    pub(crate) fn left(&self) -> (u64, u64) {
        (
            self.now.total_files - self.now.done_files,
            self.now.total_bytes - self.now.done_bytes,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_late() {
        let mut counter = Counter::default();
        let begun = Instant::now();
        assert_eq!(counter.read(begun), None);
        counter.add(10, 100_000);
        counter.read(begun);
        for second in 1..=10 {
            counter.did(1, if second < 6 { 1_000 } else { 10_000 });
            let read = counter.read(begun + Duration::from_secs(second));
            let rate = read.expect("something is to be done").rate_bytes;
            match second {
                5 => assert_eq!(rate, 1_000),
                10 => assert_eq!(rate, 10_000),
                _ => {}
            }
        }
        assert_eq!(counter.left(), (0, 45_000));
        counter.was_there(40_000);
        let read = counter.read(begun + Duration::from_secs(10));
        assert_eq!(read.expect("some is left").rate_bytes, 10_000);
        assert_eq!(counter.left(), (0, 5_000));
        counter.clear();
        assert_eq!(counter.read(begun), None);
    }
}
