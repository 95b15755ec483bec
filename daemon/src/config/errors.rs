//! What is wrong with the configuration, where, and what was meant.

use std::{fmt, io, ops::Range, path::Path};

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::near::nearest;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{keys::KEYS, provider, template};

/// Tables of tables that the user names.
const GROUPS: [&str; 2] = [template::GROUP, provider::GROUP];

/// What is wrong with the configuration.
#[derive(Debug)]
pub struct ConfigError {
    /// `FILE:LINE:COLUMN`, the file alone, or the environment variable.
    place: String,
    /// What is wrong there.
    message: String,
    /// What to write instead.
    hint: Option<String>,
}

impl ConfigError {
    /// Something is wrong at a place.
    pub(super) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// The file cannot be read.
    pub(super) fn reading(path: &Path, error: &io::Error) -> Self {
        Self::new(
            path.display().to_string(),
            format!("reading the configuration: {error}"),
        )
    }

    /// What to write instead; may be empty.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        let packed = Self::new(ErrorKind::Usage, error.to_string());
        match error.hint {
            Some(hint) => packed.with_hint(hint),
            None => packed,
        }
    }
}

/// The file that is being read, for telling where something stands.
pub(crate) struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl<'a> Source<'a> {
    pub(super) const fn new(text: &'a str, path: &'a Path) -> Self {
        Self { text, path }
    }

    /// All of the file.
    pub(super) fn document(&self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| self.toml(&error))
    }

    /// What the library says is wrong.
    pub(super) fn toml(&self, error: &toml::de::Error) -> ConfigError {
        self.error(error.span(), error.message().replace('\n', ", "), None)
    }

    /// The content of a table of this name.
    pub(super) fn table<'t>(
        &self,
        name: &str,
        content: &'t Spanned<DeValue<'a>>,
    ) -> Result<&'t DeTable<'a>, ConfigError> {
        content.get_ref().as_table().ok_or_else(|| {
            self.error(
                Some(content.span()),
                format!("`{name}` must be a table"),
                Some(format!(
                    "write `[{name}]` on a line of its own, with its keys below"
                )),
            )
        })
    }

    /// The place of a piece of text within a value, as far as it stands there as it is; else that of the value.
    pub(super) fn within(&self, value: Range<usize>, piece: &str) -> Range<usize> {
        let found = self.text.get(value.clone()).and_then(|text| text.find(piece));
        found.map_or(value.clone(), |at| value.start + at..value.end)
    }

    pub(crate) fn error(
        &self,
        span: Option<Range<usize>>,
        message: String,
        hint: Option<String>,
    ) -> ConfigError {
        let path = self.path.display();
        let place = match span.and_then(|span| self.text.get(..span.start)) {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
                format!("{path}:{line}:{column}")
            }
            None => path.to_string(),
        };
        ConfigError { place, message, hint }
    }

    pub(super) fn unknown_table(&self, name: &str, span: Range<usize>) -> ConfigError {
        let message = format!("unknown key `{}`", name.escape_debug());
        // A key written outside its table is the likeliest slip of all.
        let hint = match KEYS.iter().find(|key| key.name == name) {
            Some(key) => Some(format!("`{name}` belongs under `[{}]`", key.table)),
            None => nearest(name, KEYS.iter().map(|key| key.table).chain(GROUPS))
                .map(|near| format!("did you mean `[{near}]`?")),
        };
        let hint = hint
            .or_else(|| {
                Some(
                    "the tables are [daemon], [jobs], [sessions], [sync], [events], [notify], [session_templates.NAME] and \
                     [providers.NAME]"
                        .to_owned(),
                )
            });
        self.error(Some(span), message, hint)
    }

    pub(super) fn unknown_key(&self, table: &str, name: &str, span: Range<usize>) -> ConfigError {
        let message = format!("unknown key `{table}.{}`", name.escape_debug());
        let known = || KEYS.iter().filter(|key| key.table == table).map(|key| key.name);
        let hint = match KEYS.iter().find(|key| key.name == name) {
            Some(key) => format!("`{name}` belongs under `[{}]`", key.table),
            None => match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("[{table}] knows {}", known().collect::<Vec<_>>().join(", ")),
            },
        };
        self.error(Some(span), message, Some(hint))
    }
}
