//! What became of a session that was just created or started again: whoever asked for it hears whether it runs.

use std::time::Duration;

use outlast_client::{
    client::ClientError,
    v1::{self, ErrorKind, ReadEventsRequest, SessionState},
};

use crate::{
    context::Context,
    error::{Failure, Result},
    follow::{PATIENCE, Patience, away, cut, ended, waiting},
};

/// How long a session may take to have a terminal before it is worth a word.
const WITHIN: Duration = Duration::from_secs(15);

/// Exit codes of a program that could not be started: not executable, not there.
const UNSTARTABLE: [i32; 2] = [126, 127];

/// Waits until a session that is being created has a terminal, or has come to an end before. One whose host is away
/// is not waited for; see [`kept`].
pub async fn wait(ctx: &Context, session: v1::Session) -> Result<v1::Session> {
    if session.state() != SessionState::Creating || kept(&session).is_some() {
        return Ok(session);
    }
    let resume = format!("outlast session show {}", session.name);
    let what = format!("session {} goes on", session.name);
    let made = async {
        let mut patience = Patience::new(PATIENCE);
        loop {
            match once(ctx, &session.id).await? {
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
    let because = now.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(Failure::new(
        ErrorKind::WrongState,
        format!("session {} is still being created{because}", session.name),
    )
    .hint(resume)
    .about(session.id))
}

/// Follows the session's events until it is no longer being created.
async fn once(ctx: &Context, id: &str) -> Result<std::result::Result<v1::Session, ClientError>> {
    let request = ReadEventsRequest {
        follow: true,
        kinds: vec!["session".to_owned()],
        subjects: vec![id.to_owned()],
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
        let now = super::find(ctx, id).await?;
        if now.state() != SessionState::Creating {
            return Ok(Ok(now));
        }
    }
}

/// What to say of a session that cannot be made yet because its host is away.
pub fn kept(session: &v1::Session) -> Option<String> {
    let creating = session.state() == SessionState::Creating;
    let link = away(session.link()).filter(|_| creating)?;
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
