//! The end of the daemon, announced once to everyone.
//!
//! Whoever decides calls [`Shutdown::begin`]; whoever waits selects on [`Shutdown::token`] or, where a client has to
//! be told, on [`Shutdown::ended`]. Nothing here ends anything: each task ends itself when it hears.

use std::sync::{Arc, OnceLock};

use outlast_client::v1::{Error, ErrorKind};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Why the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop; clients stay away until somebody starts it again.
    Stop,
    /// Another daemon takes its place at once; clients come back by themselves.
    Restart,
}

/// The announcement, shared by all tasks.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    token: CancellationToken,
    ending: OnceLock<Ending>,
}

impl Shutdown {
    /// An announcement that was not made yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that is cancelled when the daemon ends.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.inner.token.clone()
    }

    /// Announces the end. The first announcement stands: what streams were told is not taken back.
    pub fn begin(&self, ending: Ending) {
        // A second caller finds the cell full, which is what the first announcement standing means.
        let _first_stands = self.inner.ending.set(ending);
        self.inner.token.cancel();
    }

    /// What was announced, if anything was.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.inner.ending.get().copied()
    }

    /// True once the end was announced.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.inner.token.is_cancelled()
    }

    /// Waits for the end and returns the status that every open stream ends with. Cancel safe.
    pub async fn ended(&self) -> Status {
        self.inner.token.cancelled().await;
        self.status()
    }

    /// The status of a call that comes, or still runs, while the daemon ends.
    #[must_use]
    pub fn status(&self) -> Status {
        self.error().into_status()
    }

    /// The same as an error.
    #[must_use]
    pub fn error(&self) -> Error {
        match self.inner.ending.get() {
            Some(Ending::Restart) => Error::new(ErrorKind::Restarting, "the daemon is being restarted")
                .with_hint(
                    "connect again and go on by position; `outlast daemon start` starts it if it stays away",
                ),
            Some(Ending::Stop) | None => Error::new(ErrorKind::Stopping, "the daemon was told to stop")
                .with_hint("what runs keeps running; `outlast daemon start` brings the daemon back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_hears_the_first_announcement() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(!other.has_begun());
        shutdown.begin(Ending::Restart);
        shutdown.begin(Ending::Stop);
        let error = Error::from_status(&other.ended().await).unwrap();
        assert_eq!(error.kind(), ErrorKind::Restarting);
        assert!(other.token().is_cancelled());
    }

    #[tokio::test]
    async fn a_stop_names_the_way_back() {
        let shutdown = Shutdown::new();
        shutdown.begin(Ending::Stop);
        let error = Error::from_status(&shutdown.ended().await).unwrap();
        assert_eq!(error.kind(), ErrorKind::Stopping);
        assert!(error.hint().contains("outlast daemon start"));
    }
}
