//! Time between text that is typed and the key after it, for programs that read keys: several of them take an Enter that
//! comes right after text for a line of a paste. Gemini CLI does for 30 to 40 ms after the last of it.
//!
//! A shell does not, nor does what reads lines, and nobody waits there.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, time::Duration};

use rustix::{
    fs::OFlags,
    termios::{LocalModes, tcgetattr},
};
use tokio::time::{Instant, sleep};

use super::signs::has_shell;
use crate::spool::{Dir, Report};

/// How long after text a key has to come to be one.
const APART: Duration = Duration::from_millis(150);

/// How long a program may take to show what was typed. Some show nothing, as when they ask for a password.
const SHOWS_WITHIN: Duration = Duration::from_millis(300);

/// How often it is looked whether it has.
const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// Whether who has the terminal of this run reads keys and is no shell. False where that cannot be told.
pub(super) fn is_needed(report: &Report) -> bool {
    reads_keys(report.supervisor_pid).unwrap_or(false)
        && !has_shell(report.supervisor_pid, report.pid.unwrap_or_default())
}

/// Whether the terminal that this process has as its standard input gives every key by itself, and no lines.
fn reads_keys(pane: u32) -> Option<bool> {
    // Not to make it ours, and not to wait for it.
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let terminal = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).ok()?)
        .open(format!("/proc/{pane}/fd/0"))
        .ok()?;
    let modes = tcgetattr(&terminal).ok()?;
    Some(!modes.local_modes.contains(LocalModes::ICANON))
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
