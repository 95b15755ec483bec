//! What is to be done so that the host has what is here: pure, from what was seen here, what the record on the host says,
//! and the hashes that are known.
//!
//! Nothing that could not be looked at is taken for gone. Nothing that is not in the record is ever removed.

use outlast_tree::{Entry, Hash, Kind, RelPath, StatKey, Table};

use crate::{engine::Mode, root::Seen, scan::Scope};

/// Something that is to be on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) path: RelPath,
    pub(crate) seen: Seen,
    /// Of the content, when it is known.
    pub(crate) hash: Option<Hash>,
    /// What the record has there.
    pub(crate) old: Option<Entry>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// What has to go to make room for something of another kind; what is deepest first.
    pub(crate) first: Vec<RelPath>,
    /// What is to be there; directories before what is in them.
    pub(crate) puts: Vec<Put>,
    /// What else has to go; what is deepest first.
    pub(crate) last: Vec<RelPath>,
    /// Directories whose mode denies something to their owner, which comes when all in them is done; deepest first.
    pub(crate) modes: Vec<(RelPath, Seen)>,
    /// Files that go, both times.
    pub(crate) deletions: u64,
    /// Files that are to be there and were not.
    pub(crate) new_files: u64,
    /// Files that are to be there.
    pub(crate) files: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.puts.is_empty() && self.last.is_empty() && self.modes.is_empty()
    }
}

/// What a plan is made from.
pub(crate) struct Ground<'a> {
    /// What was seen here.
    pub(crate) tree: &'a Table<Seen>,
    /// What it was that was looked at. None: everything.
    pub(crate) scope: Option<&'a Scope>,
    /// What could not be looked at.
    pub(crate) unknown: &'a [RelPath],
    /// What the record says.
    pub(crate) far: &'a Table<Entry>,
    pub(crate) mode: Mode,
    /// The hash of the content of a file or link with this key.
    pub(crate) hash: &'a dyn Fn(&[u8], &StatKey) -> Option<Hash>,
    /// Whether the host refused just this before, so that it need not be tried again. None: that it goes.
    pub(crate) refused: &'a dyn Fn(&[u8], Option<&Seen>) -> bool,
}

/// Permissions that the owner needs to do something in a directory.
const OWNER: u16 = 0o700;

/// Makes the plan.
pub(crate) fn plan(ground: &Ground<'_>) -> Plan {
    let mut plan = Plan::default();
    match ground.scope {
        None => plan.cover(ground, ground.tree.iter(), ground.far.iter()),
        Some(scope) => {
            for top in outermost(&scope.trees) {
                plan.cover(ground, ground.tree.range(top), ground.far.range(top));
            }
            for path in &scope.entries {
                if !scope.trees.iter().any(|top| is_at_or_below(path, top)) {
                    let here = ground.tree.get(path).map(|seen| (path.as_bytes(), seen));
                    let there = ground.far.get(path).map(|entry| (path.as_bytes(), entry));
                    plan.cover(ground, here.into_iter(), there.into_iter());
                }
            }
        }
    }
    // Deepest first: what is below a directory comes after it in the order of paths.
    plan.first.reverse();
    plan.last.reverse();
    plan.modes.reverse();
    plan
}

impl Plan {
    /// Joins what is here with what is there, both in the order of paths.
    fn cover<'a>(
        &mut self,
        ground: &Ground<'_>,
        here: impl Iterator<Item = (&'a [u8], &'a Seen)>,
        there: impl Iterator<Item = (&'a [u8], &'a Entry)>,
    ) {
        let (mut here, mut there) = (here.peekable(), there.peekable());
        // What is below goes as well, and before anything comes.
        let mut makes_room: Option<RelPath> = None;
        loop {
            let order = match (here.peek(), there.peek()) {
                (None, None) => return,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((one, _)), Some((other, _))) => outlast_tree::order(one, other),
            };
            let (seen, entry) = match order {
                std::cmp::Ordering::Less => (here.next(), None),
                std::cmp::Ordering::Greater => (None, there.next()),
                std::cmp::Ordering::Equal => (here.next(), there.next()),
            };
            let Some(bytes) = seen.map(|(path, _)| path).or(entry.map(|(path, _)| path)) else {
                return;
            };
            let (seen, entry) = (seen.map(|(_, seen)| seen), entry.map(|(_, entry)| entry));
            let hash = seen.and_then(|seen| hash_of(ground, bytes, seen));
            if is_there(seen, entry, hash) {
                continue;
            }
            // They come from tables, which hold nothing else.
            let Ok(path) = RelPath::new(bytes) else { continue };
            match (seen, entry) {
                (Some(seen), entry) => {
                    if let Some(entry) = entry
                        && entry.kind == Kind::Dir
                        && seen.kind != Kind::Dir
                        // Where nothing is ever deleted it is for the host to say that there is no room.
                        && ground.mode == Mode::Mirror
                    {
                        makes_room = Some(path.clone());
                        self.remove(ground, path.clone(), entry, true);
                        self.put(ground, path, seen, hash, None);
                    } else {
                        self.put(ground, path, seen, hash, entry);
                    }
                }
                (None, Some(entry)) => {
                    let above = makes_room.as_ref().is_some_and(|top| is_at_or_below(&path, top));
                    let is_unknown = ground.unknown.iter().any(|top| is_at_or_below(&path, top));
                    if above || (ground.mode == Mode::Mirror && !is_unknown) {
                        self.remove(ground, path, entry, above);
                    }
                }
                (None, None) => return,
            }
        }
    }

    fn remove(&mut self, ground: &Ground<'_>, path: RelPath, entry: &Entry, first: bool) {
        if (ground.refused)(&path, None) {
            return;
        }
        self.deletions += u64::from(entry.kind == Kind::File);
        if first {
            self.first.push(path);
        } else {
            self.last.push(path);
        }
    }

    fn put(
        &mut self,
        ground: &Ground<'_>,
        path: RelPath,
        seen: &Seen,
        hash: Option<Hash>,
        old: Option<&Entry>,
    ) {
        if (ground.refused)(&path, Some(seen)) {
            return;
        }
        if seen.kind == Kind::Dir && seen.mode & OWNER != OWNER {
            self.modes.push((path.clone(), *seen));
            // It is there and only its mode differs.
            if old.is_some_and(|old| old.kind == Kind::Dir) {
                return;
            }
        }
        if seen.kind == Kind::File {
            self.files += 1;
            self.new_files += u64::from(old.is_none_or(|old| old.kind != Kind::File));
            self.bytes += seen.key.size;
        }
        self.puts.push(Put {
            path,
            seen: *seen,
            hash,
            old: old.cloned(),
        });
    }
}

/// The hash of the content of what was seen, if it has some and that is known.
fn hash_of(ground: &Ground<'_>, path: &[u8], seen: &Seen) -> Option<Hash> {
    match seen.kind {
        Kind::File | Kind::Link => (ground.hash)(path, &seen.key),
        Kind::Dir | Kind::Other => None,
    }
}

/// Whether what was seen is what the record has.
fn is_there(seen: Option<&Seen>, old: Option<&Entry>, hash: Option<Hash>) -> bool {
    let (Some(seen), Some(old)) = (seen, old) else {
        return false;
    };
    old.kind == seen.kind
        && match seen.kind {
            Kind::Dir => old.mode == seen.mode,
            Kind::Link => hash == Some(old.hash),
            Kind::File => {
                hash == Some(old.hash)
                    && old.size == seen.key.size
                    && old.mode == seen.mode
                    && old.mtime_ns == seen.key.mtime_ns
            }
            Kind::Other => true,
        }
}

/// Whether a path is this one or below it.
pub(crate) fn is_at_or_below(path: &[u8], top: &[u8]) -> bool {
    path.starts_with(top) && matches!(path.get(top.len()), None | Some(b'/'))
}

/// Those that are not below another one.
fn outermost(paths: &[RelPath]) -> Vec<&RelPath> {
    let mut sorted: Vec<&RelPath> = paths.iter().collect();
    sorted.sort_unstable();
    let mut outermost: Vec<&RelPath> = Vec::new();
    for path in sorted {
        if !outermost.last().is_some_and(|top| is_at_or_below(path, top)) {
            outermost.push(path);
        }
    }
    outermost
}

#[cfg(test)]
mod tests;
