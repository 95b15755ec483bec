//! `sync remove`: a sync ends. What it wrote stays, so nothing is asked.

use outlast_client::v1::DeleteSyncRequest;

use crate::{
    cli::Names,
    context::{Context, request_id},
    error::Result,
    render::sync::place,
};

pub async fn remove(ctx: &Context, names: Names) -> Result<u8> {
    super::of_each(ctx, &names.names, |sync| async move {
        let request = DeleteSyncRequest {
            request_id: request_id(),
            sync,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.syncs().delete_sync(request).await
            })
            .await?;
        let sync = super::sent(done.sync, "sync")?;
        let what = format!("was removed; what it wrote stays on {}", place(&sync));
        super::done(ctx, &sync, &what)
    })
    .await
}
