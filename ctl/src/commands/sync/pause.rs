//! `sync pause`: nothing is looked at and nothing is sent until it is resumed.

use outlast_client::v1::PauseSyncRequest;

use crate::{
    cli::Names,
    context::{Context, request_id},
    error::Result,
};

pub async fn pause(ctx: &Context, names: Names) -> Result<u8> {
    super::of_each(ctx, &names.names, |sync| async move {
        let request = PauseSyncRequest {
            request_id: request_id(),
            sync,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.syncs().pause_sync(request).await
            })
            .await?;
        let sync = super::sent(done.sync, "sync")?;
        let what = format!("is paused; go on with: outlast sync resume {}", sync.name);
        super::done(ctx, &sync, &what)
    })
    .await
}
