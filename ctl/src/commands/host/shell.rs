//! `host shell`: this terminal becomes that of a login shell on a host. It ends with the terminal or the connection; what
//! is to survive them is a session.

use outlast_client::v1::{
    ExecEnded, ExecHostRequest, ExecHostResponse, ExecOpen, HostTerminal, TerminalSize,
    exec_host_request::Event as Say, exec_host_response::Event as Hear,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tonic::Streaming;

use super::program::{self, Program, message};
use crate::{
    cli::HostShell,
    context::Context,
    environment,
    error::{Failure, INTERRUPTED, Result},
    escapes::{Escape, Escapes},
    follow::cut,
    pump::{Aside, Output, Pump, remark},
    terminal::{self, Keyboard, Raw},
};

/// What `~?` shows.
const HELP: &str = "~?\r\nAt the beginning of a line:\r\n  ~.  leave, and end the shell\r\n  ~~  type one ~\r\n  ~?  this\r\n";

/// What TERM is where the environment does not say.
const TERM: &str = "xterm-256color";

pub async fn shell(ctx: &Context, args: HostShell) -> Result<u8> {
    let host = args.name;
    if !terminal::is_there() {
        return Err(Failure::usage("host shell needs a terminal on stdin and stdout")
            .hint(format!("outlast host exec {host} -- CMD")));
    }
    let baggage = environment::pack(ctx, Some(&host), args.cwd.as_deref(), &args.env)?;
    let begun_with = terminal::size();
    let open = ExecOpen {
        host: host.clone(),
        command: Vec::new(),
        cwd: baggage.cwd,
        env: baggage.set,
        terminal: Some(HostTerminal {
            term: std::env::var("TERM")
                .ok()
                .filter(|term| !term.is_empty())
                .unwrap_or_else(|| TERM.to_owned()),
            size: Some(begun_with),
        }),
        base_env: baggage.base,
    };
    // Until it begins the terminal is the user's: Ctrl-C ends this command.
    let begun = program::begin(ctx, open, |_say| {}).await?;
    let outcome = on_terminal(&host, begun, begun_with).await?;
    match outcome {
        Left::Ended(ended) => Ok(program::code(ctx, "the login shell", &ended)),
        Left::Typed => {
            remark(&format!("left host {host}; the shell is ended\n"));
            Ok(INTERRUPTED)
        }
        Left::Signal(number) => Ok(128_u8.saturating_add(number)),
    }
}

/// Why the terminal was left.
enum Left {
    /// The shell ended.
    Ended(ExecEnded),
    /// `~.` was typed.
    Typed,
    /// A signal ended this process, or the terminal is gone.
    Signal(u8),
}

/// Joins terminal and shell, until one of them is gone. `begun_with` is the size that the shell was told.
async fn on_terminal(host: &str, begun: Program, begun_with: TerminalSize) -> Result<Left> {
    let take = |kind| signal(kind).map_err(|error| Failure::io("taking over", "signals", &error));
    let mut resized = take(SignalKind::window_change())?;
    let (mut terminate, mut hangup) = (take(SignalKind::terminate())?, take(SignalKind::hangup())?);
    let keyboard = Keyboard::open()?;
    let mut pump = Pump::new();
    let aside = pump.aside();
    let mut raw = Raw::on_main_screen()?;
    let Program {
        say,
        mut messages,
        first,
    } = begun;
    // It may have changed while nobody heard.
    let size_now = terminal::size();
    if size_now != begun_with {
        let _ = say.try_send(message(Say::Resize(size_now)));
    }
    let outcome = tokio::select! {
        ended = show(host, &mut messages, first, &mut pump, &mut raw) => ended.map(Left::Ended),
        left = type_in(&keyboard, &say, &aside) => Ok(left),
        () = resize(&mut resized, &say) => Ok(Left::Signal(0)),
        _ = terminate.recv() => Ok(Left::Signal(15)),
        _ = hangup.recv() => Ok(Left::Signal(1)),
    };
    // Everything is on the screen before the mode changes.
    pump.last_words().await;
    outcome
}

/// Shows what comes until the shell has ended.
async fn show(
    host: &str,
    messages: &mut Streaming<ExecHostResponse>,
    mut first: Option<ExecHostResponse>,
    pump: &mut Pump,
    raw: &mut Raw,
) -> Result<ExecEnded> {
    loop {
        let message = match first.take() {
            Some(first) => Ok(Some(first)),
            None => messages.message().await,
        };
        match message {
            Ok(Some(message)) => match message.event {
                Some(Hear::Stdout(bytes) | Hear::Stderr(bytes)) => {
                    raw.written(&bytes);
                    pump.write(Output::Stdout, bytes).await?;
                }
                Some(Hear::Ended(ended)) => {
                    raw.tidy();
                    return Ok(ended);
                }
                Some(Hear::Begun(_)) | None => {}
            },
            Ok(None) => return Err(program::broken(cut(), host)),
            Err(status) => return Err(program::broken(status.into(), host)),
        }
    }
}

/// Sends what is typed, until `~.` or the end of the terminal.
async fn type_in(keyboard: &Keyboard, say: &mpsc::Sender<ExecHostRequest>, aside: &Aside) -> Left {
    let mut escapes = Escapes::new();
    loop {
        let typed = match keyboard.typed().await {
            Ok(Some(typed)) => typed,
            Ok(None) | Err(_) => return Left::Signal(1),
        };
        let mut rest: &[u8] = &typed;
        loop {
            let (passed, escape, left) = escapes.take(rest);
            if !passed.is_empty() && say.send(message(Say::Stdin(passed.into()))).await.is_err() {
                // The call is over; how, the other direction says.
                return std::future::pending().await;
            }
            match escape {
                Some(Escape::Leave) => return Left::Typed,
                Some(Escape::Help) => aside.say(HELP.as_bytes()),
                None => break,
            }
            rest = rest.get(rest.len() - left..).unwrap_or_default();
        }
    }
}

/// Sends each new size.
async fn resize(resized: &mut Signal, say: &mpsc::Sender<ExecHostRequest>) {
    while resized.recv().await.is_some() {
        if say.send(message(Say::Resize(terminal::size()))).await.is_err() {
            break;
        }
    }
    // The other direction says how it ends.
    std::future::pending::<()>().await;
}
