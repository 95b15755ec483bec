//! Why an attached terminal was left, and what is said of it.

use outlast_client::v1::{self, AttachEndReason, ErrorKind};

use crate::{
    commands::session::{code, how_it_ended},
    context::Context,
    error::{Failure, INTERRUPTED, Result},
    pump::{self, answer},
    render::json,
};

/// Why the terminal was left.
pub(super) enum Left {
    /// The daemon said.
    End(Box<v1::AttachEnd>),
    /// A signal ended this process.
    Signal(u8),
    /// The user, while there was no connection to the daemon.
    CutOff,
    /// The user, while the host was away.
    Away,
}

impl Left {
    /// What is said of it, as the last line.
    pub(super) fn last_words(&self, name: &str, host: &str) -> Result<String> {
        Ok(match self {
            Self::End(end) => return ending(name, end, &end.session.clone().unwrap_or_default()),
            Self::Signal(_) => detached(name),
            Self::CutOff => format!(
                "left session {name} without a connection; it goes on, come back with: outlast attach {name}"
            ),
            Self::Away => {
                format!("left session {name}; its host {host} is away, come back with: outlast attach {name}")
            }
        })
    }

    /// The exit code of what the daemon did not end.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Signal(number) => 128_u8.saturating_add(*number),
            Self::End(_) | Self::CutOff | Self::Away => INTERRUPTED,
        }
    }
}

/// How an attachment came to its end that is a part of something else.
#[derive(Debug)]
pub enum Over {
    /// The session was left or has ended: in words.
    Left(String),
    /// A signal ends this process.
    Signal(u8),
}

/// Says how it ended, as the last line, and gives the exit code.
pub(super) fn farewell(ctx: &Context, name: &str, end: &v1::AttachEnd) -> Result<u8> {
    let session = end.session.clone().unwrap_or_default();
    if ctx.global.json {
        answer(&json::line(&json::Session::from(&session)))?;
    }
    let last_words = ending(name, end, &session)?;
    if !ctx.global.json {
        pump::remark(&format!("{last_words}\n"));
    }
    match end.reason() {
        AttachEndReason::Exited => Ok(code(&session)),
        _ => Ok(0),
    }
}

/// How it ended, in words; a session that was lost is a failure.
fn ending(name: &str, end: &v1::AttachEnd, session: &v1::Session) -> Result<String> {
    match end.reason() {
        AttachEndReason::Exited => Ok(format!("session {name} {}", how_it_ended(session))),
        AttachEndReason::Lost => {
            let because = session
                .reason
                .as_deref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            Err(
                Failure::new(ErrorKind::Failed, format!("session {name} was lost{because}"))
                    .hint(format!("outlast session recover {name}"))
                    .about(name),
            )
        }
        AttachEndReason::Detached | AttachEndReason::Unspecified => Ok(detached(name)),
    }
}

fn detached(name: &str) -> String {
    format!("detached from session {name}; it goes on, come back with: outlast attach {name}")
}
