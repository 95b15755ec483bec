//! `session attach`: this terminal becomes the session's.
//!
//! Raw mode; the alternate screen, the prefix key and the redraw are tmux's business at the other end.
//!
//! ```text
//!   opening ──opened──► attached ──link: away──► a notice on the last row; input is refused, ~. leaves
//!      ▲                    │ ▲                          │
//!      │                    │ └──────── link: up ────────┘   the far end draws the screen anew
//!      └── reconnecting ◄───┘ the connection to the daemon broke
//! ```
//!
//! The screen stays meanwhile. For the first second without a daemon, which is as long as most restarts take, what is
//! typed is kept and typed when it is back; from then on a notice says what is the matter, and input is refused.

mod left;
mod news;
mod screen;
mod seam;
mod shown;
mod typing;

use std::time::Duration;

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
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

pub use self::left::Over;
use self::{
    left::{Left, farewell},
    news::News,
    screen::Screen,
    shown::Shown,
    typing::{resize, type_in},
};
use crate::{
    cli::Attach,
    context::Context,
    error::{Failure, Result},
    escapes::{Escape, Escapes},
    follow::{PATIENCE, Patience, SAY_AFTER, away, cut, ended},
    notice::Notice,
    pump::{self, Pump},
    terminal::{self, Keyboard, Raw},
};

/// Messages on their way to the daemon. Typing is slow; a paste waits its turn.
const QUEUE: usize = 64;

/// What is typed in the first second without a connection is kept up to so many bytes.
const TYPED_AHEAD: usize = 64 << 10;

/// How long the far end may take to tidy up the screen of somebody who leaves.
const GONE_WITHIN: Duration = Duration::from_secs(2);

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
    let (name, host) = (session.name.clone(), session.host.clone());
    let left = connect(ctx, session, read_only, Vec::new()).await?;
    if let Left::End(end) = left {
        return farewell(ctx, &name, &end);
    }
    let (last_words, code) = (left.last_words(&name, &host)?, left.code());
    pump::last_remark(&format!("{last_words}\n"));
    Ok(code)
}

/// Attaches to a session as a part of something else, which gets the terminal back. `typed` was typed for it already.
pub async fn within(ctx: &Context, session: v1::Session, typed: Vec<u8>) -> Result<Over> {
    check()?;
    let session = super::made::wait(ctx, session).await?;
    let (name, host) = (session.name.clone(), session.host.clone());
    match connect(ctx, session, false, typed).await? {
        Left::Signal(number) => Ok(Over::Signal(number)),
        left => left.last_words(&name, &host).map(Over::Left),
    }
}

/// Joins terminal and session until one of them is gone. The terminal is as it was before.
async fn connect(ctx: &Context, session: v1::Session, read_only: bool, typed_ahead: Vec<u8>) -> Result<Left> {
    let mut pump = Pump::new();
    let mut attachment = Attachment {
        ctx,
        host: session.host.clone(),
        ran: session.state() == SessionState::Running,
        open: AttachOpen {
            session: session.id,
            size: None,
            term: std::env::var("TERM").unwrap_or_default(),
            read_only,
            utf8: terminal::is_utf8(),
        },
        resume: format!("outlast attach {}", session.name),
        patience: Patience::silent(PATIENCE),
        screen: Screen::new(pump.aside()),
        news: News::for_this_terminal(),
        pump,
        keyboard: Keyboard::open()?,
        escapes: Escapes::new(),
        typed_ahead,
        attached_once: false,
        broken_since: None,
        signals: Signals::take_over()?,
    };
    let mut raw = Raw::enter()?;
    // On the heap: it is large, and part of several commands.
    let outcome = Box::pin(attachment.run(&mut raw)).await;
    // Everything is on the screen before the mode changes.
    attachment.pump.last_words().await;
    outcome
}

/// Why one attachment is over.
enum Turn {
    /// The terminal is left.
    Left(Left),
    /// The user wants to leave; the far end is there and is to be told.
    Detach,
    /// The screen has to be drawn anew.
    Redraw,
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
    host: String,
    open: AttachOpen,
    /// The program ran when the session was looked up.
    ran: bool,
    resume: String,
    patience: Patience,
    screen: Screen,
    news: News,
    pump: Pump,
    keyboard: Keyboard,
    escapes: Escapes,
    typed_ahead: Vec<u8>,
    /// The screen is the session's. Until then it shows what the user did before.
    attached_once: bool,
    /// When the connection broke; none while there is one.
    broken_since: Option<Instant>,
    signals: Signals,
}

impl Attachment<'_> {
    async fn run(&mut self, raw: &mut Raw) -> Result<Left> {
        loop {
            let error = match self.connected(raw).await? {
                Ok(Turn::Left(left)) => return Ok(left),
                // Gone without a word of the far end.
                Ok(Turn::Detach) => return Ok(Left::CutOff),
                Ok(Turn::Redraw) => continue,
                Err(error) => error,
            };
            if !error.can_go_on() {
                return match self.ended_meanwhile(&error).await? {
                    Some(end) => Ok(Left::End(Box::new(end))),
                    None => Err(ended(error, &self.resume)),
                };
            }
            self.broken_since.get_or_insert_with(Instant::now);
            let mut patience = std::mem::replace(&mut self.patience, Patience::silent(PATIENCE));
            let ctx = self.ctx;
            let back = self.meanwhile(patience.reconnect(ctx, error)).await;
            self.patience = patience;
            match back {
                Ok(back) => back.map_err(|failure| failure.hint(self.resume.clone()))?,
                Err(left) => return Ok(left),
            }
        }
    }

    /// Waits for something that leads to the session, and looks after the keyboard meanwhile. An error is the user, who
    /// did not want to wait.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> std::result::Result<T, Left> {
        let Self {
            screen,
            keyboard,
            escapes,
            typed_ahead,
            attached_once,
            broken_since,
            signals,
            ..
        } = self;
        let say_at = broken_since
            .filter(|_| *attached_once)
            .map(|since| since + SAY_AFTER);
        tokio::pin!(work);
        loop {
            let silent = !screen.is_cut_off();
            let keeps = silent && !screen.is_away();
            tokio::select! {
                done = &mut work => return Ok(done),
                () = until(say_at), if silent => {
                    // From here on escapes count, whatever was typed before.
                    escapes.new_line();
                    screen.show(Notice::NoDaemon);
                }
                typed = keyboard.typed() => {
                    let Ok(Some(typed)) = typed else { return Err(Left::Signal(1)) };
                    // Nobody else can answer Ctrl-C now. In the first second nobody knows that yet.
                    if (!silent || !*attached_once) && typed.contains(&CTRL_C) {
                        return Err(Left::CutOff);
                    }
                    let mut rest: &[u8] = &typed;
                    loop {
                        let (passed, escape, left) = escapes.take(rest);
                        let room = if keeps { TYPED_AHEAD.saturating_sub(typed_ahead.len()) } else { 0 };
                        let (kept, refused) = passed.split_at(room.min(passed.len()));
                        typed_ahead.extend_from_slice(kept);
                        if !refused.is_empty() {
                            screen.refuse();
                        }
                        match escape {
                            Some(Escape::Leave) => return Err(Left::CutOff),
                            // The notice is all the help there is now.
                            Some(Escape::Help) => {}
                            None => break,
                        }
                        rest = rest.get(rest.len() - left..).unwrap_or_default();
                    }
                }
                _ = signals.resized.recv() => screen.resized(),
                number = Signals::fatal(&mut signals.terminate, &mut signals.hangup) => {
                    return Err(Left::Signal(number));
                }
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
    async fn connected(&mut self, raw: &mut Raw) -> Result<std::result::Result<Turn, ClientError>> {
        let (send, receive) = mpsc::channel(QUEUE);
        self.open.size = Some(terminal::size());
        // The queue is new and has room.
        let _ = send.try_send(message(Input::Open(self.open.clone())));
        let opened = begin(self.ctx, receive);
        let (mut messages, first) = match self.meanwhile(opened).await {
            Ok(opened) => match opened? {
                Ok((messages, Some(first))) => (messages, first),
                Ok((_, None)) => return Ok(Err(cut())),
                Err(error) => return Ok(Err(error)),
            },
            Err(left) => return Ok(Ok(Turn::Left(left))),
        };
        if let Some(Output::Opened(opened)) = &first.event {
            self.opened(opened, &send).await?;
        }

        let Self {
            keyboard,
            escapes,
            typed_ahead,
            patience,
            pump,
            screen,
            news,
            signals,
            host,
            ..
        } = self;
        // Whatever the far end was in the midst of, it begins anew.
        news.anew();
        let Signals {
            resized,
            terminate,
            hangup,
        } = signals;
        let mut shown = Shown {
            host,
            messages: &mut messages,
            pump,
            screen,
            news,
            patience,
            raw,
            send: &send,
        };
        if let Some(over) = shown.one(first).await? {
            return Ok(Ok(Turn::Left(Left::End(Box::new(over)))));
        }
        let turn = tokio::select! {
            end = shown.until_end() => return end.map(|end| end.map(|end| Turn::Left(Left::End(Box::new(end))))),
            // Typing waits for the daemon, never the other way round: the screen goes on while input is stuck.
            turn = type_in(keyboard, escapes, typed_ahead, screen, &send) => turn,
            () = resize(resized, screen, &send) => Turn::Redraw,
            number = Signals::fatal(terminate, hangup) => Turn::Left(Left::Signal(number)),
        };
        if matches!(turn, Turn::Detach) {
            let goodbye = async {
                let _ = send.send(message(Input::Detach(AttachDetach {}))).await;
                shown.until_end().await
            };
            // Then it is the far end that says how it ended, and the screen is tidy.
            if let Ok(Ok(Ok(end))) = timeout(GONE_WITHIN, goodbye).await {
                return Ok(Ok(Turn::Left(Left::End(Box::new(end)))));
            }
            return Ok(Ok(turn));
        }
        // Says goodbye, so that the other end need not wait for the connection to break.
        let _ = send.try_send(message(Input::Detach(AttachDetach {})));
        Ok(Ok(turn))
    }

    /// The attachment stands: what was typed meanwhile is typed now, unless the host is away.
    async fn opened(
        &mut self,
        opened: &v1::AttachOpened,
        send: &mpsc::Sender<AttachSessionRequest>,
    ) -> Result<()> {
        self.attached_once = true;
        self.broken_since = None;
        // It may have changed while nobody heard.
        if self.open.size != Some(terminal::size()) {
            let _ = send.try_send(message_of_size());
        }
        if let Some(session) = opened
            .session
            .as_ref()
            .filter(|session| away(session.link()).is_some())
        {
            let notice = Notice::Away {
                host: self.host.clone(),
                link: session.link(),
                error: None,
            };
            self.escapes.new_line();
            if let Some(bytes) = self.screen.change(Some(notice)) {
                self.pump.write(pump::Output::Stdout, bytes.into()).await?;
            }
            if !std::mem::take(&mut self.typed_ahead).is_empty() {
                self.screen.refuse();
            }
            return Ok(());
        }
        if let Some(bytes) = self.screen.change(None) {
            self.pump.write(pump::Output::Stdout, bytes.into()).await?;
        }
        if !self.typed_ahead.is_empty() {
            let typed = std::mem::take(&mut self.typed_ahead);
            // Nothing was put into the queue but the opening and a size.
            let _ = send.try_send(message(Input::Input(typed.into())));
        }
        Ok(())
    }
}

/// What a call brings at first: its stream and the first message, which says that the attachment stands, or why not.
type Begun = (Streaming<AttachSessionResponse>, Option<AttachSessionResponse>);

/// Calls for an attachment.
async fn begin(
    ctx: &Context,
    requests: mpsc::Receiver<AttachSessionRequest>,
) -> Result<std::result::Result<Begun, ClientError>> {
    let daemon = ctx.daemon().await?;
    let mut sessions = daemon.sessions();
    let call = sessions.attach_session(ReceiverStream::new(requests));
    let mut messages = match daemon.answer(call).await {
        Ok(messages) => messages,
        Err(error) => return Ok(Err(error)),
    };
    match messages.message().await {
        Ok(first) => Ok(Ok((messages, first))),
        Err(status) => Ok(Err(status.into())),
    }
}

/// Waits until then; for ever, when there is no such time.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// The size of this terminal, for the far end.
fn message_of_size() -> AttachSessionRequest {
    message(Input::Resize(terminal::size()))
}

fn message(event: Input) -> AttachSessionRequest {
    AttachSessionRequest { event: Some(event) }
}
