//! `sync list`: syncs by name.

use crate::{
    context::Context,
    error::Result,
    render::{json, sync},
};

pub async fn list(ctx: &Context) -> Result<u8> {
    let syncs = super::all(ctx).await?;
    let empty = "there are no syncs; make one: outlast sync add . HOST:PATH";
    ctx.list::<_, json::Sync<'_>>(&syncs, || sync::syncs(&syncs), empty)?;
    Ok(0)
}
