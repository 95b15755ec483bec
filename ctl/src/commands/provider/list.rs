//! `provider list`: providers, with what was found last of each on this machine.

use crate::{
    context::Context,
    error::Result,
    render::{json, provider},
};

pub async fn list(ctx: &Context) -> Result<u8> {
    let all = super::all(ctx).await?;
    ctx.list::<_, json::Provider<'_>>(&all, || provider::providers(&all), "there are no providers")?;
    Ok(0)
}
