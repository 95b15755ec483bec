//! `job prune`: ended jobs and their logs go, after a question.

use outlast_client::v1::PruneJobsRequest;

use crate::{
    cli::JobPrune,
    context::{Context, request_id},
    error::Result,
    pump::answer,
    render::{json, people},
};

pub async fn prune(ctx: &Context, args: JobPrune) -> Result<u8> {
    let ask = PruneJobsRequest {
        request_id: None,
        jobs: args.names,
        states: super::states(&args.state),
        older_than: args.older_than.and_then(super::wire),
        dry_run: true,
    };
    let would = ctx
        .call(ask.clone(), |daemon, request| async move {
            daemon.jobs().prune_jobs(request).await
        })
        .await?;
    if args.dry_run || would.jobs.is_empty() {
        ctx.list::<_, json::Job<'_>>(&would.jobs, || people::jobs(&would.jobs), "nothing to prune")?;
        if !would.jobs.is_empty() {
            ctx.note(&format!(
                "{} would go",
                amount(would.jobs.len(), would.freed_bytes)
            ));
        }
        return Ok(0);
    }
    ctx.confirm(&format!(
        "remove {} and their output",
        amount(would.jobs.len(), would.freed_bytes)
    ))?;
    // Exactly what was shown goes, not what has ended meanwhile.
    let request = PruneJobsRequest {
        request_id: request_id(),
        jobs: would.jobs.into_iter().map(|job| job.id).collect(),
        states: Vec::new(),
        older_than: None,
        dry_run: false,
    };
    let gone = ctx
        .call(request, |daemon, request| async move {
            daemon.jobs().prune_jobs(request).await
        })
        .await?;
    if ctx.global.json {
        let jobs: Vec<json::Job<'_>> = gone.jobs.iter().map(json::Job::from).collect();
        answer(&json::line(&jobs))?;
    } else {
        ctx.note(&format!("removed {}", amount(gone.jobs.len(), gone.freed_bytes)));
    }
    Ok(0)
}

fn amount(jobs: usize, bytes: u64) -> String {
    let noun = if jobs == 1 { "job" } else { "jobs" };
    format!("{jobs} {noun} ({})", people::bytes(bytes))
}
