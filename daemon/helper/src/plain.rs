//! Text of programs made plain: one line, without control characters, bounded. It is still theirs, and says what they
//! want it to say.

/// The longest message that is kept of a program, bytes.
pub(crate) const MESSAGE_MAX: usize = 1000;

/// One plain line of these bytes, cut to [`MESSAGE_MAX`]. Control characters and what only changes the direction of text
/// become blanks, rows of blanks one, and what is no UTF-8 the character that stands for that.
pub(crate) fn line(bytes: &[u8]) -> String {
    // Blanks at the beginning count for the cut, so that much of nothing costs nothing.
    let bytes = bytes.get(..4 * MESSAGE_MAX).unwrap_or(bytes);
    let mut plain = String::new();
    for word in String::from_utf8_lossy(bytes).split(is_blank) {
        if word.is_empty() {
            continue;
        }
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
        if plain.len() > MESSAGE_MAX {
            plain.truncate(plain.floor_char_boundary(MESSAGE_MAX));
            plain.truncate(plain.trim_end().len());
            break;
        }
    }
    plain
}

fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_plain() {
        assert_eq!(line(b"  Approve\x1b[31m it?\r\n\tNow "), "Approve [31m it? Now");
        assert_eq!(line("a\u{202e}b\u{85}c".as_bytes()), "a b c");
        assert_eq!(line(b"\xffx"), "\u{fffd}x");
        assert_eq!(line(b" \n "), "");
        assert_eq!(line("é".repeat(600).as_bytes()).len(), 1000);
        assert_eq!(line("漢".repeat(600).as_bytes()).len(), 999);
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_bounded_line(bytes in proptest::collection::vec(any::<u8>(), 0..6000)) {
            let plain = line(&bytes);
            prop_assert!(plain.len() <= MESSAGE_MAX);
            prop_assert!(!plain.chars().any(char::is_control));
        }
    }
}
