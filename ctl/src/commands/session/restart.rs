//! `session restart`: the program again, in the same session.

use outlast_client::v1::{ListSessionsRequest, RestartSessionRequest};

use crate::{
    cli::{SessionRestart, SessionState},
    context::{Context, each, request_id},
    error::Result,
};

/// What `--all` means without `--state`: everything that does not run.
const ENDED: [SessionState; 4] = [
    SessionState::Exited,
    SessionState::Stopped,
    SessionState::Broken,
    SessionState::Lost,
];

pub async fn restart(ctx: &Context, args: SessionRestart) -> Result<u8> {
    let force = args.force;
    let names = if args.all {
        let wanted: &[SessionState] = if args.state.is_empty() {
            &ENDED
        } else {
            &args.state
        };
        let request = ListSessionsRequest {
            states: super::states(wanted),
            ..ListSessionsRequest::default()
        };
        let sessions = super::all(ctx, request).await?;
        if sessions.is_empty() {
            ctx.note("no session has to be restarted");
        }
        sessions.into_iter().map(|session| session.id).collect()
    } else {
        args.names
    };
    each(ctx, &names, |session| async move {
        let request = RestartSessionRequest {
            request_id: request_id(),
            session,
            force,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.sessions().restart_session(request).await
            })
            .await?;
        let session = super::sent(done.session, "session")?;
        let session = super::made::wait(ctx, session).await?;
        if let Some(failure) = super::made::failure(&session) {
            return Err(failure);
        }
        let what = super::made::kept(&session).unwrap_or_else(|| "started again".to_owned());
        super::done(ctx, &session, &what)
    })
    .await
}
