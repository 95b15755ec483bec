//! `provider check`: whether providers can be used on a host, each thing that was looked at with its time.

use std::time::Duration;

use outlast_client::v1::{CheckProviderRequest, CheckProviderResponse, ErrorKind};

use super::{LOCAL, sent};
use crate::{
    cli::ProviderCheck,
    context::{Context, each},
    environment,
    error::{Failure, Result},
    pump::answer,
    render::{json, provider},
};

/// How long the daemon may take: it runs two programs, and gives up on each by itself.
const WITHIN: Duration = Duration::from_secs(90);

/// The step that looks for the program.
const BINARY: &str = "binary";

pub async fn check(ctx: &Context, args: ProviderCheck) -> Result<u8> {
    let named = !args.names.is_empty();
    let names = if named {
        args.names
    } else {
        super::all(ctx)
            .await?
            .into_iter()
            .map(|provider| provider.name)
            .collect()
    };
    let several = names.len() > 1;
    let host = args.host.as_deref();
    each(ctx, &names, |name| async move {
        if several && ctx.out.terminal && !ctx.global.json {
            answer(&format!("{name}\n"))?;
        }
        one(ctx, &name, host).await
    })
    .await
}

async fn one(ctx: &Context, name: &str, host: Option<&str>) -> Result<()> {
    let request = CheckProviderRequest {
        provider: name.to_owned(),
        host: host.map(str::to_owned),
        base_env: environment::base(ctx, host),
    };
    let CheckProviderResponse { check, steps } = ctx
        .call_within(WITHIN, request, |daemon, request| async move {
            daemon.providers().check_provider(request).await
        })
        .await?;
    let check = sent(check, "check")?;
    if ctx.global.json {
        answer(&json::line(&json::ProviderChecked::new(&check, &steps)))?;
    } else {
        let lines = steps.iter().map(|step| provider::step_line(ctx.out, name, step));
        answer(&lines.collect::<String>())?;
    }
    if check.ok {
        return Ok(());
    }
    let place = host.unwrap_or(LOCAL);
    let why = check.problem.as_deref().unwrap_or("it cannot be used");
    let is_missing = steps.iter().any(|step| step.step == BINARY && !step.ok);
    let hint = if is_missing {
        let path = if place == LOCAL {
            "PATH".to_owned()
        } else {
            format!("PATH of a login to {place}")
        };
        format!(
            "install it where {path} finds it, or say where it is: outlast config edit, [providers.{name}] binary"
        )
    } else {
        format!("outlast provider show {name}")
    };
    Err(
        Failure::new(ErrorKind::Failed, format!("provider {name} on {place}: {why}"))
            .hint(hint)
            .about(name),
    )
}
