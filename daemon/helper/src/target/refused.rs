//! Why a single change is not made.

use rustix::io::Errno;

/// Kinds of refusals, as in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What is there is not ours, or was changed since.
    Conflict,
    /// The content is not what it was said to be, or is not there.
    Need,
    /// The file system cannot hold the name.
    Name,
    /// Another name of the record is the same file there.
    Clash,
    /// The system does not permit it.
    Permission,
    /// There is no room.
    Full,
    /// A directory that should go holds something.
    NotEmpty,
    /// Larger than the file system holds.
    TooLarge,
    /// Anything else.
    Failed,
}

/// A change that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Why.
    pub(crate) why: Refusal,
    /// One sentence, without the path.
    pub(crate) message: String,
    /// What the record said of the path is not true any more.
    pub(crate) lost: bool,
}

impl Refused {
    /// One after which the record holds what it held.
    pub(crate) fn new(why: Refusal, message: impl Into<String>) -> Self {
        // In these cases something is there that the record does not tell of, whatever it says.
        let lost = matches!(why, Refusal::Conflict | Refusal::NotEmpty | Refusal::Clash);
        Self {
            why,
            message: message.into(),
            lost,
        }
    }

    /// The content has to be sent.
    pub(crate) fn need(message: impl Into<String>) -> Self {
        Self::new(Refusal::Need, message)
    }

    /// What was there before is gone all the same.
    pub(crate) fn after_loss(mut self) -> Self {
        self.lost = true;
        self
    }

    /// A call on an open file failed.
    pub(crate) fn errno(errno: Errno) -> Self {
        match errno {
            Errno::NOSPC => Self::new(Refusal::Full, "there is no room left on the disk"),
            Errno::DQUOT => Self::new(Refusal::Full, "the disk quota is used up"),
            Errno::ACCESS | Errno::PERM => Self::new(Refusal::Permission, "the system does not permit it"),
            Errno::ROFS => Self::new(Refusal::Permission, "the file system is read-only"),
            Errno::FBIG => Self::new(Refusal::TooLarge, "it is larger than the file system holds"),
            Errno::LOOP | Errno::NOTDIR => Self::new(
                Refusal::Conflict,
                "something that is no directory, or a symbolic link, is in the way",
            ),
            Errno::NOENT => Self::new(Refusal::Failed, "its directory is not there"),
            other => Self::new(Refusal::Failed, format!("the system refuses: {other}")),
        }
    }

    /// A call with a name failed, which can be the name's fault.
    pub(crate) fn errno_of_name(errno: Errno) -> Self {
        match errno {
            Errno::NAMETOOLONG => Self::new(Refusal::Name, "its name is too long for the file system"),
            Errno::ILSEQ | Errno::INVAL => Self::new(Refusal::Name, "the file system cannot hold its name"),
            other => Self::errno(other),
        }
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::errno(errno),
            None => Self::new(Refusal::Failed, format!("the system refuses: {error}")),
        }
    }
}
