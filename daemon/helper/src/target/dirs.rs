//! Directories that are kept open while one after the other is needed: those on the way to the last one. Whoever comes in
//! the order of paths opens each once.

use std::{os::fd::OwnedFd, sync::Arc};

use outlast_tree::open_beneath;
use rustix::{fs::OFlags, io::Errno};

/// The most that are open. Deeper ones take the place of the uppermost.
const OPEN_MAX: usize = 64;

/// A way downwards.
#[derive(Debug, Default)]
pub(super) struct Dirs {
    /// Each one lies below the one before.
    way: Vec<(Vec<u8>, Arc<OwnedFd>)>,
}

impl Dirs {
    /// Opens a directory below the root, or finds it open. The empty path is the root.
    pub(super) fn open(&mut self, root: &OwnedFd, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        while let Some((top, fd)) = self.way.last() {
            if top == path {
                return Ok(Arc::clone(fd));
            }
            if is_below(path, top) {
                break;
            }
            self.way.pop();
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = match self.way.last() {
            Some((top, fd)) if top.is_empty() => open_beneath(fd, path, flags)?,
            Some((top, fd)) => open_beneath(fd, &path[top.len() + 1..], flags)?,
            None => open_beneath(root, path, flags)?,
        };
        let opened = Arc::new(opened);
        self.know(path, Arc::clone(&opened));
        Ok(opened)
    }

    /// Takes in a directory that is open already. What it lies in was the last one that was needed.
    pub(super) fn know(&mut self, path: &[u8], opened: Arc<OwnedFd>) {
        if self.way.len() == OPEN_MAX {
            self.way.remove(0);
        }
        self.way.push((path.to_vec(), opened));
    }

    /// Lets go of a directory and all below it, since another thing is there now.
    pub(super) fn forget(&mut self, path: &[u8]) {
        let stays = |(open, _): &(Vec<u8>, _)| open != path && !is_below(open, path);
        let keep = self.way.iter().take_while(|open| stays(open)).count();
        self.way.truncate(keep);
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        self.way.clear();
    }
}

/// Whether a path is below a directory; all are below the empty one.
pub(super) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    match path.strip_prefix(dir) {
        Some(rest) => !rest.is_empty() && (dir.is_empty() || rest[0] == b'/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    fn inode(fd: &OwnedFd) -> u64 {
        rustix::fs::fstat(fd).expect("it is open").st_ino
    }

    #[test]
    fn each_directory_is_opened_whatever_came_before() {
        use std::os::unix::fs::MetadataExt as _;
        let temp = tempfile::tempdir().unwrap();
        for dir in ["a/b/c", "a/bb", "d"] {
            fs::create_dir_all(temp.path().join(dir)).unwrap();
        }
        let deep = vec!["x"; OPEN_MAX + 10];
        fs::create_dir_all(temp.path().join(deep.join("/"))).unwrap();
        let root: OwnedFd = File::open(temp.path()).unwrap().into();
        let mut dirs = Dirs::default();
        let mut paths: Vec<String> = ["", "a/b/c", "a/b", "a/bb", "a", "d", "", "a/b/c"]
            .map(str::to_owned)
            .to_vec();
        paths.extend((1..=deep.len()).map(|depth| deep[..depth].join("/")));
        paths.extend((1..=deep.len()).rev().map(|depth| deep[..depth].join("/")));
        for path in paths {
            let found = dirs.open(&root, path.as_bytes()).unwrap();
            let expected = fs::metadata(temp.path().join(&path)).unwrap().ino();
            assert_eq!(inode(&found), expected, "{path:?}");
        }
        assert_eq!(dirs.open(&root, b"a/none").unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn what_was_forgotten_is_looked_for_again() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("a/b")).unwrap();
        let root: OwnedFd = File::open(temp.path()).unwrap().into();
        let mut dirs = Dirs::default();
        dirs.open(&root, b"a").unwrap();
        dirs.open(&root, b"a/b").unwrap();
        fs::remove_dir_all(temp.path().join("a")).unwrap();
        dirs.forget(b"a");
        assert_eq!(dirs.open(&root, b"a/b").unwrap_err(), Errno::NOENT);
    }
}
