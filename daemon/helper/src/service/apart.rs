//! Time between text that is typed and the key after it, for programs that read keys: several of them take an Enter that
//! comes right after text for a line of a paste. Gemini CLI does for 30 to 40 ms after the last of it.
//!
//! A shell does not, nor does what reads lines, and nobody waits there.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{modes::modes, signs::has_shell};
use crate::spool::{Dir, Report};

/// How long after text a key has to come to be one.
const APART: Duration = Duration::from_millis(150);

/// How long a program may take to show what was typed. Some show nothing, as when they ask for a password.
const SHOWS_WITHIN: Duration = Duration::from_millis(300);

/// How often it is looked whether it has.
const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// Whether who has the terminal of this run reads keys and is no shell. False where that cannot be told.
pub(super) fn is_needed(report: &Report) -> bool {
    modes(report.supervisor_pid).is_some_and(|modes| !modes.lines)
        && !has_shell(report.supervisor_pid, report.pid.unwrap_or_default())
}

/// Waits until what was typed has been read, as far as that shows: the program has written something since the log was so
/// long, and then some time has passed.
pub(super) async fn wait(dir: &Dir, log_offset: u64) {
    let late = Instant::now() + SHOWS_WITHIN;
    while dir.log_len() == log_offset && Instant::now() < late {
        sleep(LOOKS_EVERY).await;
    }
    sleep(APART).await;
}
