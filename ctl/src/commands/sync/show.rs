//! `sync show`: everything known about syncs, what is not on the host and why, and what a halted one would replace.

use super::preview;
use crate::{
    cli::SyncShow,
    context::Context,
    error::Result,
    pump::answer,
    render::{escape::escape, json, sync},
};

pub async fn show(ctx: &Context, args: SyncShow) -> Result<u8> {
    let several = args.names.len() > 1;
    super::of_each(ctx, &args.names, |name| async move {
        let found = super::find(ctx, &name).await?;
        let seen = if args.preview {
            Some(preview::of(ctx, &found).await?)
        } else {
            None
        };
        if ctx.global.json {
            return answer(&json::line(&json::Sync::with_preview(&found, seen.as_ref())));
        }
        ctx.facts(&sync::facts(&found))?;
        let mut text = String::new();
        for line in sync::problems(&found, args.all) {
            text.push_str(&format!("  {}\n", escape(&line)));
        }
        if let Some(seen) = &seen {
            text.push_str(&preview::text(&found, seen));
        }
        if several {
            text.push('\n');
        }
        answer(&text)
    })
    .await
}
