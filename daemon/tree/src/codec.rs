//! How numbers, paths and entries are written to the files of this crate. Numbers of the usual kind are small, so they are
//! written in as few bytes as they need (LEB128).

use crate::{Entry, Far, Hash, Kind, RelPath, StatKey};

/// A file is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged")]
pub struct Damaged;

/// Where records are put together.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    /// The path that was written last, of which the next one only says where it differs.
    last: Vec<u8>,
}

impl Writer {
    /// One that begins with these bytes.
    pub(crate) fn after(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            last: Vec::new(),
        }
    }

    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn signed(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn path(&mut self, path: &[u8]) {
        let shared = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        self.number(shared as u64);
        self.text(&path[shared..]);
        self.last.clear();
        self.last.extend_from_slice(path);
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        let kind = match entry.kind {
            Kind::File => 0,
            Kind::Dir => 1,
            Kind::Link => 2,
            Kind::Other => 3,
        };
        self.bytes.push(kind);
        self.number(entry.mode.into());
        match entry.kind {
            Kind::File => {
                self.signed(entry.mtime_ns);
                self.number(entry.size);
                self.bytes.extend_from_slice(&entry.hash);
            }
            Kind::Link => self.text(entry.link.as_deref().unwrap_or_default()),
            Kind::Dir | Kind::Other => {}
        }
    }

    pub(crate) fn key(&mut self, key: &StatKey) {
        self.number(key.ino);
        self.number(key.size);
        self.signed(key.mtime_ns);
        self.signed(key.ctime_ns);
    }

    pub(crate) fn far(&mut self, far: &Far) {
        self.entry(&far.entry);
        self.key(&far.key);
        self.number(far.generation);
    }
}

/// What is left to be read. Nothing in it is trusted.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) left: &'a [u8],
    last: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            left: bytes,
            last: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(Damaged)?;
        self.left = left;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    pub(crate) fn count(&mut self) -> Result<usize, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_overflow| Damaged)?;
        // Whatever is counted has at least a byte each, so no number makes us take memory that is not there.
        if count > self.left.len() {
            return Err(Damaged);
        }
        Ok(count)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        let bytes = self.take(8)?.try_into().map_err(|_length| Damaged)?;
        Ok(i64::from_le_bytes(bytes))
    }

    pub(crate) fn text(&mut self) -> Result<&'a [u8], Damaged> {
        let count = self.count()?;
        self.take(count)
    }

    pub(crate) fn string(&mut self) -> Result<String, Damaged> {
        String::from_utf8(self.text()?.to_vec()).map_err(|_invalid| Damaged)
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, Damaged> {
        self.take(32)?.try_into().map_err(|_length| Damaged)
    }

    /// Goes on to the next path, which is [`Self::path`] until the one after it.
    pub(crate) fn next_path(&mut self) -> Result<(), Damaged> {
        let shared = usize::try_from(self.number()?).map_err(|_overflow| Damaged)?;
        if shared > self.last.len() {
            return Err(Damaged);
        }
        let rest = self.text()?;
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        RelPath::check(&self.last).map_err(|_bad| Damaged)
    }

    /// The path that was read last. It was checked.
    pub(crate) fn path(&self) -> &[u8] {
        &self.last
    }

    pub(crate) fn entry(&mut self) -> Result<Entry, Damaged> {
        let kind = self.byte()?;
        let mode = u16::try_from(self.number()?).map_err(|_overflow| Damaged)?;
        match kind {
            0 => {
                let mtime_ns = self.signed()?;
                let size = self.number()?;
                Ok(Entry::file(mode, mtime_ns, size, self.hash()?))
            }
            1 => Ok(Entry::dir(mode)),
            2 => Ok(Entry::link(self.text()?)),
            3 => Ok(Entry::other()),
            _ => Err(Damaged),
        }
    }

    pub(crate) fn key(&mut self) -> Result<StatKey, Damaged> {
        Ok(StatKey {
            ino: self.number()?,
            size: self.number()?,
            mtime_ns: self.signed()?,
            ctime_ns: self.signed()?,
        })
    }

    pub(crate) fn far(&mut self) -> Result<Far, Damaged> {
        Ok(Far {
            entry: self.entry()?,
            key: self.key()?,
            generation: self.number()?,
        })
    }
}
