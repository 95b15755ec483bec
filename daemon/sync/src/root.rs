//! The source directory. Nothing below it is opened through a symlink.
//!
//! It is opened anew for each look, since an open directory stays readable after it was removed or another file system
//! was mounted over it. That it is not what it was is an answer of its own: nothing may be planned from it.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use outlast_tree::{Kind, StatKey, open_beneath};
use rustix::{
    fs::{self, AtFlags, Mode, OFlags, Stat},
    io::Errno,
};

/// An open source directory.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    dir: OwnedFd,
    device: u64,
}

/// Why there is no source. Going on would look as if everything in it had been deleted.
#[derive(Debug, thiserror::Error)]
pub enum RootGone {
    /// It is not there.
    #[error("{0:?} is not there")]
    Missing(PathBuf),
    /// It is no directory, or a symbolic link.
    #[error("{0:?} is not a directory any more")]
    NotDirectory(PathBuf),
    /// It lies on another file system than before: something was mounted or unmounted.
    #[error("{0:?} is on another file system than before")]
    OtherDevice(PathBuf),
    /// It cannot be read.
    #[error("{0:?} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
}

impl RootGone {
    /// The word of the public protocol for a sync that halts because of it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Unreadable(..) => "source_missing",
            Self::NotDirectory(_) | Self::OtherDevice(_) => "source_replaced",
        }
    }
}

/// What was seen of one entry. Content is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most `0o777`. Zero for links.
    pub mode: u16,
    /// It has a setuid, setgid or sticky bit besides, which is not copied: there it would stand for other users and groups.
    pub special_bits: bool,
    /// What tells that it is still the same.
    pub key: StatKey,
}

impl Seen {
    pub(crate) fn of(stat: &Stat) -> Self {
        let kind = Kind::of(stat);
        let mode = match kind {
            Kind::Link => 0,
            // Nine bits are always fewer than sixteen.
            _ => u16::try_from(stat.st_mode & 0o777).unwrap_or_default(),
        };
        Self {
            kind,
            mode,
            special_bits: matches!(kind, Kind::File | Kind::Dir) && stat.st_mode & 0o7000 != 0,
            key: StatKey::of(stat),
        }
    }
}

impl Root {
    /// Opens it. `device` is the file system it was on before, when that is known.
    ///
    /// # Errors
    /// When it is gone, or is not what it was.
    pub fn open(path: &Path, device: Option<u64>) -> Result<Self, RootGone> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let gone = |errno| match errno {
            Errno::NOENT => RootGone::Missing(path.to_owned()),
            Errno::NOTDIR | Errno::LOOP => RootGone::NotDirectory(path.to_owned()),
            errno => RootGone::Unreadable(path.to_owned(), errno.into()),
        };
        let dir = fs::open(path, flags, Mode::empty()).map_err(gone)?;
        let found = fs::fstat(&dir).map_err(gone)?;
        if device.is_some_and(|device| device != found.st_dev) {
            return Err(RootGone::OtherDevice(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            dir,
            device: found.st_dev,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of its file system.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The kind of its file system, where that is one which other machines may change without this one being told.
    #[must_use]
    pub fn shared(&self) -> Option<&'static str> {
        // As linux/magic.h has them.
        const KINDS: [(u64, &str); 8] = [
            (0x6969, "NFS"),
            (0x517b, "SMB"),
            (0xff53_4d42, "SMB"),
            (0xfe53_4d42, "SMB"),
            (0x0102_1997, "9P"),
            (0x6573_5546, "FUSE"),
            (0x00c3_6400, "Ceph"),
            (0x5346_414f, "AFS"),
        ];
        let found = fs::fstatfs(&self.dir).ok()?;
        // Some architectures have it signed and shorter.
        let kind = found.f_type as u64 & 0xffff_ffff;
        KINDS
            .iter()
            .find(|(number, _)| *number == kind)
            .map(|(_, name)| *name)
    }

    /// Opens a directory below it; the empty path is itself.
    ///
    /// # Errors
    /// When it is none, is gone, or a symlink is on the way.
    pub fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        open_beneath(&self.dir, path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a file below it for reading. What is no file must be told by whoever uses it; it does not block.
    ///
    /// # Errors
    /// When it is gone, may not be read, or a symlink is on the way.
    pub fn open_file(&self, path: &[u8]) -> Result<File, Errno> {
        open_beneath(&self.dir, path, OFlags::RDONLY | OFlags::NONBLOCK).map(File::from)
    }

    /// Looks at an entry below it, without following it.
    ///
    /// # Errors
    /// When it is gone, or cannot be looked at.
    pub fn look(&self, path: &[u8]) -> Result<Seen, Errno> {
        let fd = open_beneath(&self.dir, path, OFlags::PATH)?;
        Ok(Seen::of(&fs::fstat(&fd)?))
    }

    /// What a link below it says.
    ///
    /// # Errors
    /// When it is none, or is gone.
    pub fn read_link(&self, path: &[u8]) -> Result<Box<[u8]>, Errno> {
        let fd = open_beneath(&self.dir, path, OFlags::PATH)?;
        let text = fs::readlinkat(&fd, c"", Vec::new())?;
        Ok(text.into_bytes().into())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Looks at a name in an open directory, without following it.
pub(crate) fn look_at(dir: impl AsFd, name: &[u8]) -> Result<Seen, Errno> {
    let found = fs::statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Seen::of(&found))
}
