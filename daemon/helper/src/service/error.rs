//! How what goes wrong here is told to the daemon: one kind, one sentence, one hint.

use std::io;

use outlast_client::v1::{Error, ErrorKind};
use tonic::Status;
use uuid::Uuid;

use crate::tmux;

/// The request makes no sense.
pub(super) fn usage(message: impl Into<String>) -> Status {
    Error::new(ErrorKind::Usage, message).into_status()
}

/// There is no such job or session here.
pub(super) fn not_found(noun: &str, id: &str) -> Status {
    Error::new(ErrorKind::NotFound, format!("this host knows no {noun} {id}"))
        .about(id)
        .into_status()
}

/// It cannot be done to a thing in this state.
pub(super) fn wrong_state(id: &str, message: impl Into<String>, hint: &str) -> Status {
    Error::new(ErrorKind::WrongState, message)
        .with_hint(hint)
        .about(id)
        .into_status()
}

/// The system refused.
pub(super) fn failed(cause: &io::Error) -> Status {
    let kind = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            ErrorKind::Exhausted
        }
        io::ErrorKind::InvalidInput => ErrorKind::Usage,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, cause.to_string()).into_status()
}

/// Something failed for which there is no more to say.
pub(super) fn broken(message: impl Into<String>) -> Status {
    Error::new(ErrorKind::Failed, message).into_status()
}

/// tmux did not do it.
pub(super) fn tmux(cause: tmux::Error) -> Status {
    match cause {
        tmux::Error::Unusable(problem) => Error::new(ErrorKind::MissingProgram, problem.message)
            .with_hint(problem.hint)
            .about("tmux")
            .into_status(),
        tmux::Error::Argument(_) => usage(cause.to_string()),
        other => broken(other.to_string()),
    }
}

/// There is no such key.
pub(super) fn no_key(name: &str) -> Status {
    let message =
        format!("no key is called {name:?}; keys are called as tmux does: Enter, C-c, Up, F1, M-x, …");
    Error::new(ErrorKind::Usage, message)
        .with_hint("outlast session send NAME --keys Enter; text is sent without --keys")
        .into_status()
}

/// tmux has no screen for this session.
pub(super) fn no_screen(id: &str) -> Status {
    Error::new(
        ErrorKind::NotFound,
        format!("the screen of session {id} is gone: its tmux session does not exist"),
    )
    .with_hint("its output is kept: outlast session logs; to start it again: outlast session restart")
    .about(id)
    .into_status()
}

/// Lets only UUIDs in, written the one usual way, so that an id can be a file's name.
pub(super) fn check_id(id: &str) -> Result<(), Status> {
    let parsed = Uuid::try_parse(id).ok();
    if parsed.is_some_and(|parsed| parsed.hyphenated().to_string() == id) {
        return Ok(());
    }
    let shown: String = id.chars().take(64).collect();
    Err(usage(format!(
        "{shown:?} is no id: a UUID in lower case is wanted"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_come_in() {
        assert!(check_id("a7e1c2d4-0000-4000-8000-000000000001").is_ok());
        for bad in [
            "",
            "..",
            "a/b",
            "a7e1c2d4000040008000000000000001",
            "A7E1C2D4-0000-4000-8000-000000000001",
            "{a7e1c2d4-0000-4000-8000-000000000001}",
            "a7e1c2d4-0000-4000-8000-000000000001\n",
        ] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }
}
