//! `session history`: what was run in a session and what it printed.

use outlast_client::v1::{
    HistoryEntry, HistoryKind, ListSessionHistoryRequest, list_session_history_request::Page,
};
use serde::Serialize;

use crate::{
    cli::SessionHistory,
    context::Context,
    duration,
    error::Result,
    pump::answer,
    render::{escape::escape_lines, json, style::Tone},
};

/// Most entries of one answer.
const PAGE: u32 = 1000;

/// Most answers in which nothing was found, until the question is left to whoever asks. Logs have no limit.
const EMPTY_MAX: usize = 16;

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    kind: &'static str,
    at: Option<String>,
    text: &'a str,
    cut: bool,
    exit_code: Option<i32>,
    duration_s: Option<f64>,
    full_screen: bool,
    marked: bool,
    running: bool,
}

impl<'a> From<&'a HistoryEntry> for Entry<'a> {
    fn from(entry: &'a HistoryEntry) -> Self {
        Self {
            id: &entry.id,
            kind: if is_output(entry) { "output" } else { "command" },
            at: json::time(entry.at.as_ref()),
            text: &entry.text,
            cut: entry.cut,
            exit_code: entry.exit_code,
            duration_s: seconds(entry),
            full_screen: entry.full_screen,
            marked: entry.marked,
            running: entry.running,
        }
    }
}

fn is_output(entry: &HistoryEntry) -> bool {
    entry.kind() == HistoryKind::Output
}

/// How long a command took, seconds.
fn seconds(entry: &HistoryEntry) -> Option<f64> {
    let took = std::time::Duration::try_from(entry.duration?).ok()?;
    Some(took.as_secs_f64())
}

pub async fn history(ctx: &Context, args: SessionHistory) -> Result<u8> {
    let kind = match (args.commands, args.output) {
        (true, _) => HistoryKind::Command,
        (_, true) => HistoryKind::Output,
        _ => HistoryKind::Unspecified,
    };
    let forward = args.after.is_some();
    let is_first = !forward && args.before.is_none();
    let mut request = ListSessionHistoryRequest {
        session: args.name.clone(),
        kind: kind.into(),
        limit: 0,
        page: args.before.map(Page::Before).or(args.after.map(Page::After)),
    };
    let mut entries: Vec<HistoryEntry> = Vec::new();
    let mut empty = 0;
    // One answer is bounded in size, and in what is searched for it.
    let (next, away) = loop {
        let had = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        request.limit = args.limit.saturating_sub(had).min(PAGE);
        let page = ctx
            .call(request.clone(), |daemon, request| async move {
                daemon.sessions().list_session_history(request).await
            })
            .await?;
        let got = page.entries.len();
        if forward {
            entries.extend(page.entries);
        } else {
            entries.splice(0..0, page.entries);
        }
        let Some(next) = page.next.filter(|_| page.has_more) else {
            break (None, page.away);
        };
        // A command and its output stay together, so that one may be left.
        let is_full = entries.len() >= usize::try_from(args.limit).unwrap_or(usize::MAX);
        empty += usize::from(got == 0);
        // An array has no other way to say that there is more than what stands in it.
        let gives_up = empty >= EMPTY_MAX && !(ctx.global.json && entries.is_empty());
        if is_full || gives_up || (got > 0 && request.limit == 1) {
            break (Some(next), page.away);
        }
        let on = if forward { Page::After } else { Page::Before };
        let on = Some(on(next.clone()));
        if on == request.page {
            break (Some(next), page.away);
        }
        request.page = on;
    };
    if ctx.global.json {
        let entries: Vec<_> = entries.iter().map(Entry::from).collect();
        answer(&json::line(&entries))?;
    } else {
        let mut text = String::new();
        for entry in &entries {
            show(ctx, entry, kind, &mut text);
        }
        answer(&text)?;
        if entries.is_empty() && next.is_some() {
            ctx.note("nothing was found in this part of what was printed there");
        } else if entries.is_empty() && !is_first {
            ctx.note(if forward {
                "nothing comes after that"
            } else {
                "nothing comes before that"
            });
        } else if entries.is_empty() {
            ctx.note("nothing is known of what was run there; a shell that marks its commands (OSC 133) or session send would tell");
        }
        if let Some(next) = next {
            let flag = if forward { "--after" } else { "--before" };
            let only = match kind {
                HistoryKind::Command => " --commands",
                HistoryKind::Output => " --output",
                HistoryKind::Unspecified => "",
            };
            let limit = match args.limit {
                SessionHistory::LIMIT => String::new(),
                limit => format!(" --limit {limit}"),
            };
            ctx.note(&format!(
                "there is more: outlast session history {}{only}{limit} {flag} {next}",
                args.name
            ));
        }
    }
    ctx.note_away(away.as_ref());
    Ok(0)
}

fn show(ctx: &Context, entry: &HistoryEntry, kind: HistoryKind, to: &mut String) {
    let text = escape_lines(entry.text.trim_end_matches('\n'));
    if is_output(entry) {
        if entry.cut {
            ctx.out.push(to, Tone::Dim, "[the beginning is left out]\n");
        }
        to.push_str(&text);
        if !text.is_empty() && !text.ends_with('\n') {
            to.push('\n');
        }
        if entry.full_screen {
            ctx.out.push(to, Tone::Dim, "[a full screen is left out]\n");
        }
        return;
    }
    if kind == HistoryKind::Unspecified {
        to.push_str("$ ");
    }
    if text.is_empty() && !entry.marked {
        ctx.out.push(to, Tone::Dim, "[what was sent was not shown]");
    }
    ctx.out.push(to, Tone::Bold, text.trim_end_matches('\n'));
    let mut facts = Vec::new();
    facts.extend(entry.exit_code.map(|code| format!("exit {code}")));
    facts.extend(seconds(entry).filter(|took| *took >= 1.0).map(duration::show));
    facts.extend(entry.running.then(|| "still runs".to_owned()));
    if !facts.is_empty() {
        ctx.out.push(to, Tone::Dim, &format!("  [{}]", facts.join(", ")));
    }
    to.push('\n');
}
