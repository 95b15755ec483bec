//! Telling what is in a directory, whoever made it. Nothing is read but what links say, and no link is followed.

use std::{mem::MaybeUninit, os::fd::OwnedFd};

use outlast_tree::{BadPath, Entry, Kind, RelPath, StatKey, open_beneath};
use rustix::{
    fs::{Mode, OFlags, RawDir, readlinkat},
    io::Errno,
};
use std::path::Path;
use tokio_util::sync::CancellationToken;

use super::meta::{look_at, mode_of, os};

/// Bytes of paths and links that are told at most, so that the answer is one message.
const BYTES_MAX: usize = 16 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of paths. Files have no hash.
    pub(crate) entries: Vec<(Vec<u8>, Entry)>,
    /// There is more.
    pub(crate) more: bool,
}

/// Looks at what is in and below a directory, at most at so many things. None: it is not there.
///
/// # Errors
/// When it is no directory or cannot be read. What cannot be read below it is told without what it holds.
pub(crate) fn walk(path: &Path, limit: usize, stop: &CancellationToken) -> Result<Option<Found>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let mut found = Found::default();
    let mut bytes = 0;
    // Names still to be told, the next one last; an explicit stack, since how deep trees are is not for us to say.
    let mut stack = below(&root, b"")?;
    while let Some(path) = stack.pop() {
        if found.entries.len() == limit || bytes > BYTES_MAX || stop.is_cancelled() {
            found.more = true;
            break;
        }
        let Some(entry) = look(&root, &path) else { continue };
        if entry.kind == Kind::Dir
            && let Ok(mut inside) = below(&root, &path)
        {
            stack.append(&mut inside);
        }
        bytes += path.len() + entry.link.as_ref().map_or(0, |link| link.len());
        found.entries.push((path, entry));
    }
    Ok(Some(found))
}

/// Paths of what is in a directory, in the opposite of their order. Files in the making are left out.
fn below(root: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let dir = open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut paths = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut reader = RawDir::new(&dir, &mut buffer);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let full = if path.is_empty() {
            name.to_vec()
        } else {
            [path, b"/", name].concat()
        };
        match RelPath::new(&full) {
            Ok(_) => paths.push(full),
            // Neither can be the name of anything that is synced.
            Err(BadPath::Reserved | BadPath::TooLong | BadPath::Form) => {}
        }
    }
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}

/// Looks at one thing. None: it is gone.
fn look(root: &OwnedFd, path: &[u8]) -> Option<Entry> {
    let path = RelPath::new(path).ok()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dir = open_beneath(root, path.parent().unwrap_or_default(), flags).ok()?;
    let stat = look_at(&dir, path.name()).ok()??;
    let key = StatKey::of(&stat);
    Some(match Kind::of(&stat) {
        Kind::File => Entry::file(mode_of(&stat), key.mtime_ns, key.size, [0; 32]),
        Kind::Dir => Entry::dir(mode_of(&stat)),
        Kind::Link => Entry::link(readlinkat(&dir, os(path.name()), Vec::new()).ok()?.as_bytes()),
        Kind::Other => Entry::other(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_is_there_is_told_in_the_order_of_paths() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        assert!(
            walk(&root.join("none"), 10, &CancellationToken::new())
                .unwrap()
                .is_none()
        );
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/c"), "12345").unwrap();
        fs::write(root.join("a!"), "").unwrap();
        fs::write(root.join("a/.outlast-a7e1c2d4-0000-4000-8000-000000000001-7"), "").unwrap();
        symlink("/", root.join("a.link")).unwrap();
        let found = walk(root, 100, &CancellationToken::new()).unwrap().unwrap();
        let paths: Vec<_> = found
            .entries
            .iter()
            .map(|(path, _)| String::from_utf8_lossy(path))
            .collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a!", "a.link"]);
        assert!(paths.is_sorted_by(|a, b| outlast_tree::order(a.as_bytes(), b.as_bytes()).is_lt()));
        assert!(!found.more);
        assert_eq!(found.entries[2].1.size, 5);
        assert_eq!(found.entries[4].1.link.as_deref(), Some(&b"/"[..]));
        let some = walk(root, 2, &CancellationToken::new()).unwrap().unwrap();
        assert_eq!((some.entries.len(), some.more), (2, true));
        let all = walk(root, 5, &CancellationToken::new()).unwrap().unwrap();
        assert!(!all.more);
    }
}
