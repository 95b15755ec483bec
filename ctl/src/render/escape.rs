//! Text from outside, made safe to show in one line on a terminal.

use std::{borrow::Cow, fmt::Write as _};

use outlast_client::text::is_unsafe;

/// Shows control characters, line separators and whatever changes the direction of text or is invisible as escapes.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\u{1b}' => shown.push_str("\\e"),
            c if is_unsafe(c) => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Text of several lines, such as a screen: newlines and tabs stay.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| line.split('\t').map(escape).collect::<Vec<_>>().join("\t"))
        .collect();
    Cow::Owned(lines.join("\n"))
}

/// A command line as one would type it, safe to show.
pub fn command(argv: &[String]) -> String {
    let words: Vec<Cow<'_, str>> = argv.iter().map(|word| quote(word)).collect();
    escape(&words.join(" ")).into_owned()
}

/// Quotes a word for a POSIX shell where it needs that.
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn controls_are_shown_not_sent() {
        assert_eq!(escape("a\u{1b}[2Jb\r\n\u{9b}"), "a\\e[2Jb\\r\\n\\u{9b}");
        assert_eq!(escape("\u{202e}evil\u{7f}"), "\\u{202e}evil\\u{7f}");
        assert_eq!(escape("plain – ünï 🦀"), "plain – ünï 🦀");
        assert_eq!(escape_lines("a\tb\n\u{1b}c\n"), "a\tb\n\\ec\n");
    }

    #[test]
    fn commands_read_as_typed() {
        let argv = ["sh", "-c", "echo 'hi'; exit 7", ""].map(str::to_owned);
        assert_eq!(command(&argv), "sh -c 'echo '\\''hi'\\''; exit 7' ''");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_survives(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_unsafe));
            prop_assert!(!escape_lines(&text).chars().any(|c| is_unsafe(c) && c != '\n' && c != '\t'));
        }

        #[test]
        fn controls_never_survive(text in "[\u{0}-\u{20}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}]{0,20}") {
            let shown = escape(&text).into_owned();
            prop_assert!(shown.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{shown:?}");
        }

        #[test]
        fn harmless_text_stays(text in "[ -~]{0,40}") {
            prop_assert_eq!(escape(&text), text.as_str());
        }
    }
}
