//! `provider list`: providers, with what was found last of each on this machine, and whether they have their hooks there.

use std::collections::BTreeMap;

use crate::{
    commands::provider::hooks,
    context::Context,
    error::Result,
    render::{json, provider},
};

pub async fn list(ctx: &Context) -> Result<u8> {
    let all = super::all(ctx).await?;
    let mut installed = BTreeMap::new();
    // Only the table has it: it is read from the files of the programs.
    if !ctx.global.json {
        for one in all.iter().filter(|one| one.hooks.is_some()) {
            installed.insert(&one.name[..], hooks::state(ctx, &one.name).await);
        }
    }
    let table = || provider::providers(&all, &installed);
    ctx.list::<_, json::Provider<'_>>(&all, table, "there are no providers")?;
    Ok(0)
}
