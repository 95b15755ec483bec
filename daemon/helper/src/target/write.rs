//! Making the changes of a batch. Each is made or refused by itself; none leaves a path half changed.

use std::{collections::HashMap, io, os::fd::OwnedFd, sync::Arc};

use outlast_tree::{
    Entry, Far, Kind, RelPath, StatKey,
    journal::{Change, Outcome},
};
use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};

use super::{
    Content, JOURNAL_MAX, Op, Refusal, Refused, Target,
    dirs::is_below,
    fresh::Became,
    meta::{bits, hash_at, look_at, mode_of, os, set_meta, set_mode},
    replay::is_as_recorded,
};

/// What became of a change that was made.
pub(super) enum Made {
    /// It is there, left like this.
    There(StatKey),
    /// It is gone.
    Gone,
}

/// What is at a place where something is to be put.
pub(super) enum Found {
    Nothing,
    /// A file or link of ours, as it was left.
    Ours,
    /// A directory of ours.
    OurDir(Stat),
    /// Somebody else's with the content that is to be there.
    Same(Stat),
    /// Somebody else's.
    Foreign(Kind, Stat),
}

impl Target {
    /// Makes changes in their order. Returns the generation and what became of each.
    ///
    /// # Errors
    /// When the record cannot be written. What was made then is found out when the target is opened the next time.
    pub(crate) fn batch(&mut self, ops: &[Op], data: &[u8]) -> io::Result<(u64, Vec<Result<(), Refused>>)> {
        let change = |op: &Op| Change {
            path: op.path.clone(),
            new: op.entry.clone(),
        };
        let generation = self.record.begin(ops.iter().map(change).collect())?;
        let mut became: Became = Vec::with_capacity(ops.len());
        for (number, op) in ops.iter().enumerate() {
            if !self.is_in_fresh(op) {
                self.place_fresh(generation, ops, data, &mut became);
            }
            let fresh = match &self.fresh {
                None => self.begin_fresh(number, op, ops.get(number + 1)),
                Some(_) => None,
            };
            let mut made = match fresh {
                Some(key) => Ok(Made::There(key)),
                None if self.fresh.is_some() => self.make(op, data),
                None => self.make_or_relax(op, data),
            };
            if made.is_err() && self.fresh.is_some() {
                // In its place everything is known by its path, and modes can be helped.
                self.place_fresh(generation, ops, data, &mut became);
                made = self.make_or_relax(op, data);
            }
            became.push(self.note(generation, op, made));
        }
        self.place_fresh(generation, ops, data, &mut became);
        let (outcomes, answers) = became.into_iter().unzip();
        self.restore(b"");
        self.dirs.clear();
        self.inodes = None;
        self.record.done(generation, outcomes)?;
        self.compact(JOURNAL_MAX)?;
        Ok((generation, answers))
    }

    /// Makes a change, if need be in a directory that lets us write for the moment.
    pub(super) fn make_or_relax(&mut self, op: &Op, data: &[u8]) -> Result<Made, Refused> {
        let mut made = self.make(op, data);
        if let Err(refused) = &made
            && refused.why == Refusal::Permission
            && self.relax(op.path.parent().unwrap_or_default())
        {
            made = self.make(op, data);
        }
        if let (Err(_), Content::Arrived(number)) = (&made, &op.content) {
            // Whatever came of it, it is used up.
            self.drop_large(*number);
        }
        made
    }

    /// Takes what became of a change into the record.
    pub(super) fn note(
        &mut self,
        generation: u64,
        op: &Op,
        made: Result<Made, Refused>,
    ) -> (Outcome, Result<(), Refused>) {
        let path = &op.path;
        match (made, &op.entry) {
            (Ok(Made::There(key)), Some(entry)) => {
                if let Some(inodes) = &mut self.inodes {
                    inodes.insert(key.ino, path.clone());
                }
                let far = Far {
                    entry: entry.clone(),
                    key,
                    generation,
                };
                self.record.table.insert(path.clone(), far);
                (Outcome::There(key), Ok(()))
            }
            (Ok(_), _) => {
                self.record.table.remove(path);
                (Outcome::Gone, Ok(()))
            }
            (Err(refused), _) if refused.lost => {
                self.record.table.remove(path);
                (Outcome::Gone, Err(refused))
            }
            (Err(refused), _) => (Outcome::Failed, Err(refused)),
        }
    }

    pub(super) fn make(&mut self, op: &Op, data: &[u8]) -> Result<Made, Refused> {
        let Some(entry) = &op.entry else {
            return self.remove(&op.path);
        };
        let above = op.path.parent().unwrap_or_default();
        let parent = self.dirs.open(&self.root, above).map_err(Refused::errno)?;
        let key = match entry.kind {
            Kind::File => self.file(&parent, op, entry, data)?,
            Kind::Dir => self.dir(&parent, op, entry)?,
            Kind::Link => self.link(&parent, op, entry)?,
            Kind::Other => {
                return Err(Refused::new(
                    Refusal::Failed,
                    "only files, directories and links are made",
                ));
            }
        };
        Ok(Made::There(key))
    }

    fn remove(&mut self, path: &RelPath) -> Result<Made, Refused> {
        let parent = match self.dirs.open(&self.root, path.parent().unwrap_or_default()) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(Made::Gone),
            Err(errno) => return Err(Refused::errno(errno)),
        };
        let Some(found) = look_at(&parent, path.name()).map_err(Refused::errno)? else {
            return Ok(Made::Gone);
        };
        let kind = Kind::of(&found);
        let ours = self.record.table.get(path);
        if !ours.is_some_and(|far| is_as_recorded(far, &found)) {
            return Err(foreign(kind));
        }
        if kind == Kind::Dir {
            self.remove_dir(&parent, path)?;
            return Ok(Made::Gone);
        }
        match fs::unlinkat(&parent, os(path.name()), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Made::Gone),
            Err(errno) => Err(Refused::errno(errno)),
        }
    }

    /// Removes a directory of ours. Large files under way in it go with it.
    fn remove_dir(&mut self, parent: &OwnedFd, path: &RelPath) -> Result<(), Refused> {
        self.dirs.forget(path);
        let mut removed = fs::unlinkat(parent, os(path.name()), AtFlags::REMOVEDIR);
        if matches!(removed, Err(Errno::NOTEMPTY | Errno::EXIST)) && self.spoil_in(path) {
            removed = fs::unlinkat(parent, os(path.name()), AtFlags::REMOVEDIR);
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(not_empty()),
            Err(errno) => Err(Refused::errno(errno)),
        }
    }

    fn dir(&mut self, parent: &OwnedFd, op: &Op, entry: &Entry) -> Result<StatKey, Refused> {
        // From below they could not be reached afterwards.
        self.restore(&op.path);
        let key = self.make_dir(parent, op, entry)?;
        // The mode was asked for by now, so the one it had is not given back.
        self.relaxed.retain(|(path, _)| *path != op.path);
        Ok(key)
    }

    fn make_dir(&mut self, parent: &OwnedFd, op: &Op, entry: &Entry) -> Result<StatKey, Refused> {
        let name = op.path.name();
        match self.new_dir(parent, name, entry) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(Refused::errno_of_name),
        }
        match self.found(parent, &op.path, entry)? {
            // Somebody else's becomes ours with the mode it is to have: the record tells of no other.
            Found::OurDir(seen) | Found::Foreign(Kind::Dir, seen) => {
                set_mode(parent, name, &seen, entry.mode).map_err(|errno| match errno {
                    Errno::STALE | Errno::NOENT => changing(),
                    errno => Refused::errno(errno),
                })?;
                Ok(StatKey::of(&seen))
            }
            Found::Foreign(kind, _) if !op.replace => Err(foreign(kind)),
            // Of directories it is not asked whether they hold the same.
            Found::Nothing | Found::Same(_) => Err(changing()),
            Found::Ours | Found::Foreign(..) => {
                fs::unlinkat(parent, os(name), AtFlags::empty()).map_err(Refused::errno)?;
                let made = self.new_dir(parent, name, entry);
                made.map_err(|errno| Refused::errno_of_name(errno).after_loss())
            }
        }
    }

    fn new_dir(&self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<StatKey, Errno> {
        fs::mkdirat(parent, os(name), Mode::RWXU)?;
        Ok(self.dress_dir(parent, name, entry)?.1)
    }

    /// Makes a new directory of ours what the entry says. Gives how it is left.
    pub(super) fn dress_dir(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(OwnedFd, StatKey), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(parent, os(name), flags, Mode::empty())?;
        if let Some((uid, gid)) = self.owner {
            fs::fchown(&made, Some(uid), Some(gid))?;
        }
        fs::fchmod(&made, bits(entry.mode))?;
        let left = StatKey::of(&fs::fstat(&made)?);
        Ok((made, left))
    }

    fn link(&mut self, parent: &OwnedFd, op: &Op, entry: &Entry) -> Result<StatKey, Refused> {
        let says = entry.link.as_deref().unwrap_or_default();
        let make = |name: &[u8]| fs::symlinkat(os(says), parent, os(name));
        let (staged, ()) = self.names.make(make).map_err(Refused::errno)?;
        let put = self
            .put(parent, (parent, &staged), op, entry)
            .and_then(|adopted| {
                if let Some(key) = adopted {
                    return Ok(key);
                }
                if let Some((uid, gid)) = self.owner {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    let given = fs::chownat(parent, os(op.path.name()), Some(uid), Some(gid), flags);
                    given.map_err(Refused::errno)?;
                }
                match look_at(parent, op.path.name()).map_err(Refused::errno)? {
                    Some(left) if Kind::of(&left) == Kind::Link => Ok(StatKey::of(&left)),
                    _ => Err(changing()),
                }
            });
        if put.is_err() {
            let _ = fs::unlinkat(parent, os(&staged), AtFlags::empty());
        }
        put
    }

    /// Renames what was made under another name to its place, when what is there may be replaced. Some: what is there has
    /// the content already and was taken over; what was made is removed.
    pub(super) fn put(
        &mut self,
        parent: &OwnedFd,
        (from, staged): (&OwnedFd, &[u8]),
        op: &Op,
        entry: &Entry,
    ) -> Result<Option<StatKey>, Refused> {
        let name = op.path.name();
        if self.record.table.get(&op.path).is_none() {
            let flags = RenameFlags::NOREPLACE;
            match fs::renameat_with(from, os(staged), parent, os(name), flags) {
                Ok(()) => return Ok(None),
                // Something is there, or the file system does not know how to find out in one go.
                Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {}
                Err(errno) => return Err(Refused::errno_of_name(errno)),
            }
        }
        let mut lost = false;
        match self.found(parent, &op.path, entry)? {
            Found::Nothing | Found::Ours => {}
            Found::OurDir(_) => {
                self.remove_dir(parent, &op.path)?;
                lost = true;
            }
            Found::Same(seen) => {
                let key = self.take_over(parent, &op.path, &seen, entry)?;
                let _ = fs::unlinkat(from, os(staged), AtFlags::empty());
                return Ok(Some(key));
            }
            Found::Foreign(kind, _) if op.replace && kind != Kind::Dir => {}
            Found::Foreign(kind, _) => return Err(foreign(kind)),
        }
        match fs::renameat(from, os(staged), parent, os(name)) {
            Ok(()) => Ok(None),
            Err(errno) if lost => Err(Refused::errno_of_name(errno).after_loss()),
            Err(errno) => Err(Refused::errno_of_name(errno)),
        }
    }

    /// Makes a thing ours that has the right content.
    pub(super) fn take_over(
        &self,
        parent: &OwnedFd,
        path: &RelPath,
        seen: &Stat,
        entry: &Entry,
    ) -> Result<StatKey, Refused> {
        if entry.kind != Kind::File {
            return Ok(StatKey::of(seen));
        }
        set_meta(parent, path.name(), seen, entry).map_err(|errno| match errno {
            Errno::STALE | Errno::NOENT => changing(),
            errno => Refused::errno(errno),
        })
    }

    /// Finds out what is at a place.
    pub(super) fn found(
        &mut self,
        parent: &OwnedFd,
        path: &RelPath,
        entry: &Entry,
    ) -> Result<Found, Refused> {
        let Some(seen) = look_at(parent, path.name()).map_err(Refused::errno_of_name)? else {
            return Ok(Found::Nothing);
        };
        let kind = Kind::of(&seen);
        if let Some(far) = self.record.table.get(path)
            && is_as_recorded(far, &seen)
        {
            return Ok(if kind == Kind::Dir {
                Found::OurDir(seen)
            } else {
                Found::Ours
            });
        }
        self.refuse_clash(parent, path, &seen)?;
        if kind != entry.kind {
            return Ok(Found::Foreign(kind, seen));
        }
        let same = match kind {
            Kind::File => {
                entry.size == StatKey::of(&seen).size && self.has_content(parent, path, &seen, entry)?
            }
            Kind::Link => {
                let says = fs::readlinkat(parent, os(path.name()), Vec::new()).map_err(Refused::errno)?;
                entry.link.as_deref() == Some(says.as_bytes())
            }
            Kind::Dir | Kind::Other => false,
        };
        Ok(if same {
            Found::Same(seen)
        } else {
            Found::Foreign(kind, seen)
        })
    }

    /// Whether a file has this content. One that may not be read has not.
    pub(super) fn has_content(
        &self,
        parent: &OwnedFd,
        path: &RelPath,
        seen: &Stat,
        entry: &Entry,
    ) -> Result<bool, Refused> {
        match hash_at(parent, path.name(), &StatKey::of(seen), &self.stop) {
            Ok(hash) => Ok(hash == Some(entry.hash)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a name that the file system takes for another one of the record.
    pub(super) fn refuse_clash(
        &mut self,
        parent: &OwnedFd,
        path: &RelPath,
        seen: &Stat,
    ) -> Result<(), Refused> {
        // What has several names by itself is no sign of that.
        if Kind::of(seen) != Kind::Dir && seen.st_nlink > 1 {
            return Ok(());
        }
        let table = &self.record.table;
        let inodes = self.inodes.get_or_insert_with(|| {
            let known = table
                .iter()
                .filter_map(|(path, far)| Some((far.key.ino, RelPath::new(path).ok()?)));
            known.collect::<HashMap<_, _>>()
        });
        let Some(other) = inodes.get(&seen.st_ino) else {
            return Ok(());
        };
        if other == path || other.parent() != path.parent() || table.get(other).is_none() {
            return Ok(());
        }
        // It may have been renamed since.
        match look_at(parent, other.name()) {
            Ok(Some(there)) if there.st_ino == seen.st_ino && there.st_dev == seen.st_dev => {
                let other = String::from_utf8_lossy(other.name()).into_owned();
                let text = format!("the file system takes its name for that of {other:?}");
                Err(Refused::new(Refusal::Clash, text))
            }
            _ => Ok(()),
        }
    }

    /// Lets us write to a directory and get there, where modes keep us from it. False: it is not that.
    pub(super) fn relax(&mut self, dir: &[u8]) -> bool {
        let ends = dir
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        let mut any = false;
        for end in ends.chain([dir.len()]).collect::<Vec<_>>() {
            let Ok(path) = RelPath::new(&dir[..end]) else {
                continue;
            };
            let ours = |far: &Far| far.entry.kind == Kind::Dir;
            if !self.record.table.get(&path).is_some_and(ours) {
                continue;
            }
            any |= self.relax_one(path).unwrap_or(false);
        }
        any
    }

    fn relax_one(&mut self, path: RelPath) -> Result<bool, Errno> {
        let above = self.dirs.open(&self.root, path.parent().unwrap_or_default())?;
        let Some(seen) = look_at(&above, path.name())? else {
            return Ok(false);
        };
        let mode = mode_of(&seen);
        if Kind::of(&seen) != Kind::Dir || mode & 0o700 == 0o700 {
            return Ok(false);
        }
        set_mode(&above, path.name(), &seen, mode | 0o700)?;
        self.relaxed.push((path, mode));
        Ok(true)
    }

    /// Gives directories below this one the modes back that they had. All are below the empty path.
    pub(super) fn restore(&mut self, below: &[u8]) {
        let (mut left, kept) = std::mem::take(&mut self.relaxed)
            .into_iter()
            .partition::<Vec<_>, _>(|(path, _)| is_below(path, below));
        self.relaxed = kept;
        // The lowest first, since we may not get there afterwards.
        left.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (path, mode) in left {
            let above: Result<Arc<OwnedFd>, _> =
                self.dirs.open(&self.root, path.parent().unwrap_or_default());
            let given = above.and_then(|above| match look_at(&above, path.name())? {
                Some(seen) if Kind::of(&seen) == Kind::Dir => set_mode(&above, path.name(), &seen, mode),
                // It was removed or replaced meanwhile.
                _ => Ok(()),
            });
            if let Err(errno) = given {
                tracing::warn!(target = ?self.path, ?path, %errno, "a mode cannot be given back");
            }
        }
    }
}

/// What is there is not ours to touch.
pub(super) fn foreign(kind: Kind) -> Refused {
    let what = match kind {
        Kind::File => "a file",
        Kind::Dir => "a directory",
        Kind::Link => "a symbolic link",
        Kind::Other => "a device, FIFO or socket",
    };
    let text = match kind {
        Kind::Dir => "a directory that outlast did not make is there".to_owned(),
        _ => format!("{what} that outlast did not write, or that was changed since, is there"),
    };
    Refused::new(Refusal::Conflict, text)
}

fn not_empty() -> Refused {
    Refused::new(
        Refusal::NotEmpty,
        "the directory holds something that outlast did not write",
    )
}

/// Somebody else is at work at the same place.
pub(super) fn changing() -> Refused {
    Refused::new(Refusal::Failed, "it is being changed there at the same moment")
}
