//! `sync show`: everything known about syncs, and what is not on the host and why.

use crate::{
    cli::SyncShow,
    context::{Context, each},
    error::Result,
    pump::answer,
    render::{escape::escape, json, sync},
};

pub async fn show(ctx: &Context, args: SyncShow) -> Result<u8> {
    let several = args.names.len() > 1;
    each(ctx, &args.names, |name| async move {
        let found = super::find(ctx, &name).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Sync::from(&found)));
        }
        ctx.facts(&sync::facts(&found))?;
        let mut text = String::new();
        for line in sync::problems(&found, args.all) {
            text.push_str(&format!("  {}\n", escape(&line)));
        }
        if several {
            text.push('\n');
        }
        answer(&text)
    })
    .await
}
