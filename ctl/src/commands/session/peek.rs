//! `session peek`: what is on the screen, as far down as there is something; with `--cells` everything about it.

mod cells;

use outlast_client::v1::PeekSessionRequest;
use serde::Serialize;

use crate::{
    cli::SessionPeek,
    context::Context,
    error::Result,
    pump::{answer, answer_bytes},
    render::{escape::escape_lines, json},
};

#[derive(Serialize)]
struct Screen<'a> {
    session: json::Session<'a>,
    screen: String,
    columns: Option<u32>,
    rows: Option<u32>,
}

/// A screen by its cells.
#[derive(Serialize)]
struct Cells<'a> {
    session: json::Session<'a>,
    columns: Option<u32>,
    rows: Option<u32>,
    cursor: Option<Cursor>,
    /// A program that takes the whole screen has it.
    alternate: bool,
    title: Option<&'a str>,
    lines: Vec<Vec<cells::Run>>,
}

#[derive(Serialize)]
struct Cursor {
    x: u32,
    y: u32,
    visible: bool,
}

pub async fn peek(ctx: &Context, args: SessionPeek) -> Result<u8> {
    let request = PeekSessionRequest {
        session: args.name,
        ansi: args.ansi || args.cells,
        history_lines: 0,
        blanks: args.cells,
    };
    let peeked = ctx
        .call(request, |daemon, request| async move {
            daemon.sessions().peek_session(request).await
        })
        .await?;
    if args.cells {
        let session = super::sent(peeked.session.clone(), "session")?;
        return answer(&json::line(&Cells {
            session: json::Session::from(&session),
            columns: peeked.size.map(|size| size.columns),
            rows: peeked.size.map(|size| size.rows),
            cursor: peeked.cursor.map(|cursor| Cursor {
                x: cursor.x,
                y: cursor.y,
                visible: cursor.visible,
            }),
            alternate: peeked.alternate,
            title: Some(peeked.title.as_str()).filter(|title| !title.is_empty()),
            lines: cells::read(&peeked.screen),
        }))
        .map(|()| 0);
    }
    let text = String::from_utf8_lossy(&peeked.screen);
    if ctx.global.json {
        let session = super::sent(peeked.session, "session")?;
        let screen = Screen {
            session: json::Session::from(&session),
            screen: text.into_owned(),
            columns: peeked.size.map(|size| size.columns),
            rows: peeked.size.map(|size| size.rows),
        };
        answer(&json::line(&screen))?;
    } else if args.ansi {
        answer_bytes(&peeked.screen)?;
    } else if ctx.out.terminal {
        answer(&escape_lines(&super::logs::last_lines(&text, None)))?;
    } else {
        answer_bytes(super::logs::last_lines(&text, None).as_bytes())?;
    }
    Ok(0)
}
