//! The user's own terminal in raw mode, given back on every way out: return, error, panic, TERM, HUP.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use outlast_client::{client::readable, v1::TerminalSize};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use tokio::io::unix::AsyncFd;

use crate::{
    error::{Failure, Result},
    pump,
};

/// What the terminal was before it was made raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether the program shows the alternate screen.
static ALTERNATE: AtomicBool = AtomicBool::new(true);

/// Undoes what a program leaves behind when it is cut off: character sets, mouse reports, bracketed paste, focus
/// reports, application keys, the hidden cursor, colours.
const RESET: &[u8] =
    b"\x1b(B\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?1l\x1b>\x1b[?25h\x1b[m";

/// Frees the scroll region and leaves the alternate screen. On the other screen it would move the cursor to wherever it
/// was saved last.
const LEAVE_ALTERNATE: &[u8] = b"\x1b[r\x1b[?1049l\x1b[m";

/// Frees the scroll region and leaves the cursor where it is.
const FREE_REGION: &[u8] = b"\x1b7\x1b[r\x1b8";

/// How programs come to the alternate screen and leave it.
const TO_ALTERNATE: [&[u8]; 3] = [b"\x1b[?1049h", b"\x1b[?1047h", b"\x1b[?47h"];
const FROM_ALTERNATE: [&[u8]; 3] = [b"\x1b[?1049l", b"\x1b[?1047l", b"\x1b[?47l"];

/// The longest of these.
const SWITCH: usize = TO_ALTERNATE[0].len();

/// The terminal in raw mode, until this is dropped.
#[derive(Debug)]
pub struct Raw {
    clean: bool,
    /// The end of what was written, in which a switch of screens may have begun.
    tail: Vec<u8>,
}

impl Raw {
    /// Makes the terminal on stdin raw, for a program that may or may not use the alternate screen; see
    /// [`Raw::written`].
    pub fn on_main_screen() -> Result<Self> {
        let raw = Self::enter()?;
        ALTERNATE.store(false, Ordering::Relaxed);
        Ok(raw)
    }

    /// Watches what is written for switches of screens.
    pub fn written(&mut self, bytes: &[u8]) {
        self.clean = false;
        // What two chunks make together is looked at on its own.
        let begin = bytes.get(..bytes.len().min(SWITCH)).unwrap_or_default();
        self.tail.extend_from_slice(begin);
        let seam = last_switch(&self.tail);
        if let Some(alternate) = last_switch(bytes).or(seam) {
            ALTERNATE.store(alternate, Ordering::Relaxed);
        }
        let rest = bytes.get(begin.len()..).unwrap_or_default();
        let rest = rest.get(rest.len().saturating_sub(SWITCH)..).unwrap_or_default();
        self.tail.extend_from_slice(rest);
        let surplus = self.tail.len().saturating_sub(SWITCH - 1);
        self.tail.drain(..surplus);
    }

    /// Makes the terminal on stdin raw, for a program on the alternate screen. A panic gives it back too.
    pub fn enter() -> Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore(false);
                before(info);
            }));
        });
        let failed = |errno: Errno| Failure::io("setting up", "the terminal", &errno.into());
        let old = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = old.clone();
        raw.make_raw();
        BEFORE.lock().unwrap_or_else(PoisonError::into_inner).replace(old);
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(Self {
            clean: false,
            tail: Vec::new(),
        })
    }

    /// What wrote to the terminal has tidied up behind itself; only the mode is left to restore.
    pub fn tidy(&mut self) {
        self.clean = true;
    }

    /// Something writes to it again.
    pub fn in_use(&mut self) {
        self.clean = false;
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore(self.clean);
    }
}

/// Gives the terminal back. Does nothing the second time.
fn restore(clean: bool) {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Who is told to end does not wait for a terminal that was stopped.
        if !clean && pump::takes(io::stdout()) {
            let mut out = io::stdout();
            let alternate = ALTERNATE.load(Ordering::Relaxed);
            let _ = out.write_all(RESET);
            let _ = out.write_all(if alternate { LEAVE_ALTERNATE } else { FREE_REGION });
            let _ = out.flush();
        }
        // When the terminal is gone there is nothing to give back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// Whether the last switch of screens in some output went to the alternate one.
fn last_switch(bytes: &[u8]) -> Option<bool> {
    let last = |marks: &[&[u8]]| {
        let ends = |mark: &&[u8]| bytes.windows(mark.len()).rposition(|window| window == *mark);
        marks.iter().filter_map(ends).max()
    };
    match (last(&TO_ALTERNATE), last(&FROM_ALTERNATE)) {
        (None, None) => None,
        (to, from) => Some(to > from),
    }
}

/// True when both ends that a session needs are a terminal.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The size of the terminal; 80 by 24 when it does not say.
pub fn size() -> TerminalSize {
    let (columns, rows) = tcgetwinsize(io::stdout()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    TerminalSize {
        columns: if columns == 0 {
            80
        } else {
            u32::from(columns).min(10_000)
        },
        rows: if rows == 0 {
            24
        } else {
            u32::from(rows).min(10_000)
        },
    }
}

/// Whether the locale says UTF-8, as other programs judge it.
pub fn is_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

/// What is typed. Reads only what is there and nothing ahead, so that nothing typed for the shell behind is lost.
#[derive(Debug)]
pub struct Keyboard(AsyncFd<OwnedFd>);

impl Keyboard {
    pub fn open() -> Result<Self> {
        io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .and_then(readable)
            .map(Self)
            .map_err(|error| Failure::io("reading from", "the terminal", &error))
    }

    /// The next bytes typed. None when the terminal is gone. May be dropped at any time without losing input.
    pub async fn typed(&self) -> io::Result<Option<Bytes>> {
        loop {
            let mut ready = self.0.readable().await?;
            // The descriptor is shared with the shell and stays blocking, so look before reading.
            let mut fds = [PollFd::new(ready.get_inner(), PollFlags::IN)];
            match poll(
                &mut fds,
                Some(&Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                }),
            ) {
                Ok(0) => {
                    ready.clear_ready();
                    continue;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let mut buffer = [0_u8; 4096];
            match rustix::io::read(ready.get_inner(), &mut buffer) {
                Ok(0) | Err(Errno::IO) => return Ok(None),
                Ok(count) => {
                    return Ok(Some(Bytes::copy_from_slice(
                        buffer.get(..count).unwrap_or_default(),
                    )));
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_is_known_however_the_switch_is_cut() {
        let text = b"ls\r\n\x1b[?1049hvi\x1b[?1049l$ \x1b[?47h";
        for (end, alternate) in [(4, false), (14, true), (24, false), (text.len(), true)] {
            for cut in 0..end {
                ALTERNATE.store(false, Ordering::Relaxed);
                let mut raw = Raw {
                    clean: true,
                    tail: Vec::new(),
                };
                for piece in [&text[..cut], &text[cut..end]]
                    .into_iter()
                    .flat_map(|part| part.chunks(7))
                {
                    raw.written(piece);
                }
                assert_eq!(ALTERNATE.load(Ordering::Relaxed), alternate, "{end} cut at {cut}");
            }
        }
    }
}
