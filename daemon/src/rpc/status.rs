//! Every error of the daemon as it leaves: kind, message, hint, subject. The one place where that is decided.

use std::io;

use outlast_client::{
    paths::PlaceError,
    socket::SocketError,
    v1::{Error, ErrorKind},
};
use outlast_store::StoreError;
use tonic::{Code, Status};

use crate::{
    hosts::{self, MissingHelper},
    lock::LockError,
    logging::LogError,
    serve::{ReflectionError, socket_hint},
};

/// Anything that can go wrong in the daemon. Handlers return it through `?` and it becomes a status at the door.
#[derive(Debug)]
pub enum Failure {
    /// Decided here: already in the words of the protocol.
    Public(Error),
    /// The database.
    Store(StoreError),
    /// A helper, or the way to it.
    Helper(Status),
    /// The local socket or a private directory.
    Socket(SocketError),
    /// The state directory's lock or id.
    Lock(LockError),
    /// The daemon's log.
    Log(LogError),
    /// The places of outlast.
    Place(PlaceError),
    /// The helper program.
    MissingHelper(MissingHelper),
    /// The hosts.
    Hosts(hosts::OpenError),
    /// The descriptors that were built in.
    Reflection(ReflectionError),
    /// The gRPC server.
    Server(tonic::transport::Error),
    /// The system.
    Io(io::Error),
    /// A task of the daemon's own that panicked or was cut off.
    Task(tokio::task::JoinError),
}

macro_rules! from {
    ($($variant:ident($error:ty)),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    Public(Error),
    Store(StoreError),
    Helper(Status),
    Socket(SocketError),
    Lock(LockError),
    Log(LogError),
    Place(PlaceError),
    MissingHelper(MissingHelper),
    Hosts(hosts::OpenError),
    Reflection(ReflectionError),
    Server(tonic::transport::Error),
    Io(io::Error),
    Task(tokio::task::JoinError),
}

/// Any error in the words of the protocol; for `map_err`.
pub fn failure(error: impl Into<Failure>) -> Error {
    error.into().into()
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        Error::from(failure).into_status()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Public(error) => error,
            Failure::Store(error) => store(&error),
            Failure::Helper(status) => helper(&status),
            Failure::Socket(error) => socket(&error),
            Failure::Lock(error) => lock(&error),
            Failure::Log(LogError::Directory(error)) => socket(&error),
            Failure::Log(LogError::File(error)) => Self::new(ErrorKind::Failed, error.to_string()),
            Failure::Place(error) => Self::new(ErrorKind::Failed, error.to_string()).with_hint("set HOME"),
            Failure::MissingHelper(error) => Self::new(ErrorKind::MissingProgram, error.to_string())
                .with_hint("put outlast-helper beside outlastd, or name its directory in OUTLAST_LIBDIR"),
            Failure::Hosts(hosts::OpenError::Io(error)) => Self::new(io_kind(&error), error.to_string()),
            Failure::Hosts(hosts::OpenError::Store(error)) => store(&error),
            Failure::Hosts(error @ hosts::OpenError::Ending) => {
                Self::new(ErrorKind::Stopping, error.to_string())
            }
            Failure::Reflection(error) => Self::new(ErrorKind::Failed, error.to_string()),
            Failure::Server(error) => Self::new(ErrorKind::Failed, format!("serving: {error}")),
            Failure::Io(error) => Self::new(io_kind(&error), error.to_string()),
            Failure::Task(error) => {
                Self::new(ErrorKind::Failed, format!("a task of the daemon broke: {error}"))
                    .with_hint("outlast daemon logs")
            }
        }
    }
}

fn store(error: &StoreError) -> Error {
    let (kind, subject) = match error {
        StoreError::Newer { .. } => (ErrorKind::Incompatible, None),
        StoreError::ReadOnly { .. } => (ErrorKind::NotPermitted, None),
        StoreError::Full { .. } | StoreError::Overloaded { .. } => (ErrorKind::Exhausted, None),
        StoreError::Busy { .. } => (ErrorKind::Conflict, None),
        StoreError::Damaged { .. }
        | StoreError::Io { .. }
        | StoreError::Sqlite { .. }
        | StoreError::Migration { .. } => (ErrorKind::Failed, None),
        StoreError::RequestConflict { id } => (ErrorKind::Conflict, Some(id.clone())),
        StoreError::Gone { subject, .. } => (ErrorKind::NotFound, Some(subject.clone())),
        StoreError::NameTaken { name, .. } => (ErrorKind::Conflict, Some(name.clone())),
        StoreError::HostTaken { name } => (ErrorKind::Conflict, Some(name.clone())),
        StoreError::TargetTaken { holder, .. } => (ErrorKind::Conflict, Some(holder.clone())),
        StoreError::Exists { id, .. } => (ErrorKind::Conflict, Some(id.to_string())),
        StoreError::Missing { id, .. } => (ErrorKind::NotFound, Some(id.to_string())),
        StoreError::Stale { id, .. } => (ErrorKind::WrongState, Some(id.to_string())),
        StoreError::Closed => (ErrorKind::Stopping, None),
    };
    Error {
        hint: error.hint(),
        subject,
        ..Error::new(kind, error.to_string())
    }
}

/// What a helper says in our words is passed on; the rest is judged by its code.
fn helper(status: &Status) -> Error {
    if let Some(error) = Error::from_status(status) {
        return error;
    }
    let kind = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Usage,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists | Code::Aborted => ErrorKind::Conflict,
        Code::FailedPrecondition => ErrorKind::WrongState,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::NotPermitted,
        // A broken connection is `Unknown` to calls that were in flight and `Unavailable` to later ones.
        Code::Unavailable | Code::Unknown | Code::Cancelled => ErrorKind::Unreachable,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::ResourceExhausted => ErrorKind::Exhausted,
        Code::Unimplemented => ErrorKind::Incompatible,
        Code::Ok | Code::Internal | Code::DataLoss => ErrorKind::Failed,
    };
    Error::new(kind, format!("the helper: {}", status.message()))
}

fn socket(error: &SocketError) -> Error {
    let kind = match error {
        SocketError::TooLong(_) => ErrorKind::Usage,
        SocketError::Taken(_) => ErrorKind::WrongState,
        SocketError::Foreign { .. }
        | SocketError::NotADirectory(_)
        | SocketError::Open { .. }
        | SocketError::Impostor { .. } => ErrorKind::NotPermitted,
        SocketError::Io { source, .. } => io_kind(source),
    };
    Error {
        hint: socket_hint(error),
        ..Error::new(kind, error.to_string())
    }
}

fn lock(error: &LockError) -> Error {
    match error {
        LockError::Directory(error) => socket(error),
        LockError::Held { .. } => {
            Error::new(ErrorKind::Conflict, error.to_string()).with_hint("outlast status")
        }
        LockError::BadId(path) => Error::new(ErrorKind::Failed, error.to_string()).with_hint(format!(
            "bring {} back from a backup; without it, what runs now is not found again",
            path.display()
        )),
        LockError::Io { source, .. } => Error::new(io_kind(source), error.to_string()),
    }
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::NotPermitted,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            ErrorKind::Exhausted
        }
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_helper_says_in_our_words_is_passed_on() {
        let said = Error::new(ErrorKind::MissingProgram, "tmux is missing").with_hint("apt install tmux");
        let status = Status::from(Failure::Helper(said.clone().into_status()));
        assert_eq!(Error::from_status(&status), Some(said));

        let broken = Error::from(Failure::Helper(Status::unknown("transport error")));
        assert_eq!(broken.kind(), ErrorKind::Unreachable);
    }

    #[test]
    fn a_second_daemon_is_a_conflict() {
        let error = failure(LockError::Held { pid: Some(7) });
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(error.message, "outlastd already runs (pid 7)");
    }

    #[test]
    fn a_directory_that_is_open_names_what_closes_it() {
        let error = failure(SocketError::Open {
            path: "/run/x".into(),
            mode: 0o755,
        });
        assert_eq!(error.kind(), ErrorKind::NotPermitted);
        assert_eq!(error.hint(), "chmod 700 /run/x");
    }
}
