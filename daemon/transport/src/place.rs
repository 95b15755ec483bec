//! Directories for the sockets of one connection: this user's alone, with short paths, and gone when they are dropped or
//! else when the next one is made.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process,
};

use rustix::{
    io::Errno,
    process::{Pid, geteuid, test_kill_process},
};
use uuid::Uuid;

/// The longest path of a directory that leaves room for a socket in one of ours: what the address of a socket can hold is
/// 107 bytes.
const LONGEST: usize = 50;

/// A directory for sockets.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes one, and removes those of the same use whose process was killed before it could.
    pub(crate) fn new(usage: &str) -> io::Result<Self> {
        Self::within(&parent(), usage)
    }

    fn within(parent: &Path, usage: &str) -> io::Result<Self> {
        let prefix = format!("outlast-{usage}-");
        sweep(parent, &prefix);
        let random = Uuid::new_v4().simple().to_string();
        let random = random.get(..12).unwrap_or_default();
        let path = parent.join(format!("{prefix}{}-{random}", process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Where such directories go: gone with the login at the latest, where there is such a place.
fn parent() -> PathBuf {
    let run = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    run.filter(|dir| dir.is_absolute() && dir.is_dir() && dir.as_os_str().len() < LONGEST)
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Removes what processes left behind that are gone.
fn sweep(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| maker(name, prefix));
        if !maker.is_some_and(is_gone) {
            continue;
        }
        // Of the entry itself, whatever a link of somebody else's may point to.
        let ours = |meta: fs::Metadata| meta.is_dir() && meta.uid() == geteuid().as_raw();
        if entry.metadata().is_ok_and(ours) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process that made a directory.
fn maker(name: &str, prefix: &str) -> Option<Pid> {
    let (pid, _random) = name.strip_prefix(prefix)?.split_once('-')?;
    Pid::from_raw(pid.parse().ok().filter(|pid| *pid > 0)?)
}

fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid) == Err(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_with_the_next_one() {
        let parent = tempfile::tempdir().unwrap();
        let mut dead = process::Command::new("true").spawn().unwrap();
        let pid = dead.id();
        dead.wait().unwrap();
        let make = |name: String| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("s"), "").unwrap();
            path
        };
        let left = make(format!("outlast-ask-{pid}-abc"));
        let others = [
            make(format!("outlast-ask-{}-abc", process::id())),
            make(format!("outlast-agent-{pid}-abc")),
            make("outlast-ask-abc".to_owned()),
            make("outlast-ask--1-abc".to_owned()),
        ];
        let place = Place::within(parent.path(), "ask").unwrap();
        assert!(!left.exists());
        assert!(others.iter().all(|other| other.exists()));
        let mode = place.path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = place.join("s");
        fs::write(&path, "").unwrap();
        drop(place);
        assert!(!path.parent().unwrap().exists());
    }
}
