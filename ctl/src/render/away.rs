//! What is said of hosts that are not connected.

use outlast_client::v1;

use super::{json, time};

/// One line: that the host is away, and how old what is told of it is.
pub fn line(away: &v1::Away) -> String {
    let mut because = Vec::new();
    because.extend(json::link(away.link()));
    because.extend(away.next_try_at.as_ref().map(next_try));
    let because = because.join(", ");
    let because = if because.is_empty() {
        because
    } else {
        format!(" ({because})")
    };
    let host = &away.host;
    match &away.observed_at {
        Some(seen) => format!(
            "host {host} is away{because}: what is told of it is {} old",
            amount(time::seconds_since(seen))
        ),
        None => format!("host {host} is away{because}: it was never seen yet"),
    }
}

/// Adds hosts to those that are away, each once.
pub fn add(hosts: &mut Vec<v1::Away>, more: impl IntoIterator<Item = v1::Away>) {
    for host in more {
        if !hosts.iter().any(|known| known.host == host.host) {
            hosts.push(host);
        }
    }
}

/// When it is tried again.
pub fn next_try(time: &prost_types::Timestamp) -> String {
    let wait = time::seconds_until(time);
    if wait < 0.5 {
        "next try now".to_owned()
    } else {
        format!("next try in {}", amount(wait))
    }
}

/// An amount of time for a sentence: `3 s`, `12 min`, `5 h`, `2 d`.
pub fn amount(seconds: f64) -> String {
    // Positive and far below 2^53.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.round() as u64;
    match whole {
        0..90 => format!("{whole} s"),
        90..5400 => format!("{} min", (whole + 30) / 60),
        5400..172_800 => format!("{} h", (whole + 1800) / 3600),
        _ => format!("{} d", whole / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_one_figure() {
        for (seconds, text) in [
            (0.2, "0 s"),
            (12.4, "12 s"),
            (89.0, "89 s"),
            (170.0, "3 min"),
            (7200.0, "2 h"),
            (400_000.0, "4 d"),
        ] {
            assert_eq!(amount(seconds), text);
        }
    }

    #[test]
    fn a_host_that_was_never_seen_has_no_age() {
        let away = v1::Away {
            host: "build1".to_owned(),
            link: v1::Link::Down.into(),
            ..v1::Away::default()
        };
        assert_eq!(line(&away), "host build1 is away (down): it was never seen yet");
    }
}
