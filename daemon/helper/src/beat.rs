//! Moments that tasks share: what can wait a little waits until the next one, so that hundreds of tasks wake the process once
//! and not each at its own time. Waking a process that rests costs more than most of what is done in it then.

use std::{sync::OnceLock, time::Duration};

use tokio::time::Instant;

/// The first beat that is not before this moment. Beats are this far apart, and those of a span are also those of its parts.
pub(crate) fn from(moment: Instant, every: Duration) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let first = *FIRST.get_or_init(Instant::now);
    let Some(since) = moment.checked_duration_since(first) else {
        return first;
    };
    let over = since.as_nanos().checked_rem(every.as_nanos()).unwrap_or_default();
    if over == 0 {
        return moment;
    }
    moment + every.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_beat_ends_together_and_never_early() {
        let every = Duration::from_millis(40);
        let start = from(Instant::now(), every);
        for micros in [0, 1, 999, 20_000, 39_999, 40_000] {
            let moment = start + Duration::from_micros(micros);
            let beat = from(moment, every);
            assert!(beat >= moment && beat < moment + every, "{micros}");
            assert_eq!(beat, from(beat, every), "{micros}");
            assert_eq!((beat - start).as_nanos() % every.as_nanos(), 0, "{micros}");
            assert_eq!(beat, from(beat, every / 4), "{micros}");
        }
        assert_eq!(from(start, Duration::ZERO), start);
    }
}
