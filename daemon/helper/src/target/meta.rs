//! What is around the content of a thing: mode, times, owner. And reading content for its hash.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::ffi::OsStrExt as _,
    },
};

use outlast_tree::{Entry, Hash, Kind, StatKey};
use rustix::{
    fs::{self, AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

/// Bytes read at once for a hash.
pub(super) const CHUNK: usize = 256 << 10;

/// The bits of a mode that are kept.
pub(super) fn bits(mode: u16) -> Mode {
    Mode::from_raw_mode(u32::from(mode & 0o777))
}

/// The bits of a mode that was looked at.
pub(super) fn mode_of(stat: &Stat) -> u16 {
    // Nine bits are always fewer than sixteen.
    u16::try_from(stat.st_mode & 0o777).unwrap_or_default()
}

/// A name within an open directory.
pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Looks at a name in an open directory. None: nothing is there.
pub(super) fn look_at(dir: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match fs::statat(dir, os(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A modification time and no other.
fn times(mtime_ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    }
}

/// Makes a file of ours that is open what the entry says, but for its content. `mode`: the one it was made with, if that is
/// known.
pub(super) fn dress(
    file: &File,
    mode: Option<u16>,
    entry: &Entry,
    owner: Option<(Uid, Gid)>,
) -> Result<(), Errno> {
    if let Some((uid, gid)) = owner {
        fs::fchown(file, Some(uid), Some(gid))?;
    }
    if mode != Some(entry.mode) {
        fs::fchmod(file, bits(entry.mode))?;
    }
    fs::futimens(file, &times(entry.mtime_ns))
}

/// The bits of a mode that the system takes from everything this process makes. All, when it does not say.
pub(super) fn umask() -> u16 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u16::from_str_radix(octal.trim(), 8).ok())
        .map_or(0o777, |umask| umask & 0o777)
}

/// Sets the mode of a thing that is no link, whether or not we may read it. `seen` is what it was when it was looked at:
/// when another thing is there by now, nothing is set (`STALE`). What more a directory has is not a permission and stays:
/// whom what is made in it belongs to, and who may remove it.
pub(super) fn set_mode(dir: impl AsFd, name: &[u8], seen: &Stat, mode: u16) -> Result<(), Errno> {
    let more = Mode::from_raw_mode(seen.st_mode & 0o7000);
    let kept = match Kind::of(seen) {
        Kind::Dir => more,
        _ => Mode::empty(),
    };
    if mode_of(seen) == mode && more == kept {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = fs::openat(dir, os(name), flags, Mode::empty())?;
    let found = fs::fstat(&fd)?;
    if found.st_ino != seen.st_ino || found.st_dev != seen.st_dev {
        return Err(Errno::STALE);
    }
    // The kernel changes no mode by way of a file that was opened as a place only, but by its name in `/proc`.
    fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), bits(mode) | kept)
}

/// Sets mode and time of a file that has its content already. Returns how it is left.
pub(super) fn set_meta(dir: impl AsFd, name: &[u8], seen: &Stat, entry: &Entry) -> Result<StatKey, Errno> {
    set_mode(&dir, name, seen, entry.mode)?;
    if StatKey::of(seen).mtime_ns != entry.mtime_ns {
        fs::utimensat(&dir, os(name), &times(entry.mtime_ns), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let left = fs::statat(&dir, os(name), AtFlags::SYMLINK_NOFOLLOW)?;
    if left.st_ino != seen.st_ino || left.st_size != seen.st_size {
        return Err(Errno::STALE);
    }
    Ok(StatKey::of(&left))
}

/// Reads a file of an open directory for its hash. None: it is not the one that was looked at, or changed meanwhile.
pub(super) fn hash_at(
    dir: impl AsFd,
    name: &[u8],
    seen: &StatKey,
    stop: &CancellationToken,
) -> io::Result<Option<Hash>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(fs::openat(dir, os(name), flags, Mode::empty())?);
    if StatKey::of(&fs::fstat(&file)?) != *seen {
        return Ok(None);
    }
    let hash = hash(&file, stop)?;
    let still = StatKey::of(&fs::fstat(&file)?) == *seen;
    Ok(still.then_some(hash))
}

/// Reads what is left of an open file for its hash.
pub(super) fn hash(mut file: &File, stop: &CancellationToken) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        if stop.is_cancelled() {
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "nobody waits for it any more",
            ));
        }
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if count == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&buffer[..count]);
    }
}
