//! Making up for whoever was killed: changes that were announced and perhaps made are looked at, files in the making are
//! removed, directories that were opened for the moment get their mode back.

use std::{collections::HashSet, io};

use outlast_tree::{
    Entry, Far, Kind, RelPath, StatKey,
    journal::{Change, Outcome},
};
use rustix::io::Errno;

use super::{
    Target,
    meta::{hash_at, look_at, mode_of, os, set_mode},
    record::{Replayed, apply, parents},
};

impl Target {
    /// Brings the record in line with what is there after what the journal says. Gives why files in the making are left that
    /// are not kept.
    ///
    /// # Errors
    /// When the system refuses, or nobody waits any more (`Interrupted`).
    pub(super) fn make_up(&mut self, replayed: Replayed) -> io::Result<Option<Errno>> {
        let mut touched: HashSet<Vec<u8>> = replayed.making.into_iter().collect();
        touched.insert(Vec::new());
        for (generation, changes) in replayed.pending {
            touched.extend(parents(&changes));
            for change in changes {
                self.check_stop()?;
                self.judge(generation, change)?;
            }
        }
        self.dirs.clear();
        self.keep_parts(replayed.parts);
        let mut left = None;
        for dir in touched {
            self.give_back_modes(&dir);
            let mut swept = self.sweep(&dir);
            if matches!(swept, Err(Errno::ACCESS | Errno::PERM)) && self.relax(&dir) {
                swept = self.sweep(&dir);
                self.restore(b"");
                self.dirs.clear();
            }
            if let Err(errno) = swept {
                let dir = String::from_utf8_lossy(&dir).into_owned();
                tracing::warn!(target = ?self.path, dir, %errno, "files in the making cannot be removed");
                left = Some(errno);
            }
        }
        Ok(left)
    }

    /// Removes files in the making from a directory, but for parts that are kept.
    fn sweep(&self, dir: &[u8]) -> Result<(), Errno> {
        let kept = self
            .kept
            .iter()
            .filter(|(path, _)| path.parent().unwrap_or_default() == dir);
        let kept: Vec<_> = kept.map(|(_, kept)| &kept.part.name[..]).collect();
        self.names.sweep(&self.root, dir, &kept)
    }

    /// Notes what became of an announced change.
    fn judge(&mut self, generation: u64, change: Change) -> io::Result<()> {
        let Change { path, new } = change;
        let known = self.record.table.get(&path).cloned();
        let found = self
            .dirs
            .open(&self.root, path.parent().unwrap_or_default())
            .and_then(|dir| Ok(look_at(&dir, path.name())?.map(|found| (dir, found))));
        let (dir, found) = match found {
            Ok(Some(found)) => found,
            // It is gone, and whatever it was to be is not there.
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.record.table.remove(&path);
                return Ok(());
            }
            // Nobody knows, and so it is as it was; the look at everything comes to the same.
            Err(Errno::ACCESS | Errno::PERM) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let key = StatKey::of(&found);
        if known.as_ref().is_some_and(|far| is_as_recorded(far, &found))
            && !is_dir_again(new.as_ref(), &found)
        {
            return Ok(());
        }
        // As it is now: the announced mode and time may not have been set yet.
        let now = match (&new, Kind::of(&found)) {
            (Some(entry), Kind::Dir) if entry.kind == Kind::Dir => Some(Entry::dir(mode_of(&found))),
            (Some(entry), Kind::Link) if entry.kind == Kind::Link => {
                let says = rustix::fs::readlinkat(&dir, os(path.name()), Vec::new())?;
                (entry.link.as_deref() == Some(says.as_bytes())).then(|| entry.clone())
            }
            (Some(entry), Kind::File) if entry.kind == Kind::File && entry.size == key.size => {
                match hash_at(&dir, path.name(), &key, &self.stop) {
                    Ok(Some(hash)) if hash == entry.hash => {
                        Some(Entry::file(mode_of(&found), key.mtime_ns, key.size, hash))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                    Ok(_) | Err(_) => None,
                }
            }
            _ => None,
        };
        let outcome = match now {
            Some(_) => Outcome::There(key),
            None => Outcome::Gone,
        };
        apply(
            &mut self.record.table,
            generation,
            Change { path, new: now },
            outcome,
        );
        Ok(())
    }

    /// Gives this directory and those above it the modes of the record, where these keep us from writing: a batch opens
    /// such ones for the moment.
    fn give_back_modes(&self, dir: &[u8]) {
        let ends = dir
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        // The lowest one first, since we may not get there afterwards.
        for end in ends.chain([dir.len()]).collect::<Vec<_>>().into_iter().rev() {
            let Ok(path) = RelPath::new(&dir[..end]) else {
                continue;
            };
            let restrictive = |far: &&Far| far.entry.kind == Kind::Dir && far.entry.mode & 0o700 != 0o700;
            let Some(far) = self.record.table.get(&path).filter(restrictive) else {
                continue;
            };
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
            let given = outlast_tree::open_beneath(&self.root, path.parent().unwrap_or_default(), flags)
                .and_then(|above| match look_at(&above, path.name())? {
                    Some(found) if Kind::of(&found) == Kind::Dir => {
                        set_mode(&above, path.name(), &found, far.entry.mode)
                    }
                    _ => Ok(()),
                });
            if let Err(errno) = given {
                tracing::warn!(target = ?self.path, ?path, %errno, "a mode cannot be given back");
            }
        }
    }
}

/// Whether a thing is still what the record says.
pub(super) fn is_as_recorded(far: &Far, found: &rustix::fs::Stat) -> bool {
    let kind = Kind::of(found);
    far.entry.kind == kind && (kind == Kind::Dir || far.key == StatKey::of(found))
}

/// Whether a directory was announced where one is, of which only the mode can tell whether it was done.
fn is_dir_again(new: Option<&Entry>, found: &rustix::fs::Stat) -> bool {
    new.is_some_and(|entry| entry.kind == Kind::Dir) && Kind::of(found) == Kind::Dir
}
