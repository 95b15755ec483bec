//! Verbs on hosts.

use outlast_client::v1::{GetHostRequest, ListHostsRequest};

use super::sent;
use crate::{
    cli::Names,
    context::{Context, each},
    error::Result,
    pump::answer,
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

pub async fn show(ctx: &Context, names: Names) -> Result<u8> {
    let several = names.names.len() > 1;
    each(ctx, &names.names, |host| async move {
        let found = ctx
            .call(GetHostRequest { host }, |daemon, request| async move {
                daemon.hosts().get_host(request).await
            })
            .await?;
        let host = sent(found.host, "host")?;
        if ctx.global.json {
            return answer(&json::line(&json::Host::from(&host)));
        }
        ctx.facts(&people::host_facts(&host))?;
        if several { answer("\n") } else { Ok(()) }
    })
    .await
}
