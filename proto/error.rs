//! Errors as they cross the socket: one [`Error`] in the details of a gRPC status.
//!
//! The daemon packs, clients unpack. Which exit code a kind stands for is also said here, because it is part of the
//! protocol's promise.

use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::v1::{Error, ErrorKind};

const TYPE_URL: &str = "type.googleapis.com/outlast.v1.Error";

impl Error {
    /// A new error without hint or subject.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
            hint: None,
            subject: None,
        }
    }

    /// Adds what helps.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what it is about.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Packs the error into a status for the wire.
    #[must_use]
    pub fn into_status(self) -> Status {
        let code = code(self.kind());
        let message = self.message.clone();
        let any = Any {
            type_url: TYPE_URL.to_owned(),
            value: self.encode_to_vec(),
        };
        let details = pb::Status {
            code: code as i32,
            message: message.clone(),
            details: vec![any],
        };
        Status::with_details(code, message, details.encode_to_vec().into())
    }

    /// Unpacks the error of a status. What did not come from an outlast daemon has none.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = pb::Status::decode(status.details()).ok()?;
        let any = details.details.into_iter().find(|any| any.type_url == TYPE_URL)?;
        Self::decode(any.value.as_slice()).ok()
    }
}

impl ErrorKind {
    /// The word for programs: `not_found`, `wrong_state`. The unspecified kind is `failed`.
    #[must_use]
    pub fn word(self) -> String {
        let kind = if self == Self::Unspecified {
            Self::Failed
        } else {
            self
        };
        kind.as_str_name()
            .trim_start_matches("ERROR_KIND_")
            .to_ascii_lowercase()
    }

    /// The kind a word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::from_str_name(&format!("ERROR_KIND_{}", word.to_ascii_uppercase()))
    }
}

/// The gRPC code that a kind travels under, for clients that know no details.
fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Unspecified => Code::Unknown,
        ErrorKind::Failed => Code::Internal,
        ErrorKind::Usage => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::AlreadyExists,
        ErrorKind::WrongState | ErrorKind::Incompatible | ErrorKind::MissingProgram => {
            Code::FailedPrecondition
        }
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::NotPermitted => Code::PermissionDenied,
        ErrorKind::Unreachable | ErrorKind::Stopping | ErrorKind::Restarting => Code::Unavailable,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Exhausted => Code::ResourceExhausted,
    }
}

/// The exit code that a kind stands for.
#[must_use]
pub fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Unspecified | ErrorKind::Failed | ErrorKind::Exhausted | ErrorKind::MissingProgram => 1,
        ErrorKind::Usage => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::Conflict | ErrorKind::WrongState => 4,
        ErrorKind::Unauthenticated | ErrorKind::NotPermitted => 5,
        ErrorKind::Unreachable => 6,
        ErrorKind::Stopping | ErrorKind::Restarting | ErrorKind::Incompatible => 7,
        ErrorKind::Timeout => 124,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let error = Error::new(ErrorKind::NotFound, "no job is called x")
            .with_hint("outlast job list")
            .about("x");
        let status = error.clone().into_status();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(Error::from_status(&status), Some(error));
    }

    #[test]
    fn a_foreign_status_has_no_error() {
        assert_eq!(Error::from_status(&Status::internal("boom")), None);
        let junk = Status::with_details(Code::Internal, "boom", vec![0xff; 40].into());
        assert_eq!(Error::from_status(&junk), None);
    }
}
