//! `session send`: text, or keys.

use outlast_client::v1::{Keys, SendSessionRequest, send_session_request::Input};

use crate::{
    cli::SessionSend,
    context::{Context, request_id},
    error::Result,
    pump::answer,
};

pub async fn send(ctx: &Context, args: SessionSend) -> Result<u8> {
    let keys = !args.keys.is_empty();
    let request = SendSessionRequest {
        request_id: request_id(),
        session: args.name,
        enter: !keys && !args.no_enter,
        input: Some(if keys {
            Input::Keys(Keys { keys: args.keys })
        } else {
            Input::Text(args.text.join(" "))
        }),
    };
    let sent = ctx
        .call(request, |daemon, request| async move {
            daemon.sessions().send_session(request).await
        })
        .await?;
    if ctx.global.json {
        answer(&format!(
            "{{\"log_offset\":{},\"after_seq\":{}}}\n",
            sent.log_offset, sent.after_seq
        ))?;
    }
    Ok(0)
}
