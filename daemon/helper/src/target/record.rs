//! What was written at a target, in memory and on disk: the table, the manifest it comes from and the journal of what came
//! after.
//!
//! The table is what the manifest and the journal say together at any moment; [`replay`] is how one comes from the other.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use outlast_tree::{
    Far, RelPath, Table,
    journal::{self, Change, Journal, Outcome},
    manifest::{self, Head, ReadError},
};
use serde::{Deserialize, Serialize};

use super::kept::Part;
use crate::{
    proc,
    spool::{Dir, Lock, SPOOL_VERSION, at},
};

/// Paths that are dropped by way of the journal. For more a manifest is written.
const DROP_MAX: usize = 1_000;

/// The file `target`: which directory a sync writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    /// Version of the spool.
    pub(super) version: u32,
    /// Absolute path without symlinks. When it is no UTF-8 this is only for people.
    path: String,
    /// The same as bytes, when it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u8>>,
}

impl Named {
    /// Names this directory.
    pub(super) fn new(path: &Path) -> Self {
        let text = path.to_str();
        Self {
            version: SPOOL_VERSION,
            path: path.to_string_lossy().into_owned(),
            bytes: text.is_none().then(|| path.as_os_str().as_bytes().to_vec()),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        let bytes = self.bytes.as_deref().unwrap_or(self.path.as_bytes());
        PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
    }

    /// Reads the one of a sync. None: there is none, or one that says nothing.
    pub(super) fn read(dir: &Dir) -> io::Result<Option<Self>> {
        match dir.read_json("target") {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, "a target is not known by its name any more");
                Ok(None)
            }
            read => read,
        }
    }

    /// Writes it, and brings it to the disk: nothing else says where to look after a loss of power.
    pub(super) fn write(&self, dir: &Dir) -> io::Result<()> {
        dir.write_json("target", self, true)
    }
}

/// What was written at a target.
#[derive(Debug)]
pub(super) struct Record {
    dir: Dir,
    _lock: Lock,
    /// What is true of the whole.
    pub(super) head: Head,
    /// Everything that was written.
    pub(super) table: Table<Far>,
    /// Directories that the journal says may hold files in the making.
    pub(super) making: HashSet<Vec<u8>>,
    /// Large files that it says may be gone on with, by the path they are for.
    pub(super) parts: BTreeMap<RelPath, Part>,
    journal: Journal,
}

/// How the files of a record were found.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The record as far as it can be told without looking at the target.
    pub(super) record: Record,
    /// What has to be looked at.
    pub(super) replayed: Replayed,
    /// How the manifest was found.
    pub(super) found: Manifest,
}

/// How a manifest was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manifest {
    /// As it was written.
    Whole,
    /// There is none.
    None,
    /// It is damaged; nothing is known of what was written.
    Damaged,
}

/// What a journal says that the table cannot hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Changes that were announced and of which nobody said that they were made.
    pub(super) pending: Vec<(u64, Vec<Change>)>,
    /// Directories in which files in the making may be left.
    pub(super) making: Vec<Vec<u8>>,
    /// Large files that may be gone on with.
    pub(super) parts: BTreeMap<RelPath, Part>,
}

impl Record {
    /// Reads what is there.
    pub(super) fn load(dir: Dir, lock: Lock) -> io::Result<Loaded> {
        let boot = proc::boot_id()?;
        let path = dir.file("manifest");
        let (found, (mut head, mut table)) = match manifest::read(&path) {
            Ok(Some(read)) => (Manifest::Whole, read),
            Ok(None) => (Manifest::None, fresh(&boot)),
            Err(ReadError::Damaged(_)) => (Manifest::Damaged, fresh(&boot)),
            Err(ReadError::Io(error)) => return Err(at("reading", &path, &error)),
        };
        let path = dir.file("journal");
        let opened = Journal::open(&path).map_err(|error| at("opening", &path, &error))?;
        let (journal, mut records) = opened;
        if found != Manifest::Whole {
            // It continues something that is not known any more. That it may have left files in the making stays true.
            let leftovers = |record: &journal::Record| {
                matches!(
                    record,
                    journal::Record::Making { .. }
                        | journal::Record::Part { .. }
                        | journal::Record::Begin { .. }
                )
            };
            records.retain(leftovers);
        }
        let mut replayed = replay(&mut head, &mut table, records);
        if found != Manifest::Whole {
            for (_, changes) in replayed.pending.drain(..) {
                replayed.making.extend(parents(&changes));
            }
            head.generation = 0;
        }
        let record = Self {
            dir,
            _lock: lock,
            head,
            table,
            making: HashSet::new(),
            parts: BTreeMap::new(),
            journal,
        };
        Ok(Loaded {
            record,
            replayed,
            found,
        })
    }

    /// Bytes of the journal.
    pub(super) fn journal_len(&self) -> u64 {
        self.journal.len()
    }

    /// Has nobody take the record for one that is known, whatever the numbers of generations are. Lasts from the next
    /// manifest on.
    pub(super) fn begin_epoch(&mut self) {
        self.head.epoch = new_epoch();
    }

    /// Says what is going to be done. Returns the generation that makes.
    pub(super) fn begin(&mut self, changes: Vec<Change>) -> io::Result<u64> {
        let generation = self.head.generation + 1;
        self.add(&journal::Record::Begin { generation, changes })?;
        self.head.generation = generation;
        Ok(generation)
    }

    /// Says what became of it.
    pub(super) fn done(&mut self, generation: u64, outcomes: Vec<Outcome>) -> io::Result<()> {
        self.add(&journal::Record::Done { generation, outcomes })
    }

    /// Takes paths out under one new generation.
    pub(super) fn drop_paths(&mut self, paths: &[RelPath]) -> io::Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        if paths.len() > DROP_MAX {
            self.forget(paths);
            return self.compact();
        }
        let gone = |path: &RelPath| Change {
            path: path.clone(),
            new: None,
        };
        let generation = self.begin(paths.iter().map(gone).collect())?;
        self.done(generation, vec![Outcome::Gone; paths.len()])?;
        self.remove(paths);
        Ok(())
    }

    /// The same, which only the next manifest tells.
    pub(super) fn forget(&mut self, paths: &[RelPath]) {
        self.head.generation += 1;
        self.remove(paths);
    }

    fn remove(&mut self, paths: &[RelPath]) {
        self.head.since = self.head.generation;
        for path in paths {
            self.table.remove(path);
        }
    }

    /// Says that everything up to this generation is on the disk, which is to be so.
    pub(super) fn durable(&mut self, generation: u64) -> io::Result<()> {
        self.add(&journal::Record::Durable { generation })?;
        self.head.durable = generation;
        Ok(())
    }

    /// Says that files in the making may be in a directory from now on.
    pub(super) fn making(&mut self, dir: &[u8]) -> io::Result<()> {
        if !self.making.contains(dir) {
            self.add(&journal::Record::Making { dir: dir.to_vec() })?;
            self.making.insert(dir.to_vec());
        }
        Ok(())
    }

    /// Says that a large file is in the making which may be gone on with.
    pub(super) fn part(&mut self, path: &RelPath, part: &Part) -> io::Result<()> {
        if self.parts.get(path) != Some(part) {
            self.add(&part_record(path, part))?;
            self.parts.insert(path.clone(), part.clone());
        }
        Ok(())
    }

    /// Writes the manifest anew and begins the journal anew with what is in the making.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        let path = self.dir.file("manifest");
        manifest::write(&path, &self.head, &self.table).map_err(|error| at("writing", &path, &error))?;
        let making = self.making.iter().cloned();
        let making = making.map(|dir| journal::Record::Making { dir });
        let parts = self.parts.iter().map(|(path, part)| part_record(path, part));
        let path = self.dir.path();
        self.journal
            .restart(&making.chain(parts).collect::<Vec<_>>())
            .map_err(|error| at("beginning the journal anew in", path, &error))
    }

    fn add(&mut self, record: &journal::Record) -> io::Result<()> {
        let path = self.dir.path();
        self.journal
            .add(record)
            .map_err(|error| at("writing the journal in", path, &error))
    }
}

fn part_record(path: &RelPath, part: &Part) -> journal::Record {
    journal::Record::Part {
        path: path.clone(),
        name: part.name.clone(),
        ino: part.ino,
    }
}

/// A record of nothing.
fn fresh(boot: &str) -> (Head, Table<Far>) {
    let head = Head {
        epoch: new_epoch(),
        boot: boot.to_owned(),
        ..Head::default()
    };
    (head, Table::new())
}

fn new_epoch() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Directories in which these changes are made.
pub(super) fn parents(changes: &[Change]) -> Vec<Vec<u8>> {
    let mut dirs: Vec<_> = changes
        .iter()
        .map(|change| change.path.parent().unwrap_or_default().to_vec())
        .collect();
    dirs.dedup();
    dirs
}

/// Brings a manifest up to where its journal ends.
pub(super) fn replay(head: &mut Head, table: &mut Table<Far>, records: Vec<journal::Record>) -> Replayed {
    let mut replayed = Replayed::default();
    let told = head.generation;
    let mut begun: Option<(u64, Vec<Change>)> = None;
    for record in records {
        match record {
            // The manifest was written after it, and whoever did that was killed before the journal was emptied.
            journal::Record::Begin { generation, .. } | journal::Record::Done { generation, .. }
                if generation <= told => {}
            journal::Record::Begin { generation, changes } => {
                replayed.pending.extend(begun.replace((generation, changes)));
                head.generation = head.generation.max(generation);
            }
            journal::Record::Done { generation, outcomes } => {
                if let Some((_, changes)) = begun.take_if(|(begun, _)| *begun == generation) {
                    for (change, outcome) in changes.into_iter().zip(outcomes) {
                        apply(table, generation, change, outcome);
                    }
                }
            }
            journal::Record::Durable { generation } => head.durable = head.durable.max(generation),
            journal::Record::Making { dir } => replayed.making.push(dir),
            journal::Record::Part { path, name, ino } => {
                replayed.making.push(path.parent().unwrap_or_default().to_vec());
                replayed.parts.insert(path, Part { name, ino });
            }
        }
    }
    replayed.pending.extend(begun);
    replayed
}

/// Notes what became of a change.
pub(super) fn apply(table: &mut Table<Far>, generation: u64, change: Change, outcome: Outcome) {
    match (outcome, change.new) {
        (Outcome::There(key), Some(entry)) => {
            let far = Far {
                entry,
                key,
                generation,
            };
            table.insert(change.path, far);
        }
        (Outcome::Failed, _) => {}
        (Outcome::Gone | Outcome::There(_), _) => drop(table.remove(&change.path)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use outlast_tree::{Entry, StatKey};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn change() -> impl Strategy<Value = (Change, Outcome)> {
        let path = "[ab]{1}(/[cd]){0,2}".prop_map(|path| RelPath::new(path.as_bytes()).unwrap());
        let entry = prop_oneof![
            any::<[u8; 32]>().prop_map(|hash| Entry::file(0o644, 1, 2, hash)),
            Just(Entry::dir(0o755)),
            Just(Entry::link(b"x")),
        ];
        let key = any::<u64>().prop_map(|ino| StatKey {
            ino,
            ..StatKey::default()
        });
        (path, proptest::option::of(entry), key, 0..4_u8).prop_map(|(path, new, key, how)| {
            let outcome = match how {
                0 => Outcome::Failed,
                1 => Outcome::Gone,
                _ if new.is_some() => Outcome::There(key),
                _ => Outcome::Gone,
            };
            (Change { path, new }, outcome)
        })
    }

    type Model = BTreeMap<RelPath, (Entry, StatKey, u64)>;

    fn model(model: &mut Model, generation: u64, batch: &[(Change, Outcome)]) {
        for (change, outcome) in batch {
            match (outcome, &change.new) {
                (Outcome::Failed, _) => {}
                (Outcome::There(key), Some(entry)) => {
                    model.insert(change.path.clone(), (entry.clone(), *key, generation));
                }
                _ => drop(model.remove(&change.path)),
            }
        }
    }

    fn told(table: &Table<Far>) -> Model {
        table
            .iter()
            .map(|(path, far)| {
                let path = RelPath::new(path).unwrap();
                (path, (far.entry.clone(), far.key, far.generation))
            })
            .collect()
    }

    proptest! {
        /// Wherever the journal ends and whichever manifest it follows: the record is that of the last generation that was
        /// confirmed, and one that was only announced is told as such.
        #[test]
        fn any_part_of_a_journal_makes_the_record_of_its_end(
            batches in vec(vec(change(), 1..6), 1..12),
            cut in any::<prop::sample::Index>(),
            compacted in any::<prop::sample::Index>(),
        ) {
            let mut records = Vec::new();
            let mut states = vec![Model::new()];
            for (generation, batch) in (1..).zip(&batches) {
                let changes = batch.iter().map(|(change, _)| change.clone()).collect();
                let outcomes = batch.iter().map(|(_, outcome)| *outcome).collect();
                records.push(journal::Record::Begin { generation, changes });
                records.push(journal::Record::Done { generation, outcomes });
                let mut next = states.last().unwrap().clone();
                model(&mut next, generation, batch);
                states.push(next);
            }
            // A manifest of an earlier generation, as one that was killed before it emptied the journal leaves it.
            let cut = cut.index(records.len() + 1);
            let told_by_manifest = compacted.index(cut / 2 + 1);
            let mut head = Head { generation: told_by_manifest as u64, ..Head::default() };
            let mut table: Table<Far> = states[told_by_manifest]
                .iter()
                .map(|(path, (entry, key, generation))| {
                    (path.clone(), Far { entry: entry.clone(), key: *key, generation: *generation })
                })
                .collect();
            let replayed = replay(&mut head, &mut table, records[..cut].to_vec());
            prop_assert_eq!(told(&table), states[cut / 2].clone());
            let announced = cut % 2 == 1;
            prop_assert_eq!(head.generation as usize, cut / 2 + usize::from(announced));
            let pending: Vec<_> = replayed.pending.iter().map(|(generation, _)| *generation).collect();
            let expected = if announced { vec![head.generation] } else { vec![] };
            prop_assert_eq!(pending, expected);
        }
    }

    #[test]
    fn a_target_is_named_whatever_its_bytes_are() {
        for path in [&b"/home/u/x"[..], b"/home/u/\xff\xfe"] {
            let path = Path::new(std::ffi::OsStr::from_bytes(path));
            let text = serde_json::to_vec(&Named::new(path)).unwrap();
            let read: Named = serde_json::from_slice(&text).unwrap();
            assert_eq!(read.path(), path);
        }
    }
}
