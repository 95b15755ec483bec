//! Opening a target: which directory it is, whether it still is that one, whose it is to write to, and what is still as it
//! was left there. Forgetting one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use outlast_tree::{StatKey, Table, manifest::Head};
use rustix::{
    event::{Timespec, poll},
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{
    Grounds, Misplaced, Target,
    kept::KEPT_FOR,
    place::{self, in_the_way, overlapping, owner_of},
    record::{Loaded, Manifest, Named, Record, parents},
    staging::Names,
};
use crate::{
    proc,
    spool::{Dir, Lock, Root, at},
};

/// How long another process may still hold a target: the helper of a connection that broke, which has not noticed yet or is
/// finishing a batch.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// Pause between two looks at a lock that is held.
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// What is to be opened.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    /// Where records are.
    pub(crate) spool: &'a Root,
    /// What is around targets.
    pub(crate) grounds: &'a Grounds,
    /// Id of the sync.
    pub(crate) id: &'a str,
    /// The directory as it was named.
    pub(crate) target: &'a [u8],
    /// One that is gone, or is another than before, is made or taken.
    pub(crate) here: bool,
    /// One that is not empty is taken although there is no record.
    pub(crate) occupied: bool,
    /// All contents are read.
    pub(crate) reread: bool,
    /// Parts of large files are kept when it is closed, and those that were kept are taken in.
    pub(crate) keep: bool,
    /// Permission bits of the target if it has to be made.
    pub(crate) mode: Option<u32>,
    /// Ids of all syncs there are; records of others are forgotten where they are in the way.
    pub(crate) all: &'a [String],
    /// Cancelled when nobody waits for it.
    pub(crate) stop: CancellationToken,
}

/// Why a target cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// It cannot be a target.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// It was there and is not any more.
    #[error("the target {0:?} is not there any more")]
    Missing(PathBuf),
    /// It is another directory than before.
    #[error("the target {0:?} is another directory than before")]
    Replaced(PathBuf),
    /// It holds something already.
    #[error("the target {0:?} is not empty")]
    NotEmpty(PathBuf),
    /// Another process has it open.
    #[error("another helper is still writing to the target")]
    Busy,
    /// Nobody waits for it any more.
    #[error("nobody waits for it any more")]
    Stopped,
    /// The system refused.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::Interrupted {
            Self::Stopped
        } else {
            Self::Io(error)
        }
    }
}

impl Opening<'_> {
    /// Opens it. Returns it with the number of paths that were found changed or gone.
    ///
    /// # Errors
    /// When it is refused; nothing is left then that was not there before.
    pub(crate) fn open(self) -> Result<(Target, u64), OpenError> {
        let path = self.grounds.resolve(self.target)?;
        let dir = self.spool.sync(self.id);
        let lock = lock(&dir, &self.stop)?;
        let known = Named::read(&dir)?;
        let opened = self.open_locked(&path, &dir, lock, known.as_ref());
        if opened.is_err() && known.is_none() && !dir.file("manifest").exists() {
            // The lock is gone with it, under which nothing was written down.
            dir.remove()?;
        }
        opened
    }

    fn open_locked(
        &self,
        path: &Path,
        dir: &Dir,
        lock: Lock,
        named: Option<&Named>,
    ) -> Result<(Target, u64), OpenError> {
        let Loaded {
            mut record,
            mut replayed,
            found,
        } = Record::load(dir.clone(), lock)?;
        if found == Manifest::Damaged {
            let id = self.id;
            tracing::error!(
                id,
                ?path,
                "the record of a sync is damaged; what is there is compared by its content"
            );
        }
        let boot = proc::boot_id()?;
        self.admit(path, named, found, &record.head, &boot)?;
        self.claim(path, dir, named)?;
        let owner = owner_of(path);
        place::make(path, owner, self.mode)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let root = opened.map_err(|errno| at("opening", path, &errno.into()))?;
        let before = record.head.clone();
        let here = rustix::fs::fstat(&root).map_err(io::Error::from)?;
        (record.head.dev, record.head.ino) = (here.st_dev, here.st_ino);
        if record.head.boot != boot {
            doubt(&mut record, boot);
        }
        let mut target = Target {
            owner,
            keeps: self.keep,
            ..Target::new(self.id, path, root, record, self.stop.clone())
        };
        if self.reread {
            // Nothing is taken for what it was.
            replayed.parts.clear();
        }
        target.make_up(replayed)?;
        let altered = target.look(self.reread)?;
        if !altered.is_empty() {
            // All of it is told now anyway, and the number that comes next may be one that was lost with a journal.
            target.record.begin_epoch();
            target.record.forget(&altered);
        }
        if found != Manifest::Whole || target.record.head != before || target.record.journal_len() > 0 {
            target.record.compact()?;
        }
        Ok((target, altered.len() as u64))
    }

    /// Decides whether the directory may be written to.
    fn admit(
        &self,
        path: &Path,
        named: Option<&Named>,
        found: Manifest,
        head: &Head,
        boot: &str,
    ) -> Result<(), OpenError> {
        let there = directory(path)?;
        // Whoever was killed before the first manifest wrote nothing yet.
        let known = found != Manifest::None;
        match (known, there) {
            (true, _) if self.here => Ok(()),
            (true, None) => Err(OpenError::Missing(path.to_owned())),
            (true, Some(there)) => {
                if is_other(head, boot, &there) || named.is_some_and(|named| named.path() != path) {
                    return Err(OpenError::Replaced(path.to_owned()));
                }
                Ok(())
            }
            (false, Some(_)) if !self.occupied && !is_empty(path, &Names::new(self.id))? => {
                Err(OpenError::NotEmpty(path.to_owned()))
            }
            (false, _) => Ok(()),
        }
    }

    /// Takes the directory for this sync. No two can take overlapping ones at the same moment.
    fn claim(&self, path: &Path, dir: &Dir, named: Option<&Named>) -> Result<(), OpenError> {
        if named.is_some_and(|named| named.path() == path) {
            return Ok(());
        }
        let all = dir.path().parent().unwrap_or_else(|| dir.path());
        let all = fs::File::open(all).map_err(|error| at("opening", all, &error))?;
        flock(&all, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        for other in overlapping(self.spool, self.id, path)? {
            if in_the_way(&other, self.all) {
                return Err(other.overlap(path).into());
            }
            tracing::info!(id = other.id, path = ?other.path, "the record of a sync that there is no more makes room");
            let record = self.spool.sync(&other.id);
            // Nobody can ask for it any more, and so what cannot be removed keeps nobody away.
            clear(&record, &other.id, &self.stop, |_swept| record.remove())?;
        }
        Named::new(path).write(dir)?;
        Ok(())
    }
}

/// Looks at a directory that is to be a target. None: nothing is there.
///
/// # Errors
/// When it is something else, or cannot be looked at.
pub(super) fn directory(path: &Path) -> Result<Option<rustix::fs::Stat>, OpenError> {
    match rustix::fs::stat(path) {
        Ok(there) if outlast_tree::Kind::of(&there) == outlast_tree::Kind::Dir => Ok(Some(there)),
        Ok(_) => Err(Misplaced::Senseless(format!("the target {path:?} is no directory")).into()),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(at("looking at", path, &errno.into()).into()),
    }
}

/// Has what was written since the last time everything was known to be on the disk looked at again, since the machine was
/// started anew. Which generations were lost with the power nobody knows.
fn doubt(record: &mut Record, boot: String) {
    let durable = record.head.durable;
    let doubted: Vec<_> = record
        .table
        .iter()
        .filter(|(_, far)| far.generation > durable)
        .map(|(path, _)| path.to_vec())
        .collect();
    for path in doubted {
        if let Some(far) = record.table.get_mut(&path) {
            far.key.ctime_ns = StatKey::DOUBTED;
        }
    }
    record.head.boot = boot;
    record.begin_epoch();
}

/// Whether a directory holds nothing, but for files in the making of this sync.
fn is_empty(path: &Path, names: &Names) -> io::Result<bool> {
    use std::os::unix::ffi::OsStrExt as _;
    for entry in fs::read_dir(path).map_err(|error| at("reading the directory", path, &error))? {
        let entry = entry.map_err(|error| at("reading the directory", path, &error))?;
        if !names.has(entry.file_name().as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes the lock of a record, whose directory is made when it is missing.
fn lock(dir: &Dir, stop: &CancellationToken) -> Result<Lock, OpenError> {
    let until = Instant::now() + BUSY_FOR;
    loop {
        dir.create_new()?;
        match Lock::try_take(dir) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            // It was forgotten just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if stop.is_cancelled() {
            return Err(OpenError::Stopped);
        }
        if Instant::now() >= until {
            return Err(OpenError::Busy);
        }
        // There is no event to wait for: who holds it ends as soon as it can.
        let _ = poll(&mut [], Some(&LOOK_AGAIN));
    }
}

/// Whether a directory is another than the one that a record tells of.
fn is_other(head: &Head, boot: &str, there: &rustix::fs::Stat) -> bool {
    let other_dev = head.boot == boot && head.dev != there.st_dev;
    head.ino != 0 && (head.ino != there.st_ino || other_dev)
}

/// Forgets a sync: its record goes, and what was left half-written at its target. A missing record is fine.
///
/// # Errors
/// When somebody has the target open, or something cannot be removed. The record is still there then.
pub(crate) fn forget(spool: &Root, id: &str, stop: &CancellationToken) -> Result<(), OpenError> {
    let dir = spool.sync(id);
    clear(&dir, id, stop, |swept| {
        swept?;
        dir.remove()
    })
}

fn clear(
    dir: &Dir,
    id: &str,
    stop: &CancellationToken,
    then: impl FnOnce(io::Result<()>) -> io::Result<()>,
) -> Result<(), OpenError> {
    if !dir.exists() {
        return Ok(());
    }
    let lock = lock(dir, stop)?;
    Ok(sweep_all(id, dir, lock, false, stop, then)?)
}

/// Removes what was left half-written at the targets of syncs that nobody opened for as long as parts of large files are kept:
/// who was to go on with them may never come again. What fails is left for the next time.
pub(crate) fn tidy(spool: &Root, stop: &CancellationToken) {
    for id in spool.syncs().unwrap_or_default() {
        let dir = spool.sync(&id);
        let journal = dir.file("journal");
        if !is_left(&journal) {
            continue;
        }
        let swept = Lock::try_take(&dir).and_then(|lock| match lock {
            // Nobody came meanwhile.
            Some(lock) if is_left(&journal) => {
                // Not again before as much time has passed.
                fs::File::open(&journal)?.set_modified(SystemTime::now())?;
                // The journal is not written to while a large file arrives, and so parts of it may be younger.
                sweep_all(&id, &dir, lock, true, stop, |swept| swept)
            }
            // Somebody has it open, or had.
            Some(_) | None => Ok(()),
        });
        if let Err(error) = swept {
            tracing::warn!(id, %error, "what was left of a sync cannot be removed");
        }
    }
}

/// Whether a journal tells of something, and nobody wrote to it for as long as parts of large files are kept.
fn is_left(journal: &Path) -> bool {
    fs::metadata(journal).is_ok_and(|found| {
        let age = found.modified().ok().and_then(|at| at.elapsed().ok());
        found.len() > 0 && age.is_some_and(|age| age > KEPT_FOR)
    })
}

/// Removes all files in the making of a sync, but for parts that are not too old if those are kept, and does what is to be
/// done before the lock is let go.
fn sweep_all(
    id: &str,
    dir: &Dir,
    lock: Lock,
    keeps: bool,
    stop: &CancellationToken,
    then: impl FnOnce(io::Result<()>) -> io::Result<()>,
) -> io::Result<()> {
    let Some(named) = Named::read(dir)? else {
        let done = then(Ok(()));
        drop(lock);
        return done;
    };
    let path = named.path();
    let Loaded {
        mut record,
        mut replayed,
        ..
    } = Record::load(dir.clone(), lock)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(root) => root,
        // Where the target is gone, so is what was left in it. The record has the lock.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return then(Ok(())),
        Err(errno) => return then(Err(at("opening", &path, &errno.into()))),
    };
    let there = rustix::fs::fstat(&root).map_err(io::Error::from)?;
    if is_other(&record.head, &proc::boot_id()?, &there) {
        // Nothing in it is ours but what is called so.
        record.table = Table::new();
        for (_, changes) in replayed.pending.drain(..) {
            replayed.making.extend(parents(&changes));
        }
    }
    let mut target = Target {
        keeps,
        ..Target::new(id, &path, root, record, stop.clone())
    };
    then(match target.make_up(replayed) {
        Ok(None) => Ok(()),
        Ok(Some(errno)) => Err(at("removing what was left half-written in", &path, &errno.into())),
        Err(error) => Err(error),
    })
}
