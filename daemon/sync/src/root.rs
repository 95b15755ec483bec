//! The source directory, and how anything below it is opened: never through a symlink.
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

use outlast_tree::{Kind, StatKey};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
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
            Self::Missing(_) | Self::Unreadable(..) => "root_missing",
            Self::NotDirectory(_) | Self::OtherDevice(_) => "root_replaced",
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
    /// What tells that it is still the same.
    pub key: StatKey,
}

impl Seen {
    pub(crate) fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        };
        let mode = match kind {
            Kind::Link => 0,
            // Nine bits are always fewer than sixteen.
            _ => u16::try_from(stat.st_mode & 0o777).unwrap_or_default(),
        };
        Self {
            kind,
            mode,
            key: key(stat),
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

    /// Opens a directory below it; the empty path is itself.
    ///
    /// # Errors
    /// When it is none, is gone, or a symlink is on the way.
    pub fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a file below it for reading. What is no file must be told by whoever uses it; it does not block.
    ///
    /// # Errors
    /// When it is gone, may not be read, or a symlink is on the way.
    pub fn open_file(&self, path: &[u8]) -> Result<File, Errno> {
        self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)
            .map(File::from)
    }

    /// Looks at an entry below it, without following it.
    ///
    /// # Errors
    /// When it is gone, or cannot be looked at.
    pub fn look(&self, path: &[u8]) -> Result<Seen, Errno> {
        let fd = self.open_at(path, OFlags::PATH)?;
        Ok(Seen::of(&fs::fstat(&fd)?))
    }

    /// What a link below it says.
    ///
    /// # Errors
    /// When it is none, or is gone.
    pub fn read_link(&self, path: &[u8]) -> Result<Box<[u8]>, Errno> {
        let fd = self.open_at(path, OFlags::PATH)?;
        let text = fs::readlinkat(&fd, c"", Vec::new())?;
        Ok(text.into_bytes().into())
    }

    fn open_at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.is_empty() {
            return fs::openat(&self.dir, c".", flags, Mode::empty());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // With O_PATH a symlink at the end is what is wanted, and the kernel lets it pass for the sake of O_NOFOLLOW.
        match fs::openat2(&self.dir, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
            // An old kernel, or a container that forbids the call.
            Err(Errno::NOSYS | Errno::PERM) => self.step_by_step(path, flags),
            // A rename somewhere in the way at the same moment; the steps cannot be confused by one.
            Err(Errno::AGAIN) => self.step_by_step(path, flags),
            result => result,
        }
    }

    fn step_by_step(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut parts = path.split(|&byte| byte == b'/').peekable();
        let mut dir: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let at = dir.as_ref().map_or_else(|| self.dir.as_fd(), AsFd::as_fd);
            let flags = if parts.peek().is_some() { way } else { flags };
            dir = Some(fs::openat(at, OsStr::from_bytes(part), flags, Mode::empty())?);
        }
        dir.ok_or(Errno::NOENT)
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

/// What tells that an open file is still the one it was.
pub(crate) fn key(stat: &Stat) -> StatKey {
    let nanoseconds = |seconds: i64, rest: u64| {
        let rest = i64::try_from(rest).unwrap_or_default();
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    };
    StatKey {
        ino: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    }
}
