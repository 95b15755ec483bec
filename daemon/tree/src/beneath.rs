//! Opening what lies below a directory, never through a symlink: whoever swaps a directory for one while we look must not
//! lead us elsewhere.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::{
    fs::{self, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{Kind, StatKey};

/// Opens what is at `path` below `dir`; the empty path is the directory itself. Symlinks are followed nowhere; one at the
/// end can be had with `O_PATH`. Nothing is made, since no mode could be given.
///
/// # Errors
/// When it is not there, may not be opened, or a symlink is on the way (`LOOP` or `NOTDIR`).
pub fn open_beneath(dir: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if path.is_empty() {
        return fs::openat(dir, c".", flags, Mode::empty());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // With O_PATH a symlink at the end is what is wanted, and the kernel lets it pass for the sake of O_NOFOLLOW.
    match fs::openat2(&dir, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
        // An old kernel, or a container that forbids the call.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(dir, path, flags),
        // A rename somewhere in the way at the same moment; the steps cannot be confused by one.
        Err(Errno::AGAIN) => step_by_step(dir, path, flags),
        result => result,
    }
}

fn step_by_step(top: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut parts = path.split(|&byte| byte == b'/').peekable();
    let mut dir: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        // The kernel would see to neither here.
        if matches!(part, b"" | b"." | b"..") {
            return Err(Errno::XDEV);
        }
        let at = dir.as_ref().map_or_else(|| top.as_fd(), AsFd::as_fd);
        let flags = if parts.peek().is_some() { way } else { flags };
        dir = Some(fs::openat(at, OsStr::from_bytes(part), flags, Mode::empty())?);
    }
    dir.ok_or(Errno::NOENT)
}

impl StatKey {
    /// What tells that a thing is still the one that was looked at.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i64, rest: u64| {
            let rest = i64::try_from(rest).unwrap_or_default();
            seconds.saturating_mul(1_000_000_000).saturating_add(rest)
        };
        Self {
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Kind {
    /// What a thing is that was looked at.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Dir,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::unix::fs::symlink, path::Path};

    use super::*;

    type Open = fn(&OwnedFd, &[u8], OFlags) -> Result<OwnedFd, Errno>;

    fn ways() -> [Open; 2] {
        let steps: Open = |dir, path, flags| step_by_step(dir, path, flags | OFlags::NOFOLLOW);
        [|dir, path, flags| open_beneath(dir, path, flags), steps]
    }

    fn tree(at: &Path) -> OwnedFd {
        std::fs::create_dir_all(at.join("in/deep")).expect("it can be made");
        std::fs::write(at.join("secret"), "secret").expect("it can be written");
        std::fs::write(at.join("in/deep/file"), "mine").expect("it can be written");
        symlink("../secret", at.join("in/out")).expect("it can be linked");
        symlink("deep", at.join("in/short")).expect("it can be linked");
        symlink(at, at.join("in/top")).expect("it can be linked");
        File::open(at.join("in")).expect("it can be opened").into()
    }

    #[test]
    fn what_lies_below_is_opened() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = tree(temp.path());
        for open in ways() {
            let fd = open(&dir, b"deep/file", OFlags::RDONLY).expect("it can be opened");
            let mut text = String::new();
            File::from(fd).read_to_string(&mut text).expect("it can be read");
            assert_eq!(text, "mine");
            let link = open(&dir, b"out", OFlags::PATH).expect("a link itself can be had");
            assert_eq!(Kind::of(&fs::fstat(link).expect("it is open")), Kind::Link);
        }
    }

    #[test]
    fn nothing_is_reached_through_a_symlink_or_upwards() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = tree(temp.path());
        for open in ways() {
            for bad in ["out", "short/file", "top/secret", "../secret", "/etc/passwd"] {
                let opened = open(&dir, bad.as_bytes(), OFlags::RDONLY);
                assert!(opened.is_err(), "{bad:?}");
            }
            assert!(open(&dir, b"short", OFlags::RDONLY | OFlags::DIRECTORY).is_err());
        }
    }
}
