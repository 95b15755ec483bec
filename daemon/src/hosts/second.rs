//! Connections to a host besides the first one, each made when it is first wanted: so that what is much does not delay what
//! is short. Knows nothing of how they are made.

use outlast_transport::{
    HelperClient,
    connect::{Connection, Purpose},
};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
};

use super::view::Trouble;

/// What a connection is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// What is much.
    Much,
    /// What is so much that a connection is worth while which takes longer to be made and carries faster then.
    Huge,
}

impl Errand {
    /// The same, as the transport has it.
    pub(super) const fn purpose(self) -> Purpose {
        match self {
            Self::Much => Purpose::Bulk,
            Self::Huge => Purpose::Haul,
        }
    }
}

/// A connection that is being made.
pub(super) type Making = JoinHandle<Result<Connection, Trouble>>;

/// The connections besides the first one.
#[derive(Default)]
pub(super) struct Seconds {
    much: Second,
    huge: Second,
}

#[derive(Default)]
enum Second {
    #[default]
    None,
    Making(Making, Vec<oneshot::Sender<HelperClient>>),
    Made(Box<Connection>),
    /// It did not come about, and is not tried again as long as the first one lasts.
    Refused,
}

impl Seconds {
    /// Waits until one that is being made is there, or not, and tells those who wait for it. Cancel-safe.
    pub(super) async fn made(&mut self) {
        tokio::select! {
            outcome = self.much.over() => self.much.settle(Errand::Much, outcome),
            outcome = self.huge.over() => self.huge.settle(Errand::Huge, outcome),
        }
    }

    /// Somebody wants one, which is made by this where it is not there. Where it does not come about, the answer is dropped.
    pub(super) fn want(
        &mut self,
        errand: Errand,
        reply: oneshot::Sender<HelperClient>,
        make: impl FnOnce() -> Making,
    ) {
        let second = match errand {
            Errand::Much => &mut self.much,
            Errand::Huge => &mut self.huge,
        };
        match second {
            Second::Made(connection) if connection.closed.borrow().is_none() => {
                // Whoever asked may have gone.
                let _gone = reply.send(connection.client.clone());
            }
            Second::Making(_, waiting) => waiting.push(reply),
            Second::None | Second::Made(_) => *second = Second::Making(make(), vec![reply]),
            Second::Refused => {}
        }
    }
}

impl Second {
    /// Waits for the end of the attempt; for ever where there is none.
    async fn over(&mut self) -> Result<Result<Connection, Trouble>, JoinError> {
        match self {
            Self::Making(making, _) => making.await,
            Self::None | Self::Made(_) | Self::Refused => std::future::pending().await,
        }
    }

    /// The end of the attempt. Those who wait for one that failed go on with another one.
    fn settle(&mut self, errand: Errand, outcome: Result<Result<Connection, Trouble>, JoinError>) {
        let Self::Making(_, waiting) = std::mem::take(self) else {
            return;
        };
        match outcome {
            Ok(Ok(connection)) => {
                for reply in waiting {
                    // Whoever asked may have gone.
                    let _gone = reply.send(connection.client.clone());
                }
                *self = Self::Made(Box::new(connection));
            }
            Ok(Err(trouble)) => {
                let error = trouble.message.escape_debug();
                tracing::info!(?errand, %error, "no second connection; another one carries what it was for");
                if errand == Errand::Huge {
                    // Each attempt is another login that fails.
                    *self = Self::Refused;
                }
            }
            Err(error) => tracing::error!(%error, "making a second connection"),
        }
    }
}
