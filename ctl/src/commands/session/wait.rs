//! `session wait`: until a program has ended, has written something, or waits or idles.

use std::time::Duration;

use outlast_client::v1::{
    self, Activity, ErrorKind, Link, SessionCondition, WaitSessionRequest, wait_session_response::Event,
};
use serde::Serialize;

use crate::{
    cli::{From, SessionWait, Until},
    context::{Context, FirstCode},
    error::{Failure, Result},
    follow::{PATIENCE, Patience, away, cut, ended, waiting},
    pump::answer,
    render::{
        away as told,
        escape::{escape, quote},
        json,
    },
};

/// How long nothing may be known of a session until that is said: programs take a moment to say what they do.
const UNHEARD_OF: Duration = Duration::from_secs(4);

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
    after: Option<u64>,
}

impl Condition {
    /// Checks what was asked for.
    pub fn new(
        until: Until,
        pattern: Option<String>,
        from: Option<From>,
        after: Option<u64>,
    ) -> Result<Self> {
        if until != Until::Output && pattern.is_some() {
            return Err(Failure::usage("--match goes with --until output").hint("--until output"));
        }
        if !matches!(until, Until::Output | Until::Reacted) && from.is_some() {
            let problem = "--from goes with --until output and --until reacted";
            return Err(Failure::usage(problem).hint("--until output"));
        }
        if !matches!(until, Until::Waiting | Until::Idle | Until::Reacted) && after.is_some() {
            let problem = "--after goes with --until waiting, idle and reacted";
            return Err(Failure::usage(problem).hint("--until waiting"));
        }
        let until = match until {
            Until::Exited => SessionCondition::Exited,
            Until::Output => SessionCondition::Output,
            Until::Waiting => SessionCondition::Waiting,
            Until::Idle => SessionCondition::Idle,
            Until::Reacted => SessionCondition::Reacted,
        };
        let from = match from {
            None | Some(From::Now) => None,
            Some(From::Start) => Some(0),
            Some(From::Offset(offset)) => Some(offset),
        };
        Ok(Self {
            until,
            pattern,
            from,
            after,
        })
    }

    /// Rest after what was sent, as the answer to that says where it was.
    pub fn reacted(log_offset: u64, after_seq: u64) -> Self {
        Self {
            until: SessionCondition::Reacted,
            pattern: None,
            from: Some(log_offset),
            after: Some(after_seq),
        }
    }

    /// The end of the program, in whatever way.
    pub fn exited() -> Self {
        Self {
            until: SessionCondition::Exited,
            pattern: None,
            from: None,
            after: None,
        }
    }

    /// Whether a session shows no sign of what is waited for, nor of anything else.
    fn is_unheard_of(&self, session: &v1::Session) -> bool {
        let running = session.state() == v1::SessionState::Running;
        self.asks_what_it_does() && running && session.activity() == Activity::Unspecified
    }

    fn asks_what_it_does(&self) -> bool {
        matches!(self.until, SessionCondition::Waiting | SessionCondition::Idle)
    }

    /// As they are typed.
    pub fn flags(&self) -> String {
        let mut flags = match self.until {
            SessionCondition::Output => " --until output".to_owned(),
            SessionCondition::Waiting => " --until waiting".to_owned(),
            SessionCondition::Idle => " --until idle".to_owned(),
            SessionCondition::Reacted => " --until reacted".to_owned(),
            _ => String::new(),
        };
        if let Some(pattern) = &self.pattern {
            flags.push_str(&format!(" --match {}", quote(pattern)));
        }
        if let Some(offset) = self.from {
            flags.push_str(&format!(" --from {offset}"));
        }
        // Without it, what was so before would do.
        if let Some(seq) = self.after {
            flags.push_str(&format!(" --after {seq}"));
        }
        flags
    }
}

pub async fn wait(ctx: &Context, args: SessionWait) -> Result<u8> {
    let condition = Condition::new(args.until, args.pattern, args.from, args.after)?;
    let first = FirstCode::default();
    let mut sessions = Vec::new();
    let mut gone = Vec::new();
    for name in &args.names {
        match super::look(ctx, name).await {
            Ok((session, away)) => {
                sessions.push(session);
                told::add(&mut gone, away);
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
    let mut position = Position {
        offset: condition.from,
        seq: condition.after,
    };
    loop {
        match once(ctx, id, condition, &mut position, &mut patience).await? {
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
    let mut done = Box::pin(until(ctx, &session.id, condition, resume));
    let done = tokio::select! {
        done = &mut done => done,
        () = tokio::time::sleep(UNHEARD_OF), if condition.asks_what_it_does() => {
            // It is the other who waits that says what is wrong.
            if let Ok((now, None)) = Box::pin(super::look(ctx, &session.id)).await
                && condition.is_unheard_of(&now)
            {
                ctx.note(&format!(
                    "nothing is known of what session {} does, so this may wait for ever; --until reacted goes by what it writes",
                    now.name
                ));
            }
            done.await
        }
    }?;
    let now = super::sent(done.session, "session")?;
    if ctx.global.json {
        answer(&json::line(&Outcome {
            met: done.met,
            line: done.line.as_deref(),
            session: json::Session::from(&now),
        }))?;
    } else if done.met && condition.until == SessionCondition::Reacted {
        answer(&format!("{}\n", does(&now)))?;
    } else if let Some(line) = said(done.met, done.line.as_deref(), &now, condition) {
        answer(&format!("{}\n", escape(line)))?;
    }
    if !done.met {
        return Err(ended_first(&now, condition));
    }
    if condition.until == SessionCondition::Exited {
        ctx.note(&format!("session {} {}", now.name, super::how_it_ended(&now)));
    }
    Ok(())
}

/// The program ended before what was waited for.
pub fn ended_first(now: &v1::Session, condition: &Condition) -> Failure {
    let what = match condition.until {
        // It may have done so before anybody waited for it.
        SessionCondition::Waiting => "; it does not wait for anything now",
        SessionCondition::Idle => "; it is not idle now",
        SessionCondition::Reacted => " before it rested",
        _ => " before that was written",
    };
    let message = format!("session {} {}{what}", now.name, super::how_it_ended(now));
    Failure::new(ErrorKind::Failed, message)
        .hint(format!("outlast session peek {} shows its last screen", now.name))
        .about(&now.name)
}

/// What a session does that rests. Absent: it is not known, for what rests does not work: that something has its terminal, or
/// was written before, is no more than that.
pub fn resting(now: &v1::Session) -> Option<String> {
    json::activity(now.activity()).filter(|_| now.activity() != Activity::Working)
}

/// What a session does, in one line: a word, and behind a colon what it says with it.
pub fn does(now: &v1::Session) -> String {
    let word = resting(now).unwrap_or_else(|| "unknown".to_owned());
    match now.activity_message.as_deref() {
        Some(message) => format!("{word}: {}", escape(message)),
        None => word,
    }
}

/// The line that matched, or what it asks.
fn said<'a>(
    met: bool,
    line: Option<&'a str>,
    now: &'a v1::Session,
    condition: &Condition,
) -> Option<&'a str> {
    match condition.until {
        _ if !met => None,
        SessionCondition::Waiting if now.activity() == Activity::Waiting => now.activity_message.as_deref(),
        _ => line,
    }
}

/// Where to go on after a broken connection.
struct Position {
    offset: Option<u64>,
    seq: Option<u64>,
}

async fn once(
    ctx: &Context,
    session: &str,
    condition: &Condition,
    position: &mut Position,
    patience: &mut Patience,
) -> Result<std::result::Result<v1::SessionWaitDone, outlast_client::client::ClientError>> {
    let request = WaitSessionRequest {
        session: session.to_owned(),
        until: condition.until.into(),
        r#match: condition.pattern.clone(),
        from_offset: position.offset,
        after_seq: position.seq,
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
                    Some(Event::ArmedOffset(offset)) => position.offset = Some(offset),
                    Some(Event::ArmedSeq(seq)) => position.seq = Some(seq),
                    Some(Event::Link(link)) => match away(Link::try_from(link).unwrap_or_default()) {
                        Some(link) => ctx.note(&format!(
                            "outlast: the host of the session is away ({link}); it goes on there, and what it does is known when that is back"
                        )),
                        None => ctx.note("outlast: the host of the session is back"),
                    },
                    Some(Event::Done(done)) => return Ok(Ok(done)),
                    None => {}
                }
            }
            Ok(None) => return Ok(Err(cut())),
            Err(status) => return Ok(Err(status.into())),
        }
    }
}
