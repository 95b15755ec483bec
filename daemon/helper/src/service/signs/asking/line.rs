//! The line that somebody is asked on. Pure.

use crate::plain;

/// Most rows of a screen that are read as one line.
const ROWS_MAX: usize = 8;

/// What stands on a screen where the cursor is, in one plain line: the row that it is in and the rows above that run on into
/// it. Where nothing stands there, the row above, if that is a question.
pub(super) fn asked(screen: &str, columns: usize, row: usize) -> Asked {
    let rows: Vec<&str> = screen.lines().take(row + 1).map(str::trim_end).collect();
    let in_row = rows.get(row).copied().unwrap_or_default();
    if in_row.is_empty() {
        let above = row
            .checked_sub(1)
            .map_or_else(String::new, |row| joined(&rows, columns, row));
        return Asked {
            line: if is_question(&above) { above } else { String::new() },
            at_cursor: false,
        };
    }
    Asked {
        line: joined(&rows, columns, row),
        at_cursor: true,
    }
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The line. Empty: none.
    pub(super) line: String,
    /// The cursor stands in it.
    pub(super) at_cursor: bool,
}

/// This row and those above that are full to the last column.
fn joined(rows: &[&str], columns: usize, row: usize) -> String {
    let is_full = |above: &usize| {
        let text = rows.get(*above).copied().unwrap_or_default();
        columns > 0 && text.chars().count() >= columns
    };
    let above = (0..row).rev().take(ROWS_MAX - 1).take_while(is_full).count();
    let rows = rows.get(row - above..=row).unwrap_or_default();
    plain::line(rows.concat().as_bytes())
}

/// Whether a line that was ended asks for something: it ends like a question, or with a choice.
fn is_question(line: &str) -> bool {
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

    fn is(screen: &str, columns: usize, row: usize) -> (String, bool) {
        let asked = asked(screen, columns, row);
        (asked.line, asked.at_cursor)
    }

    #[test]
    fn what_is_asked_stands_where_the_cursor_is() {
        let screen = "$ ./deploy\nDeploy to production? [y/N]\n\n";
        assert_eq!(
            is(screen, 80, 1),
            ("Deploy to production? [y/N]".to_owned(), true)
        );
        assert_eq!(is("a\x1b[1m\u{202e}b:\n", 80, 0), ("a [1m b:".to_owned(), true));
        // One that runs on, and one that does not.
        let screen = "12345\nabcde\nfg?\n";
        assert_eq!(is(screen, 5, 2), ("12345abcdefg?".to_owned(), true));
        assert_eq!(is(screen, 6, 2), ("fg?".to_owned(), true));
        assert_eq!(is(screen, 0, 2), ("fg?".to_owned(), true));
        assert_eq!(is("", 80, 7), (String::new(), false));
    }

    #[test]
    fn a_question_may_end_its_line() {
        for (above, line) in [
            ("Go on? ", "Go on?"),
            ("Your name:", "Your name:"),
            ("Go on (yes/no)", "Go on (yes/no)"),
            ("Remove it [y|n]", "Remove it [y|n]"),
            ("$ cat", ""),
            ("listening on 80 (http)", ""),
            ("[a/b]", ""),
            ("done (3/4", ""),
            ("hello", ""),
            ("", ""),
        ] {
            assert_eq!(
                is(&format!("{above}\n\n"), 80, 1),
                (line.to_owned(), false),
                "{above:?}"
            );
        }
        assert_eq!(is("\nx?\n", 80, 0), (String::new(), false));
    }

    proptest! {
        #[test]
        fn any_screen_has_a_bounded_line(screen in any::<String>(), columns in 0..200_usize, row in 0..200_usize) {
            let asked = asked(&screen, columns, row);
            prop_assert!(asked.line.len() <= plain::MESSAGE_MAX);
        }
    }
}
