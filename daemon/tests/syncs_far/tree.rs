//! What is in a directory, found by a walk of the test's own.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    Link,
    Other,
}

/// One entry as a sync is to bring it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    /// Not of links.
    pub mode: u32,
    /// Of files alone: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Of files alone.
    pub size: u64,
    /// Of links alone.
    pub link: Vec<u8>,
}

/// Entries by their path below the directory.
pub type Tree = BTreeMap<Vec<u8>, Node>;

/// Everything below a directory, `.git` at its top aside. What vanishes meanwhile is not in it.
pub fn walk(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![Vec::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(at(root, &dir)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if dir.is_empty() && name == ".git" {
                continue;
            }
            let path = join(&dir, name.as_bytes());
            let Ok(node) = look(&at(root, &path)) else {
                continue;
            };
            if node.kind == Kind::Dir {
                open.push(path.clone());
            }
            tree.insert(path, node);
        }
    }
    tree
}

/// One entry.
pub fn look(path: &Path) -> io::Result<Node> {
    let found = fs::symlink_metadata(path)?;
    let kind = match found.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Dir,
        kind if kind.is_symlink() => Kind::Link,
        _ => Kind::Other,
    };
    let is_file = kind == Kind::File;
    Ok(Node {
        kind,
        mode: if kind == Kind::Link {
            0
        } else {
            found.mode() & 0o7777
        },
        mtime: if is_file {
            (found.mtime(), found.mtime_nsec())
        } else {
            (0, 0)
        },
        size: if is_file { found.len() } else { 0 },
        link: match kind {
            Kind::Link => fs::read_link(path)?.as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        },
    })
}

/// A path below a directory.
pub fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

/// A name in a directory that is given by its path; the empty one is the top.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return name.to_vec();
    }
    [dir, b"/", name].concat()
}

/// The directories above a path, the nearest first, without the top.
pub fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = (0..path.len()).rev().filter(|at| path[*at] == b'/');
    slashes.map(|at| &path[..at])
}

/// The last part of a path.
pub fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// A path for people.
pub fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}
