//! The file `manifest`: everything outlast wrote at a target, as of one generation.
//!
//! A magic word, the head, the entries in their order, each path as the difference to the one before, and the BLAKE3 of all
//! that. It is replaced as a whole by temp + rename, so a reader sees an old or a new one.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{
    Damaged, Far, Hash, Table,
    codec::{Reader, Writer},
};

/// What the file begins with: the name and the version of its form.
const MAGIC: &[u8] = b"OLTREE1\n";

/// Bytes that an entry with its path takes at least.
const LEAST: usize = 24;

/// What is true of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Names this history of generations. Another one has nothing to do with it.
    pub epoch: String,
    /// Up to where the entries are told.
    pub generation: u64,
    /// The generation from which on removals are known. Who knows less has to be told everything.
    pub since: u64,
    /// Up to here everything is on the disk and outlives a loss of power.
    pub durable: u64,
    /// The boot in which it was written.
    pub boot: String,
    /// Device of the target directory. It may change with a boot.
    pub dev: u64,
    /// Inode of the target directory. Zero: it was not there yet.
    pub ino: u64,
}

/// Why no manifest could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not as it was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// The bytes of the file.
#[must_use]
pub fn encode(head: &Head, table: &Table<Far>) -> Vec<u8> {
    encode_from(head, table, Far::clone)
}

/// As [`encode`], of records that are something else.
fn encode_from<R>(head: &Head, table: &Table<R>, far: impl Fn(&R) -> Far) -> Vec<u8> {
    let mut to = Writer::after(MAGIC.to_vec());
    to.bytes.reserve(table.len() * 128);
    to.text(head.epoch.as_bytes());
    to.number(head.generation);
    to.number(head.since);
    to.number(head.durable);
    to.text(head.boot.as_bytes());
    to.number(head.dev);
    to.number(head.ino);
    to.number(table.len() as u64);
    for (path, record) in table {
        to.path(path);
        to.far(&far(record));
    }
    let hash: Hash = blake3::hash(&to.bytes).into();
    to.bytes.extend_from_slice(&hash);
    to.bytes
}

/// Understands the bytes of the file.
///
/// # Errors
/// When they are not what was written.
pub fn decode(bytes: &[u8]) -> Result<(Head, Table<Far>), Damaged> {
    decode_into(bytes, |far| far)
}

/// As [`decode`], keeping of each entry only what is made of it.
///
/// # Errors
/// When they are not what was written.
pub fn decode_into<R>(bytes: &[u8], keep: impl Fn(Far) -> R) -> Result<(Head, Table<R>), Damaged> {
    let (content, hash) = bytes
        .len()
        .checked_sub(32)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(Damaged)?;
    if *blake3::hash(content).as_bytes() != hash {
        return Err(Damaged);
    }
    let mut from = Reader::new(content.strip_prefix(MAGIC).ok_or(Damaged)?);
    let head = Head {
        epoch: from.string()?,
        generation: from.number()?,
        since: from.number()?,
        durable: from.number()?,
        boot: from.string()?,
        dev: from.number()?,
        ino: from.number()?,
    };
    let count = from.count()?;
    let mut table = Table::with_room(count.min(from.left.len() / LEAST));
    for _ in 0..count {
        from.next_path()?;
        let record = keep(from.far()?);
        table.append_known(from.path(), record);
    }
    if !from.left.is_empty() {
        return Err(Damaged);
    }
    table.merge();
    Ok((head, table))
}

/// Writes it beside its place and puts it there. Not brought to the disk: what is lost with the power is found out by its
/// hash or replaced by the one before.
///
/// # Errors
/// When it cannot be written; the one before is still there then.
pub fn write(path: &Path, head: &Head, table: &Table<Far>) -> io::Result<()> {
    write_from(path, head, table, Far::clone)
}

/// As [`write()`], of records that are something else.
///
/// # Errors
/// When it cannot be written; the one before is still there then.
pub fn write_from<R>(path: &Path, head: &Head, table: &Table<R>, far: impl Fn(&R) -> Far) -> io::Result<()> {
    let bytes = encode_from(head, table, far);
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    if let Err(error) = file.write_all(&bytes) {
        // What is left of it would only take room where there is none.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, path)
}

/// Reads it. None: there is none.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn read(path: &Path) -> Result<Option<(Head, Table<Far>)>, ReadError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(decode(&bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, RelPath, StatKey};

    fn some() -> (Head, Table<Far>) {
        let head = Head {
            epoch: "e".to_owned(),
            generation: 300,
            since: 7,
            durable: 299,
            boot: "b".to_owned(),
            dev: 1,
            ino: u64::MAX,
        };
        let key = StatKey {
            ino: 5,
            size: 6,
            mtime_ns: -7,
            ctime_ns: i64::MIN,
        };
        let entries = [
            (&b"a"[..], Entry::dir(0o755)),
            (b"a/b", Entry::file(0o640, -1, 1 << 40, [7; 32])),
            (b"a/\xff", Entry::link(b"../\xfe")),
        ];
        let table = entries
            .into_iter()
            .map(|(path, entry)| {
                (
                    RelPath::new(path).expect("a path"),
                    Far {
                        entry,
                        key,
                        generation: 3,
                    },
                )
            })
            .collect();
        (head, table)
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("manifest");
        assert!(read(&path).expect("it can be looked for").is_none());
        let (head, table) = some();
        write(&path, &head, &table).expect("it can be written");
        let (found, entries) = read(&path).expect("it can be read").expect("it is there");
        assert_eq!(found, head);
        assert!(entries.iter().eq(table.iter()));
        assert_eq!(
            fs::read_dir(dir.path()).expect("a listing").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn no_damage_goes_unseen() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("manifest");
        let (head, table) = some();
        write(&path, &head, &table).expect("it can be written");
        let whole = fs::read(&path).expect("it can be read");
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad).is_err(), "a bit at {at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
