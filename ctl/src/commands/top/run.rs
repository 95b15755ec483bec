//! The loop: what comes from the keyboard, outlastd and the clock goes to the state; what that wants is done; what is to
//! be seen is drawn, when the terminal has taken what was drawn before.

use std::{pin::Pin, time::Duration};

use futures::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use outlast_client::v1;
use ratatui::{buffer::Buffer, crossterm::style::force_color_output, layout::Rect};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    canvas::{Canvas, TAKE},
    deed::perform,
    feed::feed,
    input::{Effect, In},
    keys::Keys,
    look::Look,
    state::State,
    view,
    watch::watch,
};
use crate::{
    commands::session::attach::{self, Over},
    context::Context,
    error::{Failure, Result},
    pump::{Output, Pump},
    render::time::now,
    terminal::{self, Keyboard, Raw},
};

/// What waits to be taken in: a moment's worth.
const QUEUE: usize = 64;

/// The least time between two pictures.
const FRAME: Duration = Duration::from_millis(50);

/// How often ages are looked at again.
const TICK: Duration = Duration::from_secs(1);

/// How long an Escape may be the beginning of another key, as over a slow line.
const UNDECIDED: Duration = Duration::from_millis(100);

pub async fn run(ctx: &Context) -> Result<u8> {
    // Whether there are colours is decided here, not by the library.
    force_color_output(true);
    let (tell, inbox) = mpsc::channel(QUEUE);
    let feed_tell = tell.clone();
    let mut top = Top {
        ctx,
        state: State::new(now()),
        look: Look::of_terminal(ctx.out.color),
        inbox,
        tell,
        feed: Box::pin(async move { feed(ctx, &feed_tell).await }),
        watch: nothing(),
        deeds: FuturesUnordered::new(),
        keyboard: Keyboard::open()?,
        keys: Keys::default(),
        fatal: Fatal::take_over()?,
        resized: take_over(SignalKind::window_change())?,
    };
    loop {
        let session = match top.on_screen().await? {
            Left::Quit(code) => return Ok(code),
            Left::Attach(session) => session,
        };
        if let Some(code) = top.attached(*session).await? {
            return Ok(code);
        }
    }
}

/// Why the screen was left.
enum Left {
    Quit(u8),
    Attach(Box<v1::Session>),
}

struct Top<'a> {
    ctx: &'a Context,
    state: State,
    look: Look,
    inbox: Receiver<In>,
    tell: Sender<In>,
    feed: Pin<Box<dyn Future<Output = Failure> + 'a>>,
    watch: LocalBoxFuture<'a, ()>,
    deeds: FuturesUnordered<LocalBoxFuture<'a, In>>,
    keyboard: Keyboard,
    keys: Keys,
    fatal: Fatal,
    resized: Signal,
}

impl Top<'_> {
    /// Has the screen until something else is to have it, or nothing more.
    async fn on_screen(&mut self) -> Result<Left> {
        // Watched anew: what was told in between went nowhere.
        let effects = self.state.look_again();
        self.carry_out(effects);
        let mut pump = Pump::narrow();
        let _raw = Raw::enter()?;
        pump.write(Output::Stdout, TAKE.into()).await?;
        let outcome = self.go_on(&mut pump).await;
        // Everything is on the screen before it is given back.
        pump.last_words().await;
        outcome
    }

    async fn go_on(&mut self, pump: &mut Pump) -> Result<Left> {
        let mut canvas = Canvas::default();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stale, mut drawn, mut escaped) = (true, None, None);
        loop {
            // What was typed before is taken in first.
            while let Some(key) = self.keys.next() {
                stale = true;
                if let Some(left) = self.take(In::Key(key)) {
                    return Ok(left);
                }
            }
            let undecided = self.keys.is_undecided();
            escaped = escaped
                .or_else(|| Some(Instant::now() + UNDECIDED))
                .filter(|_| undecided);
            let input = tokio::select! {
                biased;
                number = self.fatal.number() => return Ok(Left::Quit(128 + number)),
                typed = self.keyboard.typed() => {
                    let Ok(Some(typed)) = typed else { return Ok(Left::Quit(128 + 1)) };
                    self.keys.typed(&typed);
                    continue;
                }
                () = until(escaped), if undecided => match self.keys.decide() {
                    Some(key) => In::Key(key),
                    None => continue,
                },
                () = ready(pump, drawn), if stale => {
                    let bytes = self.draw(&mut canvas)?;
                    if !bytes.is_empty() {
                        pump.write(Output::Stdout, bytes.into()).await?;
                        drawn = Some(Instant::now());
                    }
                    stale = false;
                    continue;
                }
                input = self.inbox.recv() => match input {
                    Some(input) => input,
                    None => return Ok(Left::Quit(0)),
                },
                Some(done) = self.deeds.next(), if !self.deeds.is_empty() => done,
                failure = &mut self.feed => return Err(failure),
                () = &mut self.watch => {
                    self.watch = nothing();
                    continue;
                }
                _ = self.resized.recv() => {
                    stale = true;
                    continue;
                }
                _ = tick.tick() => {
                    stale = true;
                    continue;
                }
            };
            stale = true;
            if let Some(left) = self.take(input) {
                return Ok(left);
            }
        }
    }

    /// Takes something in, and does what that wants.
    fn take(&mut self, input: In) -> Option<Left> {
        self.state.now = now();
        let effects = self.state.take(input);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Left> {
        let mut left = None;
        for effect in effects {
            match effect {
                Effect::Quit(code) => left = Some(Left::Quit(code)),
                Effect::Attach(session) => left = Some(Left::Attach(session)),
                Effect::Do(deed) => {
                    let ctx = self.ctx;
                    self.deeds.push(Box::pin(perform(ctx, deed)));
                }
                Effect::Watch(None) => self.watch = nothing(),
                Effect::Watch(Some(watched)) => {
                    let (ctx, tell) = (self.ctx, self.tell.clone());
                    self.watch = Box::pin(async move { watch(ctx, &watched, &tell).await });
                }
            }
        }
        left
    }

    /// The bytes that show the present state.
    fn draw(&mut self, canvas: &mut Canvas) -> Result<Vec<u8>> {
        self.state.now = now();
        let size = terminal::size();
        let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        let mut buffer = Buffer::empty(Rect::new(0, 0, side(size.columns), side(size.rows)));
        let cursor = view::draw(&self.state, self.look, &mut buffer);
        canvas
            .show(buffer, cursor)
            .map_err(|error| Failure::io("drawing on", "the screen", &error))
    }

    /// Gives the terminal to a session until it is left. What outlastd says meanwhile is taken in. An exit code, when a
    /// signal ends the process.
    async fn attached(&mut self, session: v1::Session) -> Result<Option<u8>> {
        self.watch = nothing();
        let mut attached = Box::pin(attach::within(self.ctx, session, self.keys.rest()));
        let mut ended = None;
        let over = loop {
            let input = tokio::select! {
                over = &mut attached => break over,
                Some(input) = self.inbox.recv() => input,
                Some(done) = self.deeds.next(), if !self.deeds.is_empty() => done,
                failure = &mut self.feed, if ended.is_none() => {
                    ended = Some(failure);
                    continue;
                }
            };
            self.state.now = now();
            // What it wants to look at is looked at afterwards.
            self.state.take(input);
        };
        let input = match (over, ended) {
            (Ok(Over::Signal(number)), _) => return Ok(Some(128_u8.saturating_add(number))),
            (_, Some(failure)) => return Err(failure),
            (Ok(Over::Left(words)), None) => In::Done(words),
            (Err(failure), None) => In::failed(failure)?,
        };
        self.state.take(input);
        Ok(None)
    }
}

/// Nothing to look at.
fn nothing<'a>() -> LocalBoxFuture<'a, ()> {
    Box::pin(std::future::pending())
}

/// Waits until the next picture may be drawn, and would be sent at once.
async fn ready(pump: &Pump, drawn: Option<Instant>) {
    until(drawn.map(|drawn| drawn + FRAME)).await;
    pump.room().await;
}

/// Waits until then; not at all when there is no such time.
async fn until(then: Option<Instant>) {
    if let Some(then) = then {
        sleep_until(then).await;
    }
}

fn take_over(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Failure::io("taking over", "signals", &error))
}

/// Signals that end the process.
struct Fatal {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Fatal {
    fn take_over() -> Result<Self> {
        Ok(Self {
            interrupt: take_over(SignalKind::interrupt())?,
            terminate: take_over(SignalKind::terminate())?,
            hangup: take_over(SignalKind::hangup())?,
        })
    }

    /// Waits for one and returns its number.
    async fn number(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }
}
