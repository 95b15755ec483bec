//! `notify test`: tells something by each way, and says how that went.

use std::time::Duration;

use outlast_client::v1::{
    ErrorKind, NotifyAttempt, NotifyChannel, NotifyOutcome, TestNotifyRequest, TestNotifyResponse,
};

use crate::{
    cli::{Channel, NotifyTest},
    context::Context,
    error::{Failure, Result},
    pump::answer,
    render::{escape::escape, json, style::Tone},
};

/// How long the daemon may take: it promises 40 s.
const TOLD_WITHIN: Duration = Duration::from_secs(45);

pub async fn test(ctx: &Context, args: NotifyTest) -> Result<u8> {
    let channels = args
        .to
        .into_iter()
        .map(|channel| i32::from(asked(channel)))
        .collect();
    let daemon = ctx.daemon().await?;
    let mut notify = daemon.notify();
    // Not repeated when the connection breaks: nobody wants to be told twice.
    let told = daemon.answer_within(TOLD_WITHIN, notify.test_notify(TestNotifyRequest { channels }));
    let TestNotifyResponse { attempts } = told.await?;
    if attempts.is_empty() {
        return Err(Failure::new(
            ErrorKind::Failed,
            "nothing is told: [notify] to is none in the configuration",
        )
        .hint("outlast config edit, or try one: outlast notify test --to desktop"));
    }
    if ctx.global.json {
        let array: Vec<json::NotifyAttempt<'_>> = attempts.iter().map(json::NotifyAttempt::from).collect();
        answer(&json::line(&array))?;
    } else {
        answer(&show(ctx, &attempts))?;
    }
    let failed = |attempt: &NotifyAttempt| attempt.outcome() == NotifyOutcome::Failed;
    Ok(u8::from(attempts.iter().any(failed)))
}

fn asked(channel: Channel) -> NotifyChannel {
    match channel {
        Channel::Desktop => NotifyChannel::Desktop,
        Channel::Terminal => NotifyChannel::Terminal,
        Channel::Command => NotifyChannel::Command,
        Channel::Webhook => NotifyChannel::Webhook,
    }
}

fn show(ctx: &Context, attempts: &[NotifyAttempt]) -> String {
    let mut text = String::new();
    for attempt in attempts {
        let tone = match attempt.outcome() {
            NotifyOutcome::Told => Tone::Good,
            NotifyOutcome::Nobody | NotifyOutcome::Unspecified => Tone::Dim,
            NotifyOutcome::Failed => Tone::Bad,
        };
        let channel = json::notify_channel(attempt.channel()).unwrap_or_default();
        let outcome = json::notify_outcome(attempt.outcome()).unwrap_or_default();
        text.push_str(&format!("{channel:8}  "));
        match &attempt.message {
            None => ctx.out.push(&mut text, tone, &outcome),
            Some(message) => {
                ctx.out.push(&mut text, tone, &format!("{outcome:6}"));
                text.push_str(&format!("  {}", escape(message)));
            }
        }
        text.push('\n');
        if let Some(hint) = &attempt.hint {
            text.push_str(&format!("{:18}hint: {}\n", "", escape(hint)));
        }
    }
    text
}
