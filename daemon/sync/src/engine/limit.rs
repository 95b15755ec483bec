//! So many bytes a second and no more.

use std::time::Duration;

use tokio::time::Instant;

/// How much may be sent at once after a pause, as time: less makes small pieces wait for nothing.
const BURST: Duration = Duration::from_millis(200);

/// When the next bytes may be sent.
#[derive(Debug)]
pub(crate) struct Limit {
    bytes_a_second: Option<u64>,
    due: Instant,
}

impl Limit {
    /// None: no limit.
    pub(crate) fn new(bytes_a_second: Option<u64>) -> Self {
        Self {
            bytes_a_second: bytes_a_second.filter(|bytes| *bytes > 0),
            due: Instant::now(),
        }
    }

    /// When the next bytes may be sent.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Takes note of bytes that are sent.
    pub(crate) fn sent(&mut self, bytes: u64, now: Instant) {
        if let Some(bytes_a_second) = self.bytes_a_second {
            let began = self.due.max(now.checked_sub(BURST).unwrap_or(now));
            #[allow(clippy::cast_precision_loss, reason = "a fraction of a byte is not missed")]
            let takes = Duration::from_secs_f64(bytes as f64 / bytes_a_second as f64);
            self.due = began + takes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_through_what_it_may() {
        let begun = Instant::now();
        let mut limit = Limit::new(Some(1_000_000));
        let mut now = begun;
        let mut sent = 0;
        while now < begun + Duration::from_secs(10) {
            limit.sent(50_000, now);
            sent += 50_000;
            now = now.max(limit.due());
        }
        assert!((10_000_000..=10_300_000).contains(&sent), "{sent}");
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut limit = Limit::new(None);
        let now = Instant::now();
        limit.sent(1 << 40, now);
        assert!(limit.due() <= now);
    }
}
