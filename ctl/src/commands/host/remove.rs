//! `host remove`: forgets hosts, after saying what goes. What runs there goes on.

use outlast_client::v1::{RemoveHostRequest, RemoveHostResponse};

use crate::{
    cli::HostRemove,
    context::{Context, each, request_id},
    error::Result,
    pump::answer,
    render::json,
};

pub async fn remove(ctx: &Context, args: HostRemove) -> Result<u8> {
    let force = args.force;
    each(ctx, &args.names, |name| async move {
        let would = call(ctx, &name, force, true).await?;
        let live = would.live_jobs > 0 || would.live_sessions > 0;
        // What the daemon is going to refuse is not asked about, and force is an answer already.
        if !force && !live {
            ctx.confirm(&format!("forget host {name}{}", with(&would)))?;
        }
        let gone = call(ctx, &name, force, false).await?;
        if ctx.global.json {
            return answer(&json::line(&json::Removed::new(&name, &gone)));
        }
        let goes_on = if gone.live_jobs > 0 || gone.live_sessions > 0 {
            "; what runs there goes on"
        } else {
            ""
        };
        ctx.note(&format!("host {name} was forgotten{}{goes_on}", with(&gone)));
        Ok(())
    })
    .await
}

async fn call(ctx: &Context, name: &str, force: bool, dry_run: bool) -> Result<RemoveHostResponse> {
    let request = RemoveHostRequest {
        request_id: if dry_run { None } else { request_id() },
        host: name.to_owned(),
        force,
        dry_run,
    };
    ctx.call(request, |daemon, request| async move {
        daemon.hosts().remove_host(request).await
    })
    .await
}

/// What goes along: " with 3 jobs (1 live), 1 session and 2 syncs".
fn with(counts: &RemoveHostResponse) -> String {
    let amount = |all: u32, live: u32, noun: &str| {
        let plural = if all == 1 { "" } else { "s" };
        let live = if live > 0 {
            format!(" ({live} live)")
        } else {
            String::new()
        };
        (all > 0).then(|| format!("{all} {noun}{plural}{live}"))
    };
    let parts: Vec<String> = [
        amount(counts.jobs, counts.live_jobs, "job"),
        amount(counts.sessions, counts.live_sessions, "session"),
        amount(counts.syncs, 0, "sync"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match parts.split_last() {
        None => String::new(),
        Some((last, [])) => format!(" with {last}"),
        Some((last, others)) => format!(" with {} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_along_is_counted() {
        let counts = |jobs, live_jobs, sessions, live_sessions, syncs| {
            with(&RemoveHostResponse {
                live_jobs,
                jobs,
                live_sessions,
                sessions,
                syncs,
            })
        };
        assert_eq!(counts(0, 0, 0, 0, 0), "");
        assert_eq!(counts(1, 0, 0, 0, 0), " with 1 job");
        assert_eq!(
            counts(3, 1, 2, 2, 0),
            " with 3 jobs (1 live) and 2 sessions (2 live)"
        );
        assert_eq!(counts(1, 0, 1, 0, 2), " with 1 job, 1 session and 2 syncs");
    }
}
