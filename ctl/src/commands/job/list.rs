//! `job list`: jobs, newest first.

use outlast_client::v1::{Away, ListJobsRequest};

use crate::{
    cli::JobList,
    context::Context,
    error::Result,
    render::{away, json, people},
};

/// How many a page holds.
const PAGE: u32 = 1000;

pub async fn list(ctx: &Context, args: JobList) -> Result<u8> {
    let mut jobs = Vec::new();
    let mut gone: Vec<Away> = Vec::new();
    let mut request = ListJobsRequest {
        states: super::states(&args.state),
        hosts: args.host,
        limit: 0,
        page_token: String::new(),
    };
    loop {
        let wanted = args
            .limit
            .map(|limit| limit.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX)));
        if wanted == Some(0) {
            break;
        }
        request.limit = wanted.unwrap_or(PAGE).min(PAGE);
        let page = ctx
            .call(request.clone(), |daemon, request| async move {
                daemon.jobs().list_jobs(request).await
            })
            .await?;
        jobs.extend(page.jobs);
        away::add(&mut gone, page.away);
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let empty = "there are no such jobs; run one: outlast run -- CMD";
    ctx.list::<_, json::Job<'_>>(&jobs, || people::jobs(&jobs), empty)?;
    ctx.note_away(&gone);
    Ok(0)
}
