//! What is known of a host, as a value with a generation.

use std::time::Duration;

use outlast_client::helper_v1;
use outlast_model::job::TimeMs;

/// What a helper says of its host.
pub type Facts = helper_v1::GetFactsResponse;

/// How the connection to a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A first connection is being made.
    Connecting,
    /// Connected.
    Up,
    /// The last attempt failed; the next is due.
    Backoff,
}

impl Link {
    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Backoff => "backoff",
        }
    }
}

/// What was last seen of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostView {
    /// Grows with every change.
    pub generation: u64,
    /// The connection.
    pub link: Link,
    /// Why the link is not up, one sentence. Absent while it is up.
    pub error: Option<String>,
    /// What the helper said last. Absent when it never answered.
    pub facts: Option<Facts>,
    /// How long the helper took to answer last.
    pub rtt: Option<Duration>,
    /// When it did.
    pub observed_at: Option<TimeMs>,
    /// When the next attempt is due. Absent unless the link is in backoff.
    pub next_try_at: Option<TimeMs>,
}

impl HostView {
    /// Machine-readable cause of the link's state. Absent while it is up. A helper in this process knows only one.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.error.as_ref().map(|_| "helper_failed")
    }
}

impl Default for HostView {
    fn default() -> Self {
        Self {
            generation: 0,
            link: Link::Connecting,
            error: None,
            facts: None,
            rtt: None,
            observed_at: None,
            next_try_at: None,
        }
    }
}
