//! `session logs`: the scrollback while there is a screen to ask for, else the end of the raw log, of which there is a copy
//! here also while the host is away; with `-f` the raw log, live.

use outlast_client::v1::{self, Away, PeekSessionRequest};
use serde::Serialize;

use crate::{
    cli::{self, SessionLogs},
    context::Context,
    error::Result,
    follow::{From, LogFollower, waiting},
    pump::{answer, answer_bytes},
    render::{escape::escape_lines, json},
};

/// More lines than any scrollback holds.
const WHOLE: u32 = 1_000_000;

/// How many lines a follower begins with, as with `tail -f`.
const BEFORE: u64 = 10;

#[derive(Serialize)]
struct Scrollback<'a> {
    session: json::Session<'a>,
    text: &'a str,
}

pub async fn logs(ctx: &Context, args: SessionLogs) -> Result<u8> {
    let (session, away) = super::look(ctx, &args.name).await?;
    Box::pin(of(ctx, &session, away.as_ref(), &args)).await
}

/// The log of a session that was looked up already, with its host when that is away.
pub async fn of(ctx: &Context, session: &v1::Session, away: Option<&Away>, args: &SessionLogs) -> Result<u8> {
    if args.follow {
        ctx.note_away(away);
        let from = match (args.lines, args.from) {
            (_, Some(cli::From::Start)) => From::Offset(0),
            (_, Some(cli::From::Now)) => From::Now,
            (_, Some(cli::From::Offset(offset))) => From::Offset(offset),
            (lines, None) => From::LastLines(lines.unwrap_or(BEFORE)),
        };
        return raw(ctx, session, from, args).await;
    }
    let request = PeekSessionRequest {
        session: session.id.clone(),
        ansi: false,
        history_lines: args
            .lines
            .and_then(|lines| u32::try_from(lines).ok())
            .unwrap_or(WHOLE)
            .min(WHOLE),
        blanks: false,
    };
    let peeked = ctx
        .call(request, |daemon, request| async move {
            daemon.sessions().peek_session(request).await
        })
        .await;
    let screen = match peeked {
        Ok(peeked) if peeked.size.is_some() || !peeked.screen.is_empty() => peeked.screen,
        Err(failure) if !failure.is_wrong_state() && !failure.is_host_away() => return Err(failure),
        // No screen is left, or none can be asked for; what the terminal was sent is here.
        peeked => {
            let from = args.lines.map_or(From::Offset(0), From::LastLines);
            let code = raw(ctx, session, from, args).await?;
            if peeked.is_err_and(|failure| failure.is_host_away()) {
                // It may have gone only now.
                let (_, away) = super::look(ctx, &session.id).await?;
                ctx.note_away(&away);
            } else {
                ctx.note_away(away);
            }
            return Ok(code);
        }
    };
    let text = String::from_utf8_lossy(&screen);
    let text = last_lines(&text, args.lines);
    if ctx.global.json {
        let scrollback = Scrollback {
            session: session.into(),
            text: &text,
        };
        answer(&json::line(&scrollback))?;
    } else if ctx.out.terminal {
        answer(&escape_lines(&text))?;
    } else {
        answer_bytes(text.as_bytes())?;
    }
    Ok(0)
}

async fn raw(ctx: &Context, session: &v1::Session, from: From, args: &SessionLogs) -> Result<u8> {
    let resume = format!("outlast session logs -f {}", session.name);
    let mut follower = LogFollower::new(ctx, from, args.follow, resume.clone());
    let what = format!("session {} goes on", session.name);
    let read = async {
        let end = follower.session(&session.id).await?;
        follower.finish().await?;
        Ok(end)
    };
    let end = waiting(ctx, args.timeout, &what, || resume.clone(), read).await?;
    if ctx.global.json {
        answer(&json::line(&json::SessionLine::from(&end)))?;
    } else if args.follow {
        ctx.note(&format!("session {} {}", end.name, super::how_it_ended(&end)));
    }
    Ok(0)
}

/// The last lines of a screen, without the empty ones below the last that has something.
pub fn last_lines(text: &str, wanted: Option<u64>) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
    let skipped = wanted.map_or(0, |wanted| lines.len().saturating_sub(wanted));
    let mut text = String::new();
    for line in lines.into_iter().skip(skipped) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_at_the_end_are_left_out() {
        assert_eq!(last_lines("a\n\nb\n\n  \n\n", None), "a\n\nb\n");
        assert_eq!(last_lines("a\nb\nc\n\n", Some(2)), "b\nc\n");
        assert_eq!(last_lines("a\n", Some(0)), "");
        assert_eq!(last_lines("\n\n", None), "");
    }
}
