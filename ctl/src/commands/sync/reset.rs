//! `sync reset`: what is known of both sides is forgotten, and they are compared by content.

use outlast_client::v1::ResetSyncRequest;

use crate::{
    cli::SyncReset,
    context::{Context, each, request_id},
    error::Result,
};

pub async fn reset(ctx: &Context, args: SyncReset) -> Result<u8> {
    let adopt = args.adopt;
    each(ctx, &args.names, |sync| async move {
        let request = ResetSyncRequest {
            request_id: request_id(),
            sync,
            adopt,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.syncs().reset_sync(request).await
            })
            .await?;
        let sync = super::sent(done.sync, "sync")?;
        let what = if adopt {
            "begins anew, and what differs is replaced"
        } else {
            "begins anew: both sides are compared by content"
        };
        super::done(ctx, &sync, what)
    })
    .await
}
