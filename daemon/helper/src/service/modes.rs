//! How a terminal gives what is typed to the program that reads it.

use std::{fs, fs::OpenOptions, os::unix::fs::OpenOptionsExt as _};

use rustix::{
    fs::OFlags,
    termios::{LocalModes, tcgetattr},
};

use crate::proc::threads::Terminal;

/// Modes of a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Modes {
    /// It gives lines, and not every key by itself.
    pub(super) lines: bool,
    /// The terminal.
    pub(super) terminal: Terminal,
}

/// Modes of the terminal that this process has as its standard input. None: cannot be told.
pub(super) fn modes(pane: u32) -> Option<Modes> {
    // Not to make it ours, and not to wait for it.
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let path = format!("/proc/{pane}/fd/0");
    let terminal = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).ok()?)
        .open(&path)
        .ok()?;
    let modes = tcgetattr(&terminal).ok()?.local_modes;
    Some(Modes {
        lines: modes.contains(LocalModes::ICANON),
        terminal: Terminal {
            link: fs::read_link(path).ok()?,
            echo: modes.contains(LocalModes::ECHO),
        },
    })
}
