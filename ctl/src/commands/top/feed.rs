//! What outlastd says: its events, and what has to be asked because of them. Asks nothing by the clock.
//!
//! ```text
//!   stream stands ─► everything ─► event ─► what it concerns, gathered for a moment ─► event …
//!        ▲                │
//!        └─ come back ◄───┘ the connection broke; at a stop that was announced it ends
//! ```
//!
//! The stream stands before anything is asked, so what changes in between is an event and asked again.

use std::time::Duration;

use outlast_client::{
    client::{ClientError, Daemon},
    v1::{
        ErrorKind, GetJobRequest, GetOverviewRequest, GetSessionRequest, GetSyncRequest, ListHostsRequest,
        ReadEventsRequest, ReadEventsResponse,
    },
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep_until},
};
use tonic::Streaming;

use super::{
    input::In,
    stale::Stale,
    state::{ENDED, EVENTS},
};
use crate::{
    context::Context,
    error::{Failure, Result},
    follow::{PATIENCE, Patience, cut, ended},
};

/// How long changes are gathered before they are asked for: a change rarely comes alone, and nobody sees more than this.
const GATHER: Duration = Duration::from_millis(100);

/// What to type to go on.
const RESUME: &str = "outlast top";

/// Where the reading of events stands.
#[derive(Debug, Clone)]
struct Position {
    after: u64,
    epoch: String,
}

/// Tells what outlastd says until that is over for good; why is given back.
pub async fn feed(ctx: &Context, tell: &Sender<In>) -> Failure {
    let mut patience = Patience::silent(PATIENCE);
    let mut position = None;
    loop {
        let error = match follow(ctx, tell, &mut position, &mut patience).await {
            Ok(error) => error,
            Err(failure) => return failure.hint_else(RESUME),
        };
        if !error.can_go_on() {
            return ended(error, RESUME);
        }
        say(tell, In::Away).await;
        if let Err(failure) = patience.reconnect(ctx, error).await {
            return failure.hint_else(RESUME);
        }
    }
}

/// Tells it. Whoever listens ends this task before it stops to listen.
async fn say(tell: &Sender<In>, input: In) {
    let _ = tell.send(input).await;
}

/// Follows one stream to its end; why it ended is given back.
async fn follow(
    ctx: &Context,
    tell: &Sender<In>,
    position: &mut Option<Position>,
    patience: &mut Patience,
) -> Result<ClientError> {
    let request = ReadEventsRequest {
        after: position.as_ref().map(|position| position.after),
        epoch: position.as_ref().map(|position| position.epoch.clone()),
        follow: true,
        ..ReadEventsRequest::default()
    };
    let daemon = ctx.daemon().await?;
    let mut messages = match daemon.answer(daemon.events().read_events(request)).await {
        Ok(messages) => messages,
        Err(error) => return Ok(error),
    };
    let mut stale = Stale::everything();
    // At once, as soon as the stream stands.
    let mut due = Instant::now();
    let mut stands = false;
    loop {
        tokio::select! {
            message = messages.message() => {
                let message = match message {
                    Ok(Some(message)) => message,
                    Ok(None) => return Ok(cut()),
                    Err(status) => return Ok(status.into()),
                };
                patience.renew();
                stands = true;
                if position.is_none()
                    && let Err(error) = history(&daemon, tell, message.position).await
                {
                    return Ok(error);
                }
                *position = Some(Position { after: message.position, epoch: message.epoch });
                if let Some(event) = message.event {
                    if stale.is_empty() {
                        due = due.max(Instant::now() + GATHER);
                    }
                    stale.note(&event);
                    say(tell, In::Event(Box::new(event))).await;
                }
            }
            () = sleep_until(due), if stands && !stale.is_empty() => {
                if let Err(error) = ask(&daemon, tell, stale.take()).await {
                    return Ok(error);
                }
            }
        }
    }
}

/// The events before a position.
async fn history(daemon: &Daemon, tell: &Sender<In>, position: u64) -> std::result::Result<(), ClientError> {
    let request = ReadEventsRequest {
        after: Some(position.saturating_sub(EVENTS as u64)),
        ..ReadEventsRequest::default()
    };
    let mut messages: Streaming<ReadEventsResponse> =
        daemon.answer(daemon.events().read_events(request)).await?;
    while let Some(message) = messages.message().await? {
        if message.position > position {
            break;
        }
        if let Some(event) = message.event {
            say(tell, In::Event(Box::new(event))).await;
        }
    }
    Ok(())
}

/// Asks what is not known any more.
async fn ask(daemon: &Daemon, tell: &Sender<In>, stale: Stale) -> std::result::Result<(), ClientError> {
    if stale.all {
        let request = GetOverviewRequest {
            ended_limit: u32::try_from(ENDED).unwrap_or(u32::MAX),
        };
        let overview = daemon.answer(daemon.daemon().get_overview(request)).await?;
        say(tell, In::Overview(Box::new(overview))).await;
        return Ok(());
    }
    if stale.hosts {
        // Not one by one: asking for a host makes outlastd try it at once.
        let hosts = daemon
            .answer(daemon.hosts().list_hosts(ListHostsRequest {}))
            .await?
            .hosts;
        say(tell, In::Hosts(hosts)).await;
    }
    for id in stale.sessions {
        let request = GetSessionRequest { session: id.clone() };
        let got = daemon.answer(daemon.sessions().get_session(request)).await;
        thing(tell, id, got.map(|answer| answer.session), |it| {
            In::Session(Box::new(it))
        })
        .await?;
    }
    for id in stale.jobs {
        let request = GetJobRequest { job: id.clone() };
        let got = daemon.answer(daemon.jobs().get_job(request)).await;
        thing(tell, id, got.map(|answer| answer.job), |it| In::Job(Box::new(it))).await?;
    }
    for id in stale.syncs {
        let request = GetSyncRequest { sync: id.clone() };
        let got = daemon.answer(daemon.syncs().get_sync(request)).await;
        thing(tell, id, got.map(|answer| answer.sync), |it| {
            In::Sync(Box::new(it))
        })
        .await?;
    }
    Ok(())
}

/// Tells of a thing that was asked for, or that it is gone.
async fn thing<T>(
    tell: &Sender<In>,
    id: String,
    got: std::result::Result<Option<T>, ClientError>,
    known: impl FnOnce(T) -> In,
) -> std::result::Result<(), ClientError> {
    match got {
        Ok(Some(it)) => say(tell, known(it)).await,
        Ok(None) => {}
        Err(ClientError::Answered(error)) if error.kind() == ErrorKind::NotFound => {
            say(tell, In::Gone(id)).await;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
