//! Names that users give to things, and the one rule they follow.

use std::{fmt, str::FromStr};

/// A checked name. It is safe as a file name, as an argument and as a word in a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is no name. The message is the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to 63 letters, digits, dots, dashes or underscores and begins with a letter or a digit \
     ([A-Za-z0-9][A-Za-z0-9_.-]*)"
)]
pub struct BadName;

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if first && rest && text.len() <= Self::LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName)
        }
    }
}

impl Name {
    /// Longest name, bytes.
    pub const LONGEST: usize = 63;

    /// A name that is much like this text, if there is anything in it that a name can have.
    #[must_use]
    pub fn near(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let mut near = String::new();
        for c in text.trim().chars().skip_while(|c| !c.is_ascii_alphanumeric()) {
            if near.len() == Self::LONGEST {
                break;
            }
            if allowed(c) {
                near.push(c);
            } else if !near.ends_with('-') {
                near.push('-');
            }
        }
        near.trim_end_matches('-').parse().ok()
    }

    /// A word of our own, which follows the rule.
    pub(crate) fn plain(word: &'static str) -> Self {
        debug_assert!(word.parse::<Self>().is_ok(), "{word:?} follows the rule");
        Self(word.to_owned())
    }

    /// This name with a number at its end, cut where both together would be too long.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let end = format!("-{number}");
        // All of a name is ASCII.
        let room = Self::LONGEST - end.len();
        Self(format!("{}{end}", &self.0[..self.0.len().min(room)]))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_name_is_one() {
        let long: Name = "x".repeat(63).parse().unwrap();
        for (name, number) in [("a".parse().unwrap(), 2), (long, u32::MAX)] {
            let numbered = name.numbered(number);
            assert_eq!(numbered.as_str().parse(), Ok(numbered.clone()));
            assert!(numbered.as_str().ends_with(&format!("-{number}")), "{numbered}");
        }
    }

    #[test]
    fn what_is_no_name_is_near_one() {
        for (text, near) in [
            ("a b", Some("a-b")),
            ("  web: 1 ", Some("web-1")),
            ("-rf /", Some("rf")),
            ("a/../b", Some("a-..-b")),
            ("é", None),
            ("", None),
            (" \u{1b}[2J", Some("2J")),
        ] {
            assert_eq!(Name::near(text).as_ref().map(Name::as_str), near, "{text:?}");
        }
        assert_eq!(Name::near(&"x y".repeat(100)).unwrap().as_str().len(), 63);
    }

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "0", "web-1", "a.b_c", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        let huge = "x".repeat(10_000);
        for bad in [
            "",
            ".",
            "..",
            "-rf",
            "_a",
            ".a",
            "a b",
            "a\n",
            "#(id)",
            "$(id)",
            "a;",
            "=x",
            "a:b",
            "é",
            "🦀",
            "a\u{1b}[2J",
            "a/b",
            &long,
            &huge,
        ] {
            assert_eq!(bad.parse::<Name>(), Err(BadName), "{bad:?}");
        }
    }
}
