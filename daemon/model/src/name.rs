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
        if first && rest && text.len() <= 63 {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName)
        }
    }
}

impl Name {
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
