//! `config.toml`: every key, its default, and where a wrong one stands.
//!
//! The table `KEYS` is the one place that knows the keys; reading the file, the environment and printing follow it.
//! Precedence is environment, file, default. An unknown key or a value of the wrong type is an error with line and
//! column: a daemon that quietly ignores what its user wrote is worse than one that does not start.

use std::{fmt, fs, io, ops::Range, path::Path};

use outlast_client::v1::{Error, ErrorKind};
use toml::de::{DeTable, DeValue};
use tracing::level_filters::LevelFilter;

/// What the user may decide. [`Config::default`] is what holds where nothing is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: DaemonConfig,
    /// `[jobs]`.
    pub jobs: JobsConfig,
    /// `[sessions]`.
    pub sessions: SessionsConfig,
    /// `[sync]`.
    pub sync: SyncConfig,
    /// `[events]`.
    pub events: EventsConfig,
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonConfig {
    /// What the daemon writes into its log.
    pub log_level: LevelFilter,
    /// How many daily log files are kept; at least 1.
    pub log_files_kept: usize,
}

/// `[jobs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsConfig {
    /// How many jobs run on one host at once; the rest wait in order. Absent (0 in the file): no limit.
    pub max_running: Option<usize>,
    /// How many bytes of a job's output are kept. Absent (0 in the file): all.
    pub log_max_bytes: Option<u64>,
    /// After how many days an ended job and its log are removed. Absent (0 in the file): never.
    pub prune_after_days: Option<u32>,
}

/// `[sessions]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionsConfig {
    /// Lines of scrollback that tmux keeps for each session.
    pub history_limit: u32,
    /// Whether the user's own copy-mode keys are kept in sessions.
    pub user_copy_mode_keys: bool,
}

/// `[sync]`: a sync halts when more files than both of these are to be deleted at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyncConfig {
    /// How many files may always be deleted.
    pub halt_deletions: u64,
    /// Which part of all files may always be deleted, from 0 to 1.
    pub halt_share: f64,
}

/// `[events]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsConfig {
    /// How many events are kept at most; the oldest go first.
    pub keep_count: u64,
    /// For how many days events are kept at most.
    pub keep_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            daemon: DaemonConfig {
                log_level: LevelFilter::INFO,
                log_files_kept: 7,
            },
            jobs: JobsConfig {
                max_running: None,
                log_max_bytes: None,
                prune_after_days: None,
            },
            sessions: SessionsConfig {
                history_limit: 50_000,
                user_copy_mode_keys: true,
            },
            sync: SyncConfig {
                halt_deletions: 200,
                halt_share: 0.5,
            },
            events: EventsConfig {
                keep_count: 100_000,
                keep_days: 30,
            },
        }
    }
}

/// A value as it was written, in the file or the environment.
enum Value<'a> {
    Integer(i128),
    Fraction(f64),
    Boolean(bool),
    Text(&'a str),
    Other(&'static str),
}

/// One key: where it stands, what it means, how it is set and shown.
struct Key {
    table: &'static str,
    name: &'static str,
    about: &'static str,
    set: fn(&mut Config, &Value<'_>) -> Result<(), &'static str>,
    show: fn(&Config) -> String,
}

const COUNT: &str = "a whole number from 0 up";

const KEYS: &[Key] = &[
    Key {
        table: "daemon",
        name: "log_level",
        about: "what the daemon logs: off, error, warn, info, debug or trace (environment: OUTLAST_LOG)",
        set: |config, value| level(value).map(|level| config.daemon.log_level = level),
        show: |config| format!("\"{}\"", config.daemon.log_level.to_string().to_lowercase()),
    },
    Key {
        table: "daemon",
        name: "log_files_kept",
        about: "how many daily log files are kept",
        set: |config, value| match number(value, 1, 10_000) {
            Some(kept) => {
                config.daemon.log_files_kept = kept as usize;
                Ok(())
            }
            None => Err("a whole number from 1 to 10000"),
        },
        show: |config| config.daemon.log_files_kept.to_string(),
    },
    Key {
        table: "jobs",
        name: "max_running",
        about: "how many jobs run on one host at once; 0: no limit",
        set: |config, value| {
            let limit = number(value, 0, u64::from(u32::MAX)).ok_or(COUNT)?;
            config.jobs.max_running = (limit > 0).then_some(limit as usize);
            Ok(())
        },
        show: |config| config.jobs.max_running.unwrap_or(0).to_string(),
    },
    Key {
        table: "jobs",
        name: "log_max_bytes",
        about: "how many bytes of a job's output are kept; 0: all",
        set: |config, value| {
            let limit = number(value, 0, i64::MAX as u64).ok_or(COUNT)?;
            config.jobs.log_max_bytes = (limit > 0).then_some(limit);
            Ok(())
        },
        show: |config| config.jobs.log_max_bytes.unwrap_or(0).to_string(),
    },
    Key {
        table: "jobs",
        name: "prune_after_days",
        about: "after how many days an ended job and its log are removed; 0: never",
        set: |config, value| {
            let days = number(value, 0, MAX_DAYS).ok_or("a whole number from 0 to 36500")?;
            config.jobs.prune_after_days = (days > 0).then_some(days as u32);
            Ok(())
        },
        show: |config| config.jobs.prune_after_days.unwrap_or(0).to_string(),
    },
    Key {
        table: "sessions",
        name: "history_limit",
        about: "lines of scrollback that each session keeps",
        set: |config, value| match number(value, 0, 10_000_000) {
            Some(lines) => {
                config.sessions.history_limit = lines as u32;
                Ok(())
            }
            None => Err("a whole number from 0 to 10000000"),
        },
        show: |config| config.sessions.history_limit.to_string(),
    },
    Key {
        table: "sessions",
        name: "user_copy_mode_keys",
        about: "whether your own copy-mode keys work in sessions",
        set: |config, value| match value {
            Value::Boolean(keep) => {
                config.sessions.user_copy_mode_keys = *keep;
                Ok(())
            }
            _ => Err("true or false"),
        },
        show: |config| config.sessions.user_copy_mode_keys.to_string(),
    },
    Key {
        table: "sync",
        name: "halt_deletions",
        about: "how many files a sync deletes at once without asking, however many there are",
        set: |config, value| {
            config.sync.halt_deletions = number(value, 0, i64::MAX as u64).ok_or(COUNT)?;
            Ok(())
        },
        show: |config| config.sync.halt_deletions.to_string(),
    },
    Key {
        table: "sync",
        name: "halt_share",
        about: "which part of its files a sync deletes at once without asking, from 0.0 to 1.0",
        set: |config, value| {
            config.sync.halt_share = share(value).ok_or("a number from 0.0 to 1.0")?;
            Ok(())
        },
        show: |config| format!("{:?}", config.sync.halt_share),
    },
    Key {
        table: "events",
        name: "keep_count",
        about: "how many events are kept at most",
        set: |config, value| {
            config.events.keep_count = number(value, 0, i64::MAX as u64).ok_or(COUNT)?;
            Ok(())
        },
        show: |config| config.events.keep_count.to_string(),
    },
    Key {
        table: "events",
        name: "keep_days",
        about: "for how many days events are kept at most",
        set: |config, value| match number(value, 1, MAX_DAYS) {
            Some(days) => {
                config.events.keep_days = days as u32;
                Ok(())
            }
            None => Err("a whole number from 1 to 36500"),
        },
        show: |config| config.events.keep_days.to_string(),
    },
];

/// A hundred years: far beyond any use, far below where milliseconds overflow.
const MAX_DAYS: u64 = 36_500;

fn number(value: &Value<'_>, least: u64, most: u64) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number)
            .ok()
            .filter(|number| (least..=most).contains(number)),
        _ => None,
    }
}

fn share(value: &Value<'_>) -> Option<f64> {
    let share = match value {
        Value::Integer(0) => 0.0,
        Value::Integer(1) => 1.0,
        Value::Fraction(share) => *share,
        _ => return None,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

fn level(value: &Value<'_>) -> Result<LevelFilter, &'static str> {
    let wanted = "one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"";
    match value {
        Value::Text("off") => Ok(LevelFilter::OFF),
        Value::Text("error") => Ok(LevelFilter::ERROR),
        Value::Text("warn") => Ok(LevelFilter::WARN),
        Value::Text("info") => Ok(LevelFilter::INFO),
        Value::Text("debug") => Ok(LevelFilter::DEBUG),
        Value::Text("trace") => Ok(LevelFilter::TRACE),
        _ => Err(wanted),
    }
}

impl Key {
    /// The environment variable that outranks the file.
    fn variable(&self) -> String {
        match (self.table, self.name) {
            // The one that people type, so it is short.
            ("daemon", "log_level") => "OUTLAST_LOG".to_owned(),
            (table, name) => format!("OUTLAST_{}_{}", table.to_uppercase(), name.to_uppercase()),
        }
    }
}

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

impl Config {
    /// Reads the file, if there is one, and the environment on top of it.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it or the environment is wrong: the first thing that is.
    pub fn load(path: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                return Err(ConfigError {
                    place: path.display().to_string(),
                    message: format!("reading the configuration: {error}"),
                    hint: None,
                });
            }
        };
        config.apply_environment(variable)?;
        Ok(config)
    }

    /// Reads the text of a configuration file; `path` is for messages only.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let source = Source { text, path };
        let document = DeTable::parse(text)
            .map_err(|error| source.error(error.span(), error.message().replace('\n', ", "), None))?;
        let mut config = Self::default();
        for (table, content) in document.get_ref() {
            let name = table.get_ref().as_ref();
            if !KEYS.iter().any(|key| key.table == name) {
                return Err(source.unknown_table(name, table.span()));
            }
            let Some(entries) = content.get_ref().as_table() else {
                return Err(source.error(
                    Some(content.span()),
                    format!("`{name}` must be a table"),
                    Some(format!(
                        "write `[{name}]` on a line of its own, with its keys below"
                    )),
                ));
            };
            for (entry, value) in entries {
                config.set(
                    &source,
                    name,
                    entry.get_ref(),
                    entry.span(),
                    value.get_ref(),
                    value.span(),
                )?;
            }
        }
        Ok(config)
    }

    fn set(
        &mut self,
        source: &Source<'_>,
        table: &str,
        name: &str,
        name_span: Range<usize>,
        value: &DeValue<'_>,
        value_span: Range<usize>,
    ) -> Result<(), ConfigError> {
        let Some(key) = KEYS.iter().find(|key| key.table == table && key.name == name) else {
            return Err(source.unknown_key(table, name, name_span));
        };
        let value = match value {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("a number that is too large"), Value::Integer),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or(Value::Other("a number that is too large"), Value::Fraction),
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::String(text) => Value::Text(text),
            other => Value::Other(other.type_str()),
        };
        (key.set)(self, &value).map_err(|wanted| {
            let message = format!("`{table}.{name}` must be {wanted}, not {value}");
            source.error(Some(value_span), message, None)
        })
    }

    fn apply_environment(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        for key in KEYS {
            let name = key.variable();
            // Empty counts as unset, as everywhere in a shell.
            let Some(text) = variable(&name).filter(|text| !text.is_empty()) else {
                continue;
            };
            let value = match (text.as_str(), text.parse()) {
                ("true", _) => Value::Boolean(true),
                ("false", _) => Value::Boolean(false),
                (_, Ok(number)) => Value::Integer(number),
                (text, Err(_not_whole)) => text.parse().map_or(Value::Text(text), Value::Fraction),
            };
            (key.set)(self, &value).map_err(|wanted| ConfigError {
                place: name,
                message: format!("must be {wanted}, not {value}"),
                hint: None,
            })?;
        }
        Ok(())
    }

    /// The configuration as a file that says the same, each key with its meaning above it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut table = "";
        for key in KEYS {
            if key.table != table {
                if !table.is_empty() {
                    text.push('\n');
                }
                table = key.table;
                text.push_str(&format!("[{table}]\n"));
            }
            text.push_str(&format!("# {}\n{} = {}\n", key.about, key.name, (key.show)(self)));
        }
        text
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Fraction(number) => write!(f, "{number:?}"),
            Self::Boolean(truth) => truth.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// The file that is being read, for telling where something stands.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn error(&self, span: Option<Range<usize>>, message: String, hint: Option<String>) -> ConfigError {
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

    fn unknown_table(&self, name: &str, span: Range<usize>) -> ConfigError {
        let message = format!("unknown key `{}`", name.escape_debug());
        // A key written outside its table is the likeliest slip of all.
        let hint = match KEYS.iter().find(|key| key.name == name) {
            Some(key) => Some(format!("`{name}` belongs under `[{}]`", key.table)),
            None => did_you_mean(name, KEYS.iter().map(|key| key.table))
                .map(|near| format!("did you mean `[{near}]`?")),
        };
        let hint = hint
            .or_else(|| Some("the tables are [daemon], [jobs], [sessions], [sync] and [events]".to_owned()));
        self.error(Some(span), message, hint)
    }

    fn unknown_key(&self, table: &str, name: &str, span: Range<usize>) -> ConfigError {
        let message = format!("unknown key `{table}.{}`", name.escape_debug());
        let known = || KEYS.iter().filter(|key| key.table == table).map(|key| key.name);
        let hint = match KEYS.iter().find(|key| key.name == name) {
            Some(key) => format!("`{name}` belongs under `[{}]`", key.table),
            None => match did_you_mean(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("[{table}] knows {}", known().collect::<Vec<_>>().join(", ")),
            },
        };
        self.error(Some(span), message, Some(hint))
    }
}

/// The nearest of the known words, when it is near enough to be a slip of the finger.
fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any key could be mistyped; keeps the work small whatever stands in the file.
    if word.len() > 64 {
        return None;
    }
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance: how many letters must be inserted, removed or replaced.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("config.toml"))
    }

    /// The message and the hint of the one error that `text` has.
    fn refused(text: &str) -> (String, String) {
        let error = parse(text).unwrap_err();
        (error.to_string(), error.hint.unwrap_or_default())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("").unwrap(), Config::default());
        assert_eq!(parse("[jobs]\n[events]\n").unwrap(), Config::default());
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let text = "[daemon]\nlog_level='debug'\nlog_files_kept=3\n[jobs]\nmax_running=4\nlog_max_bytes=1_000_000\n\
                    prune_after_days=7\n[sessions]\nhistory_limit=0x10\nuser_copy_mode_keys=false\n[sync]\n\
                    halt_deletions=0\nhalt_share=1\n[events]\n\
                    keep_count=5\nkeep_days=1\n";
        let config = parse(text).unwrap();
        assert_eq!(config.jobs.max_running, Some(4));
        assert_eq!(config.jobs.log_max_bytes, Some(1_000_000));
        assert_eq!(config.sessions.history_limit, 16);
        assert_eq!((config.sync.halt_deletions, config.sync.halt_share), (0, 1.0));
        assert_eq!(
            parse("[sync]\nhalt_share = 0.25\n").unwrap().sync.halt_share,
            0.25
        );
        assert_eq!(parse(&config.to_text()).unwrap(), config);
        assert_eq!(parse(&Config::default().to_text()).unwrap(), Config::default());
    }

    #[test]
    fn a_mistyped_key_is_named_with_its_place_and_the_right_one() {
        let (message, hint) = refused("# mine\n[jobs]\n  max_runing = 2\n");
        assert_eq!(message, "config.toml:3:3: unknown key `jobs.max_runing`");
        assert_eq!(hint, "did you mean `max_running`?");

        let (message, hint) = refused("[job]\nmax_running = 2\n");
        assert_eq!(message, "config.toml:1:2: unknown key `job`");
        assert_eq!(hint, "did you mean `[jobs]`?");

        let (_, hint) = refused("max_running = 2\n");
        assert_eq!(hint, "`max_running` belongs under `[jobs]`");

        let (_, hint) = refused("[events]\nmax_running = 2\n");
        assert_eq!(hint, "`max_running` belongs under `[jobs]`");

        let (_, hint) = refused("[events]\nxyzzy = 2\n");
        assert_eq!(hint, "[events] knows keep_count, keep_days");
    }

    #[test]
    fn a_wrong_type_says_what_is_wanted() {
        let (message, _) = refused("[jobs]\nmax_running = \"four\"\n");
        assert_eq!(
            message,
            "config.toml:2:15: `jobs.max_running` must be a whole number from 0 up, not \"four\""
        );
        for text in [
            "[jobs]\nmax_running = -1\n",
            "[jobs]\nmax_running = 1.5\n",
            "[jobs]\nmax_running = 99999999999999999999999999999999999999999999999\n",
            "[jobs]\nmax_running = [1]\n",
            "[jobs]\nmax_running = 2026-11-21\n",
            "[events]\nkeep_days = 0\n",
            "[sync]\nhalt_share = 1.5\n",
            "[sync]\nhalt_share = nan\n",
            "[sync]\nhalt_share = '0.5'\n",
            "[sync]\nhalt_deletions = 0.5\n",
            "[sessions]\nuser_copy_mode_keys = 1\n",
            "[daemon]\nlog_level = 'loud'\n",
            "jobs = 3\n",
            "[jobs]\nmax_running = 1\nmax_running = 2\n",
            "[jobs\n",
            "\u{0}",
        ] {
            let (message, _) = refused(text);
            assert!(message.starts_with("config.toml:"), "{text:?}: {message}");
        }
    }

    #[test]
    fn the_environment_outranks_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "[jobs]\nmax_running = 2\n").unwrap();
        let environment = |name: &str| match name {
            "OUTLAST_JOBS_MAX_RUNNING" => Some("3".to_owned()),
            "OUTLAST_LOG" => Some("trace".to_owned()),
            "OUTLAST_SYNC_HALT_SHARE" => Some("0.75".to_owned()),
            "OUTLAST_EVENTS_KEEP_DAYS" => Some(String::new()),
            _ => None,
        };
        let config = Config::load(&path, environment).unwrap();
        assert_eq!(config.jobs.max_running, Some(3));
        assert_eq!(config.daemon.log_level, LevelFilter::TRACE);
        assert_eq!(config.sync.halt_share, 0.75);
        assert_eq!(config.events.keep_days, 30);

        let wrong = |name: &str| (name == "OUTLAST_LOG").then(|| "loud".to_owned());
        let error = Config::load(&path, wrong).unwrap_err();
        assert!(
            error.to_string().starts_with("OUTLAST_LOG: must be one of"),
            "{error}"
        );
    }

    #[test]
    fn no_file_is_no_error_but_an_unreadable_one_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Config::load(&dir.path().join("none.toml"), |_| None).is_ok());
        assert!(Config::load(dir.path(), |_| None).is_err());
    }
}
