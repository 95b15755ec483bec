//! What programs tell a terminal by escape sequences with a meaning: notifications, progress, prompt marks, the bell and
//! the title. The logger beside a pane sees every byte of it and keeps the last of each in the file `terminal`.
//!
//! It changes nothing of what it sees, and does not know what a screen looks like: that is tmux's.

mod osc;
mod parse;

use std::{collections::VecDeque, time::Instant};

use self::{
    osc::{Piece, Said},
    parse::{Parser, Sequence},
};
use crate::{
    plain::MESSAGE_MAX,
    spool::{Dir, Kept, SPOOL_VERSION, TERMINAL, Terminal, now_ms},
};

/// Notifications that come in pieces and are not complete, at most. Of more the oldest are forgotten.
const PARTS_MAX: usize = 8;

/// Bytes of an id that are told apart.
const ID_MAX: usize = 64;

/// Bytes kept of a title or a body that comes in pieces: what a message is made of, and then some.
const PART_MAX: usize = 2 * MESSAGE_MAX;

/// What a terminal was told, kept in a file.
#[derive(Debug)]
pub(crate) struct Told {
    dir: Dir,
    facts: Facts,
    kept: Kept,
}

/// What a terminal was told.
#[derive(Debug)]
pub struct Facts {
    parser: Parser,
    now: Terminal,
    parts: VecDeque<Part>,
}

/// A notification of which pieces are missing.
#[derive(Debug)]
struct Part {
    id: Vec<u8>,
    title: Vec<u8>,
    body: Vec<u8>,
}

impl Told {
    /// Of the terminal of a run, to which nothing was written yet.
    pub(crate) fn new(dir: &Dir, run: u32) -> Self {
        Self {
            dir: dir.clone(),
            facts: Facts::new(run),
            kept: Kept::new(TERMINAL),
        }
    }

    /// Looks at what the terminal gets.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        if self.facts.see(bytes, now_ms()) {
            self.kept.change();
        }
        self.write_due();
    }

    /// When there is something to write.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.kept.due()
    }

    /// Writes what is due.
    pub(crate) fn write_due(&mut self) {
        self.kept.write_due(&self.dir, &self.facts.now);
    }

    /// Writes what is left to write.
    pub(crate) fn finish(&mut self) {
        self.kept.write(&self.dir, &self.facts.now);
    }
}

impl Facts {
    /// Of the terminal of a run, to which nothing was written yet.
    #[must_use]
    pub fn new(run: u32) -> Self {
        let now = Terminal {
            version: SPOOL_VERSION,
            run,
            ..Terminal::default()
        };
        Self {
            parser: Parser::default(),
            now,
            parts: VecDeque::new(),
        }
    }

    /// What is known.
    #[must_use]
    pub fn now(&self) -> &Terminal {
        &self.now
    }

    /// Looks at what the terminal gets at this time. True: something changed.
    pub fn see(&mut self, bytes: &[u8], now_ms: i64) -> bool {
        let Self { parser, now, parts } = self;
        let mut changed = false;
        parser.read(bytes, &mut |sequence| {
            changed |= match sequence {
                Sequence::Bell => {
                    now.bell_ms = now_ms;
                    true
                }
                Sequence::Osc(payload) => {
                    osc::read(payload).is_some_and(|said| take(now, parts, said, now_ms))
                }
                // Titles and such are the outer terminal's.
                Sequence::Passed(payload) => osc::read(payload)
                    .filter(|said| !matches!(said, Said::Title(_)))
                    .is_some_and(|said| take(now, parts, said, now_ms)),
            };
        });
        changed
    }
}

/// Takes note of what was said. True: it is news.
fn take(now: &mut Terminal, parts: &mut VecDeque<Part>, said: Said, now_ms: i64) -> bool {
    match said {
        Said::Prompt(mark) => {
            (now.prompt, now.prompt_ms) = (mark.to_string(), now_ms);
        }
        Said::Progress(progress) => {
            // What wants somebody to do something wants it anew each time it is said.
            let goes_on = !matches!(progress, 2 | 4);
            if now.progress == progress && now.progress_ms != 0 && goes_on {
                return false;
            }
            (now.progress, now.progress_ms) = (progress, now_ms);
        }
        Said::Notice(text) => (now.notice, now.notice_ms) = (text, now_ms),
        Said::Piece(piece) => {
            let Some(text) = complete(parts, piece) else {
                return false;
            };
            (now.notice, now.notice_ms) = (text, now_ms);
        }
        Said::Title(title) => {
            if now.title == title {
                return false;
            }
            (now.title, now.title_ms) = (title, now_ms);
        }
    }
    true
}

/// Adds a piece to its notification, and returns the text of that when it is whole.
fn complete(parts: &mut VecDeque<Part>, mut piece: Piece) -> Option<String> {
    piece.id.truncate(ID_MAX);
    let known = parts.iter().position(|part| part.id == piece.id);
    let mut part = known.and_then(|at| parts.remove(at)).unwrap_or_else(|| Part {
        id: piece.id,
        title: Vec::new(),
        body: Vec::new(),
    });
    let text = if piece.body {
        &mut part.body
    } else {
        &mut part.title
    };
    text.extend(piece.text.unwrap_or_default());
    text.truncate(PART_MAX);
    if piece.last {
        return Some(osc::notice(&part.title, &part.body));
    }
    if parts.len() >= PARTS_MAX {
        parts.pop_front();
    }
    parts.push_back(part);
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn see(pieces: &[&[u8]]) -> Terminal {
        let mut facts = Facts::new(1);
        for (at, piece) in pieces.iter().enumerate() {
            facts.see(piece, at as i64 + 1);
        }
        facts.now
    }

    #[test]
    fn the_last_of_everything_is_known_and_when() {
        let told = see(&[
            b"\x1b]133;A\x07$ \x1b]133;B\x07",
            b"\x1b]133;C\x07\x1b]0;make\x07",
            b"\x1b]9;4;1;10\x07",
            b"\x1b]9;4;1;90\x07\x1b]0;make\x07",
            b"\x1b]9;done\x07\x07",
        ]);
        let wanted = Terminal {
            version: SPOOL_VERSION,
            run: 1,
            prompt: "C".to_owned(),
            prompt_ms: 2,
            progress: 1,
            progress_ms: 3,
            notice: "done".to_owned(),
            notice_ms: 5,
            bell_ms: 5,
            title: "make".to_owned(),
            title_ms: 2,
        };
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_was_known_changes_nothing() {
        let mut facts = Facts::new(1);
        assert!(!facts.see(b"text \x1b[31m\x1b]0;\x07\x1b]8;;x\x07", 1));
        assert!(facts.see(b"\x1b]9;4;0\x07", 2));
        assert!(!facts.see(b"\x1b]9;4;0\x07", 3));
        assert!(facts.see(b"\x1b]0;a\x07", 4) && !facts.see(b"\x1b]2;a\x07", 5));
        assert!(facts.see(b"\x07", 6) && facts.see(b"\x07", 7));
    }

    #[test]
    fn a_notification_in_pieces_is_told_when_it_is_whole() {
        let told = see(&[
            b"\x1b]99;i=1:d=0;Ti\x1b\\",
            b"\x1b]99;i=2:d=0;other\x1b\\",
            b"\x1b]99;i=1:d=0:e=1;dGxl\x1b\\",
            b"\x1b]99;i=1:d=0:p=icon;AAAA\x1b\\",
            b"\x1b]99;i=1:p=body;Body\x1b\\",
        ]);
        assert_eq!((told.notice.as_str(), told.notice_ms), ("Title: Body", 5));
    }

    #[test]
    fn pieces_that_never_end_take_no_memory() {
        let mut facts = Facts::new(1);
        for id in 0..100 {
            let piece = format!("\x1b]99;i={id}:d=0;{}\x07", "x".repeat(4000));
            facts.see(piece.as_bytes(), 1);
            facts.see(piece.as_bytes(), 1);
        }
        assert_eq!(facts.parts.len(), PARTS_MAX);
        assert!(facts.parts.iter().all(|part| part.title.len() <= PART_MAX));
    }

    #[test]
    fn what_is_passed_on_tells_no_title() {
        let told = see(&[b"\x1bPtmux;\x1b\x1b]0;t\x07\x1b\x1b]9;n\x07\x07\x1b\\"]);
        assert_eq!(
            (told.title.as_str(), told.notice.as_str(), told.bell_ms),
            ("", "n", 0)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let mut facts = Facts::new(1);
            facts.see(&bytes, 1);
            prop_assert!(facts.now.notice.len() <= MESSAGE_MAX && facts.now.title.len() <= MESSAGE_MAX);
        }
    }
}
