//! Going on by position after a broken connection: no gap, no repeat.
//!
//! ```text
//!   reading ──chunk──► position moves, patience is whole again
//!      ├─ end ─────────────────► done
//!      ├─ stopping ────────────► exit 7, naming the command to resume
//!      ├─ restarting, broken ──► reconnect (backoff, at most PATIENCE) ──► reading, from the position
//!      └─ any other error ─────► that error
//! ```

use std::{future::Future, time::Duration};

use outlast_client::{
    client::ClientError,
    v1::{
        self, ErrorKind, LogStream, ReadJobLogRequest, ReadSessionLogRequest, read_job_log_request,
        read_job_log_response, read_session_log_request, read_session_log_response,
    },
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::{
    context::Context,
    error::{Failure, INTERRUPTED, Result},
    pump::{Output, Pump, remark},
    render::{json, people::has_ended},
};

/// How long a follower tries to come back without hearing anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause between two attempts.
const CEILING: Duration = Duration::from_secs(1);

/// After so long without a connection it is worth a line.
pub const SAY_AFTER: Duration = Duration::from_secs(1);

/// How long one goes on trying, and how often.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    since: Option<Instant>,
    pause: Duration,
    said: bool,
    silent: bool,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            pause: Duration::ZERO,
            said: false,
            silent: false,
        }
    }

    /// As [`Patience::new`], for who tells by other ways that the connection broke.
    pub fn silent(limit: Duration) -> Self {
        Self {
            said: true,
            silent: true,
            ..Self::new(limit)
        }
    }

    /// Something came: the connection is good.
    pub fn renew(&mut self) {
        if self.since.is_some() {
            *self = if self.silent {
                Self::silent(self.limit)
            } else {
                Self::new(self.limit)
            };
        }
    }

    /// Connects again after `error`, or gives up with it.
    pub async fn reconnect(&mut self, ctx: &Context, error: ClientError) -> Result<()> {
        ctx.forget();
        let since = *self.since.get_or_insert_with(Instant::now);
        let mut error = error;
        loop {
            let pause = self.pause;
            let attempt = async {
                tokio::time::sleep(pause).await;
                ctx.connect(ctx.start()).await
            };
            tokio::pin!(attempt);
            let outcome = loop {
                tokio::select! {
                    outcome = &mut attempt => break outcome,
                    () = tokio::time::sleep_until(since + SAY_AFTER), if !self.said => {
                        self.said = true;
                        ctx.note("outlast: the connection to outlastd broke; trying to come back");
                    }
                }
            };
            self.pause = (self.pause * 2).clamp(Duration::from_millis(10), CEILING);
            match outcome {
                // A connection that brings nothing does not renew the patience.
                Ok(_) if since.elapsed() < self.limit => return Ok(()),
                Ok(_) => return Err(error.into()),
                Err(again) if again.can_go_on() && since.elapsed() < self.limit => error = again,
                Err(last) => return Err(last.into()),
            }
        }
    }
}

/// Where a log is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Offset(u64),
    LastLines(u64),
    Now,
}

/// What reads a log.
#[derive(Debug)]
pub struct LogFollower<'a> {
    ctx: &'a Context,
    from: From,
    follow: bool,
    /// What to type to go on, less the position.
    resume: String,
    patience: Patience,
    pump: Pump,
    /// The job is queued, with the reason if one is known, and nobody was told yet.
    queued: Option<Option<String>>,
    /// It was said that the host is away.
    was_away: bool,
}

impl<'a> LogFollower<'a> {
    pub fn new(ctx: &'a Context, from: From, follow: bool, resume: String) -> Self {
        Self {
            ctx,
            from,
            follow,
            resume,
            patience: Patience::new(PATIENCE),
            pump: Pump::new(),
            queued: None,
            was_away: false,
        }
    }

    /// What to type to go on from here.
    pub fn resume(&self) -> String {
        match self.from {
            From::Offset(offset) if offset > 0 => format!("{} --from {offset}", self.resume),
            _ => self.resume.clone(),
        }
    }

    /// Waits until everything that was read is written.
    pub async fn finish(&mut self) -> Result<()> {
        self.pump.finish().await
    }

    /// Reads a job's log to its end, or with `follow` to the job's.
    pub async fn job(&mut self, job: &str, stream: LogStream) -> Result<v1::Job> {
        let mut state = None;
        loop {
            match self.job_once(job, stream, &mut state).await? {
                Ok(job) => return Ok(job),
                Err(error) => self.go_on(error).await?,
            }
        }
    }

    async fn job_once(
        &mut self,
        job: &str,
        stream: LogStream,
        state: &mut Option<(i32, i32)>,
    ) -> Result<std::result::Result<v1::Job, ClientError>> {
        use read_job_log_request::Start;
        use read_job_log_response::Event;
        let request = ReadJobLogRequest {
            job: job.to_owned(),
            start: Some(match self.from {
                From::Offset(offset) => Start::Offset(offset),
                From::LastLines(lines) => Start::LastLines(lines),
                From::Now => Start::Now(true),
            }),
            follow: self.follow,
            stream: stream.into(),
        };
        let daemon = self.ctx.daemon().await?;
        let mut messages = match daemon.answer(daemon.jobs().read_job_log(request)).await {
            Ok(messages) => messages,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let message = match self.next(&mut messages).await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Err(cut())),
                Err(status) => return Ok(Err(status.into())),
            };
            match message.event {
                Some(Event::Chunk(chunk)) => self.chunk(chunk).await?,
                Some(Event::Job(job)) => {
                    // The beginning of a log that is read from now on is where it ends now.
                    if let (From::Now, Some(bytes)) = (self.from, job.log_bytes) {
                        self.from = From::Offset(bytes);
                    }
                    let now = (job.state, job.link);
                    if *state != Some(now) {
                        self.job_changed(&job).await?;
                        *state = Some(now);
                    }
                }
                Some(Event::End(end)) => {
                    self.from = From::Offset(end.next_offset);
                    return match end.job {
                        Some(job) => Ok(Ok(job)),
                        None => Err(Failure::new(
                            ErrorKind::Failed,
                            "outlastd left out the job at the end",
                        )),
                    };
                }
                // A message of a later protocol.
                None => {}
            }
        }
    }

    /// The next message. Says so when a job stays queued.
    async fn next(
        &mut self,
        messages: &mut tonic::Streaming<v1::ReadJobLogResponse>,
    ) -> std::result::Result<Option<v1::ReadJobLogResponse>, tonic::Status> {
        if self.queued.is_some() {
            if let Ok(message) = tokio::time::timeout(SAY_AFTER, messages.message()).await {
                return message;
            }
            let reason = self.queued.take().flatten();
            let reason = reason.as_deref().unwrap_or("it waits for its turn");
            self.ctx.note(&format!("outlast: still queued; {reason}"));
        }
        messages.message().await
    }

    /// Reads a session's log to its end, or with `follow` to the program's.
    pub async fn session(&mut self, session: &str) -> Result<v1::Session> {
        loop {
            match self.session_once(session).await? {
                Ok(session) => return Ok(session),
                Err(error) => self.go_on(error).await?,
            }
        }
    }

    async fn session_once(&mut self, session: &str) -> Result<std::result::Result<v1::Session, ClientError>> {
        use read_session_log_request::Start;
        use read_session_log_response::Event;
        let request = ReadSessionLogRequest {
            session: session.to_owned(),
            start: Some(match self.from {
                From::Offset(offset) => Start::Offset(offset),
                From::LastLines(lines) => Start::LastLines(lines),
                From::Now => Start::Now(true),
            }),
            follow: self.follow,
        };
        let daemon = self.ctx.daemon().await?;
        let mut messages = match daemon.answer(daemon.sessions().read_session_log(request)).await {
            Ok(messages) => messages,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Err(cut())),
                Err(status) => return Ok(Err(status.into())),
            };
            match message.event {
                Some(Event::Chunk(chunk)) => self.chunk(chunk).await?,
                Some(Event::End(end)) => {
                    self.from = From::Offset(end.next_offset);
                    return match end.session {
                        Some(session) => Ok(Ok(session)),
                        None => Err(Failure::new(
                            ErrorKind::Failed,
                            "outlastd left out the session at the end",
                        )),
                    };
                }
                None => {}
            }
        }
    }

    async fn go_on(&mut self, error: ClientError) -> Result<()> {
        if error.can_go_on() {
            match self.patience.reconnect(self.ctx, error).await {
                Ok(()) => Ok(()),
                Err(failure) => {
                    self.pump.finish().await?;
                    Err(failure.hint(self.resume()))
                }
            }
        } else {
            // The position that is named must be what was written.
            self.pump.finish().await?;
            Err(ended(error, &self.resume()))
        }
    }

    async fn chunk(&mut self, mut chunk: v1::LogChunk) -> Result<()> {
        self.patience.renew();
        if let From::Offset(expected) = self.from {
            // Sent again by a daemon that began earlier than it was asked to.
            let known = expected.saturating_sub(chunk.offset);
            let known = usize::try_from(known).unwrap_or(usize::MAX).min(chunk.data.len());
            chunk.data = chunk.data.slice(known..);
            chunk.offset += known as u64;
            if chunk.data.is_empty() {
                return Ok(());
            }
        }
        let next = From::Offset(chunk.offset + chunk.data.len() as u64);
        let (output, bytes) = if self.ctx.global.json {
            (Output::Stdout, json::line(&json::LogLine::from(&chunk)).into())
        } else {
            let output = match chunk.stream() {
                LogStream::Stderr | LogStream::Marker => Output::Stderr,
                LogStream::Stdout | LogStream::Unspecified => Output::Stdout,
            };
            (output, chunk.data)
        };
        self.pump.write(output, bytes).await?;
        // Not before: Ctrl-C may end the wait for a full queue, and what was not handed over is read again.
        self.from = next;
        Ok(())
    }

    /// Tells what a person who waits wants to know: that the job has to wait, or that its host is away.
    async fn job_changed(&mut self, job: &v1::Job) -> Result<()> {
        if has_ended(job) {
            // The end of the stream follows and says so.
            self.queued = None;
            return Ok(());
        }
        if self.ctx.global.json {
            let line = json::line(&json::JobLine::from(job));
            return self.pump.write(Output::Stdout, line.into()).await;
        }
        let away = away(job.link());
        if away.is_none() && std::mem::take(&mut self.was_away) {
            self.ctx.note(&format!("outlast: host {} is back", job.host));
        }
        self.was_away |= away.is_some();
        match (job.state(), away) {
            (v1::JobState::Queued, Some(link)) => {
                self.queued = None;
                self.ctx.note(&format!(
                    "outlast: queued; host {} is away ({link}), the job starts when it is back",
                    job.host
                ));
            }
            // A job is queued for a moment before it runs; only one that stays so is worth a line.
            (v1::JobState::Queued, None) => self.queued = Some(job.reason.clone()),
            (v1::JobState::Running, Some(link)) => {
                self.queued = None;
                self.ctx.note(&format!(
                    "outlast: host {} is away ({link}); the job goes on there",
                    job.host
                ));
            }
            _ => self.queued = None,
        }
        Ok(())
    }
}

/// The word for the link to a host that is not there now.
pub fn away(link: v1::Link) -> Option<String> {
    match link {
        v1::Link::Up | v1::Link::Unspecified => None,
        link => json::link(link),
    }
}

/// As [`away`], for who would rather wait: a first connection that is being made is soon there, or known not to be.
pub fn away_for_now(link: v1::Link) -> Option<String> {
    away(link).filter(|_| link != v1::Link::Connecting)
}

/// A stream that ended without saying why.
pub fn cut() -> ClientError {
    ClientError::Broken(Box::new(tonic::Status::unavailable("the stream ended early")))
}

/// A stream that ended with an error that is final. An announced stop names the command to resume.
pub fn ended(error: ClientError, resume: &str) -> Failure {
    match error {
        ClientError::Answered(error) if error.kind() == ErrorKind::Stopping => {
            Failure::from(error).hint(resume)
        }
        error => error.into(),
    }
}

/// Ctrl-C, taken over so that it can be answered.
#[derive(Debug)]
pub struct Interrupt(Signal);

impl Interrupt {
    /// From now on Ctrl-C does not end the process by itself.
    pub fn take_over() -> Result<Self> {
        signal(SignalKind::interrupt())
            .map(Self)
            .map_err(|error| Failure::io("taking over", "Ctrl-C", &error))
    }

    /// Waits for the next Ctrl-C.
    pub async fn pressed(&mut self) {
        // None only when the runtime goes down, and then nobody waits any more.
        self.0.recv().await;
    }
}

/// Waits for something, but not longer than `limit` and not beyond Ctrl-C. What is waited for goes on in either case,
/// and `resume` is what to type to wait again.
pub async fn waiting<T>(
    ctx: &Context,
    limit: Option<Duration>,
    what: &str,
    resume: impl Fn() -> String,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut interrupt = Interrupt::take_over()?;
    let limit = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = interrupt.pressed() => Err(left(ctx, &format!("{what}; come back with: {}", resume()))),
        outcome = work => outcome,
        () = limit => Err(Failure::timeout(format!("the time ran out; {what}")).hint(resume())),
    }
}

/// Ctrl-C was pressed: says what goes on and how to come back, as the last line.
pub fn left(ctx: &Context, line: &str) -> Failure {
    if ctx.global.json {
        Failure::interrupted(line)
    } else {
        // The terminal has just shown ^C.
        let newline = if ctx.err.terminal { "\n" } else { "" };
        remark(&format!("{newline}{line}\n"));
        Failure::Exit(INTERRUPTED)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Poll, Waker},
    };

    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn what_could_not_be_handed_over_before_ctrl_c_is_read_again() {
        let ctx = Context::new(Cli::parse_from(["outlast"]).global);
        let mut follower = LogFollower::new(&ctx, From::Offset(0), true, String::new());
        let (pump, mut thread) = Pump::by_hand();
        follower.pump = pump;
        let chunk = |offset: u64| v1::LogChunk {
            offset,
            data: "ten bytes\n".into(),
            ..v1::LogChunk::default()
        };
        let task = &mut std::task::Context::from_waker(Waker::noop());
        let mut offset = 0;
        // Until nobody takes any more, and the wait is given up.
        while let Poll::Ready(handed_over) = pin!(follower.chunk(chunk(offset))).poll(task) {
            assert!(handed_over.is_ok());
            offset += 10;
        }
        assert_eq!(follower.from, From::Offset(offset));
        let written = std::iter::from_fn(|| thread.take()).map(|bytes| bytes.len() as u64);
        assert_eq!(written.sum::<u64>(), offset);
    }
}
