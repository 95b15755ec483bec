//! `[notify]`: what the user decided, and how its values are read.

use std::{collections::BTreeSet, fmt};

use outlast_model::notice::{Channel, Rules, State, list};

use crate::config::Value;

/// What a list of states is.
const STATES: &str =
    "text that is all, none, or a list of waiting, error, broken, lost, failed, exited, idle, succeeded";

/// What a list of channels is.
const CHANNELS: &str = "text that is all, none, or a list of desktop, terminal, command, webhook";

/// `[notify]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifyConfig {
    /// What is told, and how.
    pub rules: Rules,
    /// What the channel `command` has `/bin/sh` run. Absent (empty in the file): nothing.
    pub command: Option<String>,
    /// Where the channel `webhook` posts to. Absent (empty in the file): nowhere.
    pub webhook: Option<Webhook>,
}

/// A URL that is a secret: whoever knows it may post to it. It is in no log, no argument and no event.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook(String);

impl Webhook {
    /// The whole URL, for the one program that needs it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }

    /// What is said of it instead.
    #[must_use]
    pub const fn shown(&self) -> &'static str {
        "(set; not shown)"
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

/// Reads a list of states, or says what is wanted instead.
pub(crate) fn states(value: &Value<'_>) -> Result<BTreeSet<State>, &'static str> {
    match value {
        Value::Text(text) => list(text, State::ALL).map_err(|_bad| STATES),
        _ => Err(STATES),
    }
}

/// Reads a list of channels, or says what is wanted instead.
pub(crate) fn channels(value: &Value<'_>) -> Result<BTreeSet<Channel>, &'static str> {
    match value {
        Value::Text(text) => list(text, Channel::ALL).map_err(|_bad| CHANNELS),
        _ => Err(CHANNELS),
    }
}

/// Reads a command line, or says what is wanted instead.
pub(crate) fn command(value: &Value<'_>) -> Result<Option<String>, &'static str> {
    match value {
        Value::Text(text) if !text.chars().any(|c| c.is_control() && c != '\t') => {
            let text = text.trim();
            Ok((!text.is_empty()).then(|| text.to_owned()))
        }
        _ => Err("a command in one line of text"),
    }
}

/// Reads a URL, or says what is wanted instead.
pub(crate) fn webhook(value: &Value<'_>) -> Result<Option<Webhook>, &'static str> {
    let wanted = "a URL that begins with https:// or http://";
    let Value::Text(text) = value else {
        return Err(wanted);
    };
    let host = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    // What is no URL as it stands, curl would read in some way of its own.
    let plain = |c: char| c.is_ascii_graphic() && !"\"\\<>^`{|}".contains(c);
    match host {
        None if text.is_empty() => Ok(None),
        Some(host) if host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') => {
            if text.chars().all(plain) {
                Ok(Some(Webhook((*text).to_owned())))
            } else {
                Err("a URL in which every special character is written as %XX")
            }
        }
        _ => Err(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_a_url_and_shows_itself_nowhere() {
        let hook = webhook(&Value::Text("https://example.com/hook/s3cret?x=%7B1%7D"))
            .unwrap()
            .unwrap();
        assert!(!format!("{hook:?} {}", hook.shown()).contains("s3cret"));
        assert_eq!(webhook(&Value::Text("")), Ok(None));
        for bad in [
            "example.com",
            "file:///etc/passwd",
            "https://",
            "http:// x",
            "https://a/b c",
            "https://a/\"",
            "(set; not shown)",
        ] {
            assert!(webhook(&Value::Text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_is_one_line() {
        assert_eq!(command(&Value::Text(" say x ")), Ok(Some("say x".to_owned())));
        assert_eq!(command(&Value::Text(" ")), Ok(None));
        assert!(command(&Value::Text("a\nb")).is_err());
    }
}
