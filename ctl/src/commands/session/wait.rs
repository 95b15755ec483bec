//! `session wait`: until a program has ended, or has written something.

use std::time::Duration;

use outlast_client::v1::{
    self, ErrorKind, SessionCondition, WaitSessionRequest, wait_session_response::Event,
};
use serde::Serialize;

use crate::{
    cli::{From, SessionWait, Until},
    context::{Context, FirstCode},
    error::{Failure, Result},
    follow::{PATIENCE, Patience, cut, ended, waiting},
    pump::answer,
    render::{
        away,
        escape::{escape, quote},
        json,
    },
};

#[derive(Serialize)]
struct Outcome<'a> {
    met: bool,
    line: Option<&'a str>,
    session: json::Session<'a>,
}

/// What to wait for.
#[derive(Debug, Clone)]
pub struct Condition {
    until: SessionCondition,
    pattern: Option<String>,
    from: Option<u64>,
}

impl Condition {
    /// Checks what was asked for.
    pub fn new(until: Until, pattern: Option<String>, from: Option<From>) -> Result<Self> {
        let until = match until {
            Until::Exited if pattern.is_some() || from.is_some() => {
                return Err(
                    Failure::usage("--match and --from go with --until output").hint("--until output")
                );
            }
            Until::Exited => SessionCondition::Exited,
            Until::Output => SessionCondition::Output,
            Until::Waiting | Until::Idle => {
                return Err(Failure::usage(
                    "--until waiting and --until idle need a report from the program, which this version does not read",
                )
                .hint("--until output --match REGEX"));
            }
        };
        let from = match from {
            None | Some(From::Now) => None,
            Some(From::Start) => Some(0),
            Some(From::Offset(offset)) => Some(offset),
        };
        Ok(Self { until, pattern, from })
    }

    /// The end of the program, in whatever way.
    pub fn exited() -> Self {
        Self {
            until: SessionCondition::Exited,
            pattern: None,
            from: None,
        }
    }

    fn flags(&self) -> String {
        match (self.until, &self.pattern) {
            (SessionCondition::Output, Some(pattern)) => {
                format!(" --until output --match {}", quote(pattern))
            }
            (SessionCondition::Output, None) => " --until output".to_owned(),
            _ => String::new(),
        }
    }
}

pub async fn wait(ctx: &Context, args: SessionWait) -> Result<u8> {
    let condition = Condition::new(args.until, args.pattern, args.from)?;
    let first = FirstCode::default();
    let mut sessions = Vec::new();
    let mut gone = Vec::new();
    for name in &args.names {
        match super::look(ctx, name).await {
            Ok((session, away)) => {
                sessions.push(session);
                away::add(&mut gone, away);
            }
            Err(failure) => first.note(ctx.tell(failure)),
        }
    }
    ctx.note_away(&gone);
    if let Some(code) = of(ctx, &sessions, &condition, args.timeout).await? {
        first.note(code);
    }
    Ok(first.get())
}

/// Waits for sessions that were looked up already. None when there was none to wait for.
pub async fn of(
    ctx: &Context,
    sessions: &[v1::Session],
    condition: &Condition,
    limit: Option<Duration>,
) -> Result<Option<u8>> {
    if sessions.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = sessions.iter().map(|session| session.name.as_str()).collect();
    let resume = format!("outlast session wait {}{}", names.join(" "), condition.flags());
    let what = match names.as_slice() {
        [name] => format!("session {name} goes on"),
        _ => "the sessions go on".to_owned(),
    };
    let all = async {
        let first = FirstCode::default();
        for session in sessions {
            match one(ctx, session, condition, &resume).await {
                Ok(()) => {}
                Err(Failure::Closed) => return Err(Failure::Closed),
                Err(failure) => first.note(ctx.tell(failure)),
            }
        }
        Ok(Some(first.get()))
    };
    waiting(ctx, limit, &what, || resume.clone(), all).await
}

/// Waits for one session across broken connections.
pub async fn until(
    ctx: &Context,
    id: &str,
    condition: &Condition,
    resume: &str,
) -> Result<v1::SessionWaitDone> {
    let mut patience = Patience::new(PATIENCE);
    let mut from = condition.from;
    loop {
        match once(ctx, id, condition, &mut from, &mut patience).await? {
            Ok(done) => return Ok(done),
            Err(error) if error.can_go_on() => patience
                .reconnect(ctx, error)
                .await
                .map_err(|failure| failure.hint(resume))?,
            Err(error) => return Err(ended(error, resume)),
        }
    }
}

async fn one(ctx: &Context, session: &v1::Session, condition: &Condition, resume: &str) -> Result<()> {
    let done = until(ctx, &session.id, condition, resume).await?;
    let now = super::sent(done.session, "session")?;
    if ctx.global.json {
        answer(&json::line(&Outcome {
            met: done.met,
            line: done.line.as_deref(),
            session: json::Session::from(&now),
        }))?;
    } else if let Some(line) = done.line.as_deref().filter(|_| done.met) {
        answer(&format!("{}\n", escape(line)))?;
    }
    if !done.met && condition.until == SessionCondition::Output {
        let message = format!(
            "session {} {} before that was written",
            now.name,
            super::how_it_ended(&now)
        );
        return Err(Failure::new(ErrorKind::Failed, message).about(now.name));
    }
    if condition.until == SessionCondition::Exited {
        ctx.note(&format!("session {} {}", now.name, super::how_it_ended(&now)));
    }
    Ok(())
}

async fn once(
    ctx: &Context,
    session: &str,
    condition: &Condition,
    from: &mut Option<u64>,
    patience: &mut Patience,
) -> Result<std::result::Result<v1::SessionWaitDone, outlast_client::client::ClientError>> {
    let request = WaitSessionRequest {
        session: session.to_owned(),
        until: condition.until.into(),
        r#match: condition.pattern.clone(),
        from_offset: *from,
    };
    let daemon = ctx.daemon().await?;
    let mut messages = match daemon.answer(daemon.sessions().wait_session(request)).await {
        Ok(messages) => messages,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                patience.renew();
                match message.event {
                    Some(Event::ArmedOffset(offset)) => *from = Some(offset),
                    Some(Event::Done(done)) => return Ok(Ok(done)),
                    None => {}
                }
            }
            Ok(None) => return Ok(Err(cut())),
            Err(status) => return Ok(Err(status.into())),
        }
    }
}
