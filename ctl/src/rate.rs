//! Rates of data as people write them: `500K`, `1.5M`, plain bytes a second.

/// Reads a rate in bytes a second: a number with a unit of 1024 (`K`, `M`, `G`, in either case) or without.
pub fn parse(text: &str) -> Result<u64, String> {
    let bad = || "a rate looks like 500K, 2M or 65536 (bytes a second)".to_owned();
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit: u64 = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return Err(bad()),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if !digits(whole) || !digits(decimals) || unit == 1 && number.contains('.') {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_too_large| bad())?;
    // Three decimals tell any rate from another.
    let thousandths = decimals
        .bytes()
        .chain(*b"00")
        .take(3)
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let rate = whole
        .checked_mul(unit)
        .and_then(|rate| rate.checked_add(thousandths * unit / 1000))
        .ok_or_else(bad)?;
    if rate == 0 {
        return Err(
            "at no bytes a second nothing would ever arrive; to stop it: outlast sync pause".to_owned(),
        );
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, rate) in [
            ("500K", 512_000),
            ("2M", 2 << 20),
            ("1g", 1 << 30),
            ("1.5M", 3 << 19),
            ("0.25k", 256),
            ("65536", 65_536),
        ] {
            assert_eq!(parse(text), Ok(rate), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "K",
            "-1",
            "1.5",
            "1.K",
            ".5K",
            "5 K",
            "5KK",
            "5T",
            "1e3",
            "0",
            "0K",
            "0.0001K",
            "५K",
            "99999999999999999999",
            "18014398509481984K",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
