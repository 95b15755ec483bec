//! The line that somebody is asked on. Pure.

use super::super::question::{for_sign, is_question, joined};

/// What stands on a screen where the cursor is, in one plain line: the row that it is in and the rows above that run on into
/// it. Where nothing stands there, the row above, if that is a question.
pub(super) fn asked(screen: &str, columns: usize, row: usize) -> Asked {
    let rows: Vec<&str> = screen.lines().take(row + 1).map(str::trim_end).collect();
    let in_row = rows.get(row).copied().unwrap_or_default();
    if in_row.is_empty() {
        let above = row
            .checked_sub(1)
            .map_or_else(String::new, |row| joined(&rows, columns, row).0);
        return Asked {
            line: if is_question(&above) { above } else { String::new() },
            question: None,
            at_cursor: false,
        };
    }
    let (line, count) = joined(&rows, columns, row);
    let above = rows.get(..=row - (count - 1)).and_then(<[&str]>::split_last);
    let question = above.and_then(|(_, above)| for_sign(&line, above, columns));
    Asked {
        line,
        question,
        at_cursor: true,
    }
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The line. Empty: none.
    pub(super) line: String,
    /// What is asked in its place, where it is only a sign.
    pub(super) question: Option<String>,
    /// The cursor stands in it.
    pub(super) at_cursor: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plain;

    fn is(screen: &str, columns: usize, row: usize) -> (String, bool) {
        let asked = asked(screen, columns, row);
        (asked.line, asked.at_cursor)
    }

    #[test]
    fn a_sign_has_the_question_above_it() {
        let question = |screen, row| asked(screen, 8, row).question;
        let screen = "joe\n>\n\nWhich?\n1) a\n> x\n>\n";
        assert_eq!(question(screen, 6).as_deref(), Some("Which?"));
        assert_eq!(question(screen, 1), None);
        assert_eq!(question(screen, 4), None, "it has words");
        // One that is as long as two rows.
        assert_eq!(question("Which?\n>>>>>>>>\n>>\n", 2).as_deref(), Some("Which?"));
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
            prop_assert!(asked.question.is_none_or(|text| text.len() <= plain::MESSAGE_MAX));
            prop_assert!(asked.line.len() <= plain::MESSAGE_MAX);
        }
    }
}
