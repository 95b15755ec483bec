//! What became of a session that was just created or started again: whoever asked for it hears whether it runs.

use std::time::Duration;

use outlast_client::{
    client::ClientError,
    v1::{self, ErrorKind, ReadEventsRequest, SessionState},
};

use crate::{
    context::Context,
    error::{Failure, Result},
    follow::{PATIENCE, Patience, away_for_now, cut, ended, waiting},
};

/// How long a session may take to have a terminal before it is worth a word; its host may have to be connected to first.
const WITHIN: Duration = Duration::from_secs(15);

/// Exit codes of a program that could not be started: not executable, not there.
const UNSTARTABLE: [i32; 2] = [126, 127];

/// Waits until a session that is being created has a terminal, or has come to an end before. One whose host is away
/// is not waited for; see [`kept`].
pub async fn wait(ctx: &Context, session: v1::Session) -> Result<v1::Session> {
    if is_settled(&session) {
        return Ok(session);
    }
    let resume = format!("outlast session show {}", session.name);
    let what = format!("session {} goes on", session.name);
    let made = async {
        let mut patience = Patience::new(PATIENCE);
        loop {
            match once(ctx, &session).await? {
                Ok(now) => return Ok(now),
                Err(error) if error.can_go_on() => patience.reconnect(ctx, error).await?,
                Err(error) => return Err(ended(error, &resume)),
            }
        }
    };
    // On the heap: it is large, and part of several commands.
    let made = Box::pin(waiting(ctx, None, &what, || resume.clone(), made));
    let made = tokio::time::timeout(WITHIN, made).await;
    if let Ok(outcome) = made {
        return outcome;
    }
    let now = super::find(ctx, &session.id).await?;
    if is_settled(&now) {
        return Ok(now);
    }
    let because = now.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(Failure::new(
        ErrorKind::WrongState,
        format!("session {} is still being created{because}", session.name),
    )
    .hint(resume)
    .about(session.id))
}

/// There is nothing to wait for: it is no longer being created, or cannot be for now.
fn is_settled(session: &v1::Session) -> bool {
    session.state() != SessionState::Creating || kept(session).is_some()
}

/// Follows the events of the session and of its host until there is nothing more to wait for.
async fn once(ctx: &Context, session: &v1::Session) -> Result<std::result::Result<v1::Session, ClientError>> {
    let request = ReadEventsRequest {
        follow: true,
        kinds: vec!["session".to_owned(), "host.link".to_owned()],
        subjects: vec![session.id.clone(), session.host.clone()],
        ..ReadEventsRequest::default()
    };
    let daemon = ctx.daemon().await?;
    let mut events = match daemon.answer(daemon.events().read_events(request)).await {
        Ok(events) => events,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        // The first message says that the stream stands: what happens from now on is not missed.
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Err(cut())),
            Err(status) => return Ok(Err(status.into())),
        }
        let now = super::find(ctx, &session.id).await?;
        if is_settled(&now) {
            return Ok(Ok(now));
        }
    }
}

/// What to say of a session that cannot be made yet because its host is away.
pub fn kept(session: &v1::Session) -> Option<String> {
    let creating = session.state() == SessionState::Creating;
    let link = away_for_now(session.link()).filter(|_| creating)?;
    Some(format!(
        "will be started when host {} is back; it is away ({link})",
        session.host
    ))
}

/// The failure to tell of a session whose program could not be started.
pub fn failure(session: &v1::Session) -> Option<Failure> {
    let reason = session.reason.as_deref();
    let because = match session.state() {
        SessionState::Exited if session.exit_code.is_some_and(|code| UNSTARTABLE.contains(&code)) => reason?,
        SessionState::Broken | SessionState::Lost => reason.unwrap_or("its terminal could not be made"),
        _ => return None,
    };
    let failure = Failure::new(
        ErrorKind::Failed,
        format!("session {} could not be started: {because}", session.name),
    );
    let hint = format!("outlast session delete {}, then create it again", session.name);
    Some(failure.hint(hint).about(session.id.clone()))
}
