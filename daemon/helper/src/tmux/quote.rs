//! Writes tmux commands so that every argument arrives as the bytes it is.
//!
//! tmux's language has variables, tildes, formats, braces, comments and separators. Here every argument stands in
//! double quotes and every byte that could mean something there is an octal escape. (What a command does with an
//! argument, expanding formats for instance, is that command's affair: such arguments never come from users.)

use std::fmt::Write as _;

use super::fence::Nonce;

/// Commands to run one after the other; the first that fails ends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    line: String,
    /// For each command what fences its reply.
    fences: Vec<Option<Nonce>>,
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
        if !self.fences.is_empty() {
            self.line.push_str(" ; ");
        }
        for (index, word) in words.into_iter().enumerate() {
            if index > 0 {
                self.line.push(' ');
            }
            quote(word.as_ref(), &mut self.line)?;
        }
        self.fences.push(None);
        Ok(self)
    }

    /// Fences the reply to the last command, which is to be done for every command that prints what programs wrote: they
    /// can write what ends a reply. Such commands are for one run only. That command must not fail, as nobody would see
    /// where its reply ends; whatever it can fail of is to be asked by one before it.
    #[must_use]
    pub fn fenced(mut self) -> Self {
        if let Some(fence) = self.fences.last_mut().filter(|fence| fence.is_none()) {
            let nonce = Nonce::random();
            *fence = Some(nonce);
            // Writing into a String cannot fail.
            let _ = write!(self.line, r#" ; "display-message" "-p" "{nonce}""#);
        }
        self
    }

    /// The line to send or to write into a configuration file, without its newline.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// How many commands there are, which is how many replies there are when all go well: what fences a reply has none.
    #[must_use]
    pub fn count(&self) -> usize {
        self.fences.len()
    }

    /// What fences the reply to each command.
    #[must_use]
    pub fn fences(&self) -> &[Option<Nonce>] {
        &self.fences
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

    #[test]
    fn a_fence_is_a_new_word_behind_its_command() {
        let fenced = || {
            Commands::one(["a"])
                .unwrap()
                .then(["b"])
                .unwrap()
                .fenced()
                .fenced()
                .then(["c"])
                .unwrap()
        };
        let commands = fenced();
        let [None, Some(nonce), None] = commands.fences() else {
            panic!("{commands:?}");
        };
        let nonce = nonce.to_string();
        assert!(nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(
            commands.line(),
            format!(r#""a" ; "b" ; "display-message" "-p" "{nonce}" ; "c""#)
        );
        assert_eq!(commands.count(), 3);
        assert_ne!(commands, fenced());
        assert_eq!(Commands::default().fenced(), Commands::default());
    }
}
