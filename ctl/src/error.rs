//! The one place where what went wrong becomes a sentence, a hint and an exit code.

use std::{error::Error as _, io, io::Write as _};

use outlast_client::{
    client::{ClientError, RESTART_HINT},
    error::exit_code,
    socket::SocketError,
    v1::{Error, ErrorKind},
};
use serde::Serialize;

use crate::render::escape::{escape, escape_lines};

/// Exit code of a usage error.
pub const USAGE: u8 = 2;
/// Exit code when the daemon cannot be reached or understood.
pub const DAEMON: u8 = 7;
/// Exit code of own failures of commands that stand for a program of the user's.
pub const OWN_FAILURE: u8 = 125;
/// Exit code after Ctrl-C.
pub const INTERRUPTED: u8 = 130;
/// Exit code when nobody reads stdout any more: 128 + SIGPIPE.
pub const CLOSED: u8 = 141;

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong, and it is to be told.
    Told(Box<Told>),
    /// Nobody reads stdout any more; there is nobody to tell.
    Closed,
    /// Everything was told; only the exit code is left.
    Exit(u8),
}

/// What is told about a failure.
#[derive(Debug)]
pub struct Told {
    kind: &'static str,
    code: u8,
    message: String,
    hint: Option<String>,
    subject: Option<String>,
    causes: Vec<String>,
    /// The code stays what it is where others become [`OWN_FAILURE`].
    fixed: bool,
}

pub type Result<T> = std::result::Result<T, Failure>;

/// Kinds as static words, so that none is allocated on the way to a JSON object.
fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unspecified | ErrorKind::Failed => "failed",
        ErrorKind::Usage => "usage",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::WrongState => "wrong_state",
        ErrorKind::Unauthenticated => "unauthenticated",
        ErrorKind::NotPermitted => "not_permitted",
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::Stopping => "stopping",
        ErrorKind::Restarting => "restarting",
        ErrorKind::Incompatible => "incompatible",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Exhausted => "exhausted",
        ErrorKind::MissingProgram => "missing_program",
    }
}

impl Failure {
    /// A failure of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            kind: word(kind),
            code: exit_code(kind),
            message: message.into(),
            hint: None,
            subject: None,
            causes: Vec::new(),
            fixed: matches!(kind, ErrorKind::Usage | ErrorKind::Timeout | ErrorKind::Stopping),
        }))
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Something on this machine refused: what was tried, on what, and why.
    pub fn io(action: &str, subject: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::new(ErrorKind::Failed, format!("{action} {subject}: {error}"))
    }

    /// The daemon cannot be reached.
    pub fn unreachable_daemon(message: impl Into<String>) -> Self {
        let mut failure = Self::new(ErrorKind::Unreachable, message);
        if let Self::Told(told) = &mut failure {
            told.kind = "daemon_unreachable";
            told.code = DAEMON;
        }
        failure
    }

    /// A `--timeout` ran out.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Timeout, message)
    }

    /// Ctrl-C ended the command.
    pub fn interrupted(message: impl Into<String>) -> Self {
        let mut failure = Self::new(ErrorKind::Failed, message);
        if let Self::Told(told) = &mut failure {
            told.kind = "interrupted";
            told.code = INTERRUPTED;
            told.fixed = true;
        }
        failure
    }

    /// Adds what helps.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.hint = Some(hint.into());
        }
        self
    }

    /// The same failure in other words.
    pub fn retold(mut self, message: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.message = message.into();
        }
        self
    }

    /// Says first what came of it.
    pub fn before(mut self, outcome: &str) -> Self {
        if let Self::Told(told) = &mut self {
            told.message = format!("{outcome}: {}", told.message);
        }
        self
    }

    /// Adds something else that helps.
    pub fn also(mut self, hint: &str) -> Self {
        if let Self::Told(told) = &mut self {
            told.hint = Some(match told.hint.take() {
                Some(first) => format!("{first}; {hint}"),
                None => hint.to_owned(),
            });
        }
        self
    }

    /// Adds what helps, unless that was said already.
    pub fn hint_else(self, hint: impl Into<String>) -> Self {
        match &self {
            Self::Told(told) if told.hint.is_none() => self.hint(hint),
            _ => self,
        }
    }

    /// Adds what it is about.
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.subject = Some(subject.into());
        }
        self
    }

    /// True when the daemon answered that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Told(told) if told.kind == "not_found")
    }

    /// True when the command line is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Told(told) if told.kind == "usage")
    }

    /// True when the thing is not in a state that allows the wish.
    pub fn is_wrong_state(&self) -> bool {
        matches!(self, Self::Told(told) if told.kind == "wrong_state")
    }

    /// True when the host of the thing cannot be reached now, and may be later.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Told(told) if told.kind == "unreachable")
    }

    /// What is told. None when there is nothing to tell.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Told(told) => Some(&told.message),
            Self::Closed | Self::Exit(_) => None,
        }
    }

    /// What helps, where something does.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::Told(told) => told.hint.as_deref(),
            Self::Closed | Self::Exit(_) => None,
        }
    }

    /// True when the host of the thing is not connected.
    pub fn is_host_away(&self) -> bool {
        matches!(self, Self::Told(told) if matches!(told.kind, "unreachable" | "unauthenticated"))
    }

    /// For commands that stand for a program of the user's: own failures get the code that no program has.
    pub fn of_program(mut self) -> Self {
        if let Self::Told(told) = &mut self
            && !told.fixed
        {
            told.code = OWN_FAILURE;
            told.fixed = true;
        }
        self
    }

    /// Tells the failure on stderr and returns the exit code. Where nothing helps with what was typed, its help may.
    pub fn tell(self, json: bool, debug: bool) -> u8 {
        let mut told = match self {
            Self::Closed => return CLOSED,
            Self::Exit(code) => return code,
            Self::Told(told) => told,
        };
        if told.kind == word(ErrorKind::Usage) && told.hint.is_none() {
            told.hint = Some(crate::cli::help());
        }
        let text = if json { told.json() } else { told.text(debug) };
        // When stderr is closed the exit code still tells.
        let _ = io::stderr().write_all(text.as_bytes());
        told.code
    }
}

impl Told {
    fn text(&self, debug: bool) -> String {
        let mut text = format!("error: {}\n", escape(&self.message));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {}\n", escape_lines(hint)));
        }
        if debug {
            for cause in &self.causes {
                text.push_str(&format!("caused by: {}\n", escape(cause)));
            }
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Object<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            kind: &'a str,
            message: &'a str,
            hint: Option<&'a str>,
            subject: Option<&'a str>,
        }
        let object = Object {
            error: Inner {
                kind: self.kind,
                message: &self.message,
                hint: self.hint.as_deref(),
                subject: self.subject.as_deref(),
            },
        };
        let mut text = serde_json::to_string(&object).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut failure = Self::new(error.kind(), error.message);
        if let Self::Told(told) = &mut failure {
            told.hint = error.hint;
            told.subject = error.subject;
        }
        failure
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(next) = cause {
            causes.push(next.to_string());
            cause = next.source();
        }
        let message = error.to_string();
        let mut failure = match error {
            ClientError::NotRunning { .. } => Self::unreachable_daemon(message).hint("outlast daemon start"),
            ClientError::Socket(error) => socket(&error),
            ClientError::Place(_) => Self::new(ErrorKind::Failed, message).hint("set HOME"),
            ClientError::StartFailed { kind, hint, .. } => {
                let failure = Self::unreachable_daemon(message);
                let failure = match kind {
                    ErrorKind::Conflict | ErrorKind::WrongState => failure.recode(4, word(kind)),
                    ErrorKind::NotPermitted => failure.recode(5, word(kind)),
                    _ => failure,
                };
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            ClientError::NoAnswer { pid, .. } => {
                let hint = if pid > 0 {
                    format!("outlast daemon logs, then kill -9 {pid}; jobs and sessions go on without it")
                } else {
                    "outlast daemon logs".to_owned()
                };
                Self::unreachable_daemon(message).hint(hint)
            }
            ClientError::Incompatible(mut error) => {
                error.hint = Some(RESTART_HINT.to_owned());
                error.into()
            }
            ClientError::Answered(error) => error.into(),
            ClientError::Broken(_) => Self::unreachable_daemon(message).hint("outlast status"),
        };
        if let Self::Told(told) = &mut failure {
            told.causes = causes;
        }
        failure
    }
}

impl Failure {
    /// Another code and kind that still give way to [`OWN_FAILURE`].
    fn recode(mut self, code: u8, kind: &'static str) -> Self {
        if let Self::Told(told) = &mut self {
            told.code = code;
            told.kind = kind;
        }
        self
    }
}

fn socket(error: &SocketError) -> Failure {
    let failure = Failure::unreachable_daemon(error.to_string());
    match error {
        SocketError::TooLong(_) => failure.hint("name a shorter path with --socket or OUTLAST_SOCKET"),
        SocketError::Foreign { path, .. } | SocketError::NotADirectory(path) => {
            failure.recode(5, "not_permitted").hint(format!(
                "look at {} and move it away, or name another socket with --socket",
                path.display()
            ))
        }
        SocketError::Taken(_) => failure
            .recode(4, "wrong_state")
            .hint("name your own socket with --socket"),
        SocketError::Open { path, .. } => failure
            .recode(5, "not_permitted")
            .hint(format!("chmod 700 {}", path.display())),
        SocketError::Impostor { .. } => failure
            .recode(5, "not_permitted")
            .hint("name your own socket with --socket, or unset OUTLAST_SOCKET"),
        SocketError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            failure.recode(5, "not_permitted")
        }
        SocketError::Io { .. } => failure,
    }
}

/// Turns what the parser of the command line says into one line and a hint.
pub fn from_clap(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut message = String::new();
    let mut hint = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(tip) = line.strip_prefix("tip: ") {
            hint.get_or_insert_with(|| tip.to_owned());
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            hint.get_or_insert_with(|| usage.to_owned());
        } else if !line.is_empty() && !line.starts_with("For more information") && hint.is_none() {
            if !message.is_empty() {
                message.push(' ');
            }
            message.push_str(line);
        }
    }
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    // What the standard library says of a number that is none.
    let message = message.replace("invalid digit found in string", "it is not a whole number");
    // The bare usage line helps nobody.
    let hint = hint.map(|hint| match hint.as_str() {
        "outlast [OPTIONS] [COMMAND]" => "outlast --help".to_owned(),
        _ => hint,
    });
    let failure = Failure::usage(message);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(failure: Failure) -> Told {
        match failure {
            Failure::Told(told) => *told,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn kinds_keep_their_words_and_codes() {
        for kind in (0..=14).filter_map(|number| ErrorKind::try_from(number).ok()) {
            let told = told(Failure::new(kind, "x"));
            assert_eq!(told.code, exit_code(kind));
            assert_eq!(told.kind, kind.word());
        }
    }

    #[test]
    fn own_failures_of_a_program_are_125_but_usage_timeouts_and_stops_stay() {
        for (kind, code) in [
            (ErrorKind::NotFound, 125),
            (ErrorKind::Conflict, 125),
            (ErrorKind::Usage, 2),
            (ErrorKind::Timeout, 124),
            (ErrorKind::Stopping, 7),
        ] {
            assert_eq!(told(Failure::new(kind, "x").of_program()).code, code);
        }
    }

    #[test]
    fn an_error_is_one_line_whatever_it_says() {
        let failure = told(Failure::new(ErrorKind::NotFound, "no \u{1b}[2J\nx").hint("outlast job list"));
        assert_eq!(
            failure.text(false),
            "error: no \\e[2J\\nx\nhint: outlast job list\n"
        );
        assert_eq!(
            failure.json(),
            "{\"error\":{\"kind\":\"not_found\",\"message\":\"no \\u001b[2J\\nx\",\"hint\":\"outlast job list\",\
             \"subject\":null}}\n"
        );
    }
}
