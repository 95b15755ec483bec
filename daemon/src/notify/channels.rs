//! The ways to tell somebody, each with a task of its own: one that hangs delays no other.

use std::sync::Arc;

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::notice::{Channel, Notice};
use tokio::sync::mpsc;

use super::{NotifyConfig, command, desktop, progress::Telling, terminal::Terminals, webhook};
use crate::app::App;

/// Notices that may wait for one channel. A receiver that is away for long misses what happened meanwhile.
const QUEUE: usize = 16;

/// The means of all channels.
#[derive(Debug, Clone)]
struct Means {
    config: NotifyConfig,
    terminals: Terminals,
}

impl Means {
    fn of(app: &App) -> Self {
        Self {
            config: app.config.notify.clone(),
            terminals: app.terminals.clone(),
        }
    }

    async fn tell(&self, channel: Channel, notice: &Notice) -> Result<(), Error> {
        match channel {
            Channel::Desktop => desktop::tell(notice).await,
            Channel::Terminal => self.terminals.tell(notice),
            Channel::Command => command::tell(self.config.command.as_deref(), notice).await,
            Channel::Webhook => webhook::tell(self.config.webhook.as_ref(), notice).await,
        }
    }
}

/// A notice, and what it is told with.
type Queued = (Notice, Arc<Telling>);

/// The way to the tasks.
#[derive(Debug)]
pub(super) struct Channels(Vec<(Channel, mpsc::Sender<Queued>)>);

impl Channels {
    /// Starts the tasks of the channels that are in use. Each ends when this is dropped and it has told what waits.
    pub(super) fn start(app: &Arc<App>) -> Self {
        let used = app.config.notify.rules.every_channel();
        let start = |channel| {
            let (sender, notices) = mpsc::channel(QUEUE);
            app.tasks.spawn(serve(Means::of(app), channel, notices));
            (channel, sender)
        };
        Self(used.into_iter().map(start).collect())
    }

    /// Hands a notice over. What it belongs to is let go when it was told.
    pub(super) fn tell(&self, channel: Channel, notice: Notice, telling: &Arc<Telling>) {
        let sender = self
            .0
            .iter()
            .find(|(of, _)| *of == channel)
            .map(|(_, sender)| sender);
        if sender.is_some_and(|sender| sender.try_send((notice, Arc::clone(telling))).is_err()) {
            tracing::warn!(%channel, "too much waits to be told; a notice is left out");
        }
    }
}

/// Tells by one channel, one after the other.
async fn serve(means: Means, channel: Channel, mut notices: mpsc::Receiver<Queued>) {
    let mut failing = false;
    while let Some((notice, _telling)) = notices.recv().await {
        match means.tell(channel, &notice).await {
            Ok(()) => failing = false,
            // That nobody is attached is no failure.
            Err(error) if channel == Channel::Terminal => {
                tracing::debug!(%channel, error = %error.message, "nobody is told");
            }
            // What is told is the program's and in no log.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%channel, error = %error.message, "telling failed; see: outlast notify test");
            }
            Err(error) => tracing::debug!(%channel, error = %error.message, "telling failed again"),
        }
    }
}

/// Tells something by each of these channels, all at once. Empty: by those that are in use.
///
/// # Errors
/// Never itself; each channel has its own outcome, in the order of the channels.
pub async fn test(app: &App, asked: &[Channel]) -> Vec<(Channel, Result<(), Error>)> {
    let mut channels = if asked.is_empty() {
        app.config.notify.rules.every_channel()
    } else {
        asked.iter().copied().collect()
    };
    let means = Means::of(app);
    let tests = Channel::ALL
        .into_iter()
        .filter(|channel| channels.remove(channel))
        .map(|channel| {
            let means = means.clone();
            async move { (channel, means.tell(channel, &Notice::test()).await) }
        });
    futures::future::join_all(tests).await
}

/// Whether a channel only had nobody to tell.
#[must_use]
pub fn is_nobody(channel: Channel, error: &Error) -> bool {
    channel == Channel::Terminal && error.kind() == ErrorKind::NotFound
}
