//! Looks at a source: every entry that counts, with what tells that it is still the same. Reads no content.
//!
//! Directories are listed by a few threads from one stack. Each knows its rules from the one above it, opens nothing
//! that does not count, and is told before it is opened, so that whoever watches it from then on misses nothing. What
//! cannot be looked at is not taken for gone: it is told as unknown.

use std::{
    collections::HashMap,
    mem::MaybeUninit,
    ops::Range,
    os::fd::OwnedFd,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use outlast_tree::{BadPath, Kind, RelPath, Table};
use rustix::{
    fs::{FileType, RawDir},
    io::Errno,
};

use crate::{
    problem::{Problem, ProblemKind},
    root::{Root, Seen, look_at},
    rules::{DirRules, Holds, Rules, Verdict},
};

/// More threads gain nothing: the kernel's own locks are in the way.
const MOST_THREADS: usize = 4;
/// Bytes of names that the kernel gives at once.
const NAMES: usize = 32 << 10;

/// What was found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Everything that counts.
    pub tree: Table<Seen>,
    /// Directories that were listed, in no order: the source itself is not among them. Some of them do not count, because
    /// nothing of what is tracked below them is there.
    pub dirs: Vec<RelPath>,
    /// What could not be looked at: nothing there or below counts as gone.
    pub unknown: Vec<RelPath>,
    /// What was left out.
    pub problems: Vec<Problem>,
    /// It was stopped before it was complete.
    pub stopped: bool,
}

/// One directory that was read.
#[derive(Debug)]
struct DirBatch {
    /// Its path; empty for the source.
    path: Vec<u8>,
    names: Vec<u8>,
    entries: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    name: Range<usize>,
    seen: Seen,
    /// A directory that counts only for the sake of what is tracked below it.
    only_tracked: bool,
    /// Where the batch of a directory will be.
    slot: Option<usize>,
}

/// What to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Entries with all that is below them.
    pub trees: Vec<RelPath>,
    /// Entries alone.
    pub entries: Vec<RelPath>,
}

/// Looks at everything. `opening` is called by several threads with the path of each directory right before it is opened,
/// the empty one for the source.
#[must_use]
pub fn scan(root: &Root, rules: &Rules, stop: &AtomicBool, opening: &(dyn Fn(&[u8]) + Sync)) -> Scan {
    let work = Work::new(root, rules, stop, opening);
    work.add(Job {
        path: Vec::new(),
        from: From::Root,
        slot: 0,
    });
    work.run(threads());
    work.assemble([(Vec::new(), 0)])
}

/// Looks at some entries, as they are now. What is not in the result and not below anything unknown is gone or does not
/// count; neither does anything below it. `opening` is called as by [`scan`].
#[must_use]
pub fn look(
    root: &Root,
    rules: &Rules,
    scope: &Scope,
    stop: &AtomicBool,
    opening: &(dyn Fn(&[u8]) + Sync),
) -> Scan {
    let work = Work::new(root, rules, stop, opening);
    let mut known = HashMap::new();
    let mut tops = Vec::new();
    let mut scan = Scan::default();
    let all = scope.trees.iter().map(|path| (path, true));
    for (path, deep) in all.chain(scope.entries.iter().map(|path| (path, false))) {
        let parent = path.parent().unwrap_or_default();
        let found = match work.rules_of(parent, &mut known) {
            Ok(Some(dir)) => match root.look(path) {
                Ok(seen) => Some((dir, seen)),
                Err(errno) => {
                    work.failed(path, errno);
                    None
                }
            },
            Ok(None) => None,
            Err(errno) => {
                work.failed(parent, errno);
                None
            }
        };
        let Some((dir, seen)) = found else { continue };
        let verdict = rules.verdict(&dir, path.name(), seen.kind == Kind::Dir);
        if verdict == Verdict::Ignored {
            continue;
        }
        if seen.kind == Kind::Other {
            work.special(path);
            continue;
        }
        let only_tracked = verdict == Verdict::HoldsTracked;
        if seen.special_bits && !only_tracked {
            work.bits(path);
        }
        if seen.kind == Kind::Dir && deep {
            let slot = work.slot();
            tops.push((path.to_vec(), slot, seen, only_tracked));
            work.add(Job {
                path: path.to_vec(),
                from: From::Above(dir, verdict),
                slot,
            });
        } else if !only_tracked {
            scan.tree.insert(path.clone(), seen);
        }
    }
    work.run(if tops.is_empty() { 0 } else { threads() });
    let below = work.assemble(tops.iter().map(|(path, slot, ..)| (path.clone(), *slot)));
    for (path, slot, seen, only_tracked) in tops {
        let Ok(path) = RelPath::new(&path) else { continue };
        let there = work.is_there(slot);
        if there && (!only_tracked || below.tree.range(&path).next().is_some()) {
            scan.tree.insert(path.clone(), seen);
        }
        if there {
            scan.dirs.push(path);
        }
    }
    for (path, seen) in below.tree.iter() {
        if let Ok(path) = RelPath::new(path) {
            scan.tree.insert(path, *seen);
        }
    }
    scan.dirs.extend(below.dirs);
    scan.unknown = below.unknown;
    scan.problems = below.problems;
    scan.stopped = below.stopped;
    scan
}

fn threads() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_THREADS)
}

/// A directory to list.
struct Job {
    path: Vec<u8>,
    from: From,
    slot: usize,
}

/// Where its rules come from.
enum From {
    Root,
    Above(DirRules, Verdict),
}

struct Work<'a> {
    root: &'a Root,
    rules: &'a Rules,
    stop: &'a AtomicBool,
    opening: &'a (dyn Fn(&[u8]) + Sync),
    queue: Mutex<Queue>,
    more: Condvar,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Directories that are queued or being listed.
    open: usize,
}

#[derive(Default)]
struct Done {
    /// By slot. None: not listed, or gone when it should have been.
    batches: Vec<Option<DirBatch>>,
    unknown: Vec<Vec<u8>>,
    problems: Vec<Problem>,
}

impl<'a> Work<'a> {
    fn new(
        root: &'a Root,
        rules: &'a Rules,
        stop: &'a AtomicBool,
        opening: &'a (dyn Fn(&[u8]) + Sync),
    ) -> Self {
        let work = Self {
            root,
            rules,
            stop,
            opening,
            queue: Mutex::default(),
            more: Condvar::new(),
            done: Mutex::default(),
        };
        // Slot 0 is that of the source.
        work.slot();
        work
    }

    fn slot(&self) -> usize {
        let mut done = lock(&self.done);
        done.batches.push(None);
        done.batches.len() - 1
    }

    fn add(&self, job: Job) {
        let mut queue = lock(&self.queue);
        queue.jobs.push(job);
        queue.open += 1;
    }

    fn run(&self, threads: usize) {
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| self.work());
            }
            if threads > 0 {
                self.work();
            }
        });
    }

    fn work(&self) {
        let mut buffer = Box::new_uninit_slice(NAMES);
        loop {
            let job = {
                let mut queue = lock(&self.queue);
                loop {
                    if queue.open == 0 || self.stop.load(Ordering::Relaxed) {
                        self.more.notify_all();
                        return;
                    }
                    match queue.jobs.pop() {
                        Some(job) => break job,
                        // Another thread lists a directory and may find more, or ends.
                        None => queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
                    }
                }
            };
            let guard = Open(self);
            let found = self.list(job, &mut buffer);
            std::mem::forget(guard);
            let mut queue = lock(&self.queue);
            queue.open = queue.open + found.len() - 1;
            let wake = found.len() > 1 || queue.open == 0;
            queue.jobs.extend(found);
            drop(queue);
            if wake {
                self.more.notify_all();
            }
        }
    }

    /// Lists one directory, and gives those in it.
    fn list(&self, job: Job, buffer: &mut [MaybeUninit<u8>]) -> Vec<Job> {
        (self.opening)(&job.path);
        let dir = match self.root.open_dir(&job.path) {
            Ok(dir) => dir,
            Err(errno) => {
                self.failed(&job.path, errno);
                return Vec::new();
            }
        };
        let (names, listed, holds) = match names(&dir, buffer) {
            Ok(found) => found,
            Err(errno) => {
                self.failed(&job.path, errno);
                return Vec::new();
            }
        };
        let rules = match &job.from {
            From::Root => self.rules.root(&dir, holds),
            From::Above(above, verdict) => {
                let at = job
                    .path
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .map_or(0, |at| at + 1);
                self.rules.enter(above, &job.path[at..], *verdict, &dir, holds)
            }
        };
        let mut entries = Vec::with_capacity(listed.len());
        let mut dirs = Vec::new();
        let mut path = job.path.clone();
        for (name, kind) in listed {
            let text = &names[name.clone()];
            // Most file systems say what it is, so that what does not count is not even looked at.
            let mut verdict = None;
            if kind != FileType::Unknown {
                let is_dir = kind == FileType::Directory;
                match self.rules.verdict(&rules, text, is_dir) {
                    Verdict::Ignored => continue,
                    said => verdict = Some((is_dir, said)),
                }
            }
            let seen = match look_at(&dir, text) {
                Ok(seen) => seen,
                Err(errno) => {
                    self.failed(&join(&job.path, text), errno);
                    continue;
                }
            };
            let is_dir = seen.kind == Kind::Dir;
            let verdict = match verdict {
                Some((was, verdict)) if was == is_dir => verdict,
                _ => self.rules.verdict(&rules, text, is_dir),
            };
            if verdict == Verdict::Ignored {
                continue;
            }
            enter(&mut path, job.path.len(), text);
            match RelPath::check(&path) {
                Ok(()) if seen.kind == Kind::Other => self.special(&path),
                Ok(()) => {
                    if seen.special_bits && verdict != Verdict::HoldsTracked {
                        self.bits(&path);
                    }
                    let slot = is_dir.then(|| self.slot());
                    if let Some(slot) = slot {
                        dirs.push(Job {
                            path: path.clone(),
                            from: From::Above(rules.clone(), verdict),
                            slot,
                        });
                    }
                    entries.push(Found {
                        name,
                        seen,
                        only_tracked: verdict == Verdict::HoldsTracked,
                        slot,
                    });
                }
                Err(why) => self.refused(&path, why),
            }
        }
        entries.sort_unstable_by(|a, b| names[a.name.clone()].cmp(&names[b.name.clone()]));
        let batch = DirBatch {
            path: job.path,
            names,
            entries,
        };
        lock(&self.done).batches[job.slot] = Some(batch);
        dirs
    }

    /// The rules in a directory, or `None` when it does not count.
    fn rules_of(
        &self,
        dir: &[u8],
        known: &mut HashMap<Vec<u8>, Option<DirRules>>,
    ) -> Result<Option<DirRules>, Errno> {
        if let Some(rules) = known.get(dir) {
            return Ok(rules.clone());
        }
        let fd = self.root.open_dir(dir)?;
        let rules = match dir
            .iter()
            .rposition(|&byte| byte == b'/')
            .map(|at| dir.split_at(at))
        {
            None if dir.is_empty() => Some(self.rules.root(&fd, holds(&fd))),
            split => {
                let (above, name) = split.map_or((&b""[..], dir), |(above, name)| (above, &name[1..]));
                match self.rules_of(above, known)? {
                    None => None,
                    Some(above) => match self.rules.verdict(&above, name, true) {
                        Verdict::Ignored => None,
                        verdict => Some(self.rules.enter(&above, name, verdict, &fd, holds(&fd))),
                    },
                }
            }
        };
        known.insert(dir.to_vec(), rules.clone());
        Ok(rules)
    }

    /// Puts what was found in order, beginning with these directories, which must be so themselves.
    fn assemble(&self, tops: impl IntoIterator<Item = (Vec<u8>, usize)>) -> Scan {
        let mut done = lock(&self.done);
        let mut scan = Scan {
            stopped: self.stop.load(Ordering::Relaxed),
            problems: std::mem::take(&mut done.problems),
            ..Scan::default()
        };
        scan.problems.extend(
            self.rules
                .problems()
                .into_iter()
                .map(|problem| Problem::new(&problem.path, ProblemKind::Unreadable, problem.message)),
        );
        scan.unknown = done
            .unknown
            .iter()
            .filter_map(|path| RelPath::new(path).ok())
            .collect();
        for (_, slot) in tops {
            if let Some(batch) = &done.batches[slot] {
                emit(batch, &done.batches, &mut scan);
            }
        }
        scan.tree.merge();
        scan
    }

    fn is_there(&self, slot: usize) -> bool {
        lock(&self.done).batches[slot].is_some()
    }

    /// Something could not be looked at. When it is just not there any more, that is no problem.
    fn failed(&self, path: &[u8], errno: Errno) {
        if matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
            return;
        }
        let mut done = lock(&self.done);
        done.unknown.push(path.to_vec());
        let problem = Problem::new(
            path,
            ProblemKind::Unreadable,
            format!("it cannot be looked at: {errno}"),
        );
        done.problems.push(problem);
    }

    fn special(&self, path: &[u8]) {
        let message = "it is a device, FIFO or socket, which are not copied";
        let problem = Problem::new(path, ProblemKind::SpecialFile, message);
        lock(&self.done).problems.push(problem);
    }

    fn bits(&self, path: &[u8]) {
        let message = "it is there without its setuid, setgid or sticky bit, which are not copied";
        let problem = Problem::new(path, ProblemKind::SpecialBits, message);
        lock(&self.done).problems.push(problem);
    }

    fn refused(&self, path: &[u8], why: BadPath) {
        let problem = Problem::new(path, ProblemKind::NameRefused, why.to_string());
        lock(&self.done).problems.push(problem);
    }
}

/// A directory that is being listed. The others wait for it, so one that breaks ends the whole.
struct Open<'a, 'b>(&'a Work<'b>);

impl Drop for Open<'_, '_> {
    fn drop(&mut self) {
        lock(&self.0.queue).open = 0;
        self.0.more.notify_all();
    }
}

/// Adds a directory's entries and all below them. Paths come in order, because those of a directory come right after it.
fn emit(batch: &DirBatch, batches: &[Option<DirBatch>], scan: &mut Scan) {
    // An explicit stack: how deep trees are is not for us to say.
    let mut stack = vec![(batch, 0)];
    // Directories that count when something below them does.
    let mut waiting: Vec<(Vec<u8>, Seen)> = Vec::new();
    let mut path = Vec::new();
    while let Some((batch, at)) = stack.pop() {
        let Some(found) = batch.entries.get(at) else {
            continue;
        };
        stack.push((batch, at + 1));
        path.clear();
        path.extend_from_slice(&batch.path);
        enter(&mut path, batch.path.len(), &batch.names[found.name.clone()]);
        waiting.retain(|(dir, _)| path.starts_with(dir) && path.get(dir.len()) == Some(&b'/'));
        let inside = match found.slot {
            Some(slot) => match &batches[slot] {
                Some(inside) => Some(inside),
                // Unknown directories stay, those that are gone go.
                None if scan.stopped || scan.unknown.iter().any(|dir| **dir == *path) => None,
                None => continue,
            },
            None => None,
        };
        // All of them were taken for paths before.
        if inside.is_some()
            && let Ok(dir) = RelPath::new(&path)
        {
            scan.dirs.push(dir);
        }
        if found.only_tracked {
            waiting.push((path.clone(), found.seen));
        } else {
            for (dir, seen) in waiting.drain(..) {
                let _path = scan.tree.append(&dir, seen);
            }
            let _path = scan.tree.append(&path, found.seen);
        }
        if let Some(inside) = inside {
            stack.push((inside, 0));
        }
    }
}

/// Names in a directory one after the other, where each one is with its kind, and what they hold of rules.
type Names = (Vec<u8>, Vec<(Range<usize>, FileType)>, Holds);

fn names(dir: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> Result<Names, Errno> {
    let mut names = Vec::new();
    let mut listed = Vec::new();
    let mut holds = Holds::default();
    let mut reader = RawDir::new(dir, buffer);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        holds.note(name);
        let start = names.len();
        names.extend_from_slice(name);
        listed.push((start..names.len(), entry.file_type()));
    }
    Ok((names, listed, holds))
}

/// What a directory holds of rules, without listing it. Files of patterns that are not there are empty.
fn holds(dir: &OwnedFd) -> Holds {
    Holds {
        gitignore: true,
        outlastignore: true,
        git: look_at(dir, b".git").is_ok(),
    }
}

/// Makes a path that begins with that of a directory, of this length, the path of a name in it.
fn enter(path: &mut Vec<u8>, dir: usize, name: &[u8]) {
    path.truncate(dir);
    if dir > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        name.to_vec()
    } else {
        [dir, b"/", name].concat()
    }
}

/// Nothing that holds these locks can leave what they guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
