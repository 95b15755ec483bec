//! How what a target refuses is told to the daemon.

use std::io;

use outlast_client::{
    helper_v1::{SyncOutcome, SyncRefusal},
    v1::{Error, ErrorKind},
};
use tonic::Status;

use crate::{
    service::error::failed,
    target::{Misplaced, OpenError, Refusal, Refused},
};

/// A newer stream, or somebody who forgets the sync, has come.
pub(super) fn taken_over() -> Status {
    Status::aborted("a newer stream has taken over the target")
}

/// A target cannot be opened or used.
pub(super) fn refuse(error: OpenError) -> Status {
    let message = error.to_string();
    let state = |subject: &str, hint: &str| {
        Error::new(ErrorKind::WrongState, message.clone())
            .with_hint(hint)
            .about(subject)
            .into_status()
    };
    match error {
        OpenError::Misplaced(Misplaced::Senseless(_)) => Error::new(ErrorKind::Usage, message)
            .with_hint("choose another directory")
            .into_status(),
        OpenError::Misplaced(Misplaced::Overlap(_, other, _)) => Error::new(ErrorKind::Usage, message)
            .with_hint("choose a directory that is neither in nor above another target")
            .about(other)
            .into_status(),
        OpenError::Misplaced(Misplaced::Io(error)) | OpenError::Io(error) => match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Error::new(ErrorKind::NotPermitted, message)
                    .with_hint("let its user write there, or choose another directory")
                    .into_status()
            }
            _ => failed(&error),
        },
        OpenError::Missing(_) => state("target_missing", "it is made anew when the sync is resumed"),
        OpenError::Replaced(_) => state("target_replaced", "it is taken as it is when the sync is resumed"),
        OpenError::NotEmpty(_) => state(
            "target_not_empty",
            "what is there is kept where it is equal; the rest is replaced only when that is confirmed",
        ),
        OpenError::Busy => Error::new(ErrorKind::Unreachable, message)
            .with_hint("it ends when that helper notices that its connection is gone")
            .into_status(),
        OpenError::Stopped => Status::cancelled(message),
    }
}

/// What became of a change.
pub(super) fn outcome(made: Result<(), Refused>) -> SyncOutcome {
    let Err(refused) = made else {
        return SyncOutcome::default();
    };
    let refusal = match refused.why {
        Refusal::Conflict => SyncRefusal::Conflict,
        Refusal::Need => SyncRefusal::Need,
        Refusal::Name => SyncRefusal::Name,
        Refusal::Clash => SyncRefusal::Clash,
        Refusal::Permission => SyncRefusal::Permission,
        Refusal::Full => SyncRefusal::Full,
        Refusal::NotEmpty => SyncRefusal::NotEmpty,
        Refusal::TooLarge => SyncRefusal::TooLarge,
        Refusal::Failed => SyncRefusal::Failed,
    };
    SyncOutcome {
        refusal: refusal.into(),
        message: refused.message,
    }
}
