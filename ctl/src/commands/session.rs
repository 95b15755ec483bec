//! Verbs on sessions.

pub mod attach;
pub mod create;
pub mod delete;
pub mod history;
pub mod interrupt;
pub mod list;
pub mod logs;
pub mod made;
pub mod peek;
pub mod recover;
pub mod restart;
pub mod send;
pub mod show;
pub mod stop;
pub mod wait;

use outlast_client::v1::{self, GetSessionRequest, ListSessionsRequest, SessionState};

use super::{job::wire, sent};
use crate::{
    cli,
    context::Context,
    error::Result,
    pump::answer,
    render::{json, people},
};

/// The session a text names.
pub async fn find(ctx: &Context, session: &str) -> Result<v1::Session> {
    look(ctx, session).await.map(|(session, _away)| session)
}

/// The session a text names, and its host when that is away.
pub async fn look(ctx: &Context, session: &str) -> Result<(v1::Session, Option<v1::Away>)> {
    let request = GetSessionRequest {
        session: session.to_owned(),
    };
    let answer = ctx
        .call(request, |daemon, request| async move {
            daemon.sessions().get_session(request).await
        })
        .await?;
    Ok((sent(answer.session, "session")?, answer.away))
}

/// Sessions that fit.
pub async fn all(ctx: &Context, request: ListSessionsRequest) -> Result<Vec<v1::Session>> {
    fitting(ctx, request).await.map(|answer| answer.sessions)
}

/// Sessions that fit, and those of their hosts that are away.
async fn fitting(ctx: &Context, request: ListSessionsRequest) -> Result<v1::ListSessionsResponse> {
    ctx.call(request, |daemon, request| async move {
        daemon.sessions().list_sessions(request).await
    })
    .await
}

/// States as the wire has them.
pub fn states(states: &[cli::SessionState]) -> Vec<i32> {
    let one = |state: &cli::SessionState| match state {
        cli::SessionState::Creating => SessionState::Creating,
        cli::SessionState::Running => SessionState::Running,
        cli::SessionState::Exited => SessionState::Exited,
        cli::SessionState::Stopped => SessionState::Stopped,
        cli::SessionState::Broken => SessionState::Broken,
        cli::SessionState::Lost => SessionState::Lost,
        cli::SessionState::Unknown => SessionState::Unknown,
    };
    states.iter().map(|state| one(state).into()).collect()
}

/// How a session's program ended, in words.
pub fn how_it_ended(session: &v1::Session) -> String {
    let state = match session.state() {
        SessionState::Exited => "exited",
        SessionState::Stopped => "was stopped",
        SessionState::Lost => "was lost",
        SessionState::Broken => "is broken",
        _ => "has ended",
    };
    let because = session
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    match (session.exit_code, session.signal) {
        (_, Some(number)) => format!("{state} by {}{because}", people::signal(number)),
        (Some(code), None) => format!("{state} with exit code {code}{because}"),
        (None, None) => format!("{state}{because}"),
    }
}

/// The exit code that a session's program stands for: its own, or 128+n for signal n.
pub fn code(session: &v1::Session) -> u8 {
    match (session.exit_code, session.signal) {
        (_, Some(number)) => u8::try_from(number.saturating_add(128)).unwrap_or(u8::MAX),
        (Some(code), None) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        (None, None) => 0,
    }
}

/// Reports a verb that was done: the session as JSON, or a remark.
pub fn done(ctx: &Context, session: &v1::Session, what: &str) -> Result<()> {
    if ctx.global.json {
        return answer(&json::line(&json::Session::from(session)));
    }
    ctx.note(&format!("session {} {what}", session.name));
    Ok(())
}
