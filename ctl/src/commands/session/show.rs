//! `session show`: everything known about sessions.

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
        let (session, away) = super::look(ctx, &name).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Session::from(&session)));
        }
        ctx.facts(&people::session_facts(&session))?;
        ctx.note_away(&away);
        if several { answer("\n") } else { Ok(()) }
    })
    .await
}
