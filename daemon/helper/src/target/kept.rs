//! Parts of large files that stay beside their place when a stream ends before they are whole, so that the next one need not
//! send them again.
//!
//! The journal says where they lie and which inode they have. What is in them is believed by nobody: the machine may have
//! lost its power, and somebody may have written to them. They are read when the other side asks for them, which compares
//! the values of their blocks with those of the file as it is now; and the whole is verified as ever. One stays until it is gone
//! on with, somebody says it is not wanted, its path is begun anew or its directory goes, or until it is a day old.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    time::{Duration, SystemTime},
};

use outlast_tree::{
    Hash, Kind, RelPath, StatKey,
    blocks::{self, BLOCK},
    open_beneath,
};
use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat, fstat, openat, unlinkat},
    io::Errno,
    process::geteuid,
};
use tokio_util::sync::CancellationToken;

use super::{
    Target,
    meta::{look_at, os},
    stage::{STAGES_MAX, Stage},
};

/// What is shorter is sent as fast as it is asked for.
const WORTH_KEEPING: u64 = 2 * BLOCK as u64;

/// How long one is kept that nothing was written to.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What the journal says of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name, beside its place.
    pub(super) name: Vec<u8>,
    pub(super) ino: u64,
}

/// One that nobody goes on with yet.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) part: Part,
    length: u64,
    /// What was read of it last, and for which number.
    held: Option<(u64, Held)>,
}

/// One that was read.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) parent: OwnedFd,
    pub(super) file: File,
    /// As it was while it was read.
    key: StatKey,
    /// Values of its full blocks.
    pub(super) values: Vec<Hash>,
}

/// One that is to be read, wherever that is done.
#[derive(Debug)]
pub(crate) struct ToRead {
    number: u64,
    path: RelPath,
    held: Held,
}

/// One that was read, as far as that could be done.
#[derive(Debug)]
pub(crate) struct PartRead {
    number: u64,
    path: RelPath,
    held: Option<Held>,
}

impl ToRead {
    /// Reads it. A part that cannot be read, or changes meanwhile, is none.
    pub(crate) fn run(mut self, stop: &CancellationToken) -> PartRead {
        let read = self.held.read(stop);
        if let Err(error) = &read {
            tracing::warn!(path = ?self.path, %error, "a part of a large file cannot be read");
        }
        PartRead {
            number: self.number,
            path: self.path,
            held: matches!(read, Ok(true)).then_some(self.held),
        }
    }
}

impl Held {
    /// Reads it. False: it changed meanwhile.
    fn read(&mut self, stop: &CancellationToken) -> io::Result<bool> {
        let full = self.key.size / BLOCK as u64;
        let mut bytes = vec![0; BLOCK];
        for index in 0..full {
            if stop.is_cancelled() {
                return Ok(false);
            }
            self.file.read_exact_at(&mut bytes, index * BLOCK as u64)?;
            self.values.push(blocks::of_block(index, &bytes));
        }
        self.is_as_read()
    }

    fn is_as_read(&self) -> io::Result<bool> {
        Ok(StatKey::of(&fstat(&self.file)?) == self.key)
    }
}

impl Target {
    /// Takes in parts that the journal tells of. What is not kept is for whoever sweeps.
    pub(super) fn keep_parts(&mut self, parts: impl IntoIterator<Item = (RelPath, Part)>) {
        if !self.keeps {
            return;
        }
        for (path, part) in parts {
            if self.kept.len() == STAGES_MAX {
                return;
            }
            if let Ok(Some((_parent, _file, found))) = self.open_part(&path, &part)
                && is_worth_keeping(&found)
            {
                self.keep(path, part, StatKey::of(&found).size);
            }
        }
    }

    /// Keeps what came of a large file that nobody goes on with, if that is wanted and there is enough of it.
    pub(super) fn leave(&mut self, stage: Stage) {
        let has_room = self.kept.len() < STAGES_MAX;
        let left = stage.left().filter(|_| self.keeps && has_room);
        match (left, stage.part()) {
            // Of two for one path the journal tells of the newer one.
            (Some(left), Some((path, part))) if self.record.parts.get(path) == Some(part) => {
                self.keep(path.clone(), part.clone(), StatKey::of(&left).size);
            }
            _ => self.discard(stage),
        }
    }

    /// Keeps a part.
    fn keep(&mut self, path: RelPath, part: Part, length: u64) {
        self.record.parts.insert(path.clone(), part.clone());
        let kept = Kept {
            part,
            length,
            held: None,
        };
        self.kept.insert(path, kept);
    }

    /// What is kept: for which path, and how much.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&RelPath, u64)> {
        self.kept.iter().map(|(path, kept)| (path, kept.length))
    }

    /// A part to be read for a large file of this number. None: there is none.
    pub(crate) fn ask_part(&mut self, number: u64, path: &RelPath) -> Option<ToRead> {
        let part = self.kept.get(path)?.part.clone();
        let mut opened = self.open_part(path, &part);
        let dir = path.parent().unwrap_or_default();
        if matches!(opened, Err(Errno::ACCESS | Errno::PERM)) && self.relax(dir) {
            opened = self.open_part(path, &part);
            self.restore(b"");
        }
        self.dirs.clear();
        let (parent, file, found) = opened.ok().flatten()?;
        let held = Held {
            parent,
            file,
            key: StatKey::of(&found),
            values: Vec::new(),
        };
        Some(ToRead {
            number,
            path: path.clone(),
            held,
        })
    }

    /// Takes note of one that was read. Gives the number it was asked for and what it holds.
    pub(crate) fn note_part(&mut self, read: PartRead) -> (u64, Vec<Hash>) {
        let mut values = Vec::new();
        if let (Some(kept), Some(held)) = (self.kept.get_mut(&read.path), read.held) {
            values.clone_from(&held.values);
            kept.held = Some((read.number, held));
        }
        (read.number, values)
    }

    /// Takes the part for a path to go on with it, if that is what was read for this number and nobody touched it since. One
    /// that is not taken is removed.
    pub(super) fn take_part(&mut self, path: &RelPath, number: Option<u64>) -> Option<(Part, Held)> {
        let kept = self.kept.get_mut(path)?;
        let held = kept.held.take().filter(|(read_for, _)| Some(*read_for) == number);
        let part = kept.part.clone();
        let is_as_read = |held: &Held| {
            let is_there = look_at(&held.parent, &part.name)
                .is_ok_and(|found| found.is_some_and(|found| is_part(&found, &part)));
            is_there && held.is_as_read().unwrap_or(false)
        };
        match held.filter(|(_, held)| is_as_read(held)) {
            Some((_, held)) => {
                self.kept.remove(path);
                Some((part, held))
            }
            None => {
                self.drop_part(path);
                None
            }
        }
    }

    /// A part is not wanted any more.
    pub(crate) fn drop_part(&mut self, path: &RelPath) {
        let Some(kept) = self.kept.remove(path) else {
            return;
        };
        self.record.parts.remove(path);
        let dir = path.parent().unwrap_or_default();
        let remove = |target: &Self| {
            let parent = open_beneath(&target.root, dir, OFlags::PATH | OFlags::DIRECTORY)?;
            unlinkat(&parent, os(&kept.part.name), AtFlags::empty())
        };
        let mut removed = remove(self);
        if matches!(removed, Err(Errno::ACCESS | Errno::PERM)) && self.relax(dir) {
            removed = remove(self);
            self.restore(b"");
        }
        self.dirs.clear();
        match removed {
            // Its directory may be gone, or be something else by now.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => {
                tracing::warn!(target = ?self.path, ?path, %errno, "a part of a large file cannot be removed");
            }
        }
    }

    /// Drops parts in a directory that goes. False: there are none.
    pub(super) fn drop_parts_in(&mut self, dir: &[u8]) -> bool {
        let is_in = |path: &&RelPath| path.parent().unwrap_or_default() == dir;
        let paths: Vec<_> = self.kept.keys().filter(is_in).cloned().collect();
        for path in &paths {
            self.drop_part(path);
        }
        !paths.is_empty()
    }

    /// Opens a part. None: what is there is none.
    fn open_part(&self, path: &RelPath, part: &Part) -> Result<Option<(OwnedFd, File, Stat)>, Errno> {
        let dir = path.parent().unwrap_or_default();
        let parent = open_beneath(&self.root, dir, OFlags::PATH | OFlags::DIRECTORY)?;
        // What else may be there is not even to be opened.
        if !look_at(&parent, &part.name)?.is_some_and(|found| is_part(&found, part)) {
            return Ok(None);
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&parent, os(&part.name), flags, Mode::empty())?;
        let found = fstat(&file)?;
        Ok(is_part(&found, part).then(|| (parent, file.into(), found)))
    }
}

/// Whether something is the part that was made, and has no other name: what is written to it appears nowhere else.
fn is_part(found: &Stat, part: &Part) -> bool {
    Kind::of(found) == Kind::File
        && found.st_ino == part.ino
        && found.st_nlink == 1
        && found.st_uid == geteuid().as_raw()
}

/// Whether there is enough of a part, and it is not too old.
pub(super) fn is_worth_keeping(found: &Stat) -> bool {
    let key = StatKey::of(found);
    let written = Duration::from_nanos(u64::try_from(key.mtime_ns).unwrap_or_default());
    let is_young = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + written) {
        Ok(age) => age < KEPT_FOR,
        // The clock was set back since, or this machine and the one with the disk do not agree.
        Err(ahead) => ahead.duration() < KEPT_FOR,
    };
    key.size >= WORTH_KEEPING && is_young
}
