//! `session list`: sessions, oldest first.

use outlast_client::v1::{self, Activity, ListSessionsRequest};

use crate::{
    cli::SessionList,
    context::Context,
    error::Result,
    render::{json, people},
};

pub async fn list(ctx: &Context, args: SessionList) -> Result<u8> {
    let request = ListSessionsRequest {
        states: super::states(&args.state),
        hosts: args.host,
        activities: if args.waiting {
            vec![Activity::Waiting.into()]
        } else {
            Vec::new()
        },
    };
    let v1::ListSessionsResponse { sessions, away } = super::fitting(ctx, request).await?;
    let empty = "there are no such sessions; make one: outlast session create NAME";
    ctx.list::<_, json::Session<'_>>(&sessions, || people::sessions(&sessions), empty)?;
    ctx.note_away(&away);
    Ok(0)
}
