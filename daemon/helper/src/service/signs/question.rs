//! What is asked where a program shows only a sign to type behind, such as `>` or `#?`: it stands above that. Pure.

use crate::plain;

/// Most rows of a screen that are read as one line.
const ROWS_MAX: usize = 8;

/// Most rows above a sign that are looked through: a long menu.
const ABOVE_MAX: usize = 64;

/// The question that belongs to a line which is only a sign, from the rows above it: the nearest one in the same block of
/// rows that looks like a question or a heading. None: the line has words, or there is none. What was typed behind the same
/// sign before is no question; neither is any other row, which may be a command that somebody typed a secret into.
pub(super) fn for_sign(line: &str, above: &[&str], columns: usize) -> Option<String> {
    let line = line.trim();
    if line.is_empty() || line.contains(char::is_alphanumeric) {
        return None;
    }
    let mut end = above.len();
    while let Some(row) = end.checked_sub(1).filter(|row| above.len() - row <= ABOVE_MAX) {
        let (text, rows) = joined(above, columns, row);
        if text.is_empty() {
            break;
        }
        if !text.starts_with(line) && is_question(&text) {
            return Some(text);
        }
        end -= rows;
    }
    None
}

/// This row and those above that are full to the last column, as one plain line, and how many rows that are.
pub(super) fn joined(rows: &[&str], columns: usize, row: usize) -> (String, usize) {
    let is_full = |above: &usize| {
        let text = rows.get(*above).copied().unwrap_or_default();
        columns > 0 && text.chars().count() >= columns
    };
    let above = (0..row).rev().take(ROWS_MAX - 1).take_while(is_full).count();
    let rows = rows.get(row - above..=row).unwrap_or_default();
    (plain::line(rows.concat().as_bytes()), above + 1)
}

/// Whether a line that was ended asks for something: it ends like a question, or with a choice.
pub(super) fn is_question(line: &str) -> bool {
    let line = line.trim_end();
    let is_choice = || {
        let (open, end) = match line.chars().last() {
            Some(')') => ('(', ')'),
            Some(']') => ('[', ']'),
            _ => return false,
        };
        let inner = line.strip_suffix(end).and_then(|line| line.rsplit_once(open));
        inner.is_some_and(|(before, choice)| !before.trim().is_empty() && choice.contains(['/', '|']))
    };
    line.ends_with(['?', ':']) || is_choice()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asks(line: &str, above: &str) -> Option<String> {
        let above: Vec<&str> = above.lines().collect();
        for_sign(line, &above, 80)
    }

    #[test]
    fn the_question_of_a_sign_is_the_nearest_above_in_its_block() {
        for (line, above, question) in [
            (
                "#?",
                "$ ./setup\nWhich colour?\n1) red\n2) blue",
                Some("Which colour?"),
            ),
            (">", "Old one?\n\nYour name:", Some("Your name:")),
            ("❯", "Go on?\n\nhello\nworld", None),
            (": ", "Remove it [y/n]\n   1. all", Some("Remove it [y/n]")),
            // What was typed there before is none.
            (
                "#?",
                "Which colour?\n1) red\n2) blue\n#? 9",
                Some("Which colour?"),
            ),
            (">", "> joe?", None),
            (">", "hello\n> joe", None),
            (">", "Your name:\n", Some("Your name:")),
            (">", "Your name:\n\n", None),
            (">", "", None),
            ("", "Your name:", None),
            ("server>", "Your name:", None),
            ("[1]", "Your name:", None),
        ] {
            assert_eq!(asks(line, above).as_deref(), question, "{line:?} {above:?}");
        }
    }

    #[test]
    fn a_question_may_be_longer_than_a_row() {
        let above = ["Do you want", " to go on?", "1) yes"];
        let question = "Do you want to go on?";
        assert_eq!(for_sign(">", &above, 11).as_deref(), Some(question));
        assert_eq!(
            for_sign(">", &["a\x1b[1m\u{202e}b:"], 0).as_deref(),
            Some("a [1m b:")
        );
    }

    #[test]
    fn no_more_is_looked_through_than_a_menu() {
        let menu = |rows| {
            let mut above = vec!["Which?"];
            above.resize(rows, "x");
            for_sign(">", &above, 80)
        };
        assert_eq!(menu(ABOVE_MAX).as_deref(), Some("Which?"));
        assert_eq!(menu(ABOVE_MAX + 1), None);
    }

    proptest! {
        #[test]
        fn any_rows_have_a_bounded_question(
            line in "[>#?:❯ a]{0,4}",
            above in proptest::collection::vec(".{0,12}", 0..12),
            columns in 0..12_usize,
        ) {
            let above: Vec<&str> = above.iter().map(String::as_str).collect();
            if let Some(question) = for_sign(&line, &above, columns) {
                prop_assert!(!question.is_empty() && question.len() <= plain::MESSAGE_MAX);
            }
        }
    }
}
