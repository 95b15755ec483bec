//! Verbs on syncs.

pub mod add;
mod arrival;
mod ends;
pub mod flush;
pub mod list;
pub mod pause;
mod preview;
pub mod ready;
pub mod remove;
pub mod reset;
pub mod resume;
pub mod show;

use outlast_client::v1::{self, GetSyncRequest, ListSyncsRequest};

use super::sent;
use crate::{
    context::{Context, each},
    error::{Failure, Result},
    pump::answer,
    render::json,
};

/// The sync a text names.
async fn find(ctx: &Context, sync: &str) -> Result<v1::Sync> {
    let request = GetSyncRequest {
        sync: sync.to_owned(),
    };
    let found = ctx
        .call(request, |daemon, request| async move {
            daemon.syncs().get_sync(request).await
        })
        .await?;
    sent(found.sync, "sync")
}

/// All syncs, by name, without their problems.
pub async fn all(ctx: &Context) -> Result<Vec<v1::Sync>> {
    let found = ctx
        .call(ListSyncsRequest {}, |daemon, request| async move {
            daemon.syncs().list_syncs(request).await
        })
        .await?;
    Ok(found.syncs)
}

/// What helps whoever a verb on a sync failed for, unless that was said already.
fn helped(failure: Failure, name: &str) -> Failure {
    let help = if failure.is_not_found() {
        "outlast sync list".to_owned()
    } else {
        format!("outlast sync show {name}")
    };
    failure.hint_else(help)
}

/// As [`each`], for syncs: no failure is told without what helps.
async fn of_each<F>(ctx: &Context, names: &[String], mut act: impl FnMut(String) -> F) -> Result<u8>
where
    F: Future<Output = Result<()>>,
{
    each(ctx, names, |name| {
        let done = act(name.clone());
        async move { done.await.map_err(|failure| helped(failure, &name)) }
    })
    .await
}

/// Reports a verb that was done: the sync as JSON, or a remark.
fn done(ctx: &Context, sync: &v1::Sync, what: &str) -> Result<()> {
    if ctx.global.json {
        return answer(&json::line(&json::Sync::from(sync)));
    }
    ctx.note(&format!("sync {} {what}", sync.name));
    Ok(())
}
