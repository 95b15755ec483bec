//! `sync resume`: goes on. What is halted goes on when what it is halted for is not so any more; else only when somebody has
//! seen why and says so.

use outlast_client::v1::{self, ResumeSyncRequest};

use super::preview::{self, LOOKED_WITHIN};
use crate::{
    ask,
    cli::SyncResume,
    context::{Context, request_id},
    error::{Failure, Result},
    pump::remark,
    render::{
        escape::escape,
        sync::{confirm, holds_something, why_halted},
    },
};

pub async fn resume(ctx: &Context, args: SyncResume) -> Result<u8> {
    let confirmed = args.confirm;
    // On the heap: it is large.
    super::of_each(ctx, &args.names, |name| Box::pin(one(ctx, name, confirmed))).await
}

async fn one(ctx: &Context, name: String, confirmed: bool) -> Result<()> {
    let sync = super::find(ctx, &name).await?;
    if confirmed {
        show(ctx, &sync).await;
    }
    let resumed = match go_on(ctx, &sync, confirmed).await {
        Err(still) if still.is_wrong_state() && !confirmed => {
            // As it was seen when it was looked at again.
            let sync = super::find(ctx, &name).await?;
            agree(ctx, &sync, still).await?;
            go_on(ctx, &sync, true).await?
        }
        resumed => resumed?,
    };
    super::done(ctx, &resumed, "goes on")
}

/// Has a sync go on. It is named by its id, so that exactly what was seen does.
async fn go_on(ctx: &Context, sync: &v1::Sync, confirm: bool) -> Result<v1::Sync> {
    let request = ResumeSyncRequest {
        request_id: request_id(),
        sync: sync.id.clone(),
        confirm,
    };
    let done = ctx.call_within(LOOKED_WITHIN, request, |daemon, request| async move {
        daemon.syncs().resume_sync(request).await
    });
    super::sent(done.await?.sync, "sync")
}

/// Shows what going on would do to what the target holds, where that is what it is halted for. That it cannot be shown keeps
/// nobody from going on.
async fn show(ctx: &Context, sync: &v1::Sync) {
    if ctx.global.quiet || ctx.global.json || !holds_something(sync) {
        return;
    }
    match preview::of(ctx, sync).await {
        Ok(seen) => remark(&preview::text(sync, &seen)),
        Err(failure) => {
            let why = failure.message().unwrap_or("it failed").to_owned();
            ctx.note(&format!("what the target holds cannot be shown: {why}"));
        }
    }
}

/// Shows why it still is halted, and asks.
async fn agree(ctx: &Context, sync: &v1::Sync, still: Failure) -> Result<()> {
    if !ctx.global.yes && !ask::can(ctx) {
        return Err(still.hint(confirm(sync)));
    }
    show(ctx, sync).await;
    let why = why_halted(sync);
    if ctx.global.yes {
        ctx.note(&why);
        return Ok(());
    }
    remark(&format!("{}\n", escape(&why)));
    ctx.confirm("go on all the same")
}
