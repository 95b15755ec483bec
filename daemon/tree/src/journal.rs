//! The file `journal`: what came after the manifest. Every generation is announced before anything of it is done and
//! confirmed after all of it was, so whoever is killed in between leaves behind what has to be looked at.
//!
//! Records follow each other: length (four bytes, little endian), the first eight bytes of the BLAKE3 of what follows, and
//! that. A record that is cut off or damaged ends the journal: it was being written when its writer was killed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    Damaged, Entry, RelPath, StatKey,
    codec::{Reader, Writer},
};

/// Longest record that is believed: a batch of a few hundred paths is far below.
const MAX_RECORD: usize = 16 << 20;

/// One path that a generation changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: RelPath,
    /// What it is to be. None: gone, or no longer ours.
    pub new: Option<Entry>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is as announced and was left like this.
    There(StatKey),
    /// It is gone, or no longer ours.
    Gone,
    /// It was not done: whatever was known before still holds.
    Failed,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// These changes are going to be made.
    Begin {
        /// The generation they make.
        generation: u64,
        /// In the order of the outcomes.
        changes: Vec<Change>,
    },
    /// They were made.
    Done {
        /// Which.
        generation: u64,
        /// One for each change.
        outcomes: Vec<Outcome>,
    },
    /// Everything up to this generation is on the disk.
    Durable {
        /// Up to where.
        generation: u64,
    },
    /// A file in the making may be in this directory from now on. Empty: the root.
    Making {
        /// The directory.
        dir: Vec<u8>,
    },
    /// A large file for this path is in the making beside it from now on, and may be gone on with.
    Part {
        /// The path it is for.
        path: RelPath,
        /// The name it is made under.
        name: Vec<u8>,
        /// Its inode.
        ino: u64,
    },
}

/// A journal that is written to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Journal {
    /// Opens it, or makes an empty one, and returns what it holds. What is damaged at its end is cut off.
    ///
    /// # Errors
    /// When it cannot be opened, read or cut.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Record>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let (records, bytes) = parse(&content);
        if bytes < content.len() {
            file.set_len(bytes as u64)?;
        }
        let bytes = file.seek(SeekFrom::Start(bytes as u64))?;
        let journal = Self {
            path: path.to_owned(),
            file,
            bytes,
        };
        Ok((journal, records))
    }

    /// Adds a record. It outlives us, not a loss of power.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is left then, if that can be helped.
    pub fn add(&mut self, record: &Record) -> io::Result<()> {
        let frame = encode(record);
        if let Err(error) = self.file.write_all(&frame) {
            // Half a record would hide all that follow.
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        self.bytes += frame.len() as u64;
        Ok(())
    }

    /// Bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Begins it anew with these records, when a manifest tells all else. Whoever is killed meanwhile leaves the old one or
    /// the new one.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn restart(&mut self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.bytes = 0;
            return Ok(());
        }
        let content = records.iter().map(encode).collect::<Vec<_>>().concat();
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&content)?;
        // After a loss of power it is the old one or the new one, and not an empty one that nobody sweeps by.
        file.sync_data()?;
        std::fs::rename(&new, &self.path)?;
        (self.file, self.bytes) = (file, content.len() as u64);
        Ok(())
    }
}

/// Reads a journal without changing it. A missing one is empty.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    match std::fs::read(path) {
        Ok(content) => Ok(parse(&content).0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn encode(record: &Record) -> Vec<u8> {
    let mut to = Writer::after(vec![0; 12]);
    match record {
        Record::Begin { generation, changes } => {
            to.bytes.push(1);
            to.number(*generation);
            to.number(changes.len() as u64);
            for change in changes {
                to.path(&change.path);
                match &change.new {
                    Some(entry) => {
                        to.bytes.push(1);
                        to.entry(entry);
                    }
                    None => to.bytes.push(0),
                }
            }
        }
        Record::Done { generation, outcomes } => {
            to.bytes.push(2);
            to.number(*generation);
            to.number(outcomes.len() as u64);
            for outcome in outcomes {
                match outcome {
                    Outcome::There(key) => {
                        to.bytes.push(1);
                        to.key(key);
                    }
                    Outcome::Gone => to.bytes.push(2),
                    Outcome::Failed => to.bytes.push(3),
                }
            }
        }
        Record::Durable { generation } => {
            to.bytes.push(3);
            to.number(*generation);
        }
        Record::Making { dir } => {
            to.bytes.push(4);
            to.text(dir);
        }
        Record::Part { path, name, ino } => {
            to.bytes.push(5);
            to.text(path);
            to.text(name);
            to.number(*ino);
        }
    }
    let mut frame = to.bytes;
    let length = u32::try_from(frame.len() - 12).unwrap_or(u32::MAX);
    let hash = blake3::hash(&frame[12..]);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..12].copy_from_slice(&hash.as_bytes()[..8]);
    frame
}

/// Everything up to the first record that is not whole, and how many bytes that is.
fn parse(content: &[u8]) -> (Vec<Record>, usize) {
    let mut from = Reader::new(content);
    let (mut records, mut whole) = (Vec::new(), 0);
    while let Ok(record) = next(&mut from) {
        records.push(record);
        whole = content.len() - from.left.len();
    }
    (records, whole)
}

fn next(from: &mut Reader<'_>) -> Result<Record, Damaged> {
    let length = from.take(4)?.try_into().map_err(|_length| Damaged)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_RECORD {
        return Err(Damaged);
    }
    let hash = from.take(8)?;
    let content = from.take(length)?;
    if blake3::hash(content).as_bytes()[..8] != *hash {
        return Err(Damaged);
    }
    decode(&mut Reader::new(content))
}

fn decode(from: &mut Reader<'_>) -> Result<Record, Damaged> {
    let record = match from.byte()? {
        1 => {
            let generation = from.number()?;
            let count = from.count()?;
            let change = |from: &mut Reader<'_>| {
                from.next_path()?;
                let path = RelPath::known(from.path());
                let new = if from.byte()? == 1 {
                    Some(from.entry()?)
                } else {
                    None
                };
                Ok(Change { path, new })
            };
            let changes = (0..count).map(|_| change(from)).collect::<Result<_, Damaged>>()?;
            Record::Begin { generation, changes }
        }
        2 => {
            let generation = from.number()?;
            let count = from.count()?;
            let outcome = |from: &mut Reader<'_>| match from.byte()? {
                1 => Ok(Outcome::There(from.key()?)),
                2 => Ok(Outcome::Gone),
                3 => Ok(Outcome::Failed),
                _ => Err(Damaged),
            };
            let outcomes = (0..count)
                .map(|_| outcome(from))
                .collect::<Result<_, Damaged>>()?;
            Record::Done { generation, outcomes }
        }
        3 => Record::Durable {
            generation: from.number()?,
        },
        4 => Record::Making {
            dir: from.text()?.to_vec(),
        },
        5 => Record::Part {
            path: RelPath::new(from.text()?).map_err(|_bad| Damaged)?,
            name: from.text()?.to_vec(),
            ino: from.number()?,
        },
        _ => return Err(Damaged),
    };
    if from.left.is_empty() {
        Ok(record)
    } else {
        Err(Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Record> {
        let path = |bytes: &[u8]| RelPath::new(bytes).expect("a path");
        let key = StatKey {
            ino: 1,
            size: 2,
            mtime_ns: 3,
            ctime_ns: -4,
        };
        vec![
            Record::Making { dir: b"a".to_vec() },
            Record::Begin {
                generation: 1,
                changes: vec![
                    Change {
                        path: path(b"a/b"),
                        new: Some(Entry::file(0o600, 5, 6, [7; 32])),
                    },
                    Change {
                        path: path(b"a/c"),
                        new: None,
                    },
                    Change {
                        path: path(b"a/d"),
                        new: Some(Entry::link(b"b")),
                    },
                ],
            },
            Record::Done {
                generation: 1,
                outcomes: vec![Outcome::There(key), Outcome::Gone, Outcome::Failed],
            },
            Record::Durable { generation: 1 },
            Record::Part {
                path: path(b"a/e"),
                name: b".outlast-1".to_vec(),
                ino: 77,
            },
        ]
    }

    #[test]
    fn records_come_back_in_order_and_more_can_be_added() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        for expected in [vec![], some()] {
            let (mut journal, found) = Journal::open(&path).expect("it can be opened");
            assert_eq!(found, expected);
            for record in some() {
                journal.add(&record).expect("it can be added");
            }
        }
        assert_eq!(read(&path).expect("it can be read"), [some(), some()].concat());
        let (mut journal, _) = Journal::open(&path).expect("it can be opened");
        let kept = &some()[..2];
        journal.restart(kept).expect("it can be begun anew");
        journal
            .add(&Record::Durable { generation: 3 })
            .expect("it can be added");
        let all = read(&path).expect("it can be read");
        assert_eq!(all, [kept, &[Record::Durable { generation: 3 }]].concat());
        journal.restart(&[]).expect("it can be emptied");
        assert!(read(&path).expect("it can be read").is_empty());
    }

    #[test]
    fn a_torn_end_is_cut_wherever_it_was_torn() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let frames: Vec<_> = some().iter().map(encode).collect();
        let whole = frames.concat();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("it can be written");
            let (mut journal, found) = Journal::open(&path).expect("it can be opened");
            let mut end = 0;
            let complete = frames.iter().take_while(|frame| {
                end += frame.len();
                end <= cut
            });
            assert_eq!(found.len(), complete.count(), "cut at {cut}");
            journal
                .add(&Record::Durable { generation: 9 })
                .expect("it can be added");
            let again = read(&path).expect("it can be read");
            assert_eq!(again.len(), found.len() + 1);
            assert_eq!(again.last(), Some(&Record::Durable { generation: 9 }));
        }
    }
}
