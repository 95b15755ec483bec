//! Directories that are kept equal to one elsewhere, as the host sees them: the record of what was written there, and the
//! writing.
//!
//! Only what is in the record and still as it was left is overwritten or removed; all else is somebody else's. Everything
//! below a target is reached by way of its open directory and never through a symlink. A file is written beside its place
//! and renamed there, so whoever is killed leaves each of them old or new. Nothing here knows the protocol or waits for
//! anybody but the kernel.
//!
//! | file of `syncs/<id>/` | is |
//! |---|---|
//! | `target` | which directory it is, JSON ([`record::Named`]) |
//! | `manifest` | what was written, as of one generation ([`outlast_tree::manifest`]) |
//! | `journal` | what came after ([`outlast_tree::journal`]) |
//! | `lock` | held with `flock` by whoever has the target open |

mod base;
mod dirs;
mod disk;
mod door;
mod files;
mod fresh;
mod kept;
mod look;
mod meta;
mod open;
mod place;
mod record;
mod refused;
mod replay;
mod stage;
mod staging;
mod walk;
mod write;

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use outlast_tree::{Entry, RelPath};
use rustix::fs::{Gid, Uid};
use tokio_util::sync::CancellationToken;

use self::{dirs::Dirs, fresh::Fresh, kept::Kept, record::Record, stage::Stage, staging::Names};
pub(crate) use self::{
    disk::OnDisk,
    door::check,
    kept::PartRead,
    open::{OpenError, Opening, forget, tidy},
    place::{Grounds, Misplaced},
    refused::{Refusal, Refused},
    walk::walk,
};

/// Length of the journal from which on a manifest is written in between.
const JOURNAL_MAX: u64 = 8 << 20;

/// The same when there is a pause anyway.
const JOURNAL_AT_PAUSE: u64 = 1 << 20;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Op {
    /// Where.
    pub(crate) path: RelPath,
    /// As it is to be. None: gone.
    pub(crate) entry: Option<Entry>,
    /// Where the content of a file comes from.
    pub(crate) content: Content,
    /// What is there and is somebody else's is replaced.
    pub(crate) replace: bool,
}

/// Where the content of a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// What is there has it.
    There,
    /// These bytes of the batch's data.
    Inline(std::ops::Range<usize>),
    /// Another file of the record.
    SameAs(RelPath),
    /// A large file that arrived in pieces.
    Arrived(u64),
}

/// An open target. Only one of its id is open anywhere, which its lock sees to. It is to be closed.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where it is: absolute, without symlinks.
    path: PathBuf,
    root: OwnedFd,
    /// Whom everything made here is given to. None: it is ours.
    owner: Option<(Uid, Gid)>,
    record: Record,
    names: Names,
    /// Directories that are open during a batch.
    dirs: Dirs,
    /// A new directory that is being filled.
    fresh: Option<Fresh>,
    /// New directories are made in their place, since the file system does not help otherwise.
    plain: bool,
    /// Directories that let us write for the duration of a batch, and the mode they had.
    relaxed: Vec<(RelPath, u16)>,
    /// Paths of the record by inode, made when it is first asked for in a batch.
    inodes: Option<HashMap<u64, RelPath>>,
    /// Large files under way.
    stages: HashMap<u64, Stage>,
    /// What came of large files is kept when it is closed.
    keeps: bool,
    /// Parts of large files that are kept.
    kept: HashMap<RelPath, Kept>,
    /// What the system takes from modes.
    umask: u16,
    /// Whether the file system keeps modes, once somebody asked.
    keeps_modes: Option<bool>,
    /// Cancelled when nobody waits for it any more: long reading ends then.
    stop: CancellationToken,
}

/// How an open target ended up: whether the record can be told by this position alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Names the history.
    pub(crate) epoch: String,
    /// Up to where it goes.
    pub(crate) generation: u64,
}

impl Target {
    /// One that keeps nothing and is ours, of which nothing was looked at yet.
    fn new(id: &str, path: &Path, root: OwnedFd, record: Record, stop: CancellationToken) -> Self {
        Self {
            path: path.to_owned(),
            root,
            owner: None,
            record,
            names: Names::new(id),
            dirs: Dirs::default(),
            fresh: None,
            plain: false,
            relaxed: Vec::new(),
            inodes: None,
            stages: HashMap::new(),
            keeps: false,
            kept: HashMap::new(),
            umask: meta::umask(),
            keeps_modes: None,
            stop,
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How far the record goes.
    pub(crate) fn position(&self) -> Position {
        Position {
            epoch: self.record.head.epoch.clone(),
            generation: self.record.head.generation,
        }
    }

    /// The record as the bytes of a manifest.
    pub(crate) fn manifest(&self) -> Vec<u8> {
        outlast_tree::manifest::encode(&self.record.head, &self.record.table)
    }

    /// Whether its path still leads to it.
    pub(crate) fn is_in_place(&self) -> Result<(), OpenError> {
        match rustix::fs::lstat(&self.path) {
            Ok(found) if found.st_ino == self.record.head.ino && found.st_dev == self.record.head.dev => {
                Ok(())
            }
            Ok(_) => Err(OpenError::Replaced(self.path.clone())),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                Err(OpenError::Missing(self.path.clone()))
            }
            Err(errno) => Err(OpenError::Io(errno.into())),
        }
    }

    /// Looks at all that was written. Returns what was found changed or gone, which is not in the record any more.
    ///
    /// # Errors
    /// When the record cannot be written, or nobody waits any more (`Interrupted`).
    pub(crate) fn check(&mut self) -> io::Result<Vec<RelPath>> {
        let altered = self.look(false)?;
        self.record.drop_paths(&altered)?;
        Ok(altered)
    }

    /// Ends it: what was not put in its place is removed, or kept where that was wanted, and what the journal says is written
    /// to the manifest.
    ///
    /// # Errors
    /// When the record cannot be written. It is whole nevertheless.
    pub(crate) fn close(mut self) -> io::Result<()> {
        for stage in std::mem::take(&mut self.stages).into_values() {
            self.leave(stage);
        }
        self.compact(0)
    }

    /// Writes the manifest anew when the journal is longer than this.
    fn compact(&mut self, above: u64) -> io::Result<()> {
        if self.record.journal_len() <= above {
            return Ok(());
        }
        // What the journal says of files in the making stays as far as it is true.
        let dirs = self.stages.values().map(|stage| stage.dir().to_vec());
        self.record.making = dirs.collect();
        let stages = self.stages.values().filter_map(Stage::part);
        let kept = self.kept.iter().map(|(path, kept)| (path, &kept.part));
        let parts: Vec<_> = stages.filter(|_| self.keeps).chain(kept).collect();
        let said = &self.record.parts;
        let parts = parts
            .into_iter()
            .filter(|(path, part)| said.get(path) == Some(part));
        let parts = parts.map(|(path, part)| (path.clone(), part.clone())).collect();
        self.record.parts = parts;
        self.record.compact()
    }

    /// Whether nobody waits any more.
    fn check_stop(&self) -> io::Result<()> {
        if self.stop.is_cancelled() {
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "nobody waits for it any more",
            ));
        }
        Ok(())
    }
}
