//! What the programs of a session say of themselves.
//!
//! A session's directory has a FIFO `reports` while a run of it runs. Whoever runs in the session writes lines there, a
//! hook of a shell by `echo "waiting Approve?" >> "$OUTLAST_REPORTS"`, all others by `"$OUTLAST_HELPER" report`. A line is
//! `STATE[ MESSAGE]`, or `STATE/UNLESS[ MESSAGE]` for what counts only where another state was reported last; anything else is
//! ignored. The pane reads them, whether or not anything of outlast is connected, and
//! keeps the last one in the file `activity`.
//!
//! It is a FIFO, not a file that grows, because nobody has to be told of a file that grows then: a pane would need an
//! inotify instance of its own, of which a user has 128.

mod inside;
mod receive;
mod send;

pub(crate) use self::receive::Reports;
pub use self::send::{Report, report};

use crate::{plain, spool::Doing};

/// Name of the FIFO.
pub(crate) const REPORTS: &str = "reports";

/// Variable that leads to it.
pub(crate) const REPORTS_VARIABLE: &str = "OUTLAST_REPORTS";

/// Variable that leads to the session's directory.
const DIR_VARIABLE: &str = "OUTLAST_SESSION_DIR";

/// Variable that leads to the helper program.
pub(crate) const HELPER_VARIABLE: &str = "OUTLAST_HELPER";

/// Stands between a state and the one that must not have been reported last.
const UNLESS: char = '/';

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    doing: Doing,
    /// It counts unless this was reported last.
    unless: Option<Doing>,
    message: String,
}

/// Reads a line. None: it is no report.
fn parse(line: &[u8]) -> Option<Said> {
    let line = line.trim_ascii_end();
    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let (word, message) = line.split_at(end);
    let word = std::str::from_utf8(word).ok()?;
    let (doing, unless) = match word.split_once(UNLESS) {
        Some((doing, unless)) => (doing, Some(unless.parse().ok()?)),
        None => (word, None),
    };
    Some(Said {
        doing: doing.parse().ok()?,
        unless,
        message: plain::line(message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_state_and_what_it_says() {
        let unless = |doing, unless, message: &str| {
            Some(Said {
                doing,
                unless,
                message: message.to_owned(),
            })
        };
        let said = |doing, message| unless(doing, None, message);
        assert_eq!(
            parse(b"waiting Approve  this?"),
            said(Doing::Waiting, "Approve this?")
        );
        assert_eq!(parse(b"idle"), said(Doing::Idle, ""));
        assert_eq!(parse(b"error \r"), said(Doing::Error, ""));
        assert_eq!(parse(b"working a\x1b]0;b\x07c"), said(Doing::Working, "a ]0;b c"));
        let but = unless(Doing::Waiting, Some(Doing::Idle), "a/b");
        assert_eq!(parse(b"waiting/idle a/b"), but);
        for none in [
            &b""[..],
            b"waiting/",
            b"waiting/busy",
            b"waiting/idle/idle",
            b"/idle",
            b" ",
            b"busy",
            b"Waiting x",
            b" waiting",
            b"waiting\tx",
            b"waitingx",
            b"\xff",
        ] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }
}
