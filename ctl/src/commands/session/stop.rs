//! `session stop`: the program ends, the last screen stays.

use outlast_client::v1::StopSessionRequest;

use crate::{
    cli::SessionStop,
    context::{Context, each, request_id},
    error::Result,
};

pub async fn stop(ctx: &Context, args: SessionStop) -> Result<u8> {
    let grace = args.grace.and_then(super::wire);
    each(ctx, &args.names, |session| async move {
        let request = StopSessionRequest {
            request_id: request_id(),
            session,
            grace,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.sessions().stop_session(request).await
            })
            .await?;
        let session = super::sent(done.session, "session")?;
        let what = if done.already_ended {
            format!("had already ended: {}", super::how_it_ended(&session))
        } else {
            "is being stopped".to_owned()
        };
        super::done(ctx, &session, &what)
    })
    .await
}
