//! Lines of a terminal's output as a person would read them: escape sequences and control characters left out.
//!
//! It never fails and never grows: whatever the bytes are, memory is bounded by [`LINE_MAX`], and text that was split
//! between two pieces in the middle of a sequence or a character comes out as if it had been one.

/// Longest line that is kept, in bytes; the rest of a longer one is left out.
pub const LINE_MAX: usize = 64 * 1024;

/// Where the reader stands within an escape sequence (ECMA-48).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// In text.
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// Behind ESC and an intermediate byte: one final byte follows.
    Intermediate,
    /// In a control sequence, `ESC [ … final`.
    Control,
    /// In a string, `ESC ] … BEL` or `… ESC \`.
    String,
    /// Behind an ESC within a string.
    StringEscape,
}

/// Makes lines of pieces of output.
#[derive(Debug, Default)]
pub struct Lines {
    at: At,
    line: Vec<u8>,
}

impl Lines {
    /// A reader at the beginning of a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one byte. True when it ended a line; then [`Lines::text`] is that line until [`Lines::clear`].
    pub fn push(&mut self, byte: u8) -> bool {
        self.at = match (self.at, byte) {
            // CAN and SUB end any sequence; a newline does in text, and is plain payload nowhere that matters.
            (_, 0x18 | 0x1a) => At::Text,
            (At::Text, 0x1b) => At::Escape,
            (At::Text, b'\n') => return true,
            (At::Text, byte) => {
                self.keep(byte);
                At::Text
            }
            (At::Escape | At::Intermediate | At::Control, 0x1b) => At::Escape,
            (At::Escape, b'[') => At::Control,
            (At::Escape, b']' | b'P' | b'X' | b'^' | b'_') => At::String,
            (At::Escape | At::Intermediate, 0x20..=0x2f) => At::Intermediate,
            (At::Escape | At::Intermediate, 0x30..=0x7e) | (At::Control, 0x40..=0x7e) => At::Text,
            // Control characters within a sequence act as if they stood before it.
            (At::Escape | At::Intermediate | At::Control, b'\n') => {
                self.at = At::Text;
                return true;
            }
            (At::Escape | At::Intermediate, 0x80..) => {
                self.keep(byte);
                At::Text
            }
            (at @ (At::Escape | At::Intermediate | At::Control), _) => at,
            (At::String, 0x07) | (At::StringEscape, b'\\') => At::Text,
            (At::String | At::StringEscape, 0x1b) => At::StringEscape,
            // An unended string must not swallow everything that follows.
            (At::String | At::StringEscape, b'\n') => {
                self.at = At::Text;
                return true;
            }
            (At::String, _) => At::String,
            // ESC in a string that does not end it begins a new sequence.
            (At::StringEscape, byte) => {
                self.at = At::Escape;
                return self.push(byte);
            }
        };
        false
    }

    /// Keeps a byte of text. A backspace takes one back; a return is left out, as terminals end lines with one.
    fn keep(&mut self, byte: u8) {
        match byte {
            0x08 => {
                while let Some(last) = self.line.pop() {
                    // Bytes 10xxxxxx go on a character of UTF-8, whose first byte goes last.
                    if last & 0xc0 != 0x80 {
                        break;
                    }
                }
            }
            b'\t' | 0x20..=0x7e | 0x80.. if self.line.len() < LINE_MAX => self.line.push(byte),
            _ => {}
        }
    }

    /// The line so far. What is not UTF-8 shows as replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }

    /// Begins the next line.
    pub fn clear(&mut self) {
        self.line.clear();
    }

    /// True when nothing of a line has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, String) {
        let mut reader = Lines::new();
        let mut lines = Vec::new();
        for byte in pieces.iter().flat_map(|piece| piece.iter()) {
            if reader.push(*byte) {
                lines.push(reader.text());
                reader.clear();
            }
        }
        (lines, reader.text())
    }

    #[test]
    fn escape_sequences_are_left_out() {
        for (bytes, text) in [
            (&b"\x1b[1;31mred\x1b[0m"[..], "red"),
            (b"\x1b]0;title\x07prompt", "prompt"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"\x1b(Bplain", "plain"),
            (b"\x1b=keypad\x1b>", "keypad"),
            (b"\x1bPq#0;2;0\x1b\\picture", "picture"),
            (b"a\x1b[2\x18b", "ab"),
            (b"abc\x08\x08x", "ax"),
            ("é\u{8}e".as_bytes(), "e"),
            (b"bell\x07", "bell"),
            ("\u{1b}[32m✓\u{1b}[0m ok".as_bytes(), "✓ ok"),
        ] {
            assert_eq!(lines(&[bytes]), (vec![], text.to_owned()), "{bytes:?}");
        }
    }

    #[test]
    fn an_unended_string_does_not_swallow_the_next_line() {
        assert_eq!(lines(&[b"\x1b]0;oops\nready\r\n"]).0, ["", "ready"]);
    }

    #[test]
    fn a_long_line_is_cut() {
        let long = vec![b'x'; LINE_MAX * 2];
        assert_eq!(lines(&[&long]).1.len(), LINE_MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_leave_controls(bytes: Vec<u8>) {
            let (lines, rest) = lines(&[&bytes]);
            for text in lines.iter().chain([&rest]) {
                prop_assert!(text.chars().all(|c| c == '\t' || !c.is_ascii_control()), "{text:?}");
            }
        }

        #[test]
        fn where_pieces_are_split_does_not_matter(bytes: Vec<u8>, at: usize) {
            let at = at % (bytes.len() + 1);
            let (head, tail) = bytes.split_at(at);
            prop_assert_eq!(lines(&[head, tail]), lines(&[&bytes]));
        }

        #[test]
        fn coloured_text_reads_as_the_text(text in "[a-zA-Z0-9 äß✓]{0,40}", code in 0..108_u8) {
            let coloured = format!("\x1b[{code}m{text}\x1b[0m\r\n");
            prop_assert_eq!(lines(&[coloured.as_bytes()]).0, vec![text]);
        }
    }
}
