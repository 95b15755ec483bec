//! The directories in which jobs and sessions keep what is known of them: a versioned contract that outlives helpers.
//!
//! A directory is written by one supervisor or pane at a time (it holds `lock`) and read by anybody. It holds
//!
//! | file | is |
//! |---|---|
//! | `spec` | what to run, JSON, never changed once written |
//! | `log` | the bytes of both streams in the order of their arrival |
//! | `index` | records of 16 bytes which say what every part of the log is; see [`Record`] |
//! | `report` | who runs it, JSON, by temp + rename |
//! | `status` | how the main process ended, JSON, by temp + rename |
//! | `lock` | held with `flock` for as long as the supervisor or pane lives |
//! | `control` | a FIFO that takes requests to end |
//! | `log-control` | a FIFO that tells the logger beside a pane that all was said; there until that one ended |
//! | `reports` | a FIFO in which what runs in a session says what it does; there while it runs |
//! | `activity`, `terminal`, `answered` | what a session shows of what it does, JSON, by temp + rename; see [`Activity`], [`Terminal`], [`Answered`] |
//!
//! Syncs have directories of another kind, of which the module `target` tells.
//!
//! What these say together is [`State`]. Nothing here starts or ends a process but [`reap_lost`], and nothing waits.

mod control;
mod copy;
mod dir;
mod index;
mod lock;
mod reader;
mod reap;
mod records;
mod root;
mod signs;
mod state;
mod tail;
mod writer;

pub(crate) use self::{
    control::{CONTROL, Control, LOG_CONTROL, Sent, open_fifo},
    lock::Lock,
    reap::{Family, Waited},
    signs::{ACTIVITY, Kept, TERMINAL},
};
pub use self::{
    copy::LogCopy,
    dir::Dir,
    index::{RECORD_BYTES, Record, Stream},
    reader::{Chunk, LogReader},
    reap::reap_lost,
    records::{Base, Kind, Report, SPOOL_VERSION, Spec, Status},
    root::{Root, is_id},
    signs::{Activity, Answered, Doing, Holder, Terminal},
    state::{HOST_REBOOTED, SUPERVISOR_KILLED, State},
    tail::last_lines_offset,
    writer::LogWriter,
};

use std::{io, path::Path};

/// Adds to an error what was being done and to what.
pub(crate) fn at(action: &str, path: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("{action} {}: {cause}", path.display()))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
