//! Escapes of a terminal that belongs to a program elsewhere, as in ssh: `~.`, `~?` and `~~` at the beginning of a line.
//!
//! A paste that the terminal marks as one is passed on as it is, whatever stands in it. What the terminal itself says in
//! between (answers to questions of the program, mouse and focus reports) is not typed and does not end the beginning of a
//! line.

/// What the terminal sends around a paste.
const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// What an escape asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `~.`: leave.
    Leave,
    /// `~?`: show the escapes.
    Help,
}

/// Bytes behind the report of a mouse in its oldest form.
const OLD_MOUSE: u8 = 3;

/// Where in a sequence of the terminal's the last byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sequence {
    None,
    /// Behind ESC.
    Begun,
    /// In a control sequence, and how many bytes of it have come.
    Control(usize),
    /// In a string, which BEL or ESC \ ends.
    Text,
    /// Behind the ESC in a string.
    TextEnd,
    /// So many bytes belong to it still.
    Rest(u8),
}

/// Looks for escapes in what is typed.
#[derive(Debug)]
pub struct Escapes {
    /// The next byte begins a line.
    line_start: bool,
    sequence: Sequence,
    /// The sequence began where a line begins.
    sequence_at_start: bool,
    /// A `~` is held back until the next byte tells what it is.
    held: bool,
    pasting: bool,
    /// How much of the mark of a paste has come.
    marked: usize,
}

impl Escapes {
    /// At the beginning of a line.
    pub fn new() -> Self {
        Self {
            line_start: true,
            sequence: Sequence::None,
            sequence_at_start: false,
            held: false,
            pasting: false,
            marked: 0,
        }
    }

    /// What is typed next begins a line, whatever was typed before.
    pub fn new_line(&mut self) {
        *self = Self::new();
    }

    /// Takes what was typed: what of it is for the program, and the escape it ends with. Only so much is taken; the
    /// rest, of the length that comes last, is to be given again.
    pub fn take(&mut self, typed: &[u8]) -> (Vec<u8>, Option<Escape>, usize) {
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for (at, &byte) in typed.iter().enumerate() {
            let rest = typed.len() - at - 1;
            if std::mem::take(&mut self.held) {
                match byte {
                    b'.' => return (passed, Some(Escape::Leave), rest),
                    b'?' => return (passed, Some(Escape::Help), rest),
                    b'~' => {
                        passed.push(b'~');
                        self.line_start = false;
                        continue;
                    }
                    _ => passed.push(b'~'),
                }
            } else if byte == b'~' && self.line_start && !self.pasting {
                self.held = true;
                continue;
            }
            self.mark(byte);
            self.follow(byte);
            passed.push(byte);
        }
        (passed, None, 0)
    }

    /// Tells whether the next byte begins a line.
    fn follow(&mut self, byte: u8) {
        use Sequence::{Begun, Control, None, Rest, Text, TextEnd};
        let (next, report) = match (self.sequence, byte) {
            (None, 0x1b) => {
                self.sequence_at_start = self.line_start;
                (Begun, false)
            }
            (Begun | TextEnd, 0x1b) => (Begun, false),
            (Begun, b'[') => (Control(0), false),
            // Answers come as strings: DCS, OSC, APC.
            (Begun, b'P' | b']' | b'_') => (Text, false),
            (Control(0), b'M') => (Rest(OLD_MOUSE), false),
            // Attributes, positions, states, sizes, focus, mouse.
            (Control(_), b'c' | b'R' | b'n' | b'y' | b't' | b'I' | b'O' | b'M' | b'm') => (None, true),
            (Control(count), 0x20..=0x3f) => (Control(count + 1), false),
            (Text, 0x07) | (TextEnd, b'\\') => (None, true),
            (Text, 0x1b) => (TextEnd, false),
            // Strings have no ends of lines. This one was none.
            (Text, byte) if !matches!(byte, b'\r' | b'\n') => (Text, false),
            (Rest(1), _) => (None, true),
            (Rest(count), _) => (Rest(count - 1), false),
            _ => (None, false),
        };
        self.sequence = next;
        self.line_start = if report {
            self.sequence_at_start
        } else {
            next == None && matches!(byte, b'\r' | b'\n')
        };
    }

    /// Watches for the marks of a paste.
    fn mark(&mut self, byte: u8) {
        let mark = if self.pasting { PASTE_END } else { PASTE_BEGIN };
        if mark.get(self.marked) == Some(&byte) {
            self.marked += 1;
            if self.marked == mark.len() {
                self.pasting = !self.pasting;
                self.marked = 0;
            }
        } else {
            self.marked = usize::from(byte == 0x1b);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that was passed, and the escapes in between.
    fn all(escapes: &mut Escapes, mut typed: &[u8]) -> (Vec<u8>, Vec<Escape>) {
        let (mut passed, mut found) = (Vec::new(), Vec::new());
        loop {
            let (more, escape, rest) = escapes.take(typed);
            passed.extend(more);
            found.extend(escape);
            if escape.is_none() {
                return (passed, found);
            }
            typed = &typed[typed.len() - rest..];
        }
    }

    fn typed(text: &[u8]) -> (Vec<u8>, Vec<Escape>) {
        all(&mut Escapes::new(), text)
    }

    #[test]
    fn escapes_count_only_at_the_beginning_of_a_line() {
        use Escape::{Help, Leave};
        let cases: [(&[u8], &[u8], &[Escape]); 9] = [
            (b"~.", b"", &[Leave]),
            (b"ls\r~.", b"ls\r", &[Leave]),
            (b"cd ~\r", b"cd ~\r", &[]),
            (b"a~.", b"a~.", &[]),
            (b"~~.", b"~.", &[]),
            (b"~/bin\r", b"~/bin\r", &[]),
            (b"~?~.", b"", &[Help, Leave]),
            (b"~\r~.", b"~\r", &[Leave]),
            (b"x\n~?y", b"x\ny", &[Help]),
        ];
        for (text, passed, escapes) in cases {
            assert_eq!(
                typed(text),
                (passed.to_vec(), escapes.to_vec()),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn what_the_terminal_says_by_itself_is_not_typed() {
        let reports: [&[u8]; 7] = [
            b"\x1b[?1;2c",
            b"\x1b[>41;0;0c",
            b"\x1bP>|tmux 3.5a\x1b\\",
            b"\x1b]11;rgb:0000/0000/0000\x07",
            b"\x1b[<0;94;3M\x1b[<0;94;3m",
            b"\x1b[M ~~",
            b"\x1b[O\x1b[I",
        ];
        for report in reports {
            let shown = report.escape_ascii().to_string();
            assert_eq!(
                typed(&[report, b"~."].concat()),
                (report.to_vec(), vec![Escape::Leave]),
                "{shown}"
            );
            let later = [b"a", report, b"~."].concat();
            assert_eq!(typed(&later), (later, vec![]), "{shown}");
        }
        // Keys are typed, however they are sent.
        for key in [
            &b"\x1b[A"[..],
            b"\x1bOA",
            b"\x1b",
            b"\x1b[3~",
            b"\x1bx",
            b"\x1b[1;5D",
        ] {
            let text = [key, b"~."].concat();
            assert_eq!(typed(&text), (text, vec![]), "{}", key.escape_ascii());
        }
        assert_eq!(typed(b"\x1b\r~.").1, [Escape::Leave]);
        assert_eq!(typed(b"\x1b]\r~.").1, [Escape::Leave], "it was no string");
    }

    #[test]
    fn a_paste_is_passed_as_it_is() {
        let text = b"\x1b[200~a\r~.\r~~~\r\x1b[201~";
        assert_eq!(typed(text), (text.to_vec(), vec![]));
        let mut escapes = Escapes::new();
        assert_eq!(
            all(&mut escapes, b"\x1b[200~~.\r\x1b[201~\r~."),
            (b"\x1b[200~~.\r\x1b[201~\r".to_vec(), vec![Escape::Leave])
        );
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_it_is_cut(text in "[~.?\r\na\u{1b}\\[201]{0,40}", cut in 0_usize..40) {
            let text = text.as_bytes();
            let cut = cut.min(text.len());
            let mut escapes = Escapes::new();
            let (mut passed, mut found) = all(&mut escapes, &text[..cut]);
            let second = all(&mut escapes, &text[cut..]);
            passed.extend(second.0);
            found.extend(second.1);
            prop_assert_eq!((passed, found), typed(text));
        }

        #[test]
        fn what_has_no_tilde_is_untouched(text in "[^~]{0,60}") {
            prop_assert_eq!(typed(text.as_bytes()), (text.into_bytes(), vec![]));
        }
    }
}
