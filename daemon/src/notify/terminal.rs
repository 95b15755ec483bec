//! The terminals that are attached to something else. Each is told by the stream of its attachment, and its client shows it in
//! whatever way that terminal knows.

use std::sync::Arc;

use outlast_client::v1::{AttachNotice, Error, ErrorKind};
use outlast_model::{id::Id, notice::Notice};
use tokio::sync::broadcast;

/// Notices that may wait for a terminal that takes nothing. Older ones are dropped: news of yesterday.
const QUEUE: usize = 16;

/// The way to all attached terminals.
#[derive(Debug, Clone)]
pub struct Terminals(broadcast::Sender<Arc<Notice>>);

impl Default for Terminals {
    fn default() -> Self {
        Self(broadcast::Sender::new(QUEUE))
    }
}

impl Terminals {
    /// The ear of a terminal that is attached to this session.
    #[must_use]
    pub fn listen(&self, session: Id) -> Listener {
        Listener {
            session: session.to_string(),
            notices: self.0.subscribe(),
        }
    }

    /// Tells every terminal.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn tell(&self, notice: &Notice) -> Result<(), Error> {
        match self.0.send(Arc::new(notice.clone())) {
            Ok(_terminals) => Ok(()),
            Err(_nobody) => Err(
                Error::new(ErrorKind::NotFound, "no terminal is attached to a session")
                    .with_hint("outlast attach NAME, in another terminal"),
            ),
        }
    }
}

/// What one attached terminal hears.
#[derive(Debug)]
pub struct Listener {
    session: String,
    notices: broadcast::Receiver<Arc<Notice>>,
}

impl Listener {
    /// The next notice for this terminal. What is about nothing but its own session is none: somebody looks at that. Cancel
    /// safe.
    pub async fn next(&mut self) -> AttachNotice {
        loop {
            match self.notices.recv().await {
                Ok(notice) if !self.is_own(&notice) => {
                    return AttachNotice {
                        title: notice.title.clone(),
                        body: notice.body.clone(),
                        sentence: notice.sentence.clone(),
                    };
                }
                // What was missed is old news.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                // The daemon ends.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn is_own(&self, notice: &Notice) -> bool {
        !notice.things.is_empty() && notice.things.iter().all(|thing| thing.id == self.session)
    }
}
