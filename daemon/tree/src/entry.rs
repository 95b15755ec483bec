//! What one thing in a tree is.

/// BLAKE3 of some content.
pub type Hash = [u8; 32];

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A device, a FIFO, a socket.
    Other,
}

/// One thing in a tree, as it is to be or as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most `0o777`. Zero for links.
    pub mode: u16,
    /// Nanoseconds since 1970 when a file was modified. Zero for all others.
    pub mtime_ns: i64,
    /// Length of a file in bytes. Zero for all others.
    pub size: u64,
    /// Hash of a file's content, or of what a link says. Zero for all others.
    pub hash: Hash,
    /// What a link says.
    pub link: Option<Box<[u8]>>,
}

impl Entry {
    /// A regular file.
    #[must_use]
    pub fn file(mode: u16, mtime_ns: i64, size: u64, hash: Hash) -> Self {
        Self {
            kind: Kind::File,
            mode: mode & 0o777,
            mtime_ns,
            size,
            hash,
            link: None,
        }
    }

    /// A directory.
    #[must_use]
    pub fn dir(mode: u16) -> Self {
        Self {
            kind: Kind::Dir,
            mode: mode & 0o777,
            mtime_ns: 0,
            size: 0,
            hash: [0; 32],
            link: None,
        }
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(says: &[u8]) -> Self {
        Self {
            kind: Kind::Link,
            mode: 0,
            mtime_ns: 0,
            size: 0,
            hash: blake3::hash(says).into(),
            link: Some(says.into()),
        }
    }

    /// Anything else.
    #[must_use]
    pub fn other() -> Self {
        Self {
            kind: Kind::Other,
            mode: 0,
            mtime_ns: 0,
            size: 0,
            hash: [0; 32],
            link: None,
        }
    }

    /// Whether both are of one kind and hold the same. Permissions and times do not count.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.kind == other.kind
            && match self.kind {
                Kind::File => self.size == other.size && self.hash == other.hash,
                Kind::Link => self.link == other.link,
                Kind::Dir => true,
                Kind::Other => false,
            }
    }
}

/// What tells that a file is still the one it was, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatKey {
    /// Number of the inode. Zero: nothing is known.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// Nanoseconds since 1970 of the last modification.
    pub mtime_ns: i64,
    /// Nanoseconds since 1970 of the last change to the inode. [`StatKey::DOUBTED`]: the content may be lost.
    pub ctime_ns: i64,
}

impl StatKey {
    /// Time of change of what was written before a loss of power and may not have reached the disk: the inode is ours,
    /// what it holds has to be looked at.
    pub const DOUBTED: i64 = i64::MIN;
}

/// One thing that outlast wrote at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Far {
    /// As it was written.
    pub entry: Entry,
    /// How it was left.
    pub key: StatKey,
    /// The generation it was written in.
    pub generation: u64,
}
