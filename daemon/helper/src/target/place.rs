//! Which directory is meant by a target, and which ones are refused: those whose other content is nobody's to touch.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Gid, Uid},
    io::Errno,
};

use super::record::Named;
use crate::{facts, spool::Root};

/// Permission bits of directories that are made around a target, where none are asked for.
const MADE: u32 = 0o755;

/// What is around targets on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grounds {
    /// The home directory.
    pub(crate) home: PathBuf,
    /// What belongs to outlast itself.
    pub(crate) own: Vec<PathBuf>,
}

/// Why a directory cannot be a target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misplaced {
    /// The target makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// It would overlap with another sync's.
    #[error("the target {0:?} and that of sync {1}, {2:?}, overlap")]
    Overlap(PathBuf, String, PathBuf),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Grounds {
    /// Those of this user, with this state directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        let home = facts::home();
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .unwrap_or_else(|| home.join(".cache"));
        Self {
            own: vec![state_dir.to_owned(), cache.join("outlast")],
            home,
        }
    }

    /// Finds out which directory a target means: its absolute path without symlinks. It need not be there.
    pub(crate) fn resolve(&self, target: &[u8]) -> Result<PathBuf, Misplaced> {
        let senseless = |text: &str| Misplaced::Senseless(text.to_owned());
        if target.is_empty() || target.contains(&0) {
            return Err(senseless("the target is no path"));
        }
        let absolute = match target.strip_prefix(b"~") {
            Some(b"") => self.home.clone(),
            Some(below) if below[0] == b'/' => self.home.join(relative(below)),
            Some(_) => return Err(senseless("only ~ and ~/ are known, not ~ with a name")),
            None => self.home.join(OsStr::from_bytes(target)),
        };
        let path = real(&absolute)?;
        self.refuse(&path)?;
        Ok(path)
    }

    fn refuse(&self, path: &Path) -> Result<(), Misplaced> {
        let senseless = |text: String| Err(Misplaced::Senseless(text));
        let home = real(&self.home)?;
        if path == Path::new("/") || home == path {
            return senseless(format!("{path:?} cannot be a target; name a directory in it"));
        }
        if home.starts_with(path) {
            return senseless(format!(
                "{path:?} cannot be a target: the home directory is in it"
            ));
        }
        for own in &self.own {
            let own = real(own)?;
            if own.starts_with(path) || path.starts_with(&own) {
                return senseless(format!(
                    "{path:?} cannot be a target: {own:?} is where outlast keeps its own"
                ));
            }
        }
        Ok(())
    }
}

fn relative(below: &[u8]) -> &OsStr {
    let start = below.iter().position(|&byte| byte != b'/').unwrap_or(below.len());
    OsStr::from_bytes(&below[start..])
}

/// Resolves what is there of a path; the rest is appended.
fn real(path: &Path) -> Result<PathBuf, Misplaced> {
    let mut rest = Vec::new();
    let mut upper = path;
    loop {
        match fs::canonicalize(upper) {
            Ok(found) => {
                let full = rest.iter().rev().fold(found, |path, name| path.join(name));
                return Ok(full);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTDIR) => {
                let text = format!("{path:?} is below something that is no directory");
                return Err(Misplaced::Senseless(text));
            }
            Err(error) => return Err(crate::spool::at("looking at", path, &error).into()),
        }
        if fs::symlink_metadata(upper).is_ok() {
            let text = format!("{upper:?} is a symbolic link that leads nowhere");
            return Err(Misplaced::Senseless(text));
        }
        let (Some(name), Some(parent)) = (upper.file_name(), upper.parent()) else {
            let text = format!("{path:?} goes up from a directory that is not there");
            return Err(Misplaced::Senseless(text));
        };
        rest.push(name);
        upper = parent;
    }
}

/// The target of another sync.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) id: String,
    pub(super) path: PathBuf,
}

impl Other {
    /// What is said of a directory that overlaps with it.
    pub(super) fn overlap(self, path: &Path) -> Misplaced {
        Misplaced::Overlap(path.to_owned(), self.id, self.path)
    }
}

/// Whether another sync keeps its target, given the ids of all there are: what one left that is forgotten does not count.
/// Where those are not known nobody is taken for forgotten.
pub(super) fn in_the_way(other: &Other, all: &[String]) -> bool {
    all.is_empty() || all.contains(&other.id)
}

/// Other syncs whose targets overlap with a directory.
pub(super) fn overlapping(spool: &Root, id: &str, path: &Path) -> Result<Vec<Other>, Misplaced> {
    let mut found = Vec::new();
    for other in spool.syncs()?.into_iter().filter(|other| other != id) {
        // One that cannot be read names no directory that could be harmed.
        let Ok(Some(named)) = Named::read(&spool.sync(&other)) else {
            continue;
        };
        let taken = named.path();
        if taken.starts_with(path) || path.starts_with(&taken) {
            found.push(Other {
                id: other,
                path: taken,
            });
        }
    }
    Ok(found)
}

/// Whom things made at a path are to be given to: the owner of what is there, when we are root and that is somebody else.
pub(super) fn owner_of(path: &Path) -> Option<(Uid, Gid)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let found = path.ancestors().find_map(|upper| rustix::fs::stat(upper).ok())?;
    let uid = Uid::from_raw(found.st_uid);
    (!uid.is_root()).then(|| (uid, Gid::from_raw(found.st_gid)))
}

/// Makes a directory with these permission bits, and what is missing above it as anybody would find it: whatever the mask of
/// this process is.
pub(super) fn make(path: &Path, owner: Option<(Uid, Gid)>, mode: Option<u32>) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|upper| !upper.exists()).collect();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(crate::spool::at("creating the directory", dir, &error));
            }
            Err(_there_meanwhile) => {}
            Ok(()) => {
                let mode = mode.filter(|_| dir == path).map_or(MADE, |mode| mode & 0o777);
                fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
                if let Some((uid, gid)) = owner {
                    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                    rustix::fs::chownat(rustix::fs::CWD, dir, Some(uid), Some(gid), flags)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn grounds(temp: &Path) -> Grounds {
        for dir in ["home/u/.state/outlast", "home/u/.cache/outlast", "data/x"] {
            fs::create_dir_all(temp.join(dir)).unwrap();
        }
        Grounds {
            home: temp.join("home/u"),
            own: vec![
                temp.join("home/u/.state/outlast"),
                temp.join("home/u/.cache/outlast"),
            ],
        }
    }

    #[test]
    fn targets_are_found_from_the_home_directory() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let grounds = grounds(&base);
        symlink(base.join("data"), base.join("home/u/link")).unwrap();
        let elsewhere = base.join("data/x/../y");
        let cases: [(&[u8], &str); 8] = [
            (b"p", "home/u/p"),
            (b"~/p/", "home/u/p"),
            (b"~//p", "home/u/p"),
            (b"./a//b", "home/u/a/b"),
            (b"link", "data"),
            (b"link/x", "data/x"),
            (b"~/link/new/deep", "data/new/deep"),
            (elsewhere.as_os_str().as_bytes(), "data/y"),
        ];
        for (target, expected) in cases {
            let found = grounds.resolve(target).unwrap();
            assert_eq!(found, base.join(expected), "{}", String::from_utf8_lossy(target));
        }
    }

    #[test]
    fn directories_that_hold_more_than_a_target_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let grounds = grounds(&base);
        symlink("/", base.join("home/u/root")).unwrap();
        symlink("nowhere", base.join("home/u/dangling")).unwrap();
        fs::write(base.join("home/u/file"), "").unwrap();
        for bad in [
            "",
            "/",
            "~",
            "~/",
            "~root",
            "..",
            "../..",
            ".",
            "root",
            "root/",
            ".state",
            ".state/outlast",
            ".state/outlast/x/y",
            ".cache",
            ".cache/outlast",
            "dangling",
            "dangling/x",
            "file/x",
            "none/../../x",
        ] {
            let refused = grounds.resolve(bad.as_bytes());
            assert!(
                matches!(refused, Err(Misplaced::Senseless(_))),
                "{bad:?}: {refused:?}"
            );
        }
        assert!(grounds.resolve(b"a\0b").is_err());
    }
}
