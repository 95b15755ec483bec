//! What a sync would do, before there is one. Changes nothing, and reads no content: a file that has the size, the time and
//! the permissions it has here is taken for the same; the sync itself compares by content.

use std::sync::atomic::AtomicBool;

use outlast_client::helper_v1::{
    LookEntry, LookTargetRequest, SyncKind, helper_service_client::HelperServiceClient,
};
use outlast_tree::{Kind, RelPath};
use tokio::task::spawn_blocking;
use tonic::{Status, transport::Channel};

use crate::{
    Problem, ProblemKind, Root, RootGone, Seen,
    engine::Config,
    rules::{Rules, RulesError},
    scan::{Scan, scan},
};

/// Entries of a target that are looked at; a target with more has more than anybody reads.
const ENTRIES: u32 = 200_000;
/// Paths that are told by name.
const SOME: usize = 20;
/// Problems that are told one by one.
const PROBLEMS: usize = 100;

/// Paths of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paths {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most 20.
    pub some: Vec<Vec<u8>>,
}

/// What a sync would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    /// The directory there, absolute.
    pub target: Vec<u8>,
    /// Whether it is there.
    pub exists: bool,
    /// Files of the source that count.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// There as they are here: files by size, time and permissions, links by what they say.
    pub same: Paths,
    /// There and different, as far as can be told without reading them.
    pub differ: Paths,
    /// There and not here.
    pub extra: Paths,
    /// What would be left out, at most 100.
    pub problems: Vec<Problem>,
    /// How many of them there are.
    pub problem_count: u64,
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// There is no source.
    #[error(transparent)]
    Source(#[from] RootGone),
    /// What counts cannot be told.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The host does not answer, or refuses the target.
    #[error("{}", .0.message())]
    Host(#[from] Status),
}

impl Paths {
    fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.some.len() < SOME {
            self.some.push(path.to_vec());
        }
    }
}

/// Looks at both sides. `all` are the ids of all syncs there are, with this one.
///
/// # Errors
/// When one of them cannot be looked at.
pub async fn preview(
    config: &Config,
    all: Vec<String>,
    mut client: HelperServiceClient<Channel>,
) -> Result<Preview, PreviewError> {
    let config_there = config.clone();
    let looking = spawn_blocking(move || look(&config_there));
    let request = LookTargetRequest {
        target: config.target.clone().into(),
        limit: ENTRIES,
        id: config.id.clone(),
        all,
    };
    let there = client.look_target(request).await?.into_inner();
    let looked = looking.await;
    let (root, here) = looked.map_err(|_panic| Status::internal("looking at the source ended early"))??;
    let mut preview = Preview {
        target: there.target.to_vec(),
        exists: there.exists,
        ..Preview::default()
    };
    // What is only told about is not left out.
    let left_out = here
        .problems
        .into_iter()
        .filter(|problem| problem.kind != ProblemKind::SpecialBits);
    for problem in left_out {
        preview.problem_count += 1;
        if preview.problems.len() < PROBLEMS {
            preview.problems.push(problem);
        }
    }
    for (_, seen) in here.tree.iter().filter(|(_, seen)| seen.kind == Kind::File) {
        preview.files += 1;
        preview.bytes += seen.key.size;
    }
    for entry in &there.entries {
        let Ok(path) = RelPath::new(&entry.path) else {
            continue;
        };
        let paths = match here.tree.get(&path) {
            None if kind(entry) == Kind::Dir => continue,
            None => &mut preview.extra,
            Some(seen) if seen.kind == Kind::Dir && kind(entry) == Kind::Dir => continue,
            Some(seen) if is_likely_the_same(&root, &path, seen, entry) => &mut preview.same,
            Some(_) => &mut preview.differ,
        };
        paths.add(&path);
    }
    Ok(preview)
}

fn look(config: &Config) -> Result<(Root, Scan), PreviewError> {
    let root = Root::open(&config.source, None)?;
    let rules = Rules::open(&config.source, &config.rules, &config.places)?;
    let scan = scan(&root, &rules, &AtomicBool::new(false), &|_| {});
    Ok((root, scan))
}

fn is_likely_the_same(root: &Root, path: &RelPath, seen: &Seen, there: &LookEntry) -> bool {
    let Some(entry) = &there.entry else { return false };
    if seen.kind != kind(there) {
        return false;
    }
    match seen.kind {
        Kind::Link => root.read_link(path).is_ok_and(|says| *says == *entry.link),
        _ => {
            seen.key.size == entry.size
                && seen.key.mtime_ns == entry.mtime_ns
                && u32::from(seen.mode) == entry.mode
        }
    }
}

fn kind(entry: &LookEntry) -> Kind {
    match entry
        .entry
        .as_ref()
        .map(outlast_client::helper_v1::SyncEntry::kind)
    {
        Some(SyncKind::File) => Kind::File,
        Some(SyncKind::Dir) => Kind::Dir,
        Some(SyncKind::Link) => Kind::Link,
        _ => Kind::Other,
    }
}
