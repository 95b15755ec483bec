//! `provider show`: everything known about providers, and what was found of them on each host.

use crate::{
    cli::Names,
    context::{Context, each},
    error::Result,
    pump::answer,
    render::{json, provider, table::terminal_width},
};

pub async fn show(ctx: &Context, names: Names) -> Result<u8> {
    let several = names.names.len() > 1;
    each(ctx, &names.names, |name| async move {
        let found = super::find(ctx, &name).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Provider::from(&found)));
        }
        ctx.facts(&provider::facts(&found))?;
        if !found.checks.is_empty() {
            let table = provider::checks(&found.checks);
            answer(&format!("\n{}", table.show(ctx.out, terminal_width(), "")))?;
        }
        if several { answer("\n") } else { Ok(()) }
    })
    .await
}
