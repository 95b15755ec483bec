//! Where a command that was typed begins to run in a shell that does not mark it: one that marks its prompts and the ends of its
//! commands only. The line editor tells it, which wants no more then what is pasted in brackets, or the end of the line. Pure.

use std::ops::Range;

use memchr::{memchr, memmem, memrchr};

use super::{MARK_MAX, Mark, marks};
use crate::sessions::history::{blocks::What, plain::Plain};

/// How far behind the end of a prompt is looked for what is typed there, bytes.
const AHEAD: usize = 256 << 10;

/// So much has to stand behind the end of a prompt to be looked at whole: a mark may begin there.
pub(super) const WHOLE: usize = AHEAD + MARK_MAX;

/// A longer line is not empty, bytes. Whoever has typed and taken back more is believed to have run something.
const EMPTY_MAX: usize = 512;

/// A line editor ends, and what it has in common with one that begins.
const EDITED: &[u8] = b"\x1b[?2004l";
const BRACKETS: &[u8] = b"\x1b[?2004";

/// What shells ask with for the rest of a command.
const GOES_ON: &[u8] = b"\x1b[?2004h> ";

/// What ends a line that is abandoned, and the exit code that shells tell then.
const ABANDONED: &[u8] = b"^C";
const INTERRUPTED: i32 = 130;

/// Which mark tells that what was typed has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// None.
    Nothing,
    /// The shell asks again, which may be the same prompt.
    Asks,
    /// A command has ended.
    Ends(Option<i32>),
}

/// Whether a mark stands there that tells what the shell does behind the end of a prompt.
pub(super) fn is_told(behind: &[u8]) -> bool {
    within(behind).any(|mark| {
        matches!(
            mark.what,
            What::Prompt | What::Command { .. } | What::Output { .. }
        )
    })
}

/// Where a command that was typed at a prompt ends and where what it prints begins, in what stands `behind` that. Absent: nothing was
/// run, not yet, or the shell marks that itself. `before`: what stands before it.
pub(super) fn find(before: &[u8], behind: &[u8]) -> Option<Range<usize>> {
    let (mut typed, mut next) = (&behind[..behind.len().min(AHEAD)], Next::Nothing);
    for mark in within(behind) {
        match mark.what {
            What::Output { .. } => return None,
            // A shell may say it again right before its next command.
            What::End { exit_code } if next == Next::Nothing => {
                (typed, next) = (&behind[..mark.begin], Next::Ends(exit_code));
            }
            What::Prompt | What::Command { .. } => {
                if next == Next::Nothing {
                    (typed, next) = (&behind[..mark.begin], Next::Asks);
                }
                break;
            }
            What::End { .. } | What::Line { .. } | What::Sent { .. } => {}
        }
    }
    let ran = match memmem::find(typed, BRACKETS) {
        Some(at) if typed[at..].starts_with(EDITED) => edited(typed, at, next)?,
        _ => {
            // What is listed while something is typed has lines as well.
            if !(matches!(next, Next::Ends(_)) || typed.len() == AHEAD) {
                return None;
            }
            let line = memchr(b'\n', typed)?;
            line..line + 1
        }
    };
    let line = typed[..ran.start].trim_ascii_end();
    let interrupted = !matches!(next, Next::Ends(Some(code)) if code != INTERRUPTED);
    // Who ends the line otherwise has begun the next one.
    let is_left = interrupted && line.ends_with(ABANDONED) && !typed[..ran.start].ends_with(b"\n");
    (!is_left && !is_empty(before, line)).then_some(ran)
}

/// The marks that begin in what is looked at.
fn within(behind: &[u8]) -> impl Iterator<Item = Mark> {
    let behind = &behind[..behind.len().min(WHOLE)];
    marks(behind).take_while(|mark| mark.begin < AHEAD)
}

/// The same where a line editor ends `at` that place for the first time.
fn edited(typed: &[u8], mut at: usize, next: Next) -> Option<Range<usize>> {
    loop {
        let mut behind = at + EDITED.len();
        behind += typed[behind..].iter().take_while(|byte| **byte == b'\r').count();
        if typed[behind..].starts_with(GOES_ON) {
            match memmem::find(&typed[behind..], EDITED) {
                Some(more) => {
                    at = behind + more;
                    continue;
                }
                // The rest is being typed.
                None if next == Next::Nothing => return None,
                None => {}
            }
        }
        // Some end before they go on to the next line.
        let is_next = typed[..at].ends_with(b"\n");
        let line = usize::from(!is_next && typed.get(behind) == Some(&b'\n'));
        return Some(at..behind + line);
    }
}

/// Whether nothing stands in this line in the end.
fn is_empty(before: &[u8], line: &[u8]) -> bool {
    if line.len() > EMPTY_MAX {
        return false;
    }
    let before = &before[before.len().saturating_sub(EMPTY_MAX)..];
    // A prompt that is drawn again may leave what stands behind it.
    let begin = memrchr(b'\n', before).map_or(0, |line| line + 1);
    let mut plain = Plain::of(80, &before[begin..]);
    let origin = plain.at();
    plain.read(line);
    plain.text_from(origin).text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told as typed, and what is left as printed.
    fn split(behind: &str) -> Option<(&str, &str)> {
        let found = find(b"$ ", behind.as_bytes())?;
        Some((&behind[..found.start], &behind[found.end..]))
    }

    const D: &str = "\x1b]133;D;0\x07";

    #[test]
    fn an_editor_that_ends_or_a_line_that_does_tells_it() {
        for (behind, wanted) in [
            ("a\r\n\x1b[?2004l\rb", Some(("a\r\n", "b"))),
            // Zsh does it the other way round.
            ("a\x1b[?2004l\r\r\nb", Some(("a", "b"))),
            // It is being typed, or listed, or more is asked for.
            ("a\r\nb", None),
            ("a\r\nb\r\n\x1b]133;A\x07", None),
            ("a\r\n\x1b[?2004l\r\x1b[?2004h> b", None),
            (
                "a\r\n\x1b[?2004l\rb\x1b]133;A\x07",
                Some(("a\r\n", "b\x1b]133;A\x07")),
            ),
        ] {
            assert_eq!(split(behind), wanted, "{behind:?}");
        }
        for (line, wanted) in [
            ("a\r\nb", Some(("a\r", "b"))),
            // What edits runs within it.
            (
                "a\r\n\x1b[?2004hb\x1b[?2004l",
                Some(("a\r", "\x1b[?2004hb\x1b[?2004l")),
            ),
            ("a^C\r\n", Some(("a^C\r", ""))),
            ("\x1b[?2004l\r", None),
            ("\r\n\x1b[?2004l\r", None),
            ("a\x08 \x08\r\n", None),
        ] {
            let told = split(&[line, D].concat()).map(|(one, two)| (one.to_owned(), two.to_owned()));
            let wanted = wanted.map(|(one, two)| (one.to_owned(), two.to_owned() + D));
            assert_eq!(told, wanted, "{line:?}");
        }
        for left in ["a^C\r\n", "a^C\x1b[?2004l\r"] {
            assert_eq!(split(&[left, "\x1b]133;D;130\x07"].concat()), None, "{left:?}");
        }
    }

    #[test]
    fn a_shell_that_marks_what_runs_tells_it_itself() {
        for marks in [
            "\x1b]133;C\x07",
            "\x1b]133;D;0\x07\x1b]133;C\x07",
            "\x1b]633;E;a\x07\x1b]633;C\x07",
        ] {
            let behind = ["a\r\n\x1b[?2004l\r", marks, "b\r\n"].concat();
            assert_eq!(split(&behind), None, "{behind:?}");
            assert!(is_told(behind.as_bytes()));
        }
        assert!(!is_told(["a\r\n", D].concat().as_bytes()));
    }
}
