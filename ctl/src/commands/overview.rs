//! The bare command: what runs where, what ended lately.

use outlast_client::v1::{GetOverviewRequest, Link};

use crate::{
    context::Context,
    error::Result,
    pump::answer,
    render::{
        json, people,
        style::Tone,
        table::{Table, terminal_width},
    },
};

/// How many ended jobs are worth a glance.
const ENDED: u32 = 5;

pub async fn overview(ctx: &Context) -> Result<u8> {
    let seen = ctx
        .call(
            GetOverviewRequest { ended_limit: ENDED },
            |daemon, request| async move { daemon.daemon().get_overview(request).await },
        )
        .await?;
    if ctx.global.json {
        answer(&json::line(&json::Overview::from(&seen)))?;
        return Ok(0);
    }
    let mut text = String::new();
    let mut section = |title: &str, table: &Table, more: u64| {
        if table.is_empty() {
            return;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        ctx.out.push(&mut text, Tone::Bold, title);
        text.push('\n');
        text.push_str(&table.show(ctx.out, terminal_width(), "  "));
        if more > 0 {
            text.push_str(&format!("  and {more} more: outlast job list\n"));
        }
    };
    let away: Vec<_> = seen.hosts.iter().filter(|host| host.link() != Link::Up).collect();
    let more = seen.live_job_count.saturating_sub(seen.live_jobs.len() as u64);
    section("Hosts that are away", &people::hosts(away), 0);
    section("Sessions", &people::sessions(&seen.sessions), 0);
    section("Jobs", &people::jobs(&seen.live_jobs), more);
    section("Ended lately", &people::jobs(&seen.ended_jobs), 0);
    if text.is_empty() {
        ctx.note(
            "nothing runs and nothing ran; begin with: outlast run -- CMD, or outlast session create NAME",
        );
        return Ok(0);
    }
    answer(&text)?;
    Ok(0)
}
