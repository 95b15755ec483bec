//! One line on stderr that is drawn anew while something goes on. It is there for people who look: without a terminal
//! nothing is drawn.

use std::{io, time::Duration};

use rustix::termios::tcgetwinsize;
use tokio::time::Instant;

use crate::{context::Context, pump::remark, render::escape::escape};

/// How often it is drawn at most: more than the eye can follow only costs.
const EVERY: Duration = Duration::from_millis(100);

/// The columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// To the beginning of the line, and empty from there on.
const CLEAR: &str = "\r\x1b[K";

/// The line. It is taken away when this is dropped.
#[derive(Debug)]
pub struct ProgressLine {
    wanted: bool,
    drawn: Option<Instant>,
}

impl ProgressLine {
    pub fn new(ctx: &Context) -> Self {
        // A terminal that cannot clear a line would fill with them.
        let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self {
            wanted: ctx.err.terminal && able && !ctx.global.quiet && !ctx.global.json,
            drawn: None,
        }
    }

    /// Shows a text, unless another was just shown.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.wanted || self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        let columns = tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { COLUMNS } else { columns };
        let text = text();
        // One column stays free: a full row makes some terminals go on to the next.
        let cut: String = escape(&text).chars().take(columns.saturating_sub(1)).collect();
        remark(&format!("{CLEAR}{cut}"));
        self.drawn = Some(Instant::now());
    }

    /// Takes it away, before something else is said.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            remark(CLEAR);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}
