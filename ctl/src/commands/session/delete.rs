//! `session delete`: session, screen and log go, after a question.

use outlast_client::v1::{DeleteSessionRequest, SessionState};

use crate::{
    cli::SessionDelete,
    context::{Context, each, request_id},
    error::Result,
    follow::{away, waiting},
    render::json,
};

pub async fn delete(ctx: &Context, args: SessionDelete) -> Result<u8> {
    let force = args.force;
    each(ctx, &args.names, |name| async move {
        let session = super::find(ctx, &name).await?;
        let state = json::session_state(session.state()).unwrap_or_else(|| "state unknown".to_owned());
        // What the daemon is going to refuse is not asked about, and force is an answer already.
        let refused = matches!(session.state(), SessionState::Creating | SessionState::Running);
        if !force && !refused {
            ctx.confirm(&format!(
                "delete session {} ({state}) with its screen and log",
                session.name
            ))?;
        }
        let request = DeleteSessionRequest {
            request_id: request_id(),
            // By id, so that exactly what was shown goes.
            session: session.id,
            force,
        };
        let what = format!("session {} is still being deleted", session.name);
        let resume = format!("outlast session show {}", session.name);
        // Answered when it is gone, which takes a while where its program does not want to end.
        let gone = ctx.call(request, |daemon, request| async move {
            daemon.sessions().delete_session(request).await
        });
        let done = Box::pin(waiting(ctx, None, &what, || resume.clone(), gone)).await?;
        let session = super::sent(done.session, "session")?;
        let became = match away(session.link()) {
            None => "was deleted".to_owned(),
            Some(link) => format!(
                "was forgotten; host {} is away ({link}), and what is there goes when it is back",
                session.host
            ),
        };
        super::done(ctx, &session, &became)
    })
    .await
}
