//! `version`: of this program and of the running daemon. It never starts one.

use outlast_client::{
    PROTOCOL, VERSION,
    client::{Start, build},
    v1::GetDaemonRequest,
};
use serde::Serialize;

use crate::{context::Context, error::Result, pump::answer, render::json};

#[derive(Serialize)]
struct Version<'a> {
    version: &'a str,
    protocol: u32,
    daemon: Option<DaemonVersion<'a>>,
}

#[derive(Serialize)]
struct DaemonVersion<'a> {
    version: &'a str,
    protocol: u32,
    pid: u32,
}

pub async fn version(ctx: &Context) -> Result<u8> {
    let running = match ctx.connect(Start::Never).await {
        Ok(daemon) => daemon
            .answer(daemon.stranger().get_daemon(GetDaemonRequest {}))
            .await
            .map(|answer| answer.daemon),
        Err(error) => Err(error),
    };
    if ctx.global.json {
        let daemon = running.as_ref().ok().and_then(Option::as_ref);
        answer(&json::line(&Version {
            version: VERSION,
            protocol: PROTOCOL,
            daemon: daemon.map(|daemon| DaemonVersion {
                version: &daemon.version,
                protocol: daemon.protocol,
                pid: daemon.pid,
            }),
        }))?;
        return Ok(0);
    }
    let daemon = match running {
        Ok(Some(daemon)) => format!(
            "{} (protocol {}), pid {}",
            daemon.version, daemon.protocol, daemon.pid
        ),
        Ok(None) => "unknown".to_owned(),
        Err(outlast_client::client::ClientError::NotRunning { .. }) => "not running".to_owned(),
        Err(error) => error.to_string(),
    };
    answer(&format!("outlast   {}\noutlastd  {daemon}\n", build()))?;
    Ok(0)
}
