//! Questions that only a person can answer. The transport asks; whoever connects decides who is asked, and no answer
//! is an answer: the connection then fails with an error that names what would have answered.

use std::fmt;

use tokio::sync::oneshot;

/// Text that must not be shown: an answer, a passphrase.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown by accident.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, where it is needed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuestionKind {
    /// An unknown host key with this fingerprint. "yes" or the fingerprint takes it.
    HostKey {
        /// `SHA256:…`.
        fingerprint: String,
    },
    /// The passphrase of a private key.
    Passphrase {
        /// The file.
        file: std::path::PathBuf,
    },
    /// The user's password.
    Password,
    /// Anything else a server or `ssh` wants to know.
    Other,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub kind: QuestionKind,
    /// For people. Parts of it come from the host and are not to be trusted.
    pub text: String,
    /// What is typed may be shown.
    pub echo: bool,
}

/// A question on its way, with where the answer goes. Dropped, or None: nobody answers.
#[derive(Debug)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Option<Secret>>,
}
