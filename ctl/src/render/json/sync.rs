//! The JSON of syncs.

use outlast_client::v1;
use serde::Serialize;

use super::{link, time, word};

pub fn sync_state(state: v1::SyncState) -> Option<String> {
    word(state.as_str_name(), "SYNC_STATE_")
}

pub fn sync_mode(mode: v1::SyncMode) -> Option<String> {
    word(mode.as_str_name(), "SYNC_MODE_")
}

#[derive(Serialize)]
pub struct Sync<'a> {
    id: &'a str,
    name: &'a str,
    source: &'a str,
    host: &'a str,
    target: &'a str,
    mode: Option<String>,
    state: Option<String>,
    reason: Option<&'a str>,
    files: u64,
    bytes: u64,
    pending_files: u64,
    pending_bytes: u64,
    problems: Vec<Problem<'a>>,
    problem_count: u64,
    last_synced_at: Option<String>,
    link: Option<String>,
    message: Option<&'a str>,
    created_at: Option<String>,
    exclude: &'a [String],
    no_gitignore: bool,
    git_dir: bool,
    limit_bytes: Option<u64>,
    watch: Option<&'a str>,
    watch_problem: Option<&'a str>,
    progress: Option<Progress>,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<Preview<'a>>,
}

/// What going on would do to what the target holds.
#[derive(Serialize)]
struct Preview<'a> {
    target: &'a str,
    target_exists: bool,
    files: u64,
    bytes: u64,
    same: Paths<'a>,
    differ: Paths<'a>,
    extra: Paths<'a>,
}

/// Paths, of which the first are named.
#[derive(Serialize)]
struct Paths<'a> {
    count: u64,
    some: &'a [String],
}

/// A path that is not on the host as it is here.
#[derive(Serialize)]
struct Problem<'a> {
    path: &'a str,
    kind: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Progress {
    done_files: u64,
    done_bytes: u64,
    total_files: u64,
    total_bytes: u64,
    rate_bytes: u64,
}

impl<'a> From<&'a v1::Sync> for Sync<'a> {
    fn from(sync: &'a v1::Sync) -> Self {
        Self {
            id: &sync.id,
            name: &sync.name,
            source: &sync.source,
            host: &sync.host,
            target: &sync.target,
            mode: sync_mode(sync.mode()),
            state: sync_state(sync.state()),
            reason: sync.reason.as_deref(),
            files: sync.files,
            bytes: sync.bytes,
            pending_files: sync.pending_files,
            pending_bytes: sync.pending_bytes,
            problems: sync.problems.iter().map(Problem::from).collect(),
            problem_count: sync.problem_count,
            last_synced_at: time(sync.last_synced_at.as_ref()),
            link: link(sync.link()),
            message: sync.message.as_deref(),
            created_at: time(sync.created_at.as_ref()),
            exclude: &sync.exclude,
            no_gitignore: sync.no_gitignore,
            git_dir: sync.git_dir,
            limit_bytes: sync.limit_bytes,
            watch: sync.watch.as_deref(),
            watch_problem: sync.watch_problem.as_deref(),
            progress: sync.progress.as_ref().map(Progress::from),
            preview: None,
        }
    }
}

impl<'a> Sync<'a> {
    /// With what was seen of both sides, if that was asked for.
    pub fn with_preview(sync: &'a v1::Sync, seen: Option<&'a v1::PreviewSyncResponse>) -> Self {
        Self {
            preview: seen.map(Preview::from),
            ..Self::from(sync)
        }
    }
}

impl<'a> From<&'a v1::PreviewSyncResponse> for Preview<'a> {
    fn from(seen: &'a v1::PreviewSyncResponse) -> Self {
        let paths = |paths: Option<&'a v1::SyncPaths>| Paths {
            count: paths.map_or(0, |paths| paths.count),
            some: paths.map_or(&[], |paths| &paths.some),
        };
        Self {
            target: &seen.target,
            target_exists: seen.target_exists,
            files: seen.files,
            bytes: seen.bytes,
            same: paths(seen.same.as_ref()),
            differ: paths(seen.differ.as_ref()),
            extra: paths(seen.extra.as_ref()),
        }
    }
}

impl<'a> From<&'a v1::SyncProblem> for Problem<'a> {
    fn from(problem: &'a v1::SyncProblem) -> Self {
        Self {
            path: &problem.path,
            kind: &problem.kind,
            message: &problem.message,
        }
    }
}

impl From<&v1::SyncProgress> for Progress {
    fn from(progress: &v1::SyncProgress) -> Self {
        Self {
            done_files: progress.done_files,
            done_bytes: progress.done_bytes,
            total_files: progress.total_files,
            total_bytes: progress.total_bytes,
            rate_bytes: progress.rate_bytes,
        }
    }
}
