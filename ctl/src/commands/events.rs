//! `events`: the numbered log of everything that changed.

use std::cell::RefCell;

use outlast_client::{
    client::ClientError,
    v1::{self, ReadEventsRequest},
};

use crate::{
    cli::Events,
    context::Context,
    error::Result,
    follow::{PATIENCE, Patience, cut, ended, waiting},
    pump::{Output, Pump},
    render::{escape::escape, json, people::short, style::Tone, time::rfc3339},
};

pub async fn events(ctx: &Context, args: Events) -> Result<u8> {
    let request = RefCell::new(ReadEventsRequest {
        after: args.after,
        epoch: args.epoch,
        follow: args.follow,
        kinds: args.kind,
        subjects: args.subject,
    });
    let read = read(ctx, &request);
    if args.follow {
        let what = "the log goes on";
        let resume = || resume(&request.borrow());
        waiting(ctx, args.timeout, what, resume, read).await.map(|()| 0)
    } else {
        read.await.map(|()| 0)
    }
}

/// What to type to go on from where the reading stands.
fn resume(request: &ReadEventsRequest) -> String {
    let mut command = "outlast events --follow".to_owned();
    if let (Some(after), Some(epoch)) = (request.after, &request.epoch) {
        command.push_str(&format!(" --after {after} --epoch {epoch}"));
    }
    for (flag, values) in [("--kind", &request.kinds), ("--subject", &request.subjects)] {
        if !values.is_empty() {
            command.push_str(&format!(" {flag} {}", values.join(",")));
        }
    }
    command
}

/// Reads on, moving the position in `request` along.
async fn read(ctx: &Context, request: &RefCell<ReadEventsRequest>) -> Result<()> {
    let mut patience = Patience::new(PATIENCE);
    // A reader that does not read must not stop the handling of Ctrl-C.
    let mut pump = Pump::new();
    loop {
        let error = match once(ctx, request, &mut patience, &mut pump).await? {
            Ok(()) => return pump.finish().await,
            Err(error) => error,
        };
        let resume = resume(&request.borrow());
        if !error.can_go_on() {
            pump.finish().await?;
            return Err(ended(error, &resume));
        }
        patience
            .reconnect(ctx, error)
            .await
            .map_err(|failure| failure.hint(resume))?;
    }
}

async fn once(
    ctx: &Context,
    request: &RefCell<ReadEventsRequest>,
    patience: &mut Patience,
    pump: &mut Pump,
) -> Result<std::result::Result<(), ClientError>> {
    let daemon = ctx.daemon().await?;
    let (asked, follow) = (request.borrow().clone(), request.borrow().follow);
    let mut messages = match daemon.answer(daemon.events().read_events(asked)).await {
        Ok(messages) => messages,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                patience.renew();
                if let Some(event) = &message.event {
                    pump.write(Output::Stdout, show(ctx, event).into()).await?;
                }
                let mut request = request.borrow_mut();
                request.after = Some(message.position);
                request.epoch = Some(message.epoch);
            }
            // Only a stream that does not follow may end by itself.
            Ok(None) if follow => return Ok(Err(cut())),
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status.into())),
        }
    }
}

/// One line.
fn show(ctx: &Context, event: &v1::Event) -> String {
    if ctx.global.json {
        return json::line(&json::Event::from(event));
    }
    let mut text = String::new();
    let time = event.time.as_ref().and_then(rfc3339).unwrap_or_default();
    ctx.out
        .push(&mut text, Tone::Dim, &format!("{:>6}  {time:24}  ", event.seq));
    ctx.out
        .push(&mut text, Tone::Bold, &format!("{:18}  ", escape(&event.kind)));
    let subject = if ctx.out.terminal {
        short(&event.subject)
    } else {
        &event.subject
    };
    text.push_str(&format!("{:8}  {}\n", escape(subject), escape(&event.data_json)));
    text
}
