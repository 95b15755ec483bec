//! Sandboxes whose test was killed before it could clean up: the next test does it.
//!
//! A sandbox names the process that made it. When that process is gone, what is left in the sandbox is nobody's.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
};

use crate::leftovers;

/// Where sandboxes are.
pub(crate) const PLACE: &str = "/tmp";

/// How the names of sandboxes begin.
pub(crate) const PREFIX: &str = "ol-";

/// Names this process as the maker of a sandbox.
pub(crate) fn claim(root: &Path) {
    let pid = process::id();
    let claim = format!("{pid} {}", started(pid).expect("this process runs"));
    fs::write(claim_file(root), claim).expect("the sandbox can be written");
}

/// Ends and removes what killed tests of this user left behind.
pub(crate) fn abandoned() {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(PLACE).into_iter().flatten().flatten() {
        let named = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        let ours = || {
            entry
                .metadata()
                .is_ok_and(|meta| meta.is_dir() && meta.uid() == own)
        };
        if !named || !ours() {
            continue;
        }
        // A directory without a claim is not a sandbox, or one that is being made.
        let Ok(claim) = fs::read_to_string(claim_file(&entry.path())) else {
            continue;
        };
        let Some((pid, start)) = claim.split_once(' ') else {
            continue;
        };
        let lives = pid.parse().ok().and_then(started).is_some_and(|now| now == start);
        if !lives {
            leftovers::end_all(&entry.path());
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn claim_file(root: &Path) -> PathBuf {
    root.join("made-by")
}

/// When a process was started, in the kernel's ticks; with its number it means one process for ever. None when there
/// is no such process, or only its zombie.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}
