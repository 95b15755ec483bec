//! The daemon's log: daily files, the journal when systemd runs the daemon, and a terminal when one looks on.
//!
//! What is logged never holds a job's environment or a whole request: those carry secrets.

use std::{
    io::{self, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use outlast_client::socket::{SocketError, private_dir};
use tracing::level_filters::LevelFilter;
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::DaemonConfig;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its directory cannot be had.
    #[error(transparent)]
    Directory(#[from] SocketError),
    /// Its file cannot be opened.
    #[error("opening the log: {0}")]
    File(#[from] InitError),
}

/// Starts logging into `dir` and makes panics part of the log. Once in a process; a second call changes nothing.
///
/// # Errors
/// When the directory or file cannot be had.
pub fn start(dir: &Path, config: &DaemonConfig) -> Result<(), LogError> {
    private_dir(dir)?;
    // Written straight from the task that logs: a line is small, and none is lost when the process is killed.
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("outlastd")
        .filename_suffix("log")
        .max_log_files(config.log_files_kept)
        .build(dir)?;
    // Ours at the wanted level; what libraries say only from warnings up, for they log whole frames below that.
    let filter = Targets::new()
        .with_default(config.log_level.min(LevelFilter::WARN))
        .with_target("outlast", config.log_level);
    let journal = stderr_is_journal()
        .then(tracing_journald::layer)
        .and_then(Result::ok)
        .map(|journal| journal.with_priority_mappings(priorities()));
    let terminal = io::stderr()
        .is_terminal()
        .then(|| fmt::layer().with_writer(io::stderr));
    // Only a second start in one process can fail here, and then the first one's log is used.
    let _already_started = tracing_subscriber::registry()
        .with(filter)
        .with(fmt::layer().with_ansi(false).with_writer(files))
        .with(journal)
        .with(terminal)
        .try_init();
    log_panics();
    Ok(())
}

/// A panic ends its task and never the daemon, so it has to be seen somewhere.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, message, "a task panicked");
        before(panic);
    }));
}

/// What levels are called in the journal. By default the everyday ones are shown there as if they were remarkable.
fn priorities() -> PriorityMappings {
    PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    }
}

/// True when what is written to stderr goes to the journal anyway (`JOURNAL_STREAM` names device and inode).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}
