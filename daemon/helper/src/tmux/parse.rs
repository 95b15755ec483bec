//! Reads what a tmux server says to a control-mode client.
//!
//! Lines are either notifications (`%name …`) or stand in a reply between `%begin` and the `%end` or `%error` that
//! carries the same time, number and flags; nothing else ends a reply, and inside one every line is content. Whoever asked
//! for what programs wrote says so with a [`Nonce`], and such a reply ends only where that is. Takes any bytes in any
//! pieces, never fails and keeps no more than its limits.

use std::collections::VecDeque;

use super::fence::{Ended, Fence, Nonce};

/// Longest line kept, in bytes; what is beyond is dropped. Our questions have answers of some hundred bytes a line.
const LINE_MAX: usize = 64 << 10;

/// Most content kept of one reply, in bytes; what is beyond is dropped. A list of all sessions of a busy host takes a
/// tenth of it.
const REPLY_MAX: usize = 4 << 20;

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The answer to a command.
    Reply(Reply),
    /// Something happened.
    Notification {
        /// Its name without the percent sign.
        name: String,
        /// The rest of the line.
        rest: Vec<u8>,
    },
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// True for commands that this client sent, false for those of others and of the attaching itself.
    pub ours: bool,
    /// False when tmux refused.
    pub ok: bool,
    /// What it printed, or why it refused.
    pub lines: Vec<Vec<u8>>,
    /// Something was too long and was dropped.
    pub cut: bool,
}

/// The parser: bytes in, [`Said`] out.
#[derive(Debug, Default)]
pub struct Parser {
    line: Line,
    open: Option<Open>,
    /// Lines that are to be read before all others: they stood behind the end of a fenced reply.
    again: VecDeque<Line>,
}

/// A line without what ends it.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) text: Vec<u8>,
    /// It was longer.
    pub(super) cut: bool,
}

#[derive(Debug)]
struct Open {
    stamp: Stamp,
    content: Content,
    fence: Option<Fence>,
}

/// What a reply holds so far.
#[derive(Debug, Default)]
pub(super) struct Content {
    size: usize,
    lines: Vec<Vec<u8>>,
    cut: bool,
}

/// What a reply's first and last line have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    time: u64,
    number: u64,
    flags: u32,
}

impl Parser {
    /// A parser at the beginning of the stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next thing said, taken from the beginning of `rest`; None when all of it is taken and more is needed. `fence`
    /// is what fences the reply to the next of our own commands: it holds for one that begins now.
    pub fn next(&mut self, rest: &mut &[u8], fence: Option<Nonce>) -> Option<Said> {
        loop {
            let line = match self.again.pop_front() {
                Some(line) => line,
                None => self.take(rest)?,
            };
            let said = match self.open.take() {
                Some(open) => self.within(open, line),
                None => self.between(&line, fence),
            };
            if said.is_some() {
                return said;
            }
        }
    }

    /// Takes bytes up to the end of a line.
    fn take(&mut self, rest: &mut &[u8]) -> Option<Line> {
        let Some(at) = rest.iter().position(|&byte| byte == b'\n') else {
            self.line.extend(std::mem::take(rest));
            return None;
        };
        let (end, after) = rest.split_at(at);
        self.line.extend(end);
        *rest = after.get(1..).unwrap_or_default();
        let mut line = std::mem::take(&mut self.line);
        if line.text.last() == Some(&b'\r') {
            line.text.pop();
        }
        Some(line)
    }

    /// A line inside a reply.
    fn within(&mut self, mut open: Open, line: Line) -> Option<Said> {
        let end = [("%end ", true), ("%error ", false)]
            .into_iter()
            .find(|(guard, _)| stamp(&line, guard) == Some(open.stamp))
            .map(|(_, ok)| ok);
        let ended = match (&mut open.fence, end) {
            (Some(fence), end) => fence.take(line, end, &mut open.content),
            (None, Some(ok)) => Some(Ended {
                ok,
                after: Vec::new(),
            }),
            (None, None) => {
                open.content.push(line);
                None
            }
        };
        let Some(Ended { ok, after }) = ended else {
            self.open = Some(open);
            return None;
        };
        self.again.extend(after);
        Some(Said::Reply(Reply {
            ours: open.stamp.is_ours(),
            ok,
            lines: open.content.lines,
            cut: open.content.cut,
        }))
    }

    /// A line outside of replies.
    fn between(&mut self, line: &Line, fence: Option<Nonce>) -> Option<Said> {
        if let Some(stamp) = stamp(line, "%begin ") {
            self.open = Some(Open {
                stamp,
                content: Content::default(),
                fence: fence.filter(|_| stamp.is_ours()).map(Fence::new),
            });
            return None;
        }
        // What does not begin so is nothing of the protocol; a start message of some build perhaps.
        let text = line.text.strip_prefix(b"%")?;
        let space = text.iter().position(|&byte| byte == b' ');
        let (name, rest) = match space {
            Some(at) => (text.get(..at), text.get(at + 1..)),
            None => (Some(text), None),
        };
        Some(Said::Notification {
            name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            rest: rest.unwrap_or_default().to_vec(),
        })
    }
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_MAX - self.text.len().min(LINE_MAX);
        self.cut |= bytes.len() > room;
        self.text
            .extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}

impl Content {
    /// Adds a line, if there is room for it.
    pub(super) fn push(&mut self, line: Line) {
        // One for the line itself, so that empty ones count as well.
        self.size += line.text.len() + 1;
        self.cut |= line.cut;
        if self.size > REPLY_MAX {
            self.cut = true;
        } else {
            self.lines.push(line.text);
        }
    }

    /// Says that it is not what was sent.
    pub(super) fn cut(&mut self) {
        self.cut = true;
    }
}

impl Stamp {
    fn is_ours(self) -> bool {
        self.flags & 1 == 1
    }
}

/// Reads `<guard><time> <number> <flags>`, nothing less and nothing more.
pub(super) fn stamp(line: &Line, guard: &str) -> Option<Stamp> {
    if line.cut {
        return None;
    }
    let text = std::str::from_utf8(line.text.strip_prefix(guard.as_bytes())?).ok()?;
    let mut words = text.split(' ');
    let stamp = Stamp {
        time: number(words.next()?)?,
        number: number(words.next()?)?,
        flags: number(words.next()?)?.try_into().ok()?,
    };
    words.next().is_none().then_some(stamp)
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would take a plus sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn parse(bytes: &[u8], step: usize) -> Vec<Said> {
        let (mut parser, mut said) = (Parser::new(), Vec::new());
        for mut piece in bytes.chunks(step.max(1)) {
            said.extend(std::iter::from_fn(|| parser.next(&mut piece, None)));
        }
        said
    }

    fn reply(ok: bool, lines: &[&str]) -> Said {
        Said::Reply(Reply {
            ours: true,
            ok,
            lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
            cut: false,
        })
    }

    fn notification(name: &str, rest: &str) -> Said {
        Said::Notification {
            name: name.to_owned(),
            rest: rest.as_bytes().to_vec(),
        }
    }

    #[test]
    fn replies_and_notifications_are_told_apart() {
        let text = b"%begin 17 2 1\nhello\n%end 17 3 1\n%window-add @1\n%end 17 2 1\n%window-add @1\n%sessions-changed\n\
            %begin 18 4 1\ncan't find x\n%error 18 4 1\n%exit too far behind\n";
        let expected = [
            reply(true, &["hello", "%end 17 3 1", "%window-add @1"]),
            notification("window-add", "@1"),
            notification("sessions-changed", ""),
            reply(false, &["can't find x"]),
            notification("exit", "too far behind"),
        ];
        for step in 1..text.len() {
            assert_eq!(parse(text, step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_flood_is_cut_and_the_stream_goes_on() {
        let mut text = b"%begin 1 1 1\n".to_vec();
        for _ in 0..100 {
            text.extend_from_slice(&vec![b'x'; 2 * LINE_MAX]);
            text.push(b'\n');
        }
        text.extend_from_slice(b"%end 1 1 1\n%begin 1 2 0\n%end 1 2 0\n");
        let said = parse(&text, 4096);
        let [Said::Reply(first), Said::Reply(second)] = said.as_slice() else {
            panic!("{} things were said", said.len());
        };
        assert!(first.cut && first.ok);
        assert!(first.lines.iter().map(Vec::len).sum::<usize>() <= REPLY_MAX);
        assert!(!second.cut && !second.ours);
    }

    /// Lines near enough to the protocol to be mistaken for it.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "%(begin|end|error) [0-9]{1,2} [0-9]{1,2} [01]".prop_map(String::into_bytes),
            "%(begin|end|error) ?[-+0-9 ]{0,24}".prop_map(String::into_bytes),
            "%[a-z-]{1,20}( [@$%]?[0-9a-z]{0,9})*".prop_map(String::into_bytes),
            vec(any::<u8>(), 0..40),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_and_cutting_does_not_matter(
            lines in vec(line(), 0..40),
            step in 1_usize..64,
        ) {
            let text = lines.join(&b'\n');
            prop_assert_eq!(parse(&text, step), parse(&text, text.len()));
        }

        #[test]
        fn content_comes_back_as_it_was_sent(
            blocks in vec((vec(line(), 0..6), any::<bool>()), 0..8),
        ) {
            let mut text = Vec::new();
            let mut expected = Vec::new();
            for (number, (lines, ok)) in blocks.iter().enumerate() {
                // Numbers of three digits, which no line of content has.
                let guard = format!("1700000000 {} 1", 100 + number);
                text.extend_from_slice(format!("%begin {guard}\n").as_bytes());
                let mut kept = Vec::new();
                for line in lines {
                    let line: Vec<u8> = line.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
                    text.extend_from_slice(&line);
                    text.push(b'\n');
                    kept.push(line);
                }
                let end = if *ok { "end" } else { "error" };
                text.extend_from_slice(format!("%{end} {guard}\n%output-free @{number}\n").as_bytes());
                expected.push(Said::Reply(Reply { ours: true, ok: *ok, lines: kept, cut: false }));
                expected.push(notification("output-free", &format!("@{number}")));
            }
            prop_assert_eq!(parse(&text, 7), expected);
        }
    }
}
