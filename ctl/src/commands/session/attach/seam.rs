//! Where something may be put between two pieces of a program's output: not within a character, nor within a sequence that
//! means something to the terminal.

/// What the output so far ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seam {
    /// Nothing that goes on.
    #[default]
    Clear,
    /// A character of which so many bytes are missing.
    Character(u8),
    /// ESC, and what may stand between it and the end of its sequence.
    Escape,
    /// A control sequence: its last byte is missing.
    Control,
    /// A string for the terminal: OSC, DCS and their like.
    String,
    /// The ESC within such a string that may be the beginning of its end.
    StringEnd,
}

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

impl Seam {
    /// What the output ends in after these bytes.
    #[must_use]
    pub fn after(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |seam, byte| seam.next(*byte))
    }

    const fn next(self, byte: u8) -> Self {
        match (self, byte) {
            // CAN and SUB end whatever it is.
            (_, 0x18 | 0x1a) => Self::Clear,
            (Self::StringEnd, b'\\') => Self::Clear,
            (Self::String, ESC) => Self::StringEnd,
            (Self::String, BEL) => Self::Clear,
            (Self::String, _) => Self::String,
            (_, ESC) => Self::Escape,
            (Self::Character(missing), 0x80..=0xbf) => match missing {
                0 | 1 => Self::Clear,
                missing => Self::Character(missing - 1),
            },
            // Another sequence ends a string that was not ended.
            (Self::Escape | Self::StringEnd, b'[') => Self::Control,
            (Self::Escape | Self::StringEnd, b']' | b'P' | b'X' | b'^' | b'_' | b'k') => Self::String,
            (Self::Escape, 0x20..=0x2f) => Self::Escape,
            // It goes on: parameters, and controls within.
            (Self::Control, 0x00..=0x3f) => Self::Control,
            (_, 0xc2..=0xdf) => Self::Character(1),
            (_, 0xe0..=0xef) => Self::Character(2),
            (_, 0xf0..=0xf4) => Self::Character(3),
            _ => Self::Clear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a text may be cut, as a line of marks below its bytes: `|` before a byte where it may.
    fn cuts(text: &[u8]) -> String {
        (0..=text.len())
            .map(|at| {
                let clear = Seam::default().after(&text[..at]) == Seam::Clear;
                if clear { '|' } else { '.' }
            })
            .collect()
    }

    #[test]
    fn a_sequence_and_a_character_are_not_cut() {
        for (text, marks) in [
            (&b"ab"[..], "|||"),
            ("é€🦀".as_bytes(), "|.|..|...|"),
            (b"\x1b[1;31mX", "|......||"),
            (b"\x1b(BX", "|..||"),
            (b"\x1b7\x1b8", "|.|.|"),
            (b"\x1b]0;t\x07X", "|.....||"),
            (b"\x1b]9;a\x1b\\X", "|......||"),
            (b"\x1b]52;c;AAA\x18X", "|..........||"),
        ] {
            assert_eq!(cuts(text), marks, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn however_it_comes_in_pieces_it_ends_the_same() {
        let text = "\x1b[2J\x1b[1;1Hé\x1b]0;title\x1b\\\x1b[38;2;1;2;3m€".as_bytes();
        for cut in 0..text.len() {
            let (before, after) = text.split_at(cut);
            assert_eq!(
                Seam::default().after(before).after(after),
                Seam::default().after(text)
            );
        }
    }
}
