//! The bare command: what runs where, what ended lately, which syncs want somebody to look.

use outlast_client::v1::{Activity, GetOverviewRequest, Link};

use crate::{
    context::Context,
    error::Result,
    pump::answer,
    render::{
        self, json, people,
        style::Tone,
        sync::wants_attention,
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
    let mut section = |title: &str, table: &Table, more: Option<String>| {
        if table.is_empty() && more.is_none() {
            return;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        ctx.out.push(&mut text, Tone::Bold, title);
        text.push('\n');
        if !table.is_empty() {
            text.push_str(&table.show(ctx.out, terminal_width(), "  "));
        }
        if let Some(more) = more {
            text.push_str(&format!("  {more}\n"));
        }
    };
    let away: Vec<_> = seen.hosts.iter().filter(|host| host.link() != Link::Up).collect();
    let more = seen.live_job_count.saturating_sub(seen.live_jobs.len() as u64);
    let more = (more > 0).then(|| format!("and {more} more: outlast job list"));
    let (odd, well): (Vec<_>, Vec<_>) = seen.syncs.iter().partition(|sync| wants_attention(sync));
    section("Hosts that are away", &people::hosts(away), None);
    section("Syncs", &render::sync::syncs(odd), going_well(well.len()));
    // What waits for somebody comes first; the others stay in their order.
    let (waiting, others): (Vec<_>, Vec<_>) = seen
        .sessions
        .iter()
        .partition(|session| session.activity() == Activity::Waiting);
    section("Waiting for you", &people::sessions(waiting), None);
    section("Sessions", &people::sessions(others), None);
    section("Jobs", &people::jobs(&seen.live_jobs), more);
    section("Ended lately", &people::jobs(&seen.ended_jobs), None);
    if text.is_empty() {
        ctx.note(
            "nothing runs and nothing ran; begin with: outlast run -- CMD, or outlast session create NAME",
        );
        return Ok(0);
    }
    answer(&text)?;
    Ok(0)
}

/// What is said of syncs that nobody has to look at.
fn going_well(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 goes on as it should: outlast sync list".to_owned()),
        count => Some(format!("{count} go on as they should: outlast sync list")),
    }
}
