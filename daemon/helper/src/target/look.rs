//! Looking at everything that was written whether it is still so. What is gone or was changed is not ours any more; what
//! cannot be looked at is not known to be either.

use std::io;

use outlast_tree::{Far, Kind, RelPath, StatKey};
use rustix::{
    fs::{AtFlags, fchmod, fstat, unlinkat},
    io::Errno,
};

use super::{
    Target,
    dirs::Dirs,
    meta::{bits, hash_at, look_at, mode_of, os},
};

/// How often it is asked whether somebody still waits.
const ASK_EVERY: usize = 1024;

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
        let mut dirs = Dirs::default();
        let (mut altered, mut left) = (Vec::new(), Vec::new());
        let mut modes = false;
        for (number, (path, far)) in self.record.table.iter().enumerate() {
            if number % ASK_EVERY == 0 {
                self.check_stop()?;
            }
            // Paths of a table were checked when they came in.
            let Ok(path) = RelPath::new(path) else { continue };
            match self.look_at_one(&mut dirs, &path, far, reread)? {
                Seen::AsRecorded => {}
                Seen::Left(key) => left.push((path, key)),
                Seen::Altered => altered.push((path, true)),
                Seen::OtherMode(key) => {
                    left.push((path.clone(), key));
                    altered.push((path, false));
                    modes = true;
                }
            }
        }
        for (path, key) in left {
            if let Some(far) = self.record.table.get_mut(&path) {
                far.key = key;
            }
        }
        // Where modes are not kept, none is ever as recorded, however often it is set.
        let modes = modes && self.keeps_modes();
        altered.retain(|(_, certain)| *certain || modes);
        Ok(altered.into_iter().map(|(path, _)| path).collect())
    }

    /// Whether the file system keeps the modes it is given, as some without owners do not. Tried once, and with a file of
    /// ours. Where none can be made they are taken to be kept.
    fn keeps_modes(&mut self) -> bool {
        if let Some(known) = self.keeps_modes {
            return known;
        }
        let Ok((name, file)) = self.names.file(&self.root) else {
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

    fn look_at_one(&self, dirs: &mut Dirs, path: &RelPath, far: &Far, reread: bool) -> io::Result<Seen> {
        let parent = path.parent().unwrap_or_default();
        let opened = dirs.open(&self.root, parent);
        let found = opened.and_then(|dir| Ok(look_at(&dir, path.name())?.map(|found| (dir, found))));
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
                match hash_at(&dir, path.name(), &key, &self.stop) {
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
                let says = rustix::fs::readlinkat(&dir, os(path.name()), Vec::new())?;
                let same = far.entry.link.as_deref() == Some(says.as_bytes());
                Ok(if same { Seen::Left(key) } else { Seen::Altered })
            }
            (recorded, there) if recorded == there && key == far.key => Ok(Seen::AsRecorded),
            _ => Ok(Seen::Altered),
        }
    }
}
