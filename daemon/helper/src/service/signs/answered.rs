//! When somebody last answered through the terminal: what is sent counts as an answer whatever it is, and of what is
//! typed at an attached terminal the keys that end one.

use crate::spool::{Answered, Dir, SPOOL_VERSION, now_ms};

const BEL: u8 = 0x07;
const ESC: u8 = 0x1b;
/// The prefix of our tmux, Ctrl-B.
const PREFIX: u8 = 0x02;
/// What stands around a paste, after an ESC.
const PASTE_BEGIN: &[u8] = b"[200~";
const PASTE_END: &[u8] = b"[201~";

/// Takes note of an answer, and gives the time of it. To be called before the program gets it, so that whatever it says
/// next is newer.
pub(in crate::service) fn mark(dir: &Dir) -> i64 {
    let at_ms = now_ms();
    let answered = Answered {
        version: SPOOL_VERSION,
        at_ms,
    };
    if let Err(error) = dir.write_answered(answered) {
        // The answer itself is more important than that it is known.
        tracing::warn!(%error, "taking note of an answer");
    }
    at_ms
}

/// Looks at what is typed at one terminal.
#[derive(Debug, Default)]
pub(in crate::service) struct Typing {
    /// Between the brackets of a paste, in which nothing is a key.
    pasting: bool,
    /// What may be the beginning of the end of a paste.
    tail: Vec<u8>,
    /// The prefix was pressed, so that the next key is for tmux.
    prefixed: bool,
    /// Somebody reads what was there before; the program gets no key.
    copying: bool,
}

impl Typing {
    /// Whether this holds a key that answers: Enter, Escape, Ctrl-C or Ctrl-D, or a single letter or digit, with which a
    /// menu is content. Keys arrive in one piece, as terminals send them; only a paste may come in several.
    pub(in crate::service) fn answers(&mut self, typed: &[u8]) -> bool {
        let whole = [std::mem::take(&mut self.tail).as_slice(), typed].concat();
        let mut left = whole.as_slice();
        let is_alone = left.len() == 1;
        let mut answers = false;
        while let Some((&first, rest)) = left.split_first() {
            left = rest;
            let mut key = &[first][..];
            if first == ESC {
                if self.pasting && rest.len() < PASTE_END.len() && PASTE_END.starts_with(rest) {
                    self.tail = [&[ESC], rest].concat();
                    break;
                }
                (key, left) = rest.split_at(sequence(rest));
                match key {
                    PASTE_BEGIN => self.pasting = true,
                    PASTE_END => self.pasting = false,
                    _ => {}
                }
            }
            if !self.pasting {
                answers |= self.key(first, key, is_alone);
            }
        }
        answers
    }

    /// Whether this key answers. `key`: of a sequence what comes after its ESC.
    fn key(&mut self, first: u8, key: &[u8], is_alone: bool) -> bool {
        if std::mem::take(&mut self.prefixed) {
            self.copying |= matches!(key, b"[" | b"[5~");
            return false;
        }
        let is_escape = first == ESC && key.is_empty();
        if self.copying {
            self.copying = !(is_escape || matches!(first, b'q' | b'\r' | 0x03));
            return false;
        }
        self.prefixed = first == PREFIX;
        is_escape
            || matches!(first, b'\r' | b'\n' | 0x03 | 0x04)
            || (is_alone && (0x21..0x7f).contains(&first))
    }
}

/// How many bytes after an ESC belong to it.
fn sequence(after: &[u8]) -> usize {
    let until = |ends: &dyn Fn(u8) -> bool| {
        let end = after.iter().skip(1).position(|&byte| ends(byte));
        end.map_or(after.len(), |end| end + 2)
    };
    match after.first() {
        // A key or a report.
        Some(b'[') => until(&|byte| (0x40..0x7f).contains(&byte)),
        Some(b'O') => after.len().min(2),
        // What a terminal says of itself when it is asked.
        Some(b']' | b'P' | b'_') => until(&|byte| byte == BEL || byte == b'\\'),
        // With Alt, a key is another one.
        Some(0x20..0x7f) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answers(typed: &[u8]) -> bool {
        Typing::default().answers(typed)
    }

    #[test]
    fn keys_that_end_an_answer_count_and_others_do_not() {
        for key in [
            "\r",
            "yes\r",
            "\n",
            "\x1b",
            "\x03",
            "\x04",
            "a\x1b",
            "\x1b\x1b",
            "\x1b[A\r",
            "\x1b\r",
            "y",
            "1",
            "\x02\x02\r",
        ] {
            assert!(answers(key.as_bytes()), "{key:?}");
        }
        for key in [
            "",
            "é",
            " ",
            "ab",
            "\x02d",
            "\x02[\x1b",
            "\x02[jj\x03",
            "\x02\x1b[5~q",
            "\t",
            "\x7f",
            "\x1b[A",
            "\x1bOA",
            "\x1b[1;5C",
            "\x1bb",
            "\x1b[I",
            "\x1b]11;rgb:1/2/3\x1b\\",
            "\x1bP>|x\x1b\\",
            "\x02",
        ] {
            assert!(!answers(key.as_bytes()), "{key:?}");
        }
    }

    #[test]
    fn a_paste_is_no_answer_before_its_enter() {
        let mut typing = Typing::default();
        assert!(!typing.answers(b"\x1b[200~one\rtwo"));
        assert!(!typing.answers(b"\rthree\x1b[201~"));
        assert!(typing.answers(b"\r"));
    }

    #[test]
    fn a_paste_ends_wherever_it_is_cut() {
        let paste = b"\x1b[200~line\rline\r\x1b[201~";
        for at in 0..=paste.len() {
            let mut typing = Typing::default();
            let (first, second) = paste.split_at(at);
            // What comes before all of its beginning is there is no paste yet.
            if at >= 6 || at == 0 {
                assert!(!typing.answers(first) && !typing.answers(second), "{at}");
                assert!(typing.answers(b"\r"), "{at}");
            }
        }
    }

    #[test]
    fn what_is_typed_while_reading_back_is_for_tmux() {
        let mut typing = Typing::default();
        assert!(!typing.answers(b"\x02") && !typing.answers(b"[") && !typing.answers(b"j"));
        assert!(!typing.answers(b"\x1b"), "leaves it");
        assert!(typing.answers(b"\x1b"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_typed(typed in proptest::collection::vec(any::<u8>(), 0..100)) {
            answers(&typed);
        }
    }
}
