//! `template show`: templates with all that they inherit.

use crate::{
    cli::Names,
    context::{Context, each},
    error::Result,
    pump::answer,
    render::{json, template},
};

pub async fn show(ctx: &Context, names: Names) -> Result<u8> {
    let several = names.names.len() > 1;
    each(ctx, &names.names, |name| async move {
        let found = super::find(ctx, &name).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Template::from(&found)));
        }
        ctx.facts(&template::facts(&found))?;
        if several { answer("\n") } else { Ok(()) }
    })
    .await
}
