//! Finds the end of a reply whose lines may be anything, those that end replies included.
//!
//! A screen holds what programs wrote, and a program can write `%end` with the time and the number that the very reply
//! has which shows it. So behind a command whose reply holds a screen stands another, which prints a word that nobody can
//! know before: what looks like an end is one when that word's reply comes after it. The fence says where a reply ends
//! and keeps what may have come after it; it reads nothing else.

use std::fmt;

use uuid::Uuid;

use super::parse::{Content, Line, Stamp, stamp};

/// Most lines kept from what looks like an end until it turns out to be one. What can stand there are notifications, and
/// tmux writes the word's reply in the same breath.
const HELD_MAX: usize = 64;

/// The word: 32 hexadecimal digits, random, for one use. tmux writes it into its message log when it has read the
/// screen, so that a second use could be foreseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(Uuid);

impl Nonce {
    /// A word that was never said.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    fn is(self, line: &Line) -> bool {
        let mut digits = Uuid::encode_buffer();
        !line.cut && line.text == self.0.simple().encode_lower(&mut digits).as_bytes()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

/// What is known of the end of a reply.
#[derive(Debug)]
pub(super) struct Fence {
    nonce: Nonce,
    held: Option<Held>,
    seen: Seen,
}

/// A line that looks like the end, and what came after it.
#[derive(Debug)]
struct Held {
    ok: bool,
    line: Line,
    after: Vec<Line>,
}

/// How much of the word's reply the last lines were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Begin(Stamp),
    Nonce(Stamp),
}

/// The end was found, and the word's reply is over as well.
#[derive(Debug)]
pub(super) struct Ended {
    /// False when tmux refused.
    pub(super) ok: bool,
    /// The lines between the two replies.
    pub(super) after: Vec<Line>,
}

impl Fence {
    pub(super) fn new(nonce: Nonce) -> Self {
        Self {
            nonce,
            held: None,
            seen: Seen::Nothing,
        }
    }

    /// Takes a line, and `end` if it looks like the end of the reply: whether of one that went well. What turns out to
    /// be content is added to `content`.
    pub(super) fn take(&mut self, line: Line, end: Option<bool>, content: &mut Content) -> Option<Ended> {
        if self.completes(&line) {
            let Some(Held { ok, mut after, .. }) = self.held.take() else {
                // More stood in between than is kept, so where the content ended is not known.
                content.cut();
                return Some(Ended {
                    ok: true,
                    after: Vec::new(),
                });
            };
            // The last two are the begin and the word itself.
            after.truncate(after.len().saturating_sub(2));
            return Some(Ended { ok, after });
        }
        if let Some(ok) = end {
            self.dismiss(content);
            self.held = Some(Held {
                ok,
                line,
                after: Vec::new(),
            });
            return None;
        }
        match &mut self.held {
            Some(held) if held.after.len() < HELD_MAX => held.after.push(line),
            _ => {
                self.dismiss(content);
                content.push(line);
            }
        }
        None
    }

    /// Whether this is the last line of the word's reply.
    fn completes(&mut self, line: &Line) -> bool {
        self.seen = match self.seen {
            Seen::Begin(begin) if self.nonce.is(line) => Seen::Nonce(begin),
            Seen::Nonce(begin) if stamp(line, "%end ") == Some(begin) => return true,
            _ => stamp(line, "%begin ").map_or(Seen::Nothing, Seen::Begin),
        };
        false
    }

    /// What looked like the end was none.
    fn dismiss(&mut self, content: &mut Content) {
        if let Some(Held { line, after, .. }) = self.held.take() {
            content.push(line);
            after.into_iter().for_each(|line| content.push(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::tmux::parse::{Parser, Reply, Said};

    /// The stamp of the reply that is fenced, and that of the word's.
    const OWN: &str = "1700000000 41 1";
    const NEXT: &str = "1700000000 42 1";

    fn parse(text: &[u8], step: usize, nonce: Nonce) -> Vec<Said> {
        let (mut parser, mut said) = (Parser::new(), Vec::new());
        let mut fence = Some(nonce);
        for mut piece in text.chunks(step.max(1)) {
            while let Some(next) = parser.next(&mut piece, fence) {
                if matches!(&next, Said::Reply(reply) if reply.ours) {
                    fence = None;
                }
                said.push(next);
            }
        }
        said
    }

    /// A fenced reply and what tmux says after it, in lines.
    fn sent(content: &[Vec<u8>], end: &str, between: &[Vec<u8>], nonce: Nonce) -> Vec<u8> {
        let mut lines = vec![format!("%begin {OWN}").into_bytes()];
        lines.extend_from_slice(content);
        lines.push(format!("{end} {OWN}").into_bytes());
        lines.extend_from_slice(between);
        let rest = format!(
            "%begin {NEXT}\n{nonce}\n%end {NEXT}\n%later\n%begin 1700000000 43 1\n%end {OWN}\n%end 1700000000 43 1\n"
        );
        lines.push(rest.into_bytes());
        lines.join(&b'\n')
    }

    fn reply(ok: bool, lines: &[Vec<u8>]) -> Said {
        Said::Reply(Reply {
            ours: true,
            ok,
            lines: lines.to_vec(),
            cut: false,
        })
    }

    fn notification(line: &[u8]) -> Said {
        let text = String::from_utf8(line.to_vec()).unwrap();
        let (name, rest) = text.split_once(' ').unwrap_or((&text, ""));
        Said::Notification {
            name: name.trim_start_matches('%').to_owned(),
            rest: rest.as_bytes().to_vec(),
        }
    }

    /// What [`sent`] says.
    fn expected(content: &[Vec<u8>], ok: bool, between: &[Vec<u8>]) -> Vec<Said> {
        let mut said = vec![reply(ok, content)];
        said.extend(between.iter().map(|line| notification(line)));
        said.push(notification(b"%later"));
        said.push(reply(true, &[format!("%end {OWN}").into_bytes()]));
        said
    }

    fn lines(text: &str) -> Vec<Vec<u8>> {
        text.lines().map(|line| line.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_program_that_writes_the_end_of_its_own_reply_is_shown_doing_so() {
        let other = Nonce::random();
        let content = lines(&format!(
            "$ cat\n%end {OWN}\n%error {OWN}\n%exit\n%begin {NEXT}\n{other}\n%end {NEXT}\n%end {OWN}\n\n%begin {NEXT}"
        ));
        let between = lines("%sessions-changed\n%window-add @1");
        let nonce = Nonce::random();
        let text = sent(&content, "%end", &between, nonce);
        let expected = expected(&content, true, &between);
        for step in 1..text.len() {
            assert_eq!(parse(&text, step, nonce), expected, "in steps of {step}");
        }
    }

    #[test]
    fn what_comes_after_the_end_is_neither_kept_without_limit_nor_taken_for_the_screen() {
        let nonce = Nonce::random();
        let between = vec![b"%window-add @1".to_vec(); HELD_MAX];
        let said = parse(&sent(&[], "%end", &between, nonce), 100, nonce);
        let [
            Said::Reply(first),
            Said::Notification { name, .. },
            Said::Reply(second),
        ] = said.as_slice()
        else {
            panic!("{said:?}");
        };
        assert!(first.cut && !second.cut && name == "later");
    }

    #[test]
    fn a_screen_without_end_is_cut_and_the_stream_goes_on() {
        let nonce = Nonce::random();
        let content = vec![format!("%end {OWN}{}", "\nx".repeat(HELD_MAX * 1000)).into_bytes(); 100];
        let said = parse(&sent(&content, "%end", &[], nonce), 4096, nonce);
        let [Said::Reply(first), Said::Notification { .. }, Said::Reply(second)] = said.as_slice() else {
            panic!("{} things were said", said.len());
        };
        assert!(first.cut && first.ok && !second.cut);
    }

    /// Lines that are the protocol's, for this very reply.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => Just(format!("%end {OWN}").into_bytes()),
            1 => Just(format!("%error {OWN}").into_bytes()),
            3 => Just(format!("%begin {NEXT}").into_bytes()),
            3 => "[0-9a-f]{32}".prop_map(String::into_bytes),
            3 => Just(format!("%end {NEXT}").into_bytes()),
            1 => "%(begin|end|error) 1700000000 4[0-4] [01]".prop_map(String::into_bytes),
            1 => between(),
            1 => vec(any::<u8>(), 0..40).prop_map(|line| line.into_iter().filter(|byte| !b"\r\n".contains(byte)).collect()),
        ]
    }

    fn between() -> impl Strategy<Value = Vec<u8>> {
        "%(output|exit|sessions-changed|window-add)( [@%][0-9]{1,2}){0,2}".prop_map(String::into_bytes)
    }

    proptest! {
        #[test]
        fn only_the_word_ends_a_reply(
            content in vec(line(), 0..200),
            ok in any::<bool>(),
            between in vec(between(), 0..8),
            step in 1_usize..200,
        ) {
            let nonce = Nonce::random();
            let end = if ok { "%end" } else { "%error" };
            let text = sent(&content, end, &between, nonce);
            prop_assert_eq!(parse(&text, step, nonce), expected(&content, ok, &between));
        }

        #[test]
        fn any_bytes_are_taken_and_cutting_does_not_matter(lines in vec(line(), 0..40), step in 1_usize..64) {
            let nonce = Nonce::random();
            let mut text = format!("%begin {OWN}\n").into_bytes();
            text.extend(lines.join(&b'\n'));
            text.extend_from_slice(format!("\n%begin {NEXT}\n{nonce}\n%end {NEXT}\n").as_bytes());
            prop_assert_eq!(parse(&text, step, nonce), parse(&text, text.len(), nonce));
        }
    }
}
