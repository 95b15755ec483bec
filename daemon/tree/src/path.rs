//! Paths below the root of a tree: checked once, bytes as they are.

use std::{cmp::Ordering, fmt, ops::Deref};

/// Bytes of the longest path that is taken: what Linux takes as one argument, without the NUL.
pub const MAX_PATH: usize = 4095;

/// Bytes of the longest name that any file system of Linux holds.
const MAX_NAME: usize = 255;

/// How names begin that a helper gives to files which are not in their place yet. A tree has no such name.
pub const RESERVED: &[u8] = b".outlast-";

/// Length of a UUID in text.
const UUID: usize = 36;

/// A path below a root: not empty, no empty part, no `.` or `..`, no NUL, no slash at either end, at most [`MAX_PATH`]
/// bytes, no part that a helper could use for a file in the making. Ordered by [`order`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelPath(Box<[u8]>);

/// Why bytes are no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Nothing, an empty part, a slash at an end, `.`, `..` or a NUL.
    #[error("it is no path below a directory")]
    Form,
    /// Longer than [`MAX_PATH`], or a part longer than any file system holds.
    #[error("it is too long")]
    TooLong,
    /// A name kept for files that are not in their place yet.
    #[error("its name is kept for files in the making")]
    Reserved,
}

impl RelPath {
    /// Takes bytes that are such a path.
    ///
    /// # Errors
    /// When they are not.
    pub fn new(bytes: &[u8]) -> Result<Self, BadPath> {
        Self::check(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// Whether bytes are such a path.
    ///
    /// # Errors
    /// Why they are not.
    pub fn check(bytes: &[u8]) -> Result<(), BadPath> {
        if bytes.len() > MAX_PATH {
            return Err(BadPath::TooLong);
        }
        for part in bytes.split(|&byte| byte == b'/') {
            if matches!(part, b"" | b"." | b"..") || part.contains(&0) {
                return Err(BadPath::Form);
            }
            if part.len() > MAX_NAME {
                return Err(BadPath::TooLong);
            }
            if is_reserved(part) {
                return Err(BadPath::Reserved);
            }
        }
        Ok(())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of the directory it is in. None: that is the root.
    #[must_use]
    pub fn parent(&self) -> Option<&[u8]> {
        self.0
            .iter()
            .rposition(|&byte| byte == b'/')
            .map(|at| &self.0[..at])
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let at = self.0.iter().rposition(|&byte| byte == b'/');
        &self.0[at.map_or(0, |at| at + 1)..]
    }

    /// The path of `name` in this directory.
    ///
    /// # Errors
    /// When that is no path.
    pub fn child(&self, name: &[u8]) -> Result<Self, BadPath> {
        Self::new(&[self.as_bytes(), b"/", name].concat())
    }

    /// Takes bytes that were checked before: those of a table.
    pub(crate) fn known(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// Whether a name is one that helpers give to files in the making: `.outlast-<uuid>-…`.
fn is_reserved(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(RESERVED) else {
        return false;
    };
    rest.get(UUID) == Some(&b'-')
        && rest[..UUID]
            .iter()
            .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
}

impl Deref for RelPath {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for RelPath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.0, &other.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// The order of paths in tables, files and messages: by bytes, but `/` before every other one. What is below a directory
/// comes right after it, and nothing else comes in between.
#[must_use]
pub fn order(a: &[u8], b: &[u8]) -> Ordering {
    let differ = a.iter().zip(b).position(|(x, y)| x != y);
    match differ {
        None => a.len().cmp(&b.len()),
        Some(at) => {
            // No path has a NUL, so its place is free.
            let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
            rank(a[at]).cmp(&rank(b[at]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_a_root_are_taken() {
        for good in ["a", "a/b", ".git", "a/..b", ".outlast-x", "...", "ä/\u{1f600}"] {
            assert!(RelPath::new(good.as_bytes()).is_ok(), "{good:?}");
        }
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "./a", "a\0b",
        ] {
            assert_eq!(RelPath::new(bad.as_bytes()), Err(BadPath::Form), "{bad:?}");
        }
        assert_eq!(RelPath::new(&[b'a'; 256]), Err(BadPath::TooLong));
        assert_eq!(RelPath::new(&b"a/".repeat(3000)), Err(BadPath::TooLong));
        let making = b"x/.outlast-a7e1c2d4-0000-4000-8000-000000000001-7";
        assert_eq!(RelPath::new(making), Err(BadPath::Reserved));
    }

    #[test]
    fn a_path_knows_its_name_and_its_directory() {
        let deep = RelPath::new(b"a/b/c").expect("a path");
        assert_eq!(deep.parent(), Some(&b"a/b"[..]));
        assert_eq!(deep.name(), b"c");
        let top = RelPath::new(b"a").expect("a path");
        assert_eq!((top.parent(), top.name()), (None, &b"a"[..]));
    }

    #[test]
    fn what_is_below_a_directory_comes_right_after_it() {
        let mut paths = ["a!", "a/b", "b", "a", "a/b/c", "a.c", "a/"].map(str::as_bytes);
        paths.sort_by(|a, b| order(a, b));
        assert_eq!(
            paths,
            ["a", "a/", "a/b", "a/b/c", "a!", "a.c", "b"].map(str::as_bytes)
        );
    }
}
