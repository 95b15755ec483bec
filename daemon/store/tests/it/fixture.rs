//! Stores and things to put into them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use outlast_model::{
    id::Id,
    job::{Job, JobState, Outcome},
    session::{Session, SessionState},
    sync::{Seen, Sync, SyncMode},
};
use outlast_store::{Opened, Request, Store};
use tempfile::TempDir;

pub fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Opens a store that must have nothing to tell.
pub fn open(dir: &Path) -> Store {
    let Opened { store, notice } = Store::open(dir).unwrap();
    assert_eq!(notice, None);
    store
}

pub fn job() -> Job {
    Job {
        id: Id::random(),
        name: None,
        host: "local".to_owned(),
        cwd: Some("/srv".to_owned()),
        command: vec!["sh".to_owned(), "-c".to_owned(), "echo '\"\u{1b}é%_".to_owned()],
        state: JobState::Queued,
        created_at: 1_700_000_000_123,
        started_at: None,
        outcome: None,
        reason: None,
        timeout_ms: Some(60_000),
        cancel_grace_ms: None,
    }
}

pub fn named_job(name: &str) -> Job {
    Job {
        name: Some(name.parse().unwrap()),
        ..job()
    }
}

pub fn outcome(exit_code: i32) -> Outcome {
    Outcome {
        exit_code: Some(exit_code),
        signal: None,
        ended_at: 1_700_000_009_000,
        cpu_us: Some(12_345),
        max_rss_bytes: Some(6 << 20),
        reason: None,
        log_bytes: 77,
        dropped_bytes: 3,
    }
}

/// The job after it ended with this exit code.
pub fn ended(job: &Job, exit_code: i32) -> Job {
    let outcome = outcome(exit_code);
    Job {
        state: JobState::after(&outcome),
        started_at: Some(1_700_000_001_000),
        outcome: Some(outcome),
        ..job.clone()
    }
}

pub fn session(name: &str) -> Session {
    Session {
        id: Id::random(),
        name: name.parse().unwrap(),
        host: "local".to_owned(),
        cwd: None,
        command: Vec::new(),
        restart_command: Some("exec bash".to_owned()),
        state: SessionState::Creating,
        run: 1,
        created_at: 1_700_000_000_000,
        started_at: None,
        pid: None,
        outcome: None,
        reason: None,
        size: (80, 24),
        stop_grace_ms: None,
        deleting: false,
        activity: None,
        activity_seq: 0,
        template: Some("agent".to_owned()),
        provider: Some("claude".to_owned()),
    }
}

/// A sync of a directory to one of the same name in the home directory of a host.
pub fn sync(name: &str, host: &str) -> Sync {
    Sync {
        id: Id::random(),
        name: name.parse().unwrap(),
        source: format!("/src/{name}"),
        host: host.to_owned(),
        target: name.to_owned(),
        mode: SyncMode::Mirror,
        exclude: vec!["*.o".to_owned(), "!\"é".to_owned()],
        no_gitignore: false,
        git_dir: true,
        limit_bytes: Some(1 << 20),
        created_at: 1_700_000_000_000,
        paused: false,
        occupied: false,
        resetting: None,
        seen: Seen::default(),
    }
}

pub fn request(id: &str, content: u8) -> Request {
    Request {
        id: id.to_owned(),
        fingerprint: [content; 32],
    }
}

/// What a kill would leave now: a directory with copies of the database and its log.
pub fn image(of: &Path) -> TempDir {
    let to = directory();
    for name in ["state.db", "state.db-wal"] {
        fs::copy(of.join(name), to.path().join(name)).unwrap();
    }
    to
}

/// Names of the files in a directory, sorted.
pub fn files(dir: &Path) -> Vec<String> {
    let entry_name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(entry_name).collect();
    names.sort();
    names
}

/// The files whose names begin so.
pub fn files_like(dir: &Path, beginning: &str) -> Vec<PathBuf> {
    files(dir)
        .iter()
        .filter(|name| name.starts_with(beginning))
        .map(|name| dir.join(name))
        .collect()
}
