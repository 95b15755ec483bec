//! `provider install` and `provider uninstall`: shows what changes in the configuration of a program, and changes it.

use std::time::Duration;

use outlast_client::v1::{ChangeProviderHooksRequest, ChangeProviderHooksResponse};

use super::LOCAL;
use crate::{
    cli::ProviderHooks,
    context::{Context, each},
    environment,
    error::Result,
    pump::{answer, remark},
    render::{diff, json},
};

/// How long the daemon may take: the host may be away, and be waited for.
const WITHIN: Duration = Duration::from_secs(60);

pub async fn install(ctx: &Context, args: ProviderHooks) -> Result<u8> {
    change(ctx, args, false).await
}

pub async fn uninstall(ctx: &Context, args: ProviderHooks) -> Result<u8> {
    change(ctx, args, true).await
}

/// Whether the hooks of a provider that can have some are in the configuration of its program on this machine, in a word.
/// That a file cannot be read hides no provider.
pub async fn state(ctx: &Context, name: &str) -> &'static str {
    let request = |uninstall| ChangeProviderHooksRequest {
        provider: name.to_owned(),
        host: None,
        base_env: environment::base(ctx, None),
        uninstall,
        dry_run: true,
        state: None,
    };
    let changes = async |uninstall| {
        let would = call(ctx, request(uninstall)).await.ok()?;
        Some(would.before != would.after)
    };
    match changes(false).await {
        Some(false) => "installed",
        Some(true) if changes(true).await == Some(true) => "outdated",
        Some(true) => "not installed",
        None => "unknown",
    }
}

async fn change(ctx: &Context, args: ProviderHooks, uninstall: bool) -> Result<u8> {
    let host = args.host.as_deref();
    each(ctx, &args.names, |name| async move {
        let request = ChangeProviderHooksRequest {
            provider: name.clone(),
            host: host.map(str::to_owned),
            base_env: environment::base(ctx, host),
            uninstall,
            dry_run: true,
            state: None,
        };
        let would = call(ctx, request.clone()).await?;
        let done = if would.before == would.after {
            would
        } else {
            show(ctx, &would);
            let place = place(&would.path, host);
            ctx.confirm(&if uninstall {
                format!("take the hooks of {name} out of {place}")
            } else {
                format!("write the hooks of {name} into {place}")
            })?;
            let state = Some(would.state);
            call(
                ctx,
                ChangeProviderHooksRequest {
                    dry_run: false,
                    state,
                    ..request
                },
            )
            .await?
        };
        if ctx.global.json {
            return answer(&json::line(&json::Hooks::new(
                &name,
                host.unwrap_or(LOCAL),
                &done,
                !uninstall,
            )));
        }
        tell(ctx, &name, &place(&done.path, host), &done, uninstall);
        Ok(())
    })
    .await
}

async fn call(ctx: &Context, request: ChangeProviderHooksRequest) -> Result<ChangeProviderHooksResponse> {
    ctx.call_within(WITHIN, request, |daemon, request| async move {
        daemon.providers().change_provider_hooks(request).await
    })
    .await
}

/// The lines that go and come. Narration: the answer is that it was done.
fn show(ctx: &Context, change: &ChangeProviderHooksResponse) {
    if ctx.global.quiet || ctx.global.json {
        return;
    }
    let before = change.before.as_deref().unwrap_or_default();
    let after = change.after.as_deref().unwrap_or_default();
    remark(&diff::lines(ctx.err, before, after));
}

fn tell(ctx: &Context, name: &str, place: &str, done: &ChangeProviderHooksResponse, uninstall: bool) {
    let changed = done.before != done.after;
    ctx.note(&match (uninstall, changed) {
        (false, true) => format!("{name} reports what it does when it is started next; see {place}"),
        (false, false) => format!("{name} reports what it does already; see {place}"),
        (true, true) => format!("the hooks of {name} are gone from {place}"),
        (true, false) => format!("there are no hooks of {name} in {place}"),
    });
    if let Some(remark) = done.remark.as_deref().filter(|_| changed) {
        ctx.note(remark);
    }
    if let Some(backup) = done.backup.as_deref().filter(|_| changed) {
        ctx.note(&if uninstall {
            format!("the file was changed since; what was there before the hooks stays in {backup}")
        } else {
            format!("what was there before is in {backup}")
        });
    }
}

fn place(path: &str, host: Option<&str>) -> String {
    match host {
        Some(host) if host != LOCAL => format!("{host}:{path}"),
        _ => path.to_owned(),
    }
}
