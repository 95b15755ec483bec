//! Questions to the person at the terminal: a prompt on stderr, a line from stdin, hidden where it is a secret.
//!
//! The terminal is as it was on every way out: answer, end of input, a dropped question (Ctrl-C), TERM, HUP.

use std::io::{self, IsTerminal as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    context::Context,
    error::{Failure, Result},
    pump::remark,
    render::escape::escape_lines,
    terminal::Keyboard,
};

/// Turns a special key off, as in termios(3).
const DISABLED: u8 = 0;

/// Whether there is somebody to ask.
pub fn can(ctx: &Context) -> bool {
    !ctx.global.no_input && io::stdin().is_terminal()
}

/// Asks for a line, less its end. None when the input ends instead. What is typed is only shown with `echo`.
///
/// # Errors
/// When the terminal cannot be read, what was typed is no text, or a signal ends the process.
pub async fn line(prompt: &str, echo: bool) -> Result<Option<String>> {
    let failed = |error: &io::Error| Failure::io("reading from", "the terminal", error);
    let take = |kind| signal(kind).map_err(|error| Failure::io("taking over", "signals", &error));
    let (mut terminate, mut hangup) = (take(SignalKind::terminate())?, take(SignalKind::hangup())?);
    let keyboard = Keyboard::open()?;
    let _hidden = if echo { None } else { Some(Hidden::begin()?) };
    // After the echo is off: whoever waits for the prompt may type at once.
    remark(&escape_lines(prompt));
    let mut typed = Vec::new();
    loop {
        let more = tokio::select! {
            more = keyboard.typed() => more.map_err(|error| failed(&error))?,
            _ = terminate.recv() => return Err(Failure::Exit(128 + 15)),
            _ = hangup.recv() => return Err(Failure::Exit(128 + 1)),
        };
        match more {
            Some(bytes) => typed.extend_from_slice(&bytes),
            None if typed.is_empty() => {
                remark("\n");
                return Ok(None);
            }
            None => break,
        }
        if typed.last() == Some(&b'\n') {
            typed.pop();
            break;
        }
    }
    match String::from_utf8(typed) {
        Ok(text) => Ok(Some(text)),
        Err(_not_utf8) => Err(Failure::usage("what was typed is not UTF-8")),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
#[derive(Debug)]
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self> {
        let failed = |errno: rustix::io::Errno| Failure::io("setting up", "the terminal", &errno.into());
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // The end of the line is shown, so that what follows begins on the next.
        hidden.local_modes.insert(LocalModes::ECHONL);
        // Who stops it here gets a shell that shows what is typed after all.
        hidden.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        // What was typed before the question was not meant for it.
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Half a secret must not end up in the shell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
