//! `sync flush`: returns when everything that was written before is on the host.

use super::arrival::{Arrival, IfAway, follow};
use crate::{cli::SyncFlush, context::Context, error::Result, follow::waiting, pump::answer, render::json};

pub async fn flush(ctx: &Context, args: SyncFlush) -> Result<u8> {
    let resume = format!("outlast sync flush {}", args.names.join(" "));
    let what = match args.names.as_slice() {
        [name] => format!("sync {name} goes on"),
        _ => "the syncs go on".to_owned(),
    };
    let resume = &resume;
    let all = super::of_each(
        ctx,
        &args.names,
        |name| async move { one(ctx, &name, resume).await },
    );
    waiting(ctx, args.timeout, &what, || resume.clone(), all).await
}

async fn one(ctx: &Context, name: &str, resume: &str) -> Result<()> {
    // On the heap: it is large, and part of several commands.
    match Box::pin(follow(ctx, name, IfAway::Wait, resume)).await? {
        Arrival::There(end, took) => {
            if ctx.global.json {
                answer(&json::line(&json::Sync::from(&*end)))?;
            }
            ctx.note(&Arrival::outcome(&end, took)?);
            Ok(())
        }
        // It is waited for.
        Arrival::Away(..) => Ok(()),
    }
}
