//! How programs are made to report: what is written into the configuration of each, and how just that is taken out
//! again. Pure: texts in, texts out.
//!
//! What is written does nothing outside of a session, and never fails: there `OUTLAST_HELPER` names no program. What the
//! user has in the same file stays as it is, down to its blanks as far as the file's language lets us keep them.

mod json;
mod plugin;

use std::{fmt, str::FromStr};

/// Which configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// Hooks in the settings of Claude Code.
    Claude,
    /// Hooks of Codex, in a file of their own.
    Codex,
    /// Hooks in the settings of Gemini CLI.
    Gemini,
    /// A plugin of opencode.
    Opencode,
}

/// There is no such recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRecipe;

impl FromStr for Recipe {
    type Err = NoRecipe;

    fn from_str(text: &str) -> Result<Self, NoRecipe> {
        let found = Self::ALL.into_iter().find(|recipe| recipe.as_str() == text);
        found.ok_or(NoRecipe)
    }
}

/// Where a program has its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The variable that names a directory, and what is below it.
    pub variable: (&'static str, &'static str),
    /// The directory below the home directory where the variable is not set.
    pub below_home: &'static str,
    /// The file in it.
    pub file: &'static str,
}

impl Place {
    /// The file, for a home directory and what the variable says.
    #[must_use]
    pub fn path(&self, home: &str, variable: Option<&str>) -> String {
        let dir = match variable.filter(|dir| dir.starts_with('/')) {
            Some(dir) => format!("{}/{}", dir.trim_end_matches('/'), self.variable.1),
            None => format!("{}/{}", home.trim_end_matches('/'), self.below_home),
        };
        format!("{}/{}", dir.trim_end_matches('/'), self.file)
    }
}

/// Why a configuration is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What is in the way, after the name of the file.
    pub message: String,
    /// What the user can do.
    pub hint: String,
}

impl Unfit {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Recipe {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Claude, Self::Codex, Self::Gemini, Self::Opencode];

    /// The word it is configured by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
        }
    }

    /// The file that it writes.
    #[must_use]
    pub const fn place(self) -> Place {
        match self {
            Self::Claude => Place {
                variable: ("CLAUDE_CONFIG_DIR", ""),
                below_home: ".claude",
                file: "settings.json",
            },
            Self::Codex => Place {
                variable: ("CODEX_HOME", ""),
                below_home: ".codex",
                file: "hooks.json",
            },
            Self::Gemini => Place {
                variable: ("GEMINI_CLI_HOME", ".gemini"),
                below_home: ".gemini",
                file: "settings.json",
            },
            Self::Opencode => Place {
                variable: ("XDG_CONFIG_HOME", "opencode"),
                below_home: ".config/opencode",
                file: "plugin/outlast.js",
            },
        }
    }

    /// What the user has to do besides, once.
    #[must_use]
    pub const fn remark(self) -> Option<&'static str> {
        match self {
            Self::Codex => Some(
                "Codex asks at its next start whether to trust these hooks; they do not run before. Where you start it yourself, use codex --no-daemon: else a server that all share reports for the session it was started in",
            ),
            Self::Claude | Self::Gemini | Self::Opencode => None,
        }
    }

    /// The file with everything that makes the program report. What is there already is not written again.
    ///
    /// # Errors
    /// When the file cannot be understood, or something of the user's is in the place.
    pub fn install(self, current: Option<&str>) -> Result<String, Unfit> {
        match self {
            Self::Claude => json::install(current, &json::CLAUDE),
            Self::Codex => json::install(current, &json::CODEX),
            Self::Gemini => json::install(current, &json::GEMINI),
            Self::Opencode => plugin::install(current),
        }
    }

    /// Whether something is there that this wrote, in this version or another.
    #[must_use]
    pub fn is_in(self, current: &str) -> bool {
        let without = self.take_out(current);
        without.is_ok_and(|without| without.as_deref() != Some(current))
    }

    /// The file without what [`Self::install`] wrote; absent when nothing is left of it. `backup` is what was in it
    /// before: where nobody changed anything since, it is that again, byte for byte.
    ///
    /// # Errors
    /// When the file cannot be understood.
    pub fn uninstall(self, current: &str, backup: Option<&str>) -> Result<Option<String>, Unfit> {
        // One that has hooks of ours is no original.
        let backup = backup.filter(|backup| !self.is_in(backup));
        let before = [backup, None].into_iter().find(|before| {
            let installed = self.install(*before);
            installed.is_ok_and(|installed| installed == current && *before != Some(current))
        });
        if let Some(before) = before {
            return Ok(before.map(str::to_owned));
        }
        self.take_out(current)
    }

    fn take_out(self, current: &str) -> Result<Option<String>, Unfit> {
        match self {
            Self::Claude => json::uninstall(current, &json::CLAUDE).map(Some),
            Self::Codex => json::uninstall(current, &json::CODEX).map(Some),
            Self::Gemini => json::uninstall(current, &json::GEMINI).map(Some),
            Self::Opencode => plugin::uninstall(current),
        }
    }
}

/// The command for a shell that reports a state, with what stands at these places of the JSON document it is given.
fn report(state: &str, unless: Option<&str>, message: json::Message) -> String {
    let unless = unless.map(|unless| format!(" --unless {unless}"));
    let message = message
        .iter()
        .map(|place| format!(" --message-json {}", place.join(" ")));
    let options: String = unless.into_iter().chain(message).collect();
    format!("{BEGIN}{state}{options}{END}")
}

const BEGIN: &str = r#"[ -n "$OUTLAST_HELPER" ] && "$OUTLAST_HELPER" report "#;
const END: &str = " || true";

/// Whether a command is one of ours, of this version or another: nothing but a report.
fn is_ours(command: &str) -> bool {
    let inner = command
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END));
    inner.is_some_and(|inner| {
        let plain = |c: char| c.is_ascii_alphanumeric() || " -_/".contains(c);
        inner.chars().all(plain)
    })
}

#[cfg(test)]
mod tests;
