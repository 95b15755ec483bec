//! The flat keys of the configuration: their places, meanings and defaults. Reading the file, the environment and
//! printing follow the table [`KEYS`].

use std::{fmt, ops::Range};

use outlast_model::notice::listed;
use toml::de::DeValue;
use tracing::level_filters::LevelFilter;

use crate::notify;

use super::{
    Config,
    errors::{ConfigError, Source},
};

/// A value as it was written, in the file or the environment.
pub(crate) enum Value<'a> {
    Integer(i128),
    Fraction(f64),
    Boolean(bool),
    Text(&'a str),
    Other(&'static str),
}

/// One key: where it stands, what it means, how it is set and shown.
pub(super) struct Key {
    pub(super) table: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    set: fn(&mut Config, &Value<'_>) -> Result<(), &'static str>,
    pub(super) show: fn(&Config) -> String,
}

const COUNT: &str = "a whole number from 0 up";

/// All of them, in the order they are shown in.
pub(super) const KEYS: &[Key] = &[
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
    Key {
        table: "notify",
        name: "on",
        about: "what you are told of: all, none, or some of waiting, error, broken, lost, failed, exited, idle, succeeded; of \
                one thing five times at once, and then once in 20 s",
        set: |config, value| notify::settings::states(value).map(|on| config.notify.rules.on = on),
        show: |config| format!("{:?}", listed(&config.notify.rules.on)),
    },
    Key {
        table: "notify",
        name: "to",
        about: "how you are told: all, none, or some of desktop, terminal, command, webhook",
        set: |config, value| notify::settings::channels(value).map(|to| config.notify.rules.to = to),
        show: |config| format!("{:?}", listed(&config.notify.rules.to)),
    },
    Key {
        table: "notify",
        name: "command",
        about: "what the channel `command` has /bin/sh run, with OUTLAST_NOTICE_TITLE and others in its environment",
        set: |config, value| notify::settings::command(value).map(|command| config.notify.command = command),
        show: |config| toml_text(config.notify.command.as_deref().unwrap_or_default()),
    },
    Key {
        table: "notify",
        name: "webhook",
        about: "the URL that the channel `webhook` posts to; it is a secret, and shown to nobody",
        set: |config, value| notify::settings::webhook(value).map(|webhook| config.notify.webhook = webhook),
        show: |config| {
            format!(
                "{:?}",
                config
                    .notify
                    .webhook
                    .as_ref()
                    .map_or("", notify::settings::Webhook::shown)
            )
        },
    },
];

/// Keys whose values are shown to nobody, not even when they are wrong.
const SECRET: &[(&str, &str)] = &[("notify", "webhook")];

/// Text as TOML writes it.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

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

    /// What a wrong value is called in a message.
    fn shown(&self, value: &Value<'_>) -> String {
        if SECRET.contains(&(self.table, self.name)) {
            "what is there".to_owned()
        } else {
            value.to_string()
        }
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

impl Config {
    /// Sets a flat key as it is written in the file.
    pub(super) fn set(
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
            let message = format!("`{table}.{name}` must be {wanted}, not {}", key.shown(&value));
            source.error(Some(value_span), message, None)
        })
    }

    /// Sets the flat keys that the environment names.
    pub(super) fn apply_environment(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ConfigError> {
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
            (key.set)(self, &value).map_err(|wanted| {
                ConfigError::new(name, format!("must be {wanted}, not {}", key.shown(&value)))
            })?;
        }
        Ok(())
    }
}
