//! One line of outlast's own on the last row of a screen that belongs to a program elsewhere.
//!
//! It takes the row, not the cursor, the colours or the scroll region; what was under it comes back when the far end
//! draws the screen anew. Only bytes are made here; who owns the screen sends them.

use outlast_client::v1::{Link, TerminalSize};

use crate::render::{escape::escape, json};

/// Ends whatever sequence was cut off, saves the cursor, goes back to plain text.
const BEGIN: &str = "\x18\x1b7\x1b(B\x0f\x1b[m";
const END: &str = "\x1b[m\x1b8";

/// The fewest columns that are worth a reason.
const REASON_MIN: usize = 12;

/// How to leave, as the last words of a notice.
const WAY_OUT: &str = "~. leaves";

/// What is said instead of the last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The host is away, and why.
    Away {
        host: String,
        link: Link,
        error: Option<String>,
    },
    /// There is no connection to the daemon.
    NoDaemon,
    /// What can be typed.
    Help,
}

impl Notice {
    /// The text in at most so many columns.
    fn text(&self, room: usize) -> String {
        let text = match self {
            Self::Away { host, link, error } => away(host, *link, error.as_deref(), room),
            Self::NoDaemon => {
                format!("outlast: the connection to outlastd broke; trying to come back, {WAY_OUT}")
            }
            Self::Help => {
                "outlast: after Enter, ~. leaves, ~~ types ~, ~? shows this; Ctrl-B d leaves".to_owned()
            }
        };
        cut(&text, room)
    }

    /// The bytes that show it.
    pub fn show(&self, size: TerminalSize) -> Vec<u8> {
        // One column stays free: a full row makes some terminals scroll.
        let room = usize::try_from(size.columns.saturating_sub(3)).unwrap_or(usize::MAX);
        let text = self.text(room);
        format!("{BEGIN}\x1b[{};1H\x1b[2K\x1b[7m {text} {END}", size.rows).into_bytes()
    }
}

/// The bytes that take it away. The row is empty then, until it is drawn anew.
pub fn clear(size: TerminalSize) -> Vec<u8> {
    format!("{BEGIN}\x1b[{};1H\x1b[2K{END}", size.rows).into_bytes()
}

/// Says that a host is away. Where there is little room the reason goes first, because how to leave must be seen.
fn away(host: &str, link: Link, error: Option<&str>, room: usize) -> String {
    let then = match link {
        Link::AuthFailed | Link::HostkeyChanged => format!("see: outlast host show {host}; {WAY_OUT}"),
        _ => format!("trying to come back, {WAY_OUT}"),
    };
    let word = json::link(link);
    let reason = error.or(word.as_deref()).unwrap_or("no connection");
    let reason = escape(reason.trim_end_matches('.'));
    let bare = escape(&format!("outlast: host {host} is away; {then}")).into_owned();
    let left = room.saturating_sub(width(&bare) + " ()".len());
    if left < REASON_MIN.min(width(&reason)) {
        return bare;
    }
    escape(&format!(
        "outlast: host {host} is away ({}); {then}",
        cut(&reason, left)
    ))
    .into_owned()
}

/// Columns that text takes at most: what is not ASCII may be twice as wide.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

/// Cuts text to so many columns.
fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = "...".len();
    for c in text.chars() {
        used += if c.is_ascii() { 1 } else { 2 };
        if used > room {
            break;
        }
        short.push(c);
    }
    if room >= "...".len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gone(error: Option<&str>) -> Notice {
        Notice::Away {
            host: "build1".to_owned(),
            link: Link::Backoff,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn it_takes_the_last_row_and_nothing_else() {
        let size = TerminalSize {
            columns: 80,
            rows: 24,
        };
        let shown = String::from_utf8(gone(Some("timed out.")).show(size)).unwrap();
        assert_eq!(
            shown,
            "\x18\x1b7\x1b(B\x0f\x1b[m\x1b[24;1H\x1b[2K\x1b[7m \
             outlast: host build1 is away (timed out); trying to come back, ~. leaves \x1b[m\x1b8"
        );
        assert_eq!(
            String::from_utf8(clear(size)).unwrap(),
            "\x18\x1b7\x1b(B\x0f\x1b[m\x1b[24;1H\x1b[2K\x1b[m\x1b8"
        );
    }

    #[test]
    fn in_a_narrow_terminal_the_reason_goes_before_the_way_out() {
        let long = "no route to 10.1.2.3: the network of this machine is down, as far as can be told";
        assert_eq!(
            gone(Some(long)).text(77),
            "outlast: host build1 is away (no route to...); trying to come back, ~. leaves"
        );
        assert_eq!(
            gone(Some(long)).text(64),
            "outlast: host build1 is away; trying to come back, ~. leaves"
        );
        assert_eq!(gone(Some(long)).text(20), "outlast: host bui...");
        assert_eq!(
            Notice::Away {
                host: "b".to_owned(),
                link: Link::AuthFailed,
                error: None
            }
            .text(77),
            "outlast: host b is away (auth_failed); see: outlast host show b; ~. leaves"
        );
        assert!(width(&Notice::NoDaemon.text(77)) <= 77 && Notice::NoDaemon.text(77).ends_with(WAY_OUT));
        assert!(!Notice::Help.text(77).ends_with("..."));
    }

    proptest! {
        #[test]
        fn it_fits_and_sends_no_controls(error in any::<String>(), room in 0_usize..120) {
            let text = gone(Some(&error)).text(room);
            prop_assert!(width(&text) <= room, "{text:?}");
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
