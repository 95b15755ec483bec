//! The screen of one session, looked at again when something is written to it, but not more often than eyes follow.

use std::time::Duration;

use outlast_client::v1::{
    PeekSessionRequest, SessionCondition, WaitSessionRequest, WaitSessionResponse,
    wait_session_response::Event,
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, sleep_until},
};
use tonic::Streaming;

use super::{
    input::{In, Watched},
    picture::Picture,
};
use crate::{
    context::Context,
    error::{Failure, Result},
    follow::cut,
};

/// The least time between two looks.
const BETWEEN: Duration = Duration::from_millis(200);

/// How long it rests after a look that failed, at first and at most.
const REST: Duration = Duration::from_secs(1);
const REST_MOST: Duration = Duration::from_secs(30);

/// Tells what a session shows, until nothing is written to it any more.
pub async fn watch(ctx: &Context, watched: &Watched, tell: &Sender<In>) {
    let mut rest = REST;
    loop {
        let Err(failure) = look_on(ctx, watched, tell).await else {
            return;
        };
        let why = failure
            .message()
            .unwrap_or("its screen cannot be seen")
            .to_owned();
        // Whoever listens ends this task before it stops to listen.
        let _ = tell.send(In::NoScreen(watched.id.clone(), why)).await;
        if !watched.runs || !watched.up {
            // An event tells when that changes.
            return;
        }
        sleep(rest).await;
        rest = (rest * 2).min(REST_MOST);
    }
}

async fn look_on(ctx: &Context, watched: &Watched, tell: &Sender<In>) -> Result<()> {
    let mut from = None;
    loop {
        let began = Instant::now();
        // Before the look: what is written after it is not missed.
        let armed = if watched.runs {
            Some(arm(ctx, &watched.id, from).await?)
        } else {
            None
        };
        let request = PeekSessionRequest {
            session: watched.id.clone(),
            ansi: true,
            history_lines: 0,
            blanks: false,
        };
        let peeked = ctx
            .call(request, |daemon, request| async move {
                daemon.sessions().peek_session(request).await
            })
            .await?;
        let picture = Picture::read(&peeked.screen);
        let _ = tell.send(In::Screen(watched.id.clone(), picture)).await;
        let Some(mut armed) = armed else { return Ok(()) };
        let done = loop {
            match next(&mut armed).await? {
                Event::Done(done) => break done,
                Event::ArmedOffset(_) | Event::ArmedSeq(_) | Event::Link(_) => {}
            }
        };
        if !done.met {
            return Ok(());
        }
        from = Some(done.next_offset);
        sleep_until(began + BETWEEN).await;
    }
}

/// Waits for output from now on, or from where the last wait ended. It stands when this returns.
async fn arm(ctx: &Context, id: &str, from: Option<u64>) -> Result<Streaming<WaitSessionResponse>> {
    let request = WaitSessionRequest {
        session: id.to_owned(),
        until: SessionCondition::Output.into(),
        from_offset: from,
        ..WaitSessionRequest::default()
    };
    let daemon = ctx.daemon().await?;
    let mut messages = daemon.answer(daemon.sessions().wait_session(request)).await?;
    next(&mut messages).await?;
    Ok(messages)
}

async fn next(messages: &mut Streaming<WaitSessionResponse>) -> Result<Event> {
    loop {
        match messages.message().await {
            Ok(Some(WaitSessionResponse { event: Some(event) })) => return Ok(event),
            // A message of a later protocol.
            Ok(Some(_)) => {}
            Ok(None) => return Err(cut().into()),
            Err(status) => return Err(Failure::from(outlast_client::client::ClientError::from(status))),
        }
    }
}
