//! Durations as people write and read them: `5s`, `2m`, `1h30m`, plain seconds.

use std::time::Duration;

/// The longest duration that is taken: a hundred years, far inside every type that carries it.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Reads a duration: numbers with a unit (`ms`, `s`, `m`, `h`, `d`) in falling order, or plain seconds. Only the last
/// number may have decimals.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || "a duration looks like 30s, 5m, 1h30m or 90 (seconds)".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    let mut previous = None;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(24 * 3600),
            // Plain seconds stand alone.
            "" if previous.is_none() && tail.is_empty() => Duration::from_secs(1),
            _ => return Err(bad()),
        };
        if previous.is_some_and(|previous| unit >= previous) || !tail.is_empty() && number.contains('.') {
            return Err(bad());
        }
        let part = count(number)
            .and_then(|count| Duration::try_from_secs_f64(unit.as_secs_f64() * count).ok())
            .ok_or_else(bad)?;
        total = total.saturating_add(part);
        previous = Some(unit);
        rest = tail;
    }
    if previous.is_none() {
        return Err(bad());
    }
    if total > LONGEST {
        return Err("it is longer than a hundred years".to_owned());
    }
    Ok(total)
}

/// Reads `12` or `1.5`, nothing else that a float can look like.
fn count(number: &str) -> Option<f64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(whole) && digits(decimals) {
        number.parse().ok()
    } else {
        None
    }
}

/// Shows a duration in seconds with about two figures of use: `0.4s`, `12s`, `3m05s`, `2h10m`, `5d3h`.
pub fn show(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "0s".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    // Durations that come over the wire fit; whatever does not is capped by the cast.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.round() as u64;
    let (days, hours, minutes, rest) = (whole / 86400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, millis) in [
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("90", 90_000),
            ("1.5", 1_500),
            ("0.5h", 1_800_000),
            ("1m1.5s", 61_500),
            ("250ms", 250),
            ("1d", 86_400_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "-5s",
            "5 s",
            "5x",
            "1m1h",
            "1m1m",
            "1h30",
            "1.5h30m",
            "1e9",
            "inf",
            "nan",
            ".",
            "1.",
            ".5",
            "5s ",
            "१s",
            "99999999999999999999d",
            "1000000d",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_suits_its_size() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (0.44, "0.4s"),
            (9.96, "10s"),
            (59.6, "1m00s"),
            (185.0, "3m05s"),
            (7_800.0, "2h10m"),
            (442_800.0, "5d3h"),
            (f64::NAN, "0s"),
            (-1.0, "0s"),
        ] {
            assert_eq!(show(seconds), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn units_add_up(h in 0_u32..1000, m in 0_u32..1000, s in 0_u32..1000) {
            let expected = u64::from(h) * 3600 + u64::from(m) * 60 + u64::from(s);
            prop_assert_eq!(parse(&format!("{h}h{m}m{s}s")), Ok(Duration::from_secs(expected)));
        }

        #[test]
        fn plain_seconds_are_seconds(s in 0_u64..3_000_000_000) {
            prop_assert_eq!(parse(&s.to_string()), Ok(Duration::from_secs(s)));
        }
    }
}
