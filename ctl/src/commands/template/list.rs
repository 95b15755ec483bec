//! `template list`: templates, by name.

use crate::{
    context::Context,
    error::Result,
    render::{json, template},
};

pub async fn list(ctx: &Context) -> Result<u8> {
    let all = super::all(ctx).await?;
    let empty = "there are no templates; outlast config edit shows how to write one";
    ctx.list::<_, json::Template<'_>>(&all, || template::templates(&all), empty)?;
    Ok(0)
}
