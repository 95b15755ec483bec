//! `status`: whether the daemon runs. It never starts one, and it asks one question.

use outlast_client::{
    PROTOCOL,
    client::{RESTART_HINT, Start},
    v1::GetDaemonRequest,
};

use super::sent;
use crate::{context::Context, error::Result, pump::answer, render::json, render::people};

pub async fn status(ctx: &Context) -> Result<u8> {
    let daemon = ctx.connect(Start::Never).await?;
    // Without the handshake: even a daemon of another build says who it is.
    let answered = daemon
        .answer(daemon.stranger().get_daemon(GetDaemonRequest {}))
        .await?;
    let daemon = sent(answered.daemon, "daemon")?;
    if ctx.global.json {
        answer(&json::line(&json::Daemon::from(&daemon)))?;
    } else {
        ctx.facts(&people::daemon_facts(&daemon))?;
    }
    if daemon.protocol != PROTOCOL {
        ctx.warn(&format!(
            "outlastd speaks protocol {}, outlast speaks {PROTOCOL}; mend it with: {RESTART_HINT}",
            daemon.protocol
        ));
    }
    Ok(0)
}
