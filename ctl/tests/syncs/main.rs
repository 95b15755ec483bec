//! Syncs and what runs in them, as somebody at a terminal and as a script does it. One program, because each takes its
//! time to link.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

#[path = "../fake/mod.rs"]
mod fake;

mod adding;
mod flushing;
mod running;
mod showing;
mod steering;

use std::process::{Child, Command, Stdio};

use fake::{Fake, Heard, Ran, finish, outlast, sync};
use futures::{StreamExt as _, stream};
use outlast_client::v1::{
    self, Error, ErrorKind, FlushSyncResponse, Link, SyncProblem, SyncProgress, SyncState,
    flush_sync_response::Event,
};
use outlast_testkit::{DEADLINE, Pty, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tonic::Status;

type Flushed = stream::BoxStream<'static, Result<FlushSyncResponse, Status>>;

/// One message of a flush.
pub type Told = Result<FlushSyncResponse, Status>;

pub fn progress(sync: v1::Sync) -> Told {
    Ok(FlushSyncResponse {
        event: Some(Event::Progress(sync)),
    })
}

pub fn end(sync: v1::Sync) -> Told {
    Ok(FlushSyncResponse {
        event: Some(Event::End(sync)),
    })
}

pub fn refused(kind: ErrorKind, message: &str) -> Told {
    Err(Error::new(kind, message).into_status())
}

/// These messages and nothing more.
pub fn told(messages: impl IntoIterator<Item = Told>) -> Flushed {
    stream::iter(messages.into_iter().collect::<Vec<_>>()).boxed()
}

/// These messages, and then it goes on for ever.
pub fn endless(messages: impl IntoIterator<Item = Told>) -> Flushed {
    stream::iter(messages.into_iter().collect::<Vec<_>>())
        .chain(stream::pending())
        .boxed()
}

/// A sync that is in the middle of it.
pub fn pushing(name: &str) -> v1::Sync {
    v1::Sync {
        progress: Some(SyncProgress {
            done_files: 120,
            done_bytes: 1 << 20,
            total_files: 2000,
            total_bytes: 31 << 20,
            rate_bytes: 3 << 20,
        }),
        ..sync(name, SyncState::Pushing)
    }
}

/// A sync whose host is away.
pub fn away(name: &str, link: Link) -> v1::Sync {
    v1::Sync {
        link: link.into(),
        ..sync(name, SyncState::Disconnected)
    }
}

/// A sync with one problem of each of these kinds.
pub fn with_problems(name: &str, kinds: &[&str]) -> v1::Sync {
    v1::Sync {
        problems: kinds.iter().map(|kind| problem(kind, kind)).collect(),
        problem_count: kinds.len() as u64,
        ..sync(name, SyncState::Watching)
    }
}

pub fn problem(path: &str, kind: &str) -> SyncProblem {
    SyncProblem {
        path: path.to_owned(),
        kind: kind.to_owned(),
        message: "it is so".to_owned(),
    }
}

/// The time out of a last line, which differs from run to run.
pub fn timeless(text: &str) -> String {
    let (before, after) = text
        .match_indices(" in ")
        .map(|(at, word)| (&text[..at], &text[at + word.len()..]))
        .find(|(_, after)| after.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_else(|| panic!("no time in {text:?}"));
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    format!("{before} in 0.0{rest}")
}

/// Starts the program, waits until the daemon was asked something, and presses Ctrl-C.
pub fn interrupted<T>(fake: &Fake, args: &[&str], asked: &Heard<T>) -> Ran {
    let child = start(fake, args);
    wait_until(DEADLINE, "the daemon is asked", || {
        (!asked.lock().unwrap().is_empty()).then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child)
}

fn start(fake: &Fake, args: &[&str]) -> Child {
    let mut command = outlast(fake.home(), &["--no-start"]);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The program on a terminal.
pub fn pty(fake: &Fake, args: &[&str]) -> Pty {
    let mut command: Command = outlast(fake.home(), &["--no-start"]);
    command.args(args).env("TERM", "xterm");
    Pty::start(&command)
}

/// What stands on stderr as a JSON error.
pub fn error(ran: &Ran) -> serde_json::Value {
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_else(|_| panic!("{ran:?}"));
    error["error"].clone()
}
