//! Text from outside: what of it must not reach a terminal or whatever else shows it to people.

/// True for what must not be shown as it is: control characters, separators of lines, and what is invisible or changes the
/// direction of text.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Direction marks, embeddings, overrides and isolates.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators.
            | '\u{2028}' | '\u{2029}'
            // Invisible: zero width, soft hyphen, word joiner, deprecated formats, tags, annotations.
            | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line of at most so many characters, without what is unsafe. Where something was cut off, the last one is `…`.
#[must_use]
pub fn one_line(text: &str, longest: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    let mut blank = false;
    for c in text.chars() {
        // What separates lines or words separates words.
        if c.is_whitespace() || c.is_control() {
            blank = length > 0;
            continue;
        }
        if is_unsafe(c) {
            continue;
        }
        if length + usize::from(blank) >= longest {
            if length == longest {
                line.pop();
            }
            line.push('…');
            return line;
        }
        if blank {
            line.push(' ');
            length += 1;
            blank = false;
        }
        line.push(c);
        length += 1;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_and_bounded() {
        assert_eq!(one_line(" a\r\n\u{1b}[1mb\t\u{2028}c\u{202e}d ", 20), "a [1mb cd");
        assert_eq!(one_line("\n\u{9b} \u{200b}", 20), "");
        assert_eq!(one_line("abc def", 7), "abc def");
        assert_eq!(one_line("abc defg", 7), "abc de…");
        assert_eq!(one_line("abc  defg", 4), "abc…");
        assert_eq!(one_line("éé", 1), "…");
        assert_eq!(one_line("a", 0), "…");
    }
}
