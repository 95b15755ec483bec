//! `job show`: everything known about jobs.

use crate::{
    cli::Names,
    context::{Context, each},
    error::Result,
    pump::answer,
    render::{json, people},
};

pub async fn show(ctx: &Context, names: Names) -> Result<u8> {
    let several = names.names.len() > 1;
    each(ctx, &names.names, |name| async move {
        let (job, away) = super::look(ctx, &name).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Job::from(&job)));
        }
        ctx.facts(&people::job_facts(&job))?;
        ctx.note_away(&away);
        if several { answer("\n") } else { Ok(()) }
    })
    .await
}
