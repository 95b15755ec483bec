//! Where the programs lie that we are compared with.

use std::{env, path::PathBuf};

/// Where a peer's program lies. None when it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let first = env::var_os("OUTLAST_BENCH_PEERS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let all = first.into_iter().chain(env::split_paths(&path));
    all.map(|dir| dir.join(name)).find(|path| path.is_file())
}
