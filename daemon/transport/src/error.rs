//! Why a connection did not come about, in a form that says whether trying again can help.

use std::fmt;

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The name has no address.
    NoAddress,
    /// The machine refused the connection.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No way to the machine.
    Unreachable,
    /// The connection broke.
    Cut,
    /// The host refused every credential there is.
    AuthRejected,
    /// The host's key is not known and nobody took it.
    KeyUnknown,
    /// The host showed another key than the known one.
    KeyChanged,
    /// The host's key is revoked.
    KeyRevoked,
    /// The helper cannot be put on the host or does not run there.
    HelperFailed,
    /// No helper for the host's platform is installed here.
    Unsupported,
    /// A program that is needed here (ssh, the command) is missing or fails, or the ssh configuration is wrong.
    Misconfigured,
    /// The other end does something that is not understood.
    Protocol,
}

impl Cause {
    /// The word programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAddress => "no_address",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Cut => "cut",
            Self::AuthRejected => "auth_rejected",
            Self::KeyUnknown => "key_unknown",
            Self::KeyChanged => "key_changed",
            Self::KeyRevoked => "key_revoked",
            Self::HelperFailed => "helper_failed",
            Self::Unsupported => "unsupported",
            Self::Misconfigured => "misconfigured",
            Self::Protocol => "protocol",
        }
    }

    /// Whether trying again by itself makes sense. Credentials and keys only a person can mend.
    #[must_use]
    pub const fn may_heal(self) -> bool {
        !matches!(
            self,
            Self::AuthRejected | Self::KeyUnknown | Self::KeyChanged | Self::KeyRevoked
        )
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError {
    /// The class.
    pub cause: Cause,
    /// One sentence. Parts of it may come from the host and are not to be trusted.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
    /// Fingerprint of the key the host showed, where the key is the matter.
    pub key_shown: Option<String>,
    /// Fingerprints of the keys known for it, where it showed another.
    pub keys_known: Vec<String>,
}

impl ConnectError {
    /// A failure without advice.
    #[must_use]
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            hint: None,
            key_shown: None,
            keys_known: Vec::new(),
        }
    }

    /// Adds what helps.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}
