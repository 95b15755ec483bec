//! `host check`: connects anew and shows each step with its time, and the first cause of a failure.

use outlast_client::v1;

use super::{connect, sent};
use crate::{
    cli::HostCheck,
    context::{Context, each},
    error::Result,
    follow::waiting,
    pump::answer,
    render::{json, people},
};

pub async fn check(ctx: &Context, args: HostCheck) -> Result<u8> {
    let several = args.names.len() > 1;
    let accept = &args.accept;
    let all = each(ctx, &args.names, |name| async move {
        // On the heap: it is large, and part of the command.
        Box::pin(one(ctx, &connect::open(ctx, &name, true, accept), several)).await
    });
    let resume = || format!("outlast host check {}", args.names.join(" "));
    waiting(ctx, None, "the check was broken off", resume, all).await
}

async fn one(ctx: &Context, open: &v1::CheckOpen, several: bool) -> Result<()> {
    let name = &open.host;
    let mut steps = Vec::new();
    if several && ctx.out.terminal && !ctx.global.json {
        answer(&format!("{name}\n"))?;
    }
    let told = |step: &v1::CheckStep| {
        if ctx.global.json {
            return Ok(());
        }
        answer(&people::step_line(ctx.out, name, step))
    };
    let outcome = connect::connect(ctx, open, &mut steps, told).await;
    let (end, refused) = match outcome {
        Ok(end) => (Some(end), None),
        Err(failure) => (None, Some(failure)),
    };
    let ok = end.as_ref().is_some_and(|end| connect::went_well(end, &steps));
    let host = end.and_then(|end| end.host);
    if ctx.global.json && (host.is_some() || !steps.is_empty()) {
        answer(&json::line(&json::Check::new(name, ok, &steps, host.as_ref())))?;
    }
    match refused {
        Some(failure) => Err(failure),
        None if ok => {
            ctx.note(&people::connected(&sent(host, "host")?));
            Ok(())
        }
        None => {
            let failure = connect::failure(name, &steps, host.as_ref()).before(&format!("host {name}"));
            Err(failure.hint_else(format!("outlast host show {name}")))
        }
    }
}
