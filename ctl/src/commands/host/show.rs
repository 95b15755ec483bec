//! `host show`: everything known about hosts. One that is away is tried again at once.

use outlast_client::v1::{self, GetHostRequest};

use super::sent;
use crate::{
    cli::Names,
    context::{Context, each},
    error::Result,
    pump::answer,
    render::{json, people},
};

pub async fn show(ctx: &Context, names: Names) -> Result<u8> {
    let several = names.names.len() > 1;
    each(ctx, &names.names, |host| async move {
        let host = find(ctx, &host).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Host::from(&host)));
        }
        ctx.facts(&people::host_facts(&host))?;
        if several { answer("\n") } else { Ok(()) }
    })
    .await
}

/// The host of a name.
pub async fn find(ctx: &Context, name: &str) -> Result<v1::Host> {
    let request = GetHostRequest {
        host: name.to_owned(),
    };
    let found = ctx
        .call(request, |daemon, request| async move {
            daemon.hosts().get_host(request).await
        })
        .await?;
    sent(found.host, "host")
}
