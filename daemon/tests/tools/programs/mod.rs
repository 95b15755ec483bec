//! The programs: how each is kept from everything but its work, pointed at the model, and asked for a command.

mod aider;
mod claude;
mod codex;
mod gemini;
mod opencode;

use std::{fs, path::PathBuf};

use crate::{lab::Place, model::Deeds};

pub use aider::AIDER;
pub use claude::CLAUDE;
pub use codex::CODEX;
pub use gemini::GEMINI;
pub use opencode::OPENCODE;

/// A secret that opens nothing. Claude Code knows keys by their last twenty characters, and this has no more.
pub const KEY: &str = "key-of-no-use-at-all";

/// The command that the model wants to run; what it makes shows that it ran.
pub const COMMAND: &str = "touch made-by-tool";

/// The file that the model wants to make.
pub const FILE: &str = "new.txt";

/// One program.
pub struct Program {
    /// Name of its provider, and of the program.
    pub name: &'static str,
    /// Where it lies below its directory.
    pub binary: &'static str,
    /// Options it is run with.
    pub options: &'static [&'static str],
    /// Variables it is run with.
    pub environment: fn(&Place) -> Vec<(&'static str, String)>,
    /// Writes its settings.
    pub configure: fn(&Place),
    /// What the model does.
    pub deeds: fn(&Place) -> Deeds,
    /// What is on the screen when it can be typed to. Some have their title before there is anything else.
    pub ready: &'static str,
    /// What is asked about the command.
    pub asks_to_run: &'static str,
    /// What is asked about the file.
    pub asks_to_edit: &'static str,
    /// The keys that say no to that, or take it back.
    pub no: &'static [&'static str],
    /// The keys that stop it in the midst of its work, pressed one after the other.
    pub interrupt: &'static [&'static str],
    /// While an answer comes in, its screen says so.
    pub shows_answering: bool,
    /// A directory that is new to it is asked about.
    pub asks_for_trust: Option<Trust>,
    /// Its hooks.
    pub hooks: Option<Hooks>,
}

/// How a program asks whether it may trust a directory.
pub struct Trust {
    /// Undoes what of the settings keeps it from asking.
    pub ask: fn(&Place),
    /// What is asked.
    pub asks: &'static str,
    /// How the choice begins that goes on.
    pub yes: &'static str,
    /// What some versions ask then, and how the choice begins that changes nothing.
    pub offer: Option<(&'static str, &'static str)>,
}

/// What is special about a program's hooks.
pub struct Hooks {
    /// More options.
    pub options: &'static [&'static str],
    /// It asks whether to trust the hooks, and is answered with these keys.
    pub trust: &'static [&'static str],
    /// What is reported with the question about the command.
    pub asks_to_run: &'static str,
    /// What is on the screen when it is known that something is asked, so that it can be read and answered.
    pub shows: &'static str,
}

/// Writes a file and the directories it is in.
fn write(path: &PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
