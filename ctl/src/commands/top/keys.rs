//! From the bytes of a terminal to keys. Not by crossterm, which reads ahead: what is typed behind the key that attaches
//! is for the session, and stays here until it is asked for.

use std::collections::VecDeque;

/// What the terminal sends around a paste.
/// More is no paste: its end was lost, or nobody wants it.
const PASTE_MAX: usize = 256 << 10;
const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// The longest sequence that is a key. What is longer is none, and ends there.
const LONGEST: usize = 32;

/// A key, or several that came as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    BackTab,
    Enter,
    Esc,
    Backspace,
    Char(char),
    /// With Ctrl, in lower case.
    Ctrl(char),
    /// What was pasted.
    Paste(String),
    /// One that means nothing here.
    Other,
}

/// What was typed and is not read yet.
#[derive(Debug, Default)]
pub struct Keys(VecDeque<u8>);

/// What some bytes begin with.
enum Begin {
    Key(Key, usize),
    /// It may become a key.
    Part,
    Nothing,
}

impl Keys {
    /// Takes what was typed.
    pub fn typed(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// The next key. None: there is none, or only a part of one.
    pub fn next(&mut self) -> Option<Key> {
        match begin(self.0.make_contiguous()) {
            Begin::Key(key, length) => {
                self.0.drain(..length);
                Some(key)
            }
            Begin::Part | Begin::Nothing => None,
        }
    }

    /// Whether there is an Escape that may be the key, or the beginning of another.
    pub fn is_undecided(&mut self) -> bool {
        let bytes = self.0.make_contiguous();
        bytes.first() == Some(&0x1b) && !bytes.starts_with(PASTE_BEGIN) && matches!(begin(bytes), Begin::Part)
    }

    /// Nothing followed: the Escape was the key.
    pub fn decide(&mut self) -> Option<Key> {
        if !self.is_undecided() {
            return None;
        }
        self.0.pop_front();
        Some(Key::Esc)
    }

    /// All that is not read, for somebody else.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).into()
    }
}

fn begin(bytes: &[u8]) -> Begin {
    match bytes {
        [] => Begin::Nothing,
        [0x1b] => Begin::Part,
        [0x1b, b'[', rest @ ..] => control(bytes, rest),
        [0x1b, b'O'] => Begin::Part,
        [0x1b, b'O', last, ..] => Begin::Key(cursor(*last), 3),
        [0x1b, ..] => Begin::Key(Key::Esc, 1),
        [b'\r' | b'\n', ..] => Begin::Key(Key::Enter, 1),
        [b'\t', ..] => Begin::Key(Key::Tab, 1),
        [0x7f | 0x08, ..] => Begin::Key(Key::Backspace, 1),
        [byte @ 0x01..=0x1a, ..] => Begin::Key(Key::Ctrl(char::from(byte + b'a' - 1)), 1),
        [0x00..=0x1f, ..] => Begin::Key(Key::Other, 1),
        _ => text(bytes),
    }
}

/// A control sequence; `rest` is what stands behind its introducer.
fn control(bytes: &[u8], rest: &[u8]) -> Begin {
    if let Some(pasted) = bytes.strip_prefix(PASTE_BEGIN) {
        let end = pasted
            .windows(PASTE_END.len())
            .position(|window| window == PASTE_END);
        if end.is_none() && pasted.len() > PASTE_MAX {
            return Begin::Key(Key::Other, bytes.len());
        }
        return end.map_or(Begin::Part, |end| {
            let text = pasted.get(..end).unwrap_or_default();
            let length = PASTE_BEGIN.len() + end + PASTE_END.len();
            Begin::Key(Key::Paste(String::from_utf8_lossy(text).into_owned()), length)
        });
    }
    let Some(end) = rest.iter().position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return if rest.len() < LONGEST {
            Begin::Part
        } else {
            Begin::Key(Key::Other, bytes.len())
        };
    };
    let (parameters, last) = (&rest[..end], rest[end]);
    let key = match (parameters, last) {
        ([], b'Z') => Key::BackTab,
        ([], last) => cursor(last),
        (b"5", b'~') => Key::PageUp,
        (b"6", b'~') => Key::PageDown,
        (b"1" | b"7", b'~') => Key::Home,
        (b"4" | b"8", b'~') => Key::End,
        _ => Key::Other,
    };
    Begin::Key(key, 2 + end + 1)
}

fn cursor(last: u8) -> Key {
    match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'H' => Key::Home,
        b'F' => Key::End,
        b'M' => Key::Enter,
        _ => Key::Other,
    }
}

/// A character. What is no text is one key that means nothing a byte.
fn text(bytes: &[u8]) -> Begin {
    let most = bytes.get(..4).unwrap_or(bytes);
    let valid = match std::str::from_utf8(most) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(most.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(error) if error.error_len().is_none() => return Begin::Part,
        Err(_) => "",
    };
    match valid.chars().next() {
        Some(c) => Begin::Key(Key::Char(c), c.len_utf8()),
        None => Begin::Key(Key::Other, 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(keys: &mut Keys) -> Vec<Key> {
        std::iter::from_fn(|| keys.next()).collect()
    }

    fn read(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        keys.typed(bytes);
        all(&mut keys)
    }

    #[test]
    fn keys_are_read_from_what_terminals_send() {
        let cases: [(&[u8], &[Key]); 9] = [
            (b"jk", &[Key::Char('j'), Key::Char('k')]),
            (b"\x1b[A\x1bOB", &[Key::Up, Key::Down]),
            (
                b"\x1b[5~\x1b[6~\x1b[H\x1b[4~",
                &[Key::PageUp, Key::PageDown, Key::Home, Key::End],
            ),
            (
                b"\t\x1b[Z\r\x7f\x03",
                &[Key::Tab, Key::BackTab, Key::Enter, Key::Backspace, Key::Ctrl('c')],
            ),
            ("ü🦀".as_bytes(), &[Key::Char('ü'), Key::Char('🦀')]),
            (b"\x1bq", &[Key::Esc, Key::Char('q')]),
            (
                b"\x1b[1;5Cx\x1b[<0;1;1M",
                &[Key::Other, Key::Char('x'), Key::Other],
            ),
            (b"\xff\x00a", &[Key::Other, Key::Other, Key::Char('a')]),
            (
                b"\x1b[200~q\x1b[Ac\r\x1b[201~j",
                &[Key::Paste("q\u{1b}[Ac\r".to_owned()), Key::Char('j')],
            ),
        ];
        for (bytes, keys) in cases {
            assert_eq!(read(bytes), keys, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_escape_alone_is_the_key_once_nothing_follows() {
        let mut keys = Keys::default();
        keys.typed(b"\x1b");
        assert_eq!((keys.next(), keys.is_undecided()), (None, true));
        assert_eq!((keys.decide(), keys.decide()), (Some(Key::Esc), None));
        keys.typed(b"\x1b[200~half");
        assert_eq!(
            (keys.next(), keys.is_undecided(), keys.decide()),
            (None, false, None)
        );
        keys.typed(b"\x1b[201~");
        assert_eq!(keys.next(), Some(Key::Paste("half".to_owned())));
    }

    #[test]
    fn what_is_behind_a_key_can_be_given_to_somebody_else() {
        let mut keys = Keys::default();
        keys.typed(b"\rls\x1b[A");
        assert_eq!(keys.next(), Some(Key::Enter));
        assert_eq!(keys.rest(), b"ls\x1b[A");
        assert_eq!(keys.next(), None);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_it_is_cut(bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0_usize..60) {
            let cut = cut.min(bytes.len());
            let mut keys = Keys::default();
            keys.typed(&bytes[..cut]);
            let mut read_in_two = all(&mut keys);
            keys.typed(&bytes[cut..]);
            read_in_two.extend(all(&mut keys));
            prop_assert_eq!(read_in_two, read(&bytes));
        }
    }
}
