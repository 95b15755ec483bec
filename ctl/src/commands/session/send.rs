//! `session send`: text, or keys; and with `--wait` what comes of it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use outlast_client::v1::{
    ErrorKind, Keys, SendSessionRequest, SendSessionResponse, send_session_request::Input,
};
use serde::Serialize;

use super::wait::{self, Condition};
use crate::{
    cli::SessionSend,
    context::{Context, request_id},
    error::{Failure, Result},
    follow::waiting,
    pump::answer,
    render::json,
};

/// Bytes of a file that are read at most: more than may be sent.
const MOST: u64 = 2 << 20;

/// What came of it.
#[derive(Serialize)]
struct Reaction<'a> {
    log_offset: u64,
    after_seq: u64,
    /// False: the program ended first.
    met: bool,
    activity: Option<String>,
    message: Option<&'a str>,
    session: json::Session<'a>,
}

pub async fn send(ctx: &Context, args: SessionSend) -> Result<u8> {
    let keys = !args.keys.is_empty();
    let request = SendSessionRequest {
        request_id: request_id(),
        session: args.name.clone(),
        enter: !keys && !args.no_enter,
        raw: args.raw,
        input: Some(if keys {
            Input::Keys(Keys {
                keys: args.keys.clone(),
            })
        } else if let Some(file) = &args.file {
            Input::Text(read(file)?)
        } else {
            Input::Text(args.text.join(" "))
        }),
    };
    let sent = ctx
        .call(request, |daemon, request| async move {
            daemon.sessions().send_session(request).await
        })
        .await?;
    if args.wait {
        return reaction(ctx, &args, sent).await;
    }
    if ctx.global.json {
        answer(&format!(
            "{{\"log_offset\":{},\"after_seq\":{}}}\n",
            sent.log_offset, sent.after_seq
        ))?;
    }
    Ok(0)
}

/// What is in a file, or comes by standard input, less its last line end.
fn read(file: &Path) -> Result<String> {
    let failed = |error: io::Error| {
        Failure::io("reading", file.display(), &error)
            .hint("name a file that can be read, or - for standard input")
    };
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(MOST).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(MOST).read_to_end(&mut bytes))
    }
    .map_err(failed)?;
    if bytes.len() as u64 == MOST {
        let message = format!("{} holds more than can be sent in one go", file.display());
        return Err(
            Failure::new(ErrorKind::Usage, message).hint("at most 1 MiB is sent; outlast sync copies files")
        );
    }
    let mut text = String::from_utf8(bytes).map_err(|_bytes| {
        let message = format!("{} holds no UTF-8 text", file.display());
        Failure::new(ErrorKind::Usage, message).hint("only text is sent; outlast sync copies files")
    })?;
    let kept = text
        .strip_suffix('\n')
        .map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    text.truncate(kept.len());
    Ok(text)
}

/// Waits for what comes of it, and says what the session does then.
async fn reaction(ctx: &Context, args: &SessionSend, sent: SendSessionResponse) -> Result<u8> {
    let condition = Condition::reacted(sent.log_offset, sent.after_seq);
    let resume = format!("outlast session wait {}{}", args.name, condition.flags());
    let what = format!("it was sent, and session {} goes on", args.name);
    let reacted = wait::until(ctx, &args.name, &condition, &resume);
    let done = waiting(ctx, args.timeout, &what, || resume.clone(), reacted).await?;
    let now = super::sent(done.session, "session")?;
    if ctx.global.json {
        answer(&json::line(&Reaction {
            log_offset: sent.log_offset,
            after_seq: sent.after_seq,
            met: done.met,
            activity: wait::resting(&now),
            message: now.activity_message.as_deref(),
            session: json::Session::from(&now),
        }))?;
    } else if done.met {
        answer(&format!("{}\n", wait::does(&now)))?;
    }
    if !done.met {
        return Err(wait::ended_first(&now, &condition));
    }
    Ok(0)
}
