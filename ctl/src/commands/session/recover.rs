//! `session recover`: lost sessions come back.

use outlast_client::v1::{ListSessionsRequest, RecoverSessionRequest};
use serde::Serialize;

use crate::{
    cli::{SessionRecover, SessionState},
    context::{Context, each, request_id},
    error::Result,
    pump::answer,
    render::{escape::command, json},
};

#[derive(Serialize)]
struct Plan<'a> {
    session: json::Session<'a>,
    command: &'a [String],
}

pub async fn recover(ctx: &Context, args: SessionRecover) -> Result<u8> {
    let dry_run = args.dry_run;
    let names = if args.all {
        let request = ListSessionsRequest {
            states: super::states(&[SessionState::Lost]),
            ..ListSessionsRequest::default()
        };
        let sessions = super::all(ctx, request).await?;
        if sessions.is_empty() {
            ctx.note("no session is lost");
        }
        sessions.into_iter().map(|session| session.id).collect()
    } else {
        args.names
    };
    each(ctx, &names, |session| async move {
        let request = RecoverSessionRequest {
            request_id: (!dry_run).then(request_id).flatten(),
            session,
            dry_run,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.sessions().recover_session(request).await
            })
            .await?;
        let session = super::sent(done.session, "session")?;
        let runs = if done.command.is_empty() {
            "the login shell".to_owned()
        } else {
            command(&done.command)
        };
        if !dry_run {
            let session = super::made::wait(ctx, session).await?;
            if let Some(failure) = super::made::failure(&session) {
                return Err(failure);
            }
            let what = super::made::kept(&session).unwrap_or_else(|| format!("is back, running {runs}"));
            return super::done(ctx, &session, &what);
        }
        if ctx.global.json {
            return answer(&json::line(&Plan {
                session: json::Session::from(&session),
                command: &done.command,
            }));
        }
        answer(&format!("{} would run {runs}\n", session.name))
    })
    .await
}
