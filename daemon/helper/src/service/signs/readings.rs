//! Reading the screens of programs that say nothing themselves, by rules that the daemon gives.

use std::sync::{Arc, Mutex, PoisonError};

use outlast_client::helper_v1::{Doing, ScreenReading, ScreenRule};
use regex::{Regex, RegexBuilder};

use super::question;
use crate::plain;

/// Longest expression, bytes.
const PATTERN_MAX: usize = 4096;

/// Most memory a compiled expression may take, bytes.
const REGEX_MAX: usize = 1 << 20;

/// The name of the group that is what a program asks.
const MESSAGE: &str = "message";

/// How to read the screens of one program.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its name.
    pub(super) name: String,
    /// The bell of the program means that it waits.
    pub(super) bell_waits: bool,
    programs: Vec<String>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    doing: i32,
    pattern: Regex,
    last_lines: usize,
    title: bool,
}

/// A rule that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fits {
    /// Its name.
    pub(super) rule: String,
    /// What the program does, a number of the protocol.
    pub(super) doing: i32,
    /// What it asks; may be empty.
    pub(super) message: String,
}

/// Readings that were compiled last. All sessions of a daemon have the same ones.
#[derive(Debug, Default)]
pub(in crate::service) struct Readings {
    last: Mutex<(Vec<ScreenReading>, Arc<[Reading]>)>,
}

impl Readings {
    /// Compiles these, unless they are the last ones. A rule that cannot be compiled is left out.
    pub(super) fn compile(&self, readings: &[ScreenReading]) -> Arc<[Reading]> {
        // It is whole after every single statement.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != readings {
            *last = (readings.to_vec(), readings.iter().map(reading).collect());
        }
        Arc::clone(&last.1)
    }
}

fn reading(from: &ScreenReading) -> Reading {
    let compiled = |rule: &ScreenRule| match compile(&rule.pattern) {
        Ok(pattern) => Some(Rule {
            name: rule.name.clone(),
            doing: rule.doing,
            pattern,
            last_lines: usize::try_from(rule.last_lines).unwrap_or(usize::MAX),
            title: rule.title,
        }),
        Err(error) => {
            tracing::warn!("the rule {}/{} is left out: {error}", from.name, rule.name);
            None
        }
    };
    Reading {
        name: from.name.clone(),
        bell_waits: from.bell_waits,
        programs: from.programs.clone(),
        rules: from.rules.iter().filter_map(compiled).collect(),
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_MAX {
        return Err(format!("it is longer than {PATTERN_MAX} bytes"));
    }
    RegexBuilder::new(pattern)
        .multi_line(true)
        .size_limit(REGEX_MAX)
        .dfa_size_limit(REGEX_MAX)
        .build()
        .map_err(|error| error.to_string())
}

impl Reading {
    /// Whether it is for programs of this name, with the ending that scripts have or without.
    pub(super) fn is_for(&self, program: &str) -> bool {
        let stem = program.rsplit_once('.').map_or(program, |(stem, _)| stem);
        self.programs.iter().any(|name| name == program || name == stem)
    }

    /// Whether there is anything to look for.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether anything is looked for on the screen.
    pub(super) fn reads_screen(&self) -> bool {
        self.rules.iter().any(|rule| !rule.title)
    }

    /// The first rule that a screen or a title fits.
    pub(super) fn look(&self, screen: &str, title: &str) -> Option<Fits> {
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        let full: Vec<&str> = lines.iter().copied().filter(|line| !line.is_empty()).collect();
        let all = lines.join("\n");
        self.rules.iter().find_map(|rule| {
            if rule.title {
                return rule.fits(title);
            }
            let last = match rule.last_lines {
                0 => return rule.fits(&all),
                lines => full.len().saturating_sub(lines),
            };
            rule.fits(&full.get(last..).unwrap_or_default().join("\n"))
        })
    }
}

impl Rule {
    fn fits(&self, text: &str) -> Option<Fits> {
        let found = self.pattern.captures(text)?;
        let mut message = String::new();
        if let Some(part) = found.name(MESSAGE) {
            message = plain::line(part.as_str().as_bytes());
            if self.doing == Doing::Waiting as i32
                && let Some(question) = text
                    .get(..part.start())
                    .and_then(|before| above(&message, before))
            {
                message = question;
            }
        }
        Some(Fits {
            rule: self.name.clone(),
            doing: self.doing,
            message,
        })
    }
}

/// The question that belongs to a message which is only a sign. `before`: what stands on the screen before it.
fn above(message: &str, before: &str) -> Option<String> {
    let (above, _row) = before.rsplit_once('\n')?;
    let rows: Vec<&str> = above.lines().collect();
    question::for_sign(message, &rows, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, pattern: &str) -> ScreenRule {
        ScreenRule {
            name: name.to_owned(),
            doing: Doing::Waiting.into(),
            pattern: pattern.to_owned(),
            ..ScreenRule::default()
        }
    }

    fn read(rules: Vec<ScreenRule>, screen: &str, title: &str) -> Option<(String, String)> {
        let from = ScreenReading {
            name: "tool".to_owned(),
            programs: vec!["tool".to_owned()],
            rules,
            bell_waits: true,
        };
        let fits = reading(&from).look(screen, title)?;
        Some((fits.rule, fits.message))
    }

    fn is(rule: &str, message: &str) -> Option<(String, String)> {
        Some((rule.to_owned(), message.to_owned()))
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let screen = "╭───╮   \n  Run  rm -rf?  \n\n❯ 1. Yes  \n  2. No\n\n\n";
        let rules = || {
            vec![
                rule("none", "nowhere"),
                rule("asks", r"^\s*(?<message>.*\?)$\n\n❯ 1\. Yes$"),
                rule("any", "Yes"),
            ]
        };
        assert_eq!(read(rules(), screen, ""), is("asks", "Run rm -rf?"));
        assert_eq!(read(rules(), "Yes", ""), is("any", ""));
        assert_eq!(read(rules(), "", "Yes"), None);
    }

    #[test]
    fn a_message_that_is_only_a_sign_is_the_question_above_it() {
        let menu = || rule("menu", r"^ *(?<message>[>❯]) *\S*\z");
        let screen = "Which one?\n  yes\n  no\n ❯ ";
        assert_eq!(read(vec![menu()], screen, ""), is("menu", "Which one?"));
        assert_eq!(read(vec![menu()], "> y", ""), is("menu", ">"));
        let rests = ScreenRule {
            doing: Doing::Idle.into(),
            ..menu()
        };
        assert_eq!(read(vec![rests], screen, ""), is("menu", "❯"));
    }

    #[test]
    fn last_lines_are_those_that_show_something() {
        let last = |lines| ScreenRule {
            last_lines: lines,
            ..rule("last", r"^one$|\A> $|\A>")
        };
        let screen = "one\n\n  \n> \n\n\n";
        assert_eq!(read(vec![last(1)], screen, ""), is("last", ""));
        assert_eq!(read(vec![last(2)], screen, ""), is("last", ""));
        assert_eq!(
            read(
                vec![ScreenRule {
                    last_lines: 1,
                    ..rule("last", "one")
                }],
                screen,
                ""
            ),
            None
        );
        assert_eq!(
            read(
                vec![ScreenRule {
                    last_lines: 9,
                    ..rule("last", "one\n>")
                }],
                screen,
                ""
            ),
            is("last", "")
        );
    }

    #[test]
    fn titles_are_looked_at_and_bad_rules_left_out() {
        let title = ScreenRule {
            title: true,
            ..rule("title", "^✳ (?<message>.*)")
        };
        let bad = [
            rule("bad", "("),
            rule("big", r"\w{500}{500}"),
            rule("long", &"x".repeat(5000)),
        ];
        let rules = bad.into_iter().chain([title]).collect();
        assert_eq!(read(rules, "✳ screen", "✳ fix it"), is("title", "fix it"));
    }

    #[test]
    fn readings_are_found_by_program_and_compiled_once() {
        let from = ScreenReading {
            name: "tool".to_owned(),
            programs: vec!["tool".to_owned()],
            ..ScreenReading::default()
        };
        let readings = Readings::default();
        let compiled = readings.compile(std::slice::from_ref(&from));
        assert!(compiled[0].is_for("tool") && compiled[0].is_for("tool.js") && !compiled[0].is_for("tools"));
        assert!(!compiled[0].has_rules() && !compiled[0].reads_screen());
        assert!(Arc::ptr_eq(&compiled, &readings.compile(&[from])));
        assert!(!Arc::ptr_eq(&compiled, &readings.compile(&[])));
    }
}
