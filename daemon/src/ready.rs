//! The pipe on which whoever started the daemon waits: `ready`, or the one error that stopped the start.
//!
//! ```text
//! ready\n
//! error {"kind":"usage","message":"…","hint":"…"}\n
//! ```

use std::{fs::File, io::Write as _};

use outlast_client::v1::Error;

/// The writing end; closes with the first word, or when it is dropped.
#[derive(Debug, Default)]
pub struct Ready {
    pipe: Option<File>,
}

impl Ready {
    /// Nobody waits without a pipe.
    #[must_use]
    pub fn new(pipe: Option<File>) -> Self {
        Self { pipe }
    }

    /// Says that the daemon serves.
    pub fn ready(&mut self) {
        self.say("ready\n");
    }

    /// Says why it does not. After [`Ready::ready`] nobody listens any more and nothing happens.
    pub fn failed(&mut self, error: &Error) {
        let line = serde_json::json!({
            "kind": error.kind().word(),
            "message": error.message,
            "hint": error.hint,
        });
        self.say(&format!("error {line}\n"));
    }

    fn say(&mut self, line: &str) {
        if let Some(mut pipe) = self.pipe.take() {
            // Whoever started the daemon may have gone; that is no reason not to run.
            let _nobody_waits = pipe.write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::fd::OwnedFd};

    use outlast_client::v1::ErrorKind;

    use super::*;

    fn heard(say: impl FnOnce(&mut Ready)) -> String {
        let (mut read, write) = std::io::pipe().unwrap();
        let mut ready = Ready::new(Some(File::from(OwnedFd::from(write))));
        say(&mut ready);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn one_word_is_said_and_the_pipe_closed() {
        let text = heard(|ready| {
            ready.ready();
            ready.failed(&Error::new(ErrorKind::Failed, "late"));
        });
        assert_eq!(text, "ready\n");
    }

    #[test]
    fn an_error_is_one_line_whatever_it_says() {
        let error = Error::new(ErrorKind::NotPermitted, "two\nlines \"quoted\"").with_hint("chmod");
        let text = heard(|ready| ready.failed(&error));
        assert_eq!(
            text,
            "error {\"hint\":\"chmod\",\"kind\":\"not_permitted\",\"message\":\"two\\nlines \\\"quoted\\\"\"}\n"
        );
    }
}
