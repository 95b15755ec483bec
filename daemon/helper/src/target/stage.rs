//! Large files that arrive in pieces, each in a file of its own beside its place. What goes wrong is remembered and told
//! when the file is to be put there.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
};

use outlast_tree::{
    Entry, Hash, RelPath,
    blocks::{BLOCK, Rolling},
    open_beneath,
};
use rustix::{
    fs::{AtFlags, OFlags, Stat, fstat, unlinkat},
    io::Errno,
};

use super::{
    Refusal, Refused, Target,
    base::Base,
    kept::{Held, Part, is_worth_keeping},
    meta::os,
    staging::PRIVATE,
};

/// How many may be under way, and how many parts be kept. Each takes up to three open files.
pub(super) const STAGES_MAX: usize = 64;

/// A large file under way.
#[derive(Debug)]
pub(super) struct Stage {
    /// The path it is for.
    path: RelPath,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(Box<Open>),
    /// It cannot be had any more.
    Failed(Refused),
}

#[derive(Debug)]
struct Open {
    parent: OwnedFd,
    part: Part,
    file: File,
    /// Values of the blocks that were in it when it was begun; those behind what came are still there.
    there: Vec<Hash>,
    /// How long it was then.
    was: u64,
    /// How long it is by now, if nobody else writes to it.
    ends: u64,
    base: Option<Base>,
    rolling: Rolling,
    /// Length and hash of everything that came, when that was all.
    whole: Option<(u64, Hash)>,
}

impl Stage {
    /// The directory it is made in.
    pub(super) fn dir(&self) -> &[u8] {
        self.path.parent().unwrap_or_default()
    }

    /// Which part of what it would be. None: it cannot be had any more.
    pub(super) fn part(&self) -> Option<(&RelPath, &Part)> {
        match &self.state {
            State::Open(open) => Some((&self.path, &open.part)),
            State::Failed(_) => None,
        }
    }

    /// How it is left, when somebody can go on with it.
    pub(super) fn left(&self) -> Option<Stat> {
        match &self.state {
            State::Open(open) if open.whole.is_none() => fstat(&open.file).ok().filter(is_worth_keeping),
            _ => None,
        }
    }

    /// It cannot be had any more. Gives what is to be removed.
    #[must_use]
    fn fail(&mut self, refused: Refused) -> Self {
        let state = std::mem::replace(&mut self.state, State::Failed(refused));
        Self {
            path: self.path.clone(),
            state,
        }
    }

    /// The file and its place, when what came is what the entry says. Nothing more is taken after that.
    pub(super) fn check(&mut self, entry: &Entry) -> Result<(&File, (&OwnedFd, &[u8])), Refused> {
        let open = match &mut self.state {
            State::Open(open) => open,
            State::Failed(refused) => return Err(refused.clone()),
        };
        let whole = match open.whole {
            Some(whole) => whole,
            None => {
                let whole = open.end()?;
                *open.whole.insert(whole)
            }
        };
        if whole != (entry.size, entry.hash) {
            return Err(Refused::need("what came is not what it was said to be"));
        }
        if let Some(base) = &open.base {
            base.check()?;
        }
        Ok((&open.file, (&open.parent, &open.part.name)))
    }
}

impl Open {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let at = self.rolling.length();
        // Where nothing was written zeros are read, and no room is taken.
        if at < self.was || bytes.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(bytes, at)?;
            self.ends = self.ends.max(at + bytes.len() as u64);
        }
        self.rolling.update(bytes);
        Ok(())
    }

    /// The next bytes are those that are there: whole blocks.
    fn stay(&mut self, length: u64) -> Result<(), Refused> {
        let step = BLOCK as u64;
        let begin = self.rolling.length();
        let index = |at: u64| {
            usize::try_from(at / step)
                .ok()
                .filter(|_| at.is_multiple_of(step))
        };
        let end = begin.checked_add(length).and_then(index);
        let range = index(begin).zip(end).map(|(begin, end)| begin..end);
        let values = range.and_then(|range| self.there.get(range));
        let values = values.ok_or_else(|| Refused::need("no such blocks were there before"))?;
        for value in values {
            self.rolling.known(*value);
        }
        Ok(())
    }

    /// Nothing more comes. Gives length and hash of it.
    fn end(&mut self) -> Result<(u64, Hash), Refused> {
        let length = self.rolling.length();
        let found = fstat(&self.file).map_err(Refused::errno)?;
        if found.st_size.cast_unsigned() != self.ends {
            return Err(Refused::need("somebody wrote to it meanwhile"));
        }
        if self.ends != length {
            // What was there before was longer, or it ends with a hole.
            self.file.set_len(length)?;
        }
        Ok((length, std::mem::take(&mut self.rolling).finish().0))
    }
}

impl Target {
    /// Begins a large file for a path. Parts can be copied from `base`. `part`: what was read for this number of what is kept
    /// for the path is gone on with; otherwise that is dropped.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn begin_large(
        &mut self,
        number: u64,
        path: &RelPath,
        base: Option<&RelPath>,
        part: bool,
    ) -> io::Result<()> {
        // A number that is used again names the newer one.
        self.drop_large(number);
        let dir = path.parent().unwrap_or_default();
        self.record.making(dir)?;
        let mut held = self.take_part(path, part.then_some(number));
        let mut opened = self.open_large(dir, base, &mut held);
        if matches!(&opened, Err(refused) if refused.why == Refusal::Permission) && self.relax(dir) {
            opened = self.open_large(dir, base, &mut held);
            self.restore(b"");
        }
        self.dirs.clear();
        let stage = Stage {
            path: path.clone(),
            state: match opened {
                Ok(open) => State::Open(Box::new(open)),
                Err(refused) => State::Failed(refused),
            },
        };
        if let Some((part, held)) = held {
            // It was not begun.
            self.unlink(path, &held.parent, &part);
        }
        if let (true, State::Open(open)) = (self.keeps, &stage.state)
            && let Err(error) = self.record.part(path, &open.part)
        {
            self.discard(stage);
            return Err(error);
        }
        self.stages.insert(number, stage);
        Ok(())
    }

    fn open_large(
        &mut self,
        dir: &[u8],
        base: Option<&RelPath>,
        held: &mut Option<(Part, Held)>,
    ) -> Result<Open, Refused> {
        if self.stages.len() >= STAGES_MAX {
            return Err(Refused::new(
                Refusal::Failed,
                "too many large files are under way",
            ));
        }
        let base = base.map(|base| self.base(base, None)).transpose()?;
        let (parent, part, file, there) = match held.take() {
            Some((part, held)) => (held.parent, part, held.file, held.values),
            None => {
                let parent = open_beneath(&self.root, dir, OFlags::PATH | OFlags::DIRECTORY);
                let parent = parent.map_err(Refused::errno)?;
                let (name, file) = self.names.file(&parent, PRIVATE).map_err(Refused::errno)?;
                let ino = fstat(&file).map_err(Refused::errno)?.st_ino;
                (parent, Part { name, ino }, file, Vec::new())
            }
        };
        let was = fstat(&file).map_err(Refused::errno)?.st_size.cast_unsigned();
        Ok(Open {
            parent,
            part,
            file,
            there,
            was,
            ends: was,
            base,
            rolling: Rolling::new(),
            whole: None,
        })
    }

    /// Takes the next bytes of a large file. What is none is passed over, since its refusal is told later.
    pub(crate) fn large_data(&mut self, number: u64, bytes: &[u8]) {
        self.with(number, |open| open.take(bytes));
    }

    /// Takes the values of the next blocks of a large file's base. Where it has none, they are passed over.
    pub(crate) fn large_values(&mut self, number: u64, values: &[Hash]) {
        self.with(number, |open| {
            if let Some(base) = &mut open.base {
                base.tell(values);
            }
            Ok(())
        });
    }

    /// The next bytes of a large file are those of its base.
    pub(crate) fn large_copy(&mut self, number: u64, from: u64, length: u64) {
        let stop = self.stop.clone();
        self.with(number, |open| match &mut open.base {
            Some(base) => {
                base.copy(from, length, &open.file, &mut open.rolling, &stop)?;
                open.ends = open.ends.max(open.rolling.length());
                Ok(())
            }
            None => Err(Refused::need("there is no base to copy from")),
        });
    }

    /// The next bytes of a large file are those that were there when it was begun.
    pub(crate) fn large_stay(&mut self, number: u64, length: u64) {
        self.with(number, |open| open.stay(length));
    }

    /// A large file is not wanted any more.
    pub(crate) fn drop_large(&mut self, number: u64) {
        if let Some(stage) = self.stages.remove(&number) {
            self.discard(stage);
        }
    }

    /// Removes what came of one.
    pub(super) fn discard(&mut self, stage: Stage) {
        if let State::Open(open) = stage.state {
            self.unlink(&stage.path, &open.parent, &open.part);
        }
    }

    /// Removes what came of a large file for this path. What stays is removed when the target is opened the next time.
    fn unlink(&mut self, path: &RelPath, parent: &OwnedFd, part: &Part) {
        let remove = || unlinkat(parent, os(&part.name), AtFlags::empty());
        let removed = remove();
        let dir = path.parent().unwrap_or_default();
        if matches!(removed, Err(Errno::ACCESS | Errno::PERM)) && self.relax(dir) {
            let _ = remove();
            self.restore(b"");
            self.dirs.clear();
        }
    }

    /// What came of a large file is kept, if anything is.
    pub(crate) fn leave_large(&mut self, number: u64) {
        if let Some(stage) = self.stages.remove(&number) {
            self.leave(stage);
        }
    }

    /// A piece of a large file makes no sense.
    pub(crate) fn spoil_large(&mut self, number: u64, message: &str) {
        if let Some(stage) = self.stages.get_mut(&number) {
            let failed = stage.fail(Refused::need(message));
            self.discard(failed);
        }
    }

    /// Gives up large files under way in a directory that goes, and what is kept of some. False: there are none.
    pub(super) fn spoil_in(&mut self, dir: &[u8]) -> bool {
        let mut any = self.drop_parts_in(dir);
        let stages = self.stages.values_mut().filter(|stage| stage.dir() == dir);
        let fail = |stage: &mut Stage| stage.fail(Refused::need("its directory was removed"));
        for failed in stages.map(fail).collect::<Vec<_>>() {
            self.discard(failed);
            any = true;
        }
        any
    }

    fn with(&mut self, number: u64, act: impl FnOnce(&mut Open) -> Result<(), Refused>) {
        if let Some(stage) = self.stages.get_mut(&number)
            && let State::Open(open) = &mut stage.state
            && let Err(refused) = act(open)
        {
            let failed = stage.fail(refused);
            self.discard(failed);
        }
    }
}
