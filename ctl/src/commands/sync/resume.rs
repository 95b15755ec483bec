//! `sync resume`: goes on. What is halted goes on only when somebody has seen why and says so.

use outlast_client::v1::{self, ErrorKind, ResumeSyncRequest, SyncState};

use crate::{
    ask,
    cli::SyncResume,
    context::{Context, each, request_id},
    error::{Failure, Result},
    pump::remark,
    render::{
        escape::escape,
        sync::{confirm, why_halted},
    },
};

pub async fn resume(ctx: &Context, args: SyncResume) -> Result<u8> {
    let confirmed = args.confirm;
    each(ctx, &args.names, |name| async move {
        let sync = super::find(ctx, &name).await?;
        let halted = sync.state() == SyncState::Halted;
        if halted && !confirmed {
            agree(ctx, &sync)?;
        }
        let request = ResumeSyncRequest {
            request_id: request_id(),
            // By id, so that exactly what was shown goes on.
            sync: sync.id.clone(),
            confirm: confirmed || halted,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.syncs().resume_sync(request).await
            })
            .await
            .map_err(|failure| {
                // It was halted in between.
                if failure.is_wrong_state() {
                    failure.hint_else(confirm(&sync))
                } else {
                    failure
                }
            })?;
        super::done(ctx, &super::sent(done.sync, "sync")?, "goes on")
    })
    .await
}

/// Shows why it is halted, and asks.
fn agree(ctx: &Context, sync: &v1::Sync) -> Result<()> {
    let why = why_halted(sync);
    if ctx.global.yes {
        ctx.note(&why);
        return Ok(());
    }
    if !ask::can(ctx) {
        return Err(Failure::new(ErrorKind::WrongState, why)
            .hint(confirm(sync))
            .about(&sync.id));
    }
    remark(&format!("{}\n", escape(&why)));
    ctx.confirm("go on all the same")
}
