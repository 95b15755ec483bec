//! `session interrupt`: Ctrl-C.

use outlast_client::v1::InterruptSessionRequest;

use crate::{
    cli::Names,
    context::{Context, each, request_id},
    error::Result,
};

pub async fn interrupt(ctx: &Context, names: Names) -> Result<u8> {
    each(ctx, &names.names, |session| async move {
        let request = InterruptSessionRequest {
            request_id: request_id(),
            session: session.clone(),
        };
        ctx.call(request, |daemon, request| async move {
            daemon.sessions().interrupt_session(request).await
        })
        .await?;
        if ctx.global.json {
            let session = super::find(ctx, &session).await?;
            return super::done(ctx, &session, "");
        }
        ctx.note(&format!("session {session} was sent Ctrl-C"));
        Ok(())
    })
    .await
}
