//! Large files that arrive in pieces, each in a file of its own beside its place. What goes wrong is remembered and told
//! when the file is to be put there.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
};

use outlast_tree::{Entry, Hash, RelPath, blocks::Rolling, open_beneath};
use rustix::fs::{AtFlags, OFlags};

use super::{Refusal, Refused, Target, base::Base, meta::os};

/// How many may be under way. Each takes up to three open files.
const STAGES_MAX: usize = 64;

/// A large file under way.
#[derive(Debug)]
pub(super) struct Stage {
    /// The directory below the target.
    dir: Vec<u8>,
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
    name: Vec<u8>,
    file: File,
    base: Option<Base>,
    rolling: Rolling,
    /// Length and hash of everything that came, when that was all.
    whole: Option<(u64, Hash)>,
}

impl Stage {
    /// Where it is.
    pub(super) fn dir(&self) -> &[u8] {
        &self.dir
    }

    /// Removes it.
    pub(super) fn remove(self) {
        if let State::Open(open) = self.state {
            open.remove();
        }
    }

    fn fail(&mut self, refused: Refused) {
        if let State::Open(open) = std::mem::replace(&mut self.state, State::Failed(refused)) {
            open.remove();
        }
    }

    /// The file and its place, when what came is what the entry says. Nothing more is taken after that.
    pub(super) fn check(&mut self, entry: &Entry) -> Result<(&File, (&OwnedFd, &[u8])), Refused> {
        let open = match &mut self.state {
            State::Open(open) => open,
            State::Failed(refused) => return Err(refused.clone()),
        };
        let whole = *open.whole.get_or_insert_with(|| {
            (
                open.rolling.length(),
                std::mem::take(&mut open.rolling).finish().0,
            )
        });
        if whole != (entry.size, entry.hash) {
            return Err(Refused::need("what came is not what it was said to be"));
        }
        if let Some(base) = &open.base {
            base.check()?;
        }
        Ok((&open.file, (&open.parent, &open.name)))
    }
}

impl Open {
    fn remove(&self) {
        // What stays is removed when the target is opened the next time.
        let _ = rustix::fs::unlinkat(&self.parent, os(&self.name), AtFlags::empty());
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.file.write_all_at(bytes, self.rolling.length())?;
        self.rolling.update(bytes);
        Ok(())
    }
}

impl Target {
    /// Begins a large file for a path. Parts can be copied from `base`.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn begin_large(
        &mut self,
        number: u64,
        path: &RelPath,
        base: Option<&RelPath>,
    ) -> io::Result<()> {
        // A number that is used again names the newer one.
        self.drop_large(number);
        let dir = path.parent().unwrap_or_default().to_vec();
        self.announce(&dir)?;
        let mut opened = self.open_large(&dir, base);
        if matches!(&opened, Err(refused) if refused.why == Refusal::Permission) && self.relax(&dir) {
            opened = self.open_large(&dir, base);
            self.restore(b"");
        }
        self.dirs.clear();
        let state = match opened {
            Ok(open) => State::Open(Box::new(open)),
            Err(refused) => State::Failed(refused),
        };
        self.stages.insert(number, Stage { dir, state });
        Ok(())
    }

    fn open_large(&mut self, dir: &[u8], base: Option<&RelPath>) -> Result<Open, Refused> {
        if self.stages.len() >= STAGES_MAX {
            return Err(Refused::new(
                Refusal::Failed,
                "too many large files are under way",
            ));
        }
        let base = base.map(|base| self.base(base, None)).transpose()?;
        let parent = open_beneath(&self.root, dir, OFlags::PATH | OFlags::DIRECTORY);
        let parent = parent.map_err(Refused::errno)?;
        let (name, file) = self.names.file(&parent).map_err(Refused::errno)?;
        Ok(Open {
            parent,
            name,
            file,
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
            Some(base) => base.copy(from, length, &open.file, &mut open.rolling, &stop),
            None => Err(Refused::need("there is no base to copy from")),
        });
    }

    /// A large file is not wanted any more.
    pub(crate) fn drop_large(&mut self, number: u64) {
        if let Some(stage) = self.stages.remove(&number) {
            stage.remove();
        }
    }

    /// A piece of a large file makes no sense.
    pub(crate) fn spoil_large(&mut self, number: u64, message: &str) {
        if let Some(stage) = self.stages.get_mut(&number) {
            stage.fail(Refused::need(message));
        }
    }

    /// Gives up large files under way in a directory that goes. False: there are none.
    pub(super) fn spoil_in(&mut self, dir: &[u8]) -> bool {
        let mut any = false;
        for stage in self.stages.values_mut().filter(|stage| stage.dir == dir) {
            stage.fail(Refused::need("its directory was removed"));
            any = true;
        }
        any
    }

    fn with(&mut self, number: u64, act: impl FnOnce(&mut Open) -> Result<(), Refused>) {
        if let Some(stage) = self.stages.get_mut(&number)
            && let State::Open(open) = &mut stage.state
            && let Err(refused) = act(open)
        {
            stage.fail(refused);
        }
    }
}
