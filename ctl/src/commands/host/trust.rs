//! `host trust`: the key that a host shows now becomes the known one, once somebody has typed its fingerprint.

use outlast_client::v1::{Host, TrustHostRequest};

use super::{BEGUN_WITHIN, print, sent, show};
use crate::{
    ask,
    cli::HostTrust,
    context::{Context, request_id},
    error::{Failure, Result},
    follow::waiting,
    pump::remark,
    render::{escape::escape, people},
};

pub async fn trust(ctx: &Context, args: HostTrust) -> Result<u8> {
    let name = args.name;
    let trust = async {
        let fingerprint = match args.fingerprint {
            Some(fingerprint) => fingerprint,
            None => asked(ctx, &name).await?,
        };
        let request = TrustHostRequest {
            request_id: request_id(),
            host: name.clone(),
            fingerprint,
        };
        let call = ctx.call_within(BEGUN_WITHIN, request, |daemon, request| async move {
            daemon.hosts().trust_host(request).await
        });
        call.await
    };
    let resume = || format!("outlast host show {name}");
    let what = format!("the key of host {name} may be trusted now or not");
    let done = Box::pin(waiting(ctx, None, &what, resume, trust)).await?;
    let host = sent(done.host, "host")?;
    print(ctx, &host)?;
    for file in &done.changed_files {
        ctx.note(&format!("changed: {file}"));
    }
    ctx.note(&people::connected(&host));
    Ok(0)
}

/// Shows what is known and what is shown, and asks for the fingerprint. It has to be typed: a yes is given too easily.
async fn asked(ctx: &Context, name: &str) -> Result<String> {
    if !ask::can(ctx) {
        return Err(Failure::usage(format!(
            "trust host {name}: its fingerprint is needed, and there is nobody to ask"
        ))
        .hint(format!("outlast host trust {name} --fingerprint SHA256:…")));
    }
    let host = show::find(ctx, name).await?;
    remark(&shown(&host));
    let typed = ask::line(
        "Type the fingerprint of the key to trust, as the owner of the host tells it: ",
        true,
    )
    .await?;
    match typed.as_deref().map(str::trim) {
        Some(typed) if !typed.is_empty() => Ok(typed.to_owned()),
        _ => {
            remark("nothing was done\n");
            Err(Failure::Exit(1))
        }
    }
}

fn shown(host: &Host) -> String {
    let mut text = String::new();
    for key in &host.keys_known {
        text.push_str(&format!("known:  {}\n", escape(key)));
    }
    if let Some(key) = &host.key_shown {
        text.push_str(&format!("shown:  {}\n", escape(key)));
    }
    text
}
