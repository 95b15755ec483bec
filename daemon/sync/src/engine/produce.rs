//! Turns a plan into messages, in the order of the plan: reads what is to be sent, on threads that may wait for a disk.
//!
//! Contents that the host has already are named and not sent. It knows neither what becomes of the messages nor what the
//! host says to them. What is large and has to be sent is not sent here ([`super::large`]), so that nothing waits for it.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    thread,
    time::SystemTime,
};

use bytes::Bytes;
use outlast_client::helper_v1::{SyncOp, SyncTargetRequest, sync_op};
use outlast_tree::{Entry, Hash, Kind, RelPath, StatKey};

use super::{
    message,
    outlet::{Outlet, Stopped},
    read::{self, Content},
};
use crate::{
    delta::{self, Signature},
    plan::{Plan, Put, is_at_or_below},
    problem::Problem,
    root::{Root, Seen},
};

/// Changes in one batch.
const BATCH_OPS: usize = 1000;
/// Bytes of content in one batch.
const BATCH_BYTES: usize = 1 << 20;
/// Files longer than this are sent in pieces.
pub(crate) const LARGE: u64 = 1 << 20;
/// Files that are read at once, by several threads. Fewer, and small files are over before their threads are.
const READ_AHEAD: usize = 256;
/// As many are read without other threads.
const FEW: usize = 16;
/// Bytes that are read at once.
const READ_AHEAD_BYTES: u64 = 8 << 20;
/// Threads that read.
pub(crate) const READERS: usize = 2;
/// What is shorter is not worth being looked for elsewhere on the host.
const WORTH_FINDING: u64 = 16 << 10;

/// What comes out.
#[derive(Debug)]
pub(crate) enum Produced {
    /// A batch, and how many bytes of content are sent with it.
    Batch {
        request: SyncTargetRequest,
        pending: Vec<Pending>,
        sent: u64,
    },
    /// A part of a large file: bytes of it, and how many of them are sent.
    Piece {
        request: SyncTargetRequest,
        bytes: u64,
        sent: u64,
    },
    /// A large file that is to be sent.
    Large(Put),
    /// A large file that changed while it was sent.
    Changed,
    /// The host has it just so; this was learnt by reading it.
    Same {
        path: RelPath,
        bytes: u64,
        learnt: Option<Learnt>,
    },
    /// A path that was not sent: it cannot be had, or (without a problem) is not what it was any more.
    Left {
        path: RelPath,
        bytes: u64,
        problem: Option<Problem>,
    },
}

/// A change that was sent and is not answered yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) path: RelPath,
    /// What it is to be. None: it goes.
    pub(crate) new: Option<Entry>,
    /// What was seen here. None: it goes.
    pub(crate) seen: Option<Seen>,
    /// What was learnt of its content.
    pub(crate) learnt: Option<Learnt>,
    /// Bytes that are done with it, and not with the pieces before it.
    pub(crate) bytes: u64,
}

/// What was learnt by reading.
#[derive(Debug)]
pub(crate) struct Learnt {
    pub(crate) key: StatKey,
    pub(crate) hash: Hash,
    pub(crate) began: SystemTime,
    pub(crate) signature: Option<Signature>,
}

/// Contents the host has.
#[derive(Debug, Default)]
pub(crate) struct Index {
    paths: HashMap<Hash, RelPath>,
    /// How long they are. True: one of them goes.
    sizes: HashMap<u64, bool>,
}

impl Index {
    /// Of what may help with a plan: files as long as those that come and may be there under another name.
    pub(crate) fn of<'a>(plan: &Plan, entries: impl Iterator<Item = (&'a [u8], &'a Entry)>) -> Self {
        let goes = !plan.last.is_empty() || !plan.first.is_empty();
        let is_wanted = |put: &&Put| {
            let size = put.seen.key.size;
            put.seen.kind == Kind::File
                && ((goes && size > 0) || (put.old.is_none() && size >= WORTH_FINDING))
        };
        let wanted: HashSet<u64> = plan
            .puts
            .iter()
            .filter(is_wanted)
            .map(|put| put.seen.key.size)
            .collect();
        let mut index = Self::default();
        if wanted.is_empty() {
            return index;
        }
        let leaving: HashSet<&[u8]> = plan.last.iter().map(RelPath::as_bytes).collect();
        let fits = |entry: &Entry| entry.kind == Kind::File && wanted.contains(&entry.size);
        for (path, entry) in entries.filter(|(_, entry)| fits(entry)) {
            if let Ok(path) = RelPath::new(path) {
                *index.sizes.entry(entry.size).or_default() |= leaving.contains(path.as_bytes());
                index.paths.insert(entry.hash, path);
            }
        }
        index
    }

    /// Whether something of this length may be in it.
    pub(crate) fn may_have(&self, size: u64) -> bool {
        self.sizes.contains_key(&size)
    }

    /// Where the host has this content for a path with this entry. `Some(None)`: at the path itself.
    pub(crate) fn has(&self, old: Option<&Entry>, hash: &Hash) -> Option<Option<RelPath>> {
        if old.is_some_and(|old| old.kind == Kind::File && old.hash == *hash) {
            return Some(None);
        }
        self.paths.get(hash).cloned().map(Some)
    }

    /// Takes out of a plan what is large and is to be sent for itself, by all that is known before it is read. What may
    /// have its content from a file that goes stays, unless it is under way.
    pub(crate) fn split(&self, plan: &mut Plan, is_under_way: impl Fn(&RelPath) -> bool) -> Vec<Put> {
        let is_large = |put: &mut Put| {
            put.seen.kind == Kind::File
                && put.seen.key.size > LARGE
                && (is_under_way(&put.path)
                    || self.sizes.get(&put.seen.key.size) != Some(&true)
                        && put
                            .hash
                            .is_none_or(|hash| self.has(put.old.as_ref(), &hash).is_none()))
        };
        let large: Vec<Put> = plan.puts.extract_if(.., is_large).collect();
        plan.files -= large.len() as u64;
        plan.bytes -= large.iter().map(|put| put.seen.key.size).sum::<u64>();
        large
    }
}

/// What it takes to produce.
pub(crate) struct Job {
    pub(crate) root: Arc<Root>,
    pub(crate) plan: Plan,
    pub(crate) index: Arc<Index>,
    /// Paths whose content is to be sent whatever the host is thought to have.
    pub(crate) forced: HashSet<RelPath>,
    /// What is there and not ours is replaced.
    pub(crate) replace: bool,
    /// The same of what is at and below these paths.
    pub(crate) adopted: Vec<RelPath>,
    pub(crate) outlet: Outlet,
}

/// Produces all of it. Blocking.
pub(crate) fn produce(job: Job) {
    let Job {
        root,
        plan,
        index,
        forced,
        replace,
        adopted,
        outlet,
    } = job;
    let mut producer = Producer {
        root,
        index,
        forced,
        replace,
        adopted,
        outlet,
        ops: Vec::new(),
        pending: Vec::new(),
        data: Vec::new(),
    };
    // A stop is what ends it early; there is nothing else to say.
    let _stopped = producer.all(plan);
}

struct Producer {
    root: Arc<Root>,
    index: Arc<Index>,
    forced: HashSet<RelPath>,
    replace: bool,
    adopted: Vec<RelPath>,
    outlet: Outlet,
    ops: Vec<SyncOp>,
    pending: Vec<Pending>,
    data: Vec<u8>,
}

impl Producer {
    fn all(&mut self, plan: Plan) -> Result<(), Stopped> {
        for path in plan.first {
            self.remove(path)?;
        }
        // What is large comes last: nothing small waits for it. Directories are never large, so they still come first.
        let (large, small): (Vec<Put>, Vec<Put>) = plan
            .puts
            .into_iter()
            .partition(|put| put.seen.kind == Kind::File && put.seen.key.size > LARGE);
        let puts: Vec<Put> = small.into_iter().chain(large).collect();
        let mut puts = puts.as_slice();
        while !puts.is_empty() {
            let (now, later) = puts.split_at(portion(puts));
            let mut contents = self.read(now);
            for (put, content) in now.iter().zip(&mut contents) {
                self.put(put, content.take())?;
            }
            puts = later;
        }
        for path in plan.last {
            self.remove(path)?;
        }
        for (path, seen) in plan.modes {
            self.add(path, Entry::dir(seen.mode), Some(seen), None, None)?;
        }
        self.close()
    }

    /// Contents of those that are to be read in one go, by several threads where they are many.
    fn read(&self, puts: &[Put]) -> Vec<Option<Content>> {
        let read = |put: &Put| {
            self.is_read(put)
                .then(|| read::small(&self.root, &put.path, LARGE))
        };
        if puts.len() < FEW {
            return puts.iter().map(read).collect();
        }
        thread::scope(|scope| {
            let parts: Vec<_> = puts
                .chunks(puts.len().div_ceil(READERS))
                .map(|part| scope.spawn(move || part.iter().map(read).collect::<Vec<_>>()))
                .collect();
            let joined = parts.into_iter().map(thread::ScopedJoinHandle::join);
            // A thread that panicked has read nothing: its files are read one by one.
            let read_again = |part: usize| {
                let part = puts.chunks(puts.len().div_ceil(READERS)).nth(part);
                part.unwrap_or_default().iter().map(|_put| None).collect()
            };
            joined
                .enumerate()
                .flat_map(|(part, result)| result.unwrap_or_else(|_panic| read_again(part)))
                .collect()
        })
    }

    fn is_read(&self, put: &Put) -> bool {
        let is_known = put.hash.is_some_and(|hash| self.has(put, &hash).is_some());
        put.seen.kind == Kind::File && put.seen.key.size <= LARGE && !is_known
    }

    /// Where the host has this content for this path. `Some(None)`: at the path itself.
    fn has(&self, put: &Put, hash: &Hash) -> Option<Option<RelPath>> {
        if self.forced.contains(&put.path) {
            return None;
        }
        self.index.has(put.old.as_ref(), hash)
    }

    fn put(&mut self, put: &Put, content: Option<Content>) -> Result<(), Stopped> {
        match put.seen.kind {
            Kind::Dir => {
                // Until all in it is done. The plan sets the right mode then.
                let entry = Entry::dir(put.seen.mode | 0o700);
                self.add(put.path.clone(), entry, Some(put.seen), None, None)
            }
            Kind::Link => {
                let Ok(says) = self.root.read_link(&put.path) else {
                    return self.leave(put, None);
                };
                let entry = Entry::link(&says);
                let learnt = Learnt {
                    key: put.seen.key,
                    hash: entry.hash,
                    began: SystemTime::now(),
                    signature: None,
                };
                if put.old.as_ref() == Some(&entry) && !self.forced.contains(&put.path) {
                    return self.same(put, Some(learnt));
                }
                self.add(put.path.clone(), entry, Some(put.seen), None, Some(learnt))
            }
            Kind::File => self.file(put, content),
            Kind::Other => Ok(()),
        }
    }

    fn file(&mut self, put: &Put, content: Option<Content>) -> Result<(), Stopped> {
        if content.is_none()
            && let Some(hash) = put.hash
            && let Some(place) = self.has(put, &hash)
        {
            let seen = put.seen;
            let entry = Entry::file(seen.mode, seen.key.mtime_ns, seen.key.size, hash);
            return self.add_file(put, entry, seen, place.as_ref().map(same_as), None);
        }
        let content = match content {
            Some(content) => content,
            None if put.seen.key.size > LARGE => Content::Long,
            None => read::small(&self.root, &put.path, LARGE),
        };
        match content {
            Content::Read {
                seen,
                bytes,
                hash,
                began,
            } => {
                let entry = Entry::file(seen.mode, seen.key.mtime_ns, seen.key.size, hash);
                let learnt = Learnt {
                    key: seen.key,
                    hash,
                    began,
                    signature: None,
                };
                let content = match self.has(put, &hash) {
                    Some(place) => place.as_ref().map(same_as),
                    None => {
                        if self.data.len() + bytes.len() > BATCH_BYTES {
                            self.close()?;
                        }
                        self.data.extend_from_slice(&bytes);
                        Some(sync_op::Content::Inline(true))
                    }
                };
                self.add_file(put, entry, seen, content, Some(learnt))
            }
            Content::Long => self.moved(put),
            Content::Gone => self.leave(put, None),
            Content::Problem(problem) => self.leave(put, Some(problem)),
        }
    }

    /// A large file that may be there already under another name. One that is not is sent for itself.
    fn moved(&mut self, put: &Put) -> Result<(), Stopped> {
        let (file, seen) = match read::open(&self.root, &put.path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return self.leave(put, None),
            Err(problem) => return self.leave(put, Some(problem)),
        };
        let began = SystemTime::now();
        let length = seen.key.size;
        let known = || -> io::Result<_> {
            if self.forced.contains(&put.path) || !self.index.may_have(length) {
                return Ok(None);
            }
            let (hash, signature) = delta::sign(&file, length, READERS, &self.outlet.stop)?;
            let is_same = read::is_same(&file, &seen)?;
            let place = self.has(put, &hash).filter(|_| is_same);
            Ok(place.map(|place| (hash, signature, place)))
        };
        // Why it cannot be read is found out once more.
        let Some((hash, signature, place)) = known().ok().flatten() else {
            return self.outlet.say(Produced::Large(put.clone()));
        };
        let entry = Entry::file(seen.mode, seen.key.mtime_ns, length, hash);
        let learnt = Learnt {
            key: seen.key,
            hash,
            began,
            signature: Some(signature),
        };
        self.add_file(put, entry, seen, place.as_ref().map(same_as), Some(learnt))
    }

    fn remove(&mut self, path: RelPath) -> Result<(), Stopped> {
        self.ops.push(message::removal(&path));
        self.push(Pending {
            path,
            new: None,
            seen: None,
            learnt: None,
            bytes: 0,
        })
    }

    /// A file, unless the host has it just so.
    fn add_file(
        &mut self,
        put: &Put,
        new: Entry,
        seen: Seen,
        content: Option<sync_op::Content>,
        learnt: Option<Learnt>,
    ) -> Result<(), Stopped> {
        if content.is_none() && put.old.as_ref() == Some(&new) {
            return self.same(put, learnt);
        }
        self.add(put.path.clone(), new, Some(seen), content, learnt)
    }

    fn add(
        &mut self,
        path: RelPath,
        new: Entry,
        seen: Option<Seen>,
        content: Option<sync_op::Content>,
        learnt: Option<Learnt>,
    ) -> Result<(), Stopped> {
        let replace = self.replace || self.adopted.iter().any(|top| is_at_or_below(&path, top));
        self.ops.push(message::put(&path, &new, content, replace));
        self.push(Pending {
            path,
            bytes: new.size,
            new: Some(new),
            seen,
            learnt,
        })
    }

    fn push(&mut self, pending: Pending) -> Result<(), Stopped> {
        self.pending.push(pending);
        if self.pending.len() >= BATCH_OPS {
            self.close()?;
        }
        Ok(())
    }

    /// Sends what was gathered.
    fn close(&mut self) -> Result<(), Stopped> {
        if self.ops.is_empty() {
            return Ok(());
        }
        self.outlet.batch(
            std::mem::take(&mut self.ops),
            std::mem::take(&mut self.data),
            std::mem::take(&mut self.pending),
        )
    }

    /// The host has it just so.
    fn same(&self, put: &Put, learnt: Option<Learnt>) -> Result<(), Stopped> {
        self.outlet.say(Produced::Same {
            path: put.path.clone(),
            bytes: put.seen.key.size,
            learnt,
        })
    }

    /// It is not sent.
    fn leave(&self, put: &Put, problem: Option<Problem>) -> Result<(), Stopped> {
        self.outlet.say(Produced::Left {
            path: put.path.clone(),
            bytes: put.seen.key.size,
            problem,
        })
    }
}

pub(crate) fn same_as(path: &RelPath) -> sync_op::Content {
    sync_op::Content::SameAs(Bytes::copy_from_slice(path))
}

/// How many of them are read in one go.
fn portion(puts: &[Put]) -> usize {
    let mut bytes = 0;
    let fits = puts.iter().take(READ_AHEAD).take_while(|put| {
        bytes += put.seen.key.size.min(LARGE);
        bytes <= READ_AHEAD_BYTES
    });
    fits.count().max(1)
}
