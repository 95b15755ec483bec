//! Hashes of files with what tells that they still hold the same, as bytes: what a sync keeps so that it need not read
//! everything again. Losing them costs time and nothing else, so every doubt about them is a reason to have none.

use crate::{
    Damaged, Hash, StatKey, Table,
    codec::{Reader, Writer},
};

/// What the bytes begin with: the name and the version of their form.
const MAGIC: &[u8] = b"OLHASH1\n";

/// Bytes that a hash with its path takes at least.
const LEAST: usize = 53;

/// What a file held when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// How the file was before and after it was read.
    pub key: StatKey,
    /// Hash of its content.
    pub hash: Hash,
}

/// Bytes that belong to the content of one file: values of its blocks, in a form that is not for this crate to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Hash of the content they are of.
    pub hash: Hash,
    /// What they are.
    pub bytes: Vec<u8>,
}

/// Puts them into bytes that tell when they are damaged.
#[must_use]
pub fn encode(hashes: &Table<Hashed>, attached: &Table<Attached>) -> Vec<u8> {
    let mut to = Writer::after(MAGIC.to_vec());
    to.bytes.reserve(hashes.len() * 96);
    to.number(hashes.len() as u64);
    for (path, hashed) in hashes {
        to.path(path);
        to.key(&hashed.key);
        to.bytes.extend_from_slice(&hashed.hash);
    }
    to.number(attached.len() as u64);
    for (path, attached) in attached {
        to.path(path);
        to.bytes.extend_from_slice(&attached.hash);
        to.text(&attached.bytes);
    }
    let hash: Hash = blake3::hash(&to.bytes).into();
    to.bytes.extend_from_slice(&hash);
    to.bytes
}

/// Takes them out of bytes again.
///
/// # Errors
/// When the bytes are not as they were written, or of another version.
pub fn decode(bytes: &[u8]) -> Result<(Table<Hashed>, Table<Attached>), Damaged> {
    let (content, hash) = bytes.split_last_chunk::<32>().ok_or(Damaged)?;
    if blake3::hash(content).as_bytes() != hash {
        return Err(Damaged);
    }
    let mut from = Reader::new(content.strip_prefix(MAGIC).ok_or(Damaged)?);
    let count = from.count()?;
    let mut hashes = Table::with_room(count.min(from.left.len() / LEAST));
    for _ in 0..count {
        from.next_path()?;
        let (key, hash) = (from.key()?, from.hash()?);
        hashes.append_known(from.path(), Hashed { key, hash });
    }
    let mut attached = Table::new();
    for _ in 0..from.count()? {
        from.next_path()?;
        let (hash, bytes) = (from.hash()?, from.text()?.to_vec());
        attached.append_known(from.path(), Attached { hash, bytes });
    }
    if !from.left.is_empty() {
        return Err(Damaged);
    }
    hashes.merge();
    attached.merge();
    Ok((hashes, attached))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RelPath;

    fn some() -> (Table<Hashed>, Table<Attached>) {
        let key = StatKey {
            ino: u64::MAX,
            size: 6,
            mtime_ns: -7,
            ctime_ns: i64::MAX,
        };
        let path = |text: &[u8]| RelPath::new(text).expect("a path");
        let hashes = [&b"a"[..], b"a/b", b"a/\xff", b"c"]
            .into_iter()
            .map(|text| (path(text), Hashed { key, hash: [7; 32] }))
            .collect();
        let bytes = vec![1, 2, 3];
        let attached = [(path(b"a/b"), Attached { hash: [9; 32], bytes })]
            .into_iter()
            .collect();
        (hashes, attached)
    }

    #[test]
    fn what_is_put_into_bytes_comes_out_of_them() {
        let (hashes, attached) = some();
        let (found, with) = decode(&encode(&hashes, &attached)).expect("it can be read");
        assert!(found.iter().eq(hashes.iter()));
        assert!(with.iter().eq(attached.iter()));
    }

    #[test]
    fn no_damage_goes_unseen() {
        let (hashes, attached) = some();
        let whole = encode(&hashes, &attached);
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad).is_err(), "a bit at {at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
