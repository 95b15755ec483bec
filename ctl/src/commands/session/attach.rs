//! `session attach`: this terminal becomes the session's.
//!
//! Raw mode; the alternate screen, the prefix key and the redraw are tmux's business at the other end. A broken
//! connection keeps the screen and comes back by itself; what is typed meanwhile is kept, and Ctrl-C leaves.

use outlast_client::{
    client::ClientError,
    v1::{
        self, AttachDetach, AttachEndReason, AttachOpen, AttachSessionRequest, AttachSessionResponse,
        ErrorKind, SessionState, attach_session_request::Event as Input,
        attach_session_response::Event as Output,
    },
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    cli::Attach,
    context::Context,
    error::{Failure, INTERRUPTED, Result},
    follow::{PATIENCE, Patience, cut, ended},
    pump::{self, Pump, answer},
    render::json,
    terminal::{self, Keyboard, Raw},
};

/// Messages on their way to the daemon. Typing is slow; a paste waits its turn.
const QUEUE: usize = 64;

/// What is typed while there is no connection is kept up to so many bytes.
const TYPED_AHEAD: usize = 64 << 10;

/// Ctrl-C, as a byte of a raw terminal.
const CTRL_C: u8 = 3;

pub async fn attach(ctx: &Context, args: Attach) -> Result<u8> {
    check()?;
    let session = super::find(ctx, &args.name).await?;
    of(ctx, session, args.read_only).await
}

/// Refuses before anything is asked: no terminal, or one inside a session already.
pub fn check() -> Result<()> {
    if let Some(session) = std::env::var_os("OUTLAST_SESSION") {
        return Err(Failure::new(
            ErrorKind::WrongState,
            format!(
                "this terminal is inside session {} already; sessions do not nest",
                session.to_string_lossy()
            ),
        )
        .hint("leave it with Ctrl-B d first, or look with: outlast session peek NAME"));
    }
    if !terminal::is_there() {
        return Err(Failure::usage("attach needs a terminal on stdin and stdout")
            .hint("outlast session peek NAME, or outlast logs NAME"));
    }
    Ok(())
}

/// Attaches to a session that was looked up already.
pub async fn of(ctx: &Context, session: v1::Session, read_only: bool) -> Result<u8> {
    check()?;
    let session = super::made::wait(ctx, session).await?;
    if std::env::var_os("TMUX").is_some() {
        ctx.note("this terminal is inside tmux: to leave the session press the prefix twice, then d");
    }
    let name = session.name.clone();
    let mut attachment = Attachment {
        ctx,
        ran: session.state() == SessionState::Running,
        open: AttachOpen {
            session: session.id,
            size: None,
            term: std::env::var("TERM").unwrap_or_default(),
            read_only,
            utf8: terminal::is_utf8(),
        },
        resume: format!("outlast attach {name}"),
        patience: Patience::new(PATIENCE),
        pump: Pump::start(),
        keyboard: Keyboard::open()?,
        typed_ahead: Vec::new(),
        signals: Signals::take_over()?,
    };
    let outcome = {
        let mut raw = Raw::enter()?;
        let outcome = attachment.run(&mut raw).await;
        // Everything is on the screen before the mode changes.
        let _ = attachment.pump.finish().await;
        outcome
    };
    match outcome? {
        Left::End(end) => farewell(ctx, &name, &end),
        Left::Signal(number) => {
            pump::remark(&format!(
                "detached from session {name}; it goes on, come back with: outlast attach {name}\n"
            ));
            Ok(128_u8.saturating_add(number))
        }
        Left::Typed => {
            pump::remark(&format!(
                "left session {name} without a connection; it goes on, come back with: outlast attach {name}\n"
            ));
            Ok(INTERRUPTED)
        }
    }
}

/// Says how it ended, as the last line, and gives the exit code.
fn farewell(ctx: &Context, name: &str, end: &v1::AttachEnd) -> Result<u8> {
    let session = end.session.clone().unwrap_or_default();
    if ctx.global.json {
        answer(&json::line(&json::Session::from(&session)))?;
    }
    match end.reason() {
        AttachEndReason::Exited => {
            if !ctx.global.json {
                pump::remark(&format!("session {name} {}\n", super::how_it_ended(&session)));
            }
            Ok(super::code(&session))
        }
        AttachEndReason::Lost => {
            let because = session
                .reason
                .as_deref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            Err(
                Failure::new(ErrorKind::Failed, format!("session {name} was lost{because}"))
                    .hint(format!("outlast session recover {name}"))
                    .about(name),
            )
        }
        AttachEndReason::Detached | AttachEndReason::Unspecified => {
            if !ctx.global.json {
                pump::remark(&format!(
                    "detached from session {name}; it goes on, come back with: outlast attach {name}\n"
                ));
            }
            Ok(0)
        }
    }
}

/// Why the terminal was left.
enum Left {
    /// The daemon said.
    End(Box<v1::AttachEnd>),
    /// A signal ended this process.
    Signal(u8),
    /// Ctrl-C, while there was no connection.
    Typed,
}

/// Signals that an attached terminal answers.
struct Signals {
    resized: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn take_over() -> Result<Self> {
        let take = |kind| signal(kind).map_err(|error| Failure::io("taking over", "signals", &error));
        Ok(Self {
            resized: take(SignalKind::window_change())?,
            terminate: take(SignalKind::terminate())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that ends the process and returns its number.
    async fn fatal(terminate: &mut Signal, hangup: &mut Signal) -> u8 {
        tokio::select! {
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
        }
    }
}

struct Attachment<'a> {
    ctx: &'a Context,
    open: AttachOpen,
    /// The program ran when the session was looked up.
    ran: bool,
    resume: String,
    patience: Patience,
    pump: Pump,
    keyboard: Keyboard,
    typed_ahead: Vec<u8>,
    signals: Signals,
}

impl Attachment<'_> {
    async fn run(&mut self, raw: &mut Raw) -> Result<Left> {
        loop {
            let error = match self.connected(raw).await? {
                Ok(left) => return Ok(left),
                Err(error) => error,
            };
            if !error.can_go_on() {
                return match self.ended_meanwhile(&error).await? {
                    Some(end) => Ok(Left::End(Box::new(end))),
                    None => Err(ended(error, &self.resume)),
                };
            }
            if let Some(left) = self.reconnect(error).await? {
                return Ok(left);
            }
        }
    }

    /// The end of a program that ran when it was looked up, and was over when the daemon was asked for its terminal.
    async fn ended_meanwhile(&self, error: &ClientError) -> Result<Option<v1::AttachEnd>> {
        let refused = matches!(error, ClientError::Answered(error) if error.kind() == ErrorKind::WrongState);
        if !refused || !self.ran {
            return Ok(None);
        }
        let session = Box::pin(super::find(self.ctx, &self.open.session)).await?;
        let reason = match session.state() {
            SessionState::Exited | SessionState::Stopped => AttachEndReason::Exited,
            SessionState::Lost => AttachEndReason::Lost,
            _ => return Ok(None),
        };
        Ok(Some(v1::AttachEnd {
            reason: reason.into(),
            session: Some(session),
        }))
    }

    /// One attachment, until it ends or its connection breaks.
    async fn connected(&mut self, raw: &mut Raw) -> Result<std::result::Result<Left, ClientError>> {
        let (send, receive) = mpsc::channel(QUEUE);
        self.open.size = Some(terminal::size());
        // The queue is new and has room.
        let _ = send.try_send(message(Input::Open(self.open.clone())));
        if !self.typed_ahead.is_empty() {
            let typed = std::mem::take(&mut self.typed_ahead);
            let _ = send.try_send(message(Input::Input(typed.into())));
        }
        let daemon = self.ctx.daemon().await?;
        let mut sessions = daemon.sessions();
        let call = sessions.attach_session(ReceiverStream::new(receive));
        let mut messages = match daemon.answer(call).await {
            Ok(messages) => messages,
            Err(error) => return Ok(Err(error)),
        };
        let keys = send.clone();
        let Self {
            keyboard,
            patience,
            pump,
            signals,
            ..
        } = self;
        let Signals {
            resized,
            terminate,
            hangup,
        } = signals;
        let outcome = tokio::select! {
            shown = show(&mut messages, pump, patience, raw) => return shown.map(|shown| shown.map(|end| Left::End(Box::new(end)))),
            // Typing waits for the daemon, never the other way round: the screen goes on while input is stuck.
            gone = type_in(keyboard, &keys) => gone,
            () = resize(resized, &send) => Left::Signal(0),
            number = Signals::fatal(terminate, hangup) => Left::Signal(number),
        };
        // Says goodbye, so that the other end need not wait for the connection to break.
        let _ = send.try_send(message(Input::Detach(AttachDetach {})));
        Ok(Ok(outcome))
    }

    /// Connects again, keeping what is typed. Ctrl-C or a signal leaves.
    async fn reconnect(&mut self, error: ClientError) -> Result<Option<Left>> {
        let Self {
            ctx,
            patience,
            keyboard,
            typed_ahead,
            signals,
            ..
        } = self;
        let back = patience.reconnect(ctx, error);
        tokio::pin!(back);
        loop {
            tokio::select! {
                outcome = &mut back => return outcome.map(|()| None).map_err(|failure| failure.hint(self.resume.clone())),
                typed = keyboard.typed() => match typed {
                    Ok(Some(typed)) if typed.contains(&CTRL_C) => return Ok(Some(Left::Typed)),
                    Ok(Some(typed)) => {
                        let room = TYPED_AHEAD.saturating_sub(typed_ahead.len()).min(typed.len());
                        typed_ahead.extend_from_slice(typed.get(..room).unwrap_or_default());
                    }
                    Ok(None) | Err(_) => return Ok(Some(Left::Signal(1))),
                },
                number = Signals::fatal(&mut signals.terminate, &mut signals.hangup) => {
                    return Ok(Some(Left::Signal(number)));
                }
            }
        }
    }
}

/// Shows what comes until the end is announced.
async fn show(
    messages: &mut Streaming<AttachSessionResponse>,
    pump: &mut Pump,
    patience: &mut Patience,
    raw: &mut Raw,
) -> Result<std::result::Result<v1::AttachEnd, ClientError>> {
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                patience.renew();
                match message.event {
                    Some(Output::Output(bytes)) => {
                        raw.in_use();
                        pump.write(pump::Output::Stdout, bytes).await?;
                    }
                    Some(Output::End(end)) => {
                        // The tmux client at the other end has left and tidied up.
                        raw.tidy();
                        return Ok(Ok(end));
                    }
                    Some(Output::Opened(_)) | None => {}
                }
            }
            Ok(None) => return Ok(Err(cut())),
            Err(status) => return Ok(Err(status.into())),
        }
    }
}

/// Sends what is typed until the terminal is gone.
async fn type_in(keyboard: &Keyboard, send: &mpsc::Sender<AttachSessionRequest>) -> Left {
    loop {
        // Room first: what is not read stays in the terminal.
        let Ok(room) = send.reserve().await else {
            // The call is over; how, the other direction says.
            return std::future::pending().await;
        };
        match keyboard.typed().await {
            Ok(Some(typed)) => room.send(message(Input::Input(typed))),
            Ok(None) | Err(_) => return Left::Signal(1),
        }
    }
}

/// Sends each new size.
async fn resize(resized: &mut Signal, send: &mpsc::Sender<AttachSessionRequest>) {
    while resized.recv().await.is_some() {
        if send.send(message(Input::Resize(terminal::size()))).await.is_err() {
            break;
        }
    }
    // The other direction says how it ends.
    std::future::pending::<()>().await;
}

fn message(event: Input) -> AttachSessionRequest {
    AttachSessionRequest { event: Some(event) }
}
