//! `NotifyService`: whether telling works.

use std::sync::Arc;

use outlast_client::v1::{
    Error, ErrorKind, NotifyAttempt, NotifyChannel, NotifyOutcome, TestNotifyRequest, TestNotifyResponse,
    notify_service_server::NotifyService,
};
use outlast_model::notice::Channel;
use tonic::{Request, Response, Status};

use super::status::Failure;
use crate::{app::App, notify::channels};

/// The handlers.
pub struct Notify {
    app: Arc<App>,
}

impl Notify {
    /// Over the daemon's parts.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl NotifyService for Notify {
    async fn test_notify(
        &self,
        request: Request<TestNotifyRequest>,
    ) -> Result<Response<TestNotifyResponse>, Status> {
        let asked = request.into_inner().channels;
        let asked: Vec<Channel> = asked.into_iter().map(read).collect::<Result<_, Failure>>()?;
        let shutdown = self.app.shutdown.clone();
        let tested = tokio::select! {
            status = shutdown.ended() => return Err(status),
            tested = channels::test(&self.app, &asked) => tested,
        };
        let attempts = tested
            .into_iter()
            .map(|(channel, outcome)| attempt(channel, outcome))
            .collect();
        Ok(Response::new(TestNotifyResponse { attempts }))
    }
}

fn read(number: i32) -> Result<Channel, Failure> {
    match NotifyChannel::try_from(number) {
        Ok(NotifyChannel::Desktop) => Ok(Channel::Desktop),
        Ok(NotifyChannel::Terminal) => Ok(Channel::Terminal),
        Ok(NotifyChannel::Command) => Ok(Channel::Command),
        Ok(NotifyChannel::Webhook) => Ok(Channel::Webhook),
        Ok(NotifyChannel::Unspecified) | Err(_) => {
            let error = Error::new(
                ErrorKind::Usage,
                format!("there is no channel of the number {number}"),
            );
            Err(error.into())
        }
    }
}

const fn write(channel: Channel) -> NotifyChannel {
    match channel {
        Channel::Desktop => NotifyChannel::Desktop,
        Channel::Terminal => NotifyChannel::Terminal,
        Channel::Command => NotifyChannel::Command,
        Channel::Webhook => NotifyChannel::Webhook,
    }
}

fn attempt(channel: Channel, outcome: Result<(), Error>) -> NotifyAttempt {
    let (outcome, error) = match outcome {
        Ok(()) => (NotifyOutcome::Told, None),
        Err(error) if channels::is_nobody(channel, &error) => (NotifyOutcome::Nobody, Some(error)),
        Err(error) => (NotifyOutcome::Failed, Some(error)),
    };
    NotifyAttempt {
        channel: write(channel).into(),
        outcome: outcome.into(),
        message: error.as_ref().map(|error| error.message.clone()),
        hint: error.and_then(|error| error.hint),
    }
}
