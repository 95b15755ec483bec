//! Times as programs and people read them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use prost_types::Timestamp as Wire;

/// RFC 3339, UTC, milliseconds: `2026-11-21T10:00:00.000Z`. None for what lies outside the years 0 to 9999.
pub fn rfc3339(time: &Wire) -> Option<String> {
    let time = Timestamp::new(time.seconds, time.nanos).ok()?;
    let text = time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    (!text.starts_with('-')).then_some(text)
}

/// Seconds since a time; 0 for one in the future.
pub fn seconds_since(time: &Wire) -> f64 {
    (-seconds_ahead(time)).max(0.0)
}

/// Seconds until a time; 0 for one in the past.
pub fn seconds_until(time: &Wire) -> f64 {
    seconds_ahead(time).max(0.0)
}

/// Seconds until a time; negative for one in the past.
fn seconds_ahead(time: &Wire) -> f64 {
    seconds(time) - now()
}

/// The present time in seconds since 1970.
pub fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

/// A time in seconds since 1970.
pub fn seconds(time: &Wire) -> f64 {
    // Seconds of our era are exact in a double.
    #[allow(clippy::cast_precision_loss)]
    let whole = time.seconds as f64;
    whole + f64::from(time.nanos) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_a_z() {
        let time = Wire {
            seconds: 1_795_255_200,
            nanos: 7_900_000,
        };
        assert_eq!(rfc3339(&time).as_deref(), Some("2026-11-21T10:00:00.007Z"));
        let absurd = Wire {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(rfc3339(&absurd), None);
    }
}
