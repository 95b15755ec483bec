//! What is not on the host as it is here, and why.

use outlast_tree::RelPath;

/// Kinds of problems; their words are part of what users and scripts see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// Something that outlast did not write, or that was changed since, is there.
    Conflict,
    /// It cannot be read here.
    Unreadable,
    /// A device, FIFO or socket.
    SpecialFile,
    /// It is there without its setuid, setgid or sticky bit.
    SpecialBits,
    /// It changes faster than it can be read.
    Changing,
    /// Its name cannot be had there.
    NameRefused,
    /// Another name is the same file there.
    NameClash,
    /// It may not be written there.
    NotPermitted,
    /// A directory that should go holds something of somebody else's.
    NotEmpty,
    /// There is no room.
    DiskFull,
    /// It is larger than can be held.
    TooLarge,
    /// Anything else; the message says what.
    Failed,
}

impl ProblemKind {
    /// The word of the public protocol.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Unreadable => "unreadable",
            Self::SpecialFile => "special_file",
            Self::SpecialBits => "special_bits",
            Self::Changing => "changing",
            Self::NameRefused => "name_refused",
            Self::NameClash => "name_clash",
            Self::NotPermitted => "not_permitted",
            Self::NotEmpty => "not_empty",
            Self::DiskFull => "disk_full",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
        }
    }
}

impl ProblemKind {
    /// Whether something is missing on the host because of it. What is never copied is not missed.
    #[must_use]
    pub fn is_missing(self) -> bool {
        !matches!(self, Self::SpecialFile | Self::SpecialBits)
    }
}

/// One path and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path below the source. Bytes rather than a checked path: that it is no path can be the problem.
    pub path: Vec<u8>,
    /// What kind.
    pub kind: ProblemKind,
    /// One sentence, without the path.
    pub message: String,
}

impl Problem {
    /// Tells of a path.
    #[must_use]
    pub fn new(path: &[u8], kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            path: path.to_vec(),
            kind,
            message: message.into(),
        }
    }

    /// The path, when it is one.
    #[must_use]
    pub fn rel_path(&self) -> Option<RelPath> {
        RelPath::new(&self.path).ok()
    }
}
