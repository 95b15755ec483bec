//! Trying again: pauses that double up to a ceiling, with jitter, and what is not worth another try.

use std::time::Duration;

use outlast_store::StoreError;

/// The first pause: a helper in this process is back in less.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause: what a person accepts before a mended disk or host is noticed.
const CEILING: Duration = Duration::from_secs(5);

/// How long to wait before the next try.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// Whether nothing was tried again yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.next == FIRST
    }

    /// The next pause: twice the last one, at most 5 s, less up to a quarter so that many do not try in step.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(CEILING);
        let [random, ..] = uuid::Uuid::new_v4().into_bytes();
        pause - pause / 4 * u32::from(random) / 256
    }
}

/// True when the same write can never succeed: the row is gone or has gone on, or the store is closed.
#[must_use]
pub fn is_hopeless(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Missing { .. } | StoreError::Stale { .. } | StoreError::Closed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_ceiling_and_are_never_nothing() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..20).map(|_| backoff.pause()).collect();
        assert!(pauses.iter().all(|pause| *pause > FIRST / 2 && *pause <= CEILING));
        assert!(pauses[19] > CEILING / 2);
    }
}
