//! `host list`: hosts, `local` first.

use outlast_client::v1::ListHostsRequest;

use crate::{
    context::Context,
    error::Result,
    render::{json, people},
};

pub async fn list(ctx: &Context) -> Result<u8> {
    let hosts = ctx
        .call(ListHostsRequest {}, |daemon, request| async move {
            daemon.hosts().list_hosts(request).await
        })
        .await?
        .hosts;
    ctx.list::<_, json::Host<'_>>(&hosts, || people::hosts(&hosts), "there are no hosts")?;
    Ok(0)
}
