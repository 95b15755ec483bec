//! Which lines that were given to a shell together are one command. Pure.
//!
//! It knows as much of the language of shells as goes over lines: quotes, compound commands, documents within, lines that say that
//! they go on. What it takes for one command and a shell for two, or the other way round, is told with the wrong one of them; nothing
//! else comes of it.

/// Words that begin what a later word ends, and those.
const OPENING: [&str; 7] = ["if", "case", "for", "select", "while", "until", "{"];
const CLOSING: [&str; 4] = ["fi", "esac", "done", "}"];

/// Words behind which a command begins.
const LEADING: [&str; 9] = ["then", "else", "elif", "do", "!", "{", "if", "while", "until"];

/// The commands of a text, in order. Lines in which nothing is run belong to none.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut state = State::default();
    for line in text.lines() {
        if statement.is_empty() && is_nothing(line) {
            continue;
        }
        if !statement.is_empty() {
            statement.push('\n');
        }
        statement.push_str(line);
        if state.read(line) {
            statements.push(std::mem::take(&mut statement));
            state = State::default();
        }
    }
    if !statement.is_empty() {
        statements.push(statement);
    }
    statements
}

fn is_nothing(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// What is open at the end of a line.
#[derive(Debug, Default)]
struct State {
    quote: Option<char>,
    /// Compound commands.
    depth: usize,
    /// Parentheses.
    parentheses: usize,
    /// Words that end documents within; `true`: they may stand behind tabs.
    documents: Vec<(String, bool)>,
}

impl State {
    /// Reads a line. True: nothing is open behind it.
    fn read(&mut self, line: &str) -> bool {
        if self.quote.is_none()
            && let Some((end, tabs)) = self.documents.first()
        {
            let line = if *tabs {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if line == end {
                self.documents.remove(0);
            }
            return self.is_closed();
        }
        let goes_on = self.read_words(line);
        !goes_on && self.is_closed()
    }

    fn is_closed(&self) -> bool {
        self.quote.is_none() && self.depth == 0 && self.parentheses == 0 && self.documents.is_empty()
    }

    /// True: the line says itself that it goes on.
    fn read_words(&mut self, line: &str) -> bool {
        let mut chars = line.chars().peekable();
        let mut word = String::new();
        // A command begins here, for all that is known.
        let mut leads = true;
        let mut operator = String::new();
        while let Some(c) = chars.next() {
            if let Some(quote) = self.quote {
                if c == '\\' && quote != '\'' {
                    if chars.next().is_none() {
                        return true;
                    }
                } else if c == quote {
                    self.quote = None;
                }
                word.push('q');
                continue;
            }
            if c.is_whitespace() || ";&|()<>".contains(c) {
                leads = self.end_word(&mut word, leads);
            }
            if !c.is_whitespace() && !";&|()<>".contains(c) {
                operator.clear();
            }
            match c {
                '\\' => match chars.next() {
                    Some(_) => word.push('q'),
                    None => return true,
                },
                '\'' | '"' | '`' => {
                    self.quote = Some(c);
                    word.push('q');
                }
                '#' if word.is_empty() => break,
                '(' => self.parentheses += 1,
                ')' => self.parentheses = self.parentheses.saturating_sub(1),
                '<' if chars.peek() == Some(&'<') => {
                    chars.next();
                    if chars.peek() == Some(&'<') {
                        chars.next();
                    } else {
                        self.open_document(&mut chars);
                    }
                }
                c if c.is_whitespace() || "<>".contains(c) => {}
                c if ";&|".contains(c) => operator.push(c),
                c => word.push(c),
            }
            leads |= ";&|(".contains(c);
        }
        self.end_word(&mut word, leads);
        operator.ends_with('|') || operator == "&&"
    }

    /// Takes note of a word that has ended. Whether a command begins behind it.
    fn end_word(&mut self, word: &mut String, leads: bool) -> bool {
        if word.is_empty() {
            return leads;
        }
        let word = std::mem::take(word);
        if !leads {
            return false;
        }
        if OPENING.contains(&word.as_str()) {
            self.depth += 1;
        } else if CLOSING.contains(&word.as_str()) {
            self.depth = self.depth.saturating_sub(1);
        }
        LEADING.contains(&word.as_str())
    }

    /// Reads the word that will end a document.
    fn open_document(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        let tabs = chars.next_if_eq(&'-').is_some();
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut end = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !";&|()<>".contains(*c)) {
            if !"'\"\\".contains(c) {
                end.push(c);
            }
        }
        if !end.is_empty() {
            self.documents.push((end, tabs));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_that_belong_together_stay_together() {
        for (text, count) in [
            ("echo a\necho b; echo c\n\n# nothing\nfalse", 3),
            ("for x in 1 2\ndo\n  echo $x\ndone\necho b", 2),
            ("if true; then\n echo 'fi\n'\nelse echo no; fi; echo x\nls", 2),
            ("cat <<'END' > f\nif (\nEND\nls", 2),
            ("cat <<-E\n\ta\n\tE\nls <<<x\nls", 3),
            ("echo a \\\n b &&\n echo c |\n cat\nls", 2),
            ("f() {\n echo \"}\n}\"\n}\nf", 2),
            ("(cd /\nls)\necho $(ls\n)", 2),
            ("case x in\n x) echo;;\nesac\nls", 2),
            ("echo if then do {\necho done }", 2),
            ("echo don\\'t\necho it", 2),
            ("echo a & \necho b", 2),
            ("while sleep 1; do date; done\nls", 2),
            ("echo a # it's\nls", 2),
        ] {
            assert_eq!(split(text).len(), count, "{text:?} {:?}", split(text));
        }
        assert_eq!(
            split("\n for x in 1\ndo :; done\n\nls\n"),
            [" for x in 1\ndo :; done", "ls"]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost(lines in proptest::collection::vec("[a-c '\"(){};&|<\\\\]{0,12}", 0..10)) {
            let text = lines.join("\n");
            let kept = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(kept(&split(&text).join("\n")), kept(&text));
        }
    }
}
