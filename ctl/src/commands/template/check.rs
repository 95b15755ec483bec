//! `template check`: whether the file is right as it is now, and whether the daemon has these templates from it.

use crate::{
    cli::TemplateCheck,
    commands::config,
    context::{Context, each},
    error::Result,
    pump::answer,
    render::json,
};

pub async fn check(ctx: &Context, args: TemplateCheck) -> Result<u8> {
    // All of it: a template can only be right in a file that is.
    config::verify()?;
    let names = if args.names.is_empty() {
        super::all(ctx)
            .await?
            .into_iter()
            .map(|template| template.name)
            .collect()
    } else {
        args.names
    };
    each(ctx, &names, |name| async move {
        let found = super::find(ctx, &name).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Template::from(&found)));
        }
        ctx.note(&format!("template {} is good", found.name));
        Ok(())
    })
    .await
}
