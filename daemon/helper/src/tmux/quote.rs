//! Writes tmux commands so that every argument arrives as the bytes it is.
//!
//! tmux's language has variables, tildes, formats, braces, comments and separators. Here every argument stands in
//! double quotes and every byte that could mean something there is an octal escape. (What a command does with an
//! argument, expanding formats for instance, is that command's affair: such arguments never come from users.)

use std::fmt::Write as _;

/// Commands to run one after the other; the first that fails ends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    line: String,
    count: usize,
}

/// A C string cannot hold a zero byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an argument for tmux holds a zero byte")]
pub struct ZeroByte;

impl Commands {
    /// One command: its name and its arguments.
    ///
    /// # Errors
    /// When an argument holds a zero byte.
    pub fn one<I>(words: I) -> Result<Self, ZeroByte>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Self::default().then(words)
    }

    /// Adds a command.
    ///
    /// # Errors
    /// When an argument holds a zero byte.
    pub fn then<I>(mut self, words: I) -> Result<Self, ZeroByte>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        if self.count > 0 {
            self.line.push_str(" ; ");
        }
        for (index, word) in words.into_iter().enumerate() {
            if index > 0 {
                self.line.push(' ');
            }
            quote(word.as_ref(), &mut self.line)?;
        }
        self.count += 1;
        Ok(self)
    }

    /// The line to send or to write into a configuration file, without its newline.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// How many commands there are, which is how many replies tmux gives when all go well.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Appends `bytes` as one argument.
fn quote(bytes: &[u8], to: &mut String) -> Result<(), ZeroByte> {
    if bytes.contains(&0) {
        return Err(ZeroByte);
    }
    to.push('"');
    for &byte in bytes {
        if means_itself(byte) {
            to.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(to, "\\{byte:03o}");
        }
    }
    to.push('"');
    Ok(())
}

fn means_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" -_+=:,./@%^*?!&|()[]<>'".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_stays_bare() {
        let commands = Commands::one(["set", "a;b\n~$\"\\#{x}é"])
            .unwrap()
            .then(["x"])
            .unwrap();
        assert_eq!(
            commands.line(),
            r#""set" "a\073b\012\176\044\042\134\043\173x\175\303\251" ; "x""#
        );
        assert_eq!(commands.count(), 2);
        assert_eq!(Commands::one(["a\0b"]), Err(ZeroByte));
    }
}
