//! Looking at everything that was written whether it is still so. What is gone or was changed is not ours any more; what
//! cannot be looked at is not known to be either. Where there is much of it, a few threads share it.

use std::{io, thread};

use outlast_tree::{Far, Iter, Kind, RelPath, StatKey};
use rustix::{
    fs::{AtFlags, fchmod, fstat, unlinkat},
    io::Errno,
};

use super::{
    Target,
    dirs::Dirs,
    meta::{bits, hash_at, look_at, mode_of, os},
    staging::PRIVATE,
};

/// How often it is asked whether somebody still waits.
const ASK_EVERY: usize = 1024;

/// Entries that are worth a thread of their own.
const A_THREAD: usize = 4096;

/// More threads gain nothing: the kernel's own locks are in the way.
const MOST_THREADS: usize = 4;

/// What a look at some entries shows, in the order of paths.
#[derive(Default)]
struct Shown {
    /// Not as recorded. False: it only may be so, by its mode.
    altered: Vec<(RelPath, bool)>,
    /// As recorded, but left in another way.
    left: Vec<(RelPath, StatKey)>,
}

/// What a look at one entry shows.
enum Seen {
    AsRecorded,
    /// Ours, but the record has to be told how it is left now.
    Left(StatKey),
    Altered,
    /// A directory with other permissions than were given to it.
    OtherMode(StatKey),
}

impl Target {
    /// Looks at everything, by directory and in the order of paths. `reread`: reads contents too. Returns what is not as
    /// recorded; it is still in the record.
    pub(super) fn look(&mut self, reread: bool) -> io::Result<Vec<RelPath>> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(MOST_THREADS).min(self.record.table.len() / A_THREAD);
        let mut altered = Vec::new();
        for shown in self.look_on(threads.max(1), reread)? {
            altered.extend(shown.altered);
            for (path, key) in shown.left {
                if let Some(far) = self.record.table.get_mut(&path) {
                    far.key = key;
                }
            }
        }
        // Where modes are not kept, none is ever as recorded, however often it is set.
        let modes = altered.iter().any(|(_, certain)| !certain) && self.keeps_modes();
        altered.retain(|(_, certain)| *certain || modes);
        Ok(altered.into_iter().map(|(path, _)| path).collect())
    }

    /// Looks at everything on so many threads. The parts come in the order of paths.
    fn look_on(&self, threads: usize, reread: bool) -> io::Result<Vec<Shown>> {
        let mut parts = self.record.table.parts(threads).into_iter();
        // One of them is for the thread that is here anyway.
        let first = parts.next();
        thread::scope(|scope| {
            let others: Vec<_> = parts
                .map(|part| scope.spawn(move || self.look_at_some(part, reread)))
                .collect();
            let first = first.map(|part| self.look_at_some(part, reread));
            let others = others.into_iter().map(|other| {
                let ended = other.join();
                ended.unwrap_or_else(|_panic| Err(io::Error::other("a thread that looked at it ended early")))
            });
            first.into_iter().chain(others).collect()
        })
    }

    fn look_at_some(&self, part: Iter<'_, Far>, reread: bool) -> io::Result<Shown> {
        let mut dirs = Dirs::default();
        let mut shown = Shown::default();
        for (number, (path, far)) in part.enumerate() {
            if number % ASK_EVERY == 0 {
                self.check_stop()?;
            }
            let seen = self.look_at_one(&mut dirs, path, far, reread)?;
            if matches!(seen, Seen::AsRecorded) {
                continue;
            }
            // Paths of a table were checked when they came in.
            let Ok(path) = RelPath::new(path) else { continue };
            match seen {
                Seen::AsRecorded => {}
                Seen::Left(key) => shown.left.push((path, key)),
                Seen::Altered => shown.altered.push((path, true)),
                Seen::OtherMode(key) => {
                    shown.left.push((path.clone(), key));
                    shown.altered.push((path, false));
                }
            }
        }
        Ok(shown)
    }

    /// Whether the file system keeps the modes it is given, as some without owners do not. Tried once, and with a file of
    /// ours. Where none can be made they are taken to be kept.
    fn keeps_modes(&mut self) -> bool {
        if let Some(known) = self.keeps_modes {
            return known;
        }
        let Ok((name, file)) = self.names.file(&self.root, PRIVATE) else {
            return true;
        };
        // None that a mount could give to every file.
        let kept = [0o600, 0o410].into_iter().all(|mode| {
            let set = fchmod(&file, bits(mode));
            set.and_then(|()| fstat(&file))
                .is_ok_and(|found| mode_of(&found) == mode)
        });
        let _ = unlinkat(&self.root, os(&name), AtFlags::empty());
        self.keeps_modes = Some(kept);
        kept
    }

    fn look_at_one(&self, dirs: &mut Dirs, path: &[u8], far: &Far, reread: bool) -> io::Result<Seen> {
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&[][..], path),
        };
        let opened = dirs.open(&self.root, parent);
        let found = opened.and_then(|dir| Ok(look_at(&dir, name)?.map(|found| (dir, found))));
        let (dir, found) = match found {
            Ok(Some(found)) => found,
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Seen::Altered),
            Err(Errno::ACCESS | Errno::PERM) => return Ok(Seen::AsRecorded),
            Err(errno) => return Err(errno.into()),
        };
        let key = StatKey::of(&found);
        let doubted = far.key.ctime_ns == StatKey::DOUBTED;
        match (far.entry.kind, Kind::of(&found)) {
            (Kind::Dir, Kind::Dir) if mode_of(&found) != far.entry.mode => Ok(Seen::OtherMode(key)),
            (Kind::Dir, Kind::Dir) if key.ino == far.key.ino && !doubted => Ok(Seen::AsRecorded),
            (Kind::Dir, Kind::Dir) => Ok(Seen::Left(key)),
            (Kind::File, Kind::File) if doubted || (reread && key == far.key) => {
                // Mode and time may be lost with the power as the content may be.
                let dressed = key.mtime_ns == far.key.mtime_ns && mode_of(&found) == far.entry.mode;
                if key.size != far.entry.size || (doubted && !dressed) {
                    return Ok(Seen::Altered);
                }
                match hash_at(&dir, name, &key, &self.stop) {
                    Ok(Some(hash)) if hash == far.entry.hash => Ok(Seen::Left(key)),
                    // Only whoever may read it can tell.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !doubted => {
                        Ok(Seen::AsRecorded)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
                    Ok(_) | Err(_) => Ok(Seen::Altered),
                }
            }
            (Kind::Link, Kind::Link) if doubted => {
                let says = rustix::fs::readlinkat(&dir, os(name), Vec::new())?;
                let same = far.entry.link.as_deref() == Some(says.as_bytes());
                Ok(if same { Seen::Left(key) } else { Seen::Altered })
            }
            (recorded, there) if recorded == there && key == far.key => Ok(Seen::AsRecorded),
            _ => Ok(Seen::Altered),
        }
    }
}
