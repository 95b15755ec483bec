//! The configuration of our tmux server. It is the only one the server reads: the user's own cannot break it.
//!
//! A session is one program's screen, so everything that would leave it, make windows or run commands is unbound; what
//! stays is detaching, copy mode, pasting and the prefix itself.

use std::env;

use super::{
    quote::{Commands, ZeroByte},
    terminfo,
};
use crate::service::SessionConfig;

/// Most lines of scrollback that are asked of tmux; each takes memory when it is used.
const HISTORY_MAX: u32 = 1_000_000;

/// Milliseconds tmux waits whether an escape begins a sequence: long enough for a sequence cut by a slow link, short
/// enough not to be felt when the key itself is meant.
const ESCAPE_MS: &str = "10";

/// Every command of the configuration, in order. Running them again changes nothing, so they are also sent to a server
/// that was started by an older build.
///
/// # Errors
/// Never in practice: no value here holds a zero byte.
pub fn commands(config: &SessionConfig) -> Result<Vec<Commands>, ZeroByte> {
    let history = config.history_limit.min(HISTORY_MAX).to_string();
    let terminal = terminfo::first_known(&["tmux-256color", "screen-256color", "screen"]);
    let keys = if config.user_copy_mode_keys && editor_is_vi() {
        "vi"
    } else {
        "emacs"
    };
    let options: &[(&str, &str, &str)] = &[
        // The server and its sessions live until told otherwise.
        ("-s", "exit-empty", "off"),
        ("-s", "exit-unattached", "off"),
        ("-g", "destroy-unattached", "off"),
        ("-g", "detach-on-destroy", "on"),
        ("-wg", "remain-on-exit", "on"),
        ("-wgq", "remain-on-exit-format", ""),
        // What programs print is shown to the viewer as their screen, and reaches nothing else of theirs.
        ("-s", "set-clipboard", "off"),
        ("-g", "set-titles", "off"),
        ("-wgq", "allow-passthrough", "off"),
        ("-wg", "allow-rename", "off"),
        ("-wg", "automatic-rename", "off"),
        // Nothing of the viewer's environment reaches the server, and nothing is run by it but what we name.
        ("-g", "update-environment", ""),
        ("-g", "default-command", ""),
        ("-g", "default-shell", "/bin/sh"),
        ("-g", "lock-after-time", "0"),
        // The screen is the program's alone.
        ("-g", "status", "off"),
        ("-g", "mouse", "off"),
        ("-g", "prefix", "C-b"),
        ("-g", "prefix2", "None"),
        // Keys that come over a link come together; they are no paste, and the prefix has to work.
        ("-g", "assume-paste-time", "0"),
        ("-g", "history-limit", &history),
        ("-g", "status-keys", keys),
        ("-wg", "mode-keys", keys),
        ("-wg", "window-size", "latest"),
        ("-wg", "aggressive-resize", "off"),
        ("-wg", "synchronize-panes", "off"),
        ("-s", "default-terminal", terminal),
        ("-s", "escape-time", ESCAPE_MS),
        ("-s", "focus-events", "on"),
    ];
    let bindings: &[&[&str]] = &[
        &["unbind-key", "-a", "-q", "-T", "prefix"],
        &["unbind-key", "-a", "-q", "-T", "root"],
        // With a command to end in, the client says nothing on the viewer's screen when it leaves.
        &["bind-key", "-T", "prefix", "d", "detach-client", "-E", "exit 0"],
        &["bind-key", "-T", "prefix", "[", "copy-mode"],
        &["bind-key", "-T", "prefix", "]", "paste-buffer", "-p"],
        &["bind-key", "-T", "prefix", "C-b", "send-prefix"],
        &["bind-key", "-T", "prefix", "PPage", "copy-mode", "-u"],
    ];
    let set = options
        .iter()
        .map(|(scope, name, value)| Commands::one(["set-option", scope, name, value]));
    let bind = bindings.iter().map(|words| Commands::one(*words));
    set.chain(bind).collect()
}

/// The commands as a file.
#[must_use]
pub fn file(commands: &[Commands]) -> String {
    let mut text = String::from("# Written by outlast; changes are lost.\n");
    for command in commands {
        text.push_str(command.line());
        text.push('\n');
    }
    text
}

/// Whether the user's editor is a vi, found the way tmux finds it.
fn editor_is_vi() -> bool {
    let editor = env::var("VISUAL")
        .or_else(|_| env::var("EDITOR"))
        .unwrap_or_default();
    editor.rsplit('/').next().unwrap_or_default().contains("vi")
}
