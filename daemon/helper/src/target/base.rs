//! Files of the record that others are made from.
//!
//! What verifies what: the record says which content a file has as long as it is left as it was (inode, size, times). Values
//! of its blocks that the other side sends are believed once they make the hash that the record has. With both, blocks that
//! go where they lie need not be read: the kernel copies them, and their values stand for them in the hash of the new file.
//! All else is hashed as it is written. Before the new file is used, the base has to be as it was left, still, and all
//! values have to make the hash that the new file is to have; else its content is sent.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use outlast_tree::{
    Far, Hash, Kind, RelPath,
    blocks::{self, BLOCK, Blocks, Rolling},
    open_beneath,
};
use rustix::{
    fs::{OFlags, copy_file_range, fstat},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{Refused, Target, meta::CHUNK, replay::is_as_recorded};

/// [`BLOCK`] as an offset.
const STEP: u64 = BLOCK as u64;

/// Bytes that the kernel copies at once.
const AT_ONCE: u64 = 8 << 20;

/// A file of the record, open, that was as it was left when it was opened.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) file: File,
    far: Far,
    values: Values,
    /// Some of it was copied without being read.
    is_trusted: bool,
}

/// Values of its blocks.
#[derive(Debug)]
enum Values {
    /// As far as they were told.
    Told(Vec<Hash>),
    /// They make the hash that the record has.
    Proved(Vec<Hash>),
    /// They do not, or were not told.
    None,
}

impl Target {
    /// Opens a file of the record that is as it was left, and has this hash.
    pub(super) fn base(&self, path: &RelPath, hash: Option<&Hash>) -> Result<Base, Refused> {
        let missing = || Refused::need("the file it is to be copied from is not there as it was");
        let has =
            |far: &&Far| far.entry.kind == Kind::File && hash.is_none_or(|hash| far.entry.hash == *hash);
        let far = self.record.table.get(path).filter(has).ok_or_else(missing)?;
        let opened = open_beneath(&self.root, path, OFlags::RDONLY | OFlags::NONBLOCK);
        let base = Base {
            file: opened.map_err(|_errno| missing())?.into(),
            far: far.clone(),
            values: Values::Told(Vec::new()),
            is_trusted: false,
        };
        if base.is_as_left()? {
            Ok(base)
        } else {
            Err(missing())
        }
    }
}

impl Base {
    /// Takes the values of the blocks that follow those it knows. What makes no sense is found out.
    pub(super) fn tell(&mut self, values: &[Hash]) {
        if let Values::Told(told) = &mut self.values
            && told.len() + values.len() <= Blocks::count(self.far.entry.size)
        {
            told.extend_from_slice(values);
        } else {
            self.values = Values::None;
        }
    }

    /// Adds a part of it to a new file.
    pub(super) fn copy(
        &mut self,
        from: u64,
        length: u64,
        to: &File,
        rolling: &mut Rolling,
        stop: &CancellationToken,
    ) -> Result<(), Refused> {
        let inside = |end: &u64| *end <= self.far.entry.size;
        let end = from.checked_add(length).filter(inside);
        let end = end.ok_or_else(|| Refused::need("the base has no such bytes"))?;
        self.prove();
        let mut buffer = Vec::new();
        let (mut at, mut is_trusted) = (from, false);
        while at < end {
            if stop.is_cancelled() {
                // The stream ends here, and nothing is put in its place any more; what came may be gone on with.
                break;
            }
            let unread = self.unread(at, end, rolling);
            if unread.is_empty() {
                // To the next block, which need not be read perhaps.
                let count = (end - at).min(STEP - at % STEP).min(CHUNK as u64);
                buffer.resize(CHUNK, 0);
                // It fits: a chunk is the most.
                let bytes = &mut buffer[..count as usize];
                self.file.read_exact_at(bytes, at).map_err(shorter)?;
                to.write_all_at(bytes, rolling.length())?;
                rolling.update(bytes);
                at += count;
            } else {
                let count = unread.len() as u64 * STEP;
                transfer(&self.file, to, at, count)?;
                for value in unread {
                    rolling.known(*value);
                }
                at += count;
                is_trusted = true;
            }
        }
        self.is_trusted |= is_trusted;
        Ok(())
    }

    /// Whether all that was copied from it held what the record says.
    pub(super) fn check(&self) -> Result<(), Refused> {
        if self.is_trusted && !self.is_as_left()? {
            return Err(Refused::need("the file it was copied from was changed meanwhile"));
        }
        Ok(())
    }

    fn is_as_left(&self) -> Result<bool, Refused> {
        let found = fstat(&self.file).map_err(Refused::errno)?;
        Ok(is_as_recorded(&self.far, &found))
    }

    /// Values of some blocks that need not be read to be added to what came so far.
    fn unread(&self, at: u64, end: u64, rolling: &Rolling) -> &[Hash] {
        let Values::Proved(values) = &self.values else {
            return &[];
        };
        if at != rolling.length() || !at.is_multiple_of(STEP) {
            return &[];
        }
        let index = |at: u64| usize::try_from(at / STEP).unwrap_or(usize::MAX);
        let until = end.min(at.saturating_add(AT_ONCE));
        values.get(index(at)..index(until)).unwrap_or_default()
    }

    fn prove(&mut self) {
        if let Values::Told(told) = &mut self.values {
            let told = Blocks(std::mem::take(told));
            let Far { entry, .. } = &self.far;
            self.values = if blocks::root(&told, entry.size) == Some(entry.hash) {
                Values::Proved(told.0)
            } else {
                Values::None
            };
        }
    }
}

/// Has the kernel copy a part of a file to the same place in another one. Where the file system can, both share it.
fn transfer(from: &File, to: &File, at: u64, length: u64) -> Result<(), Refused> {
    let (mut here, mut there) = (at, at);
    while here < at + length {
        let left = usize::try_from(at + length - here).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut here), to, Some(&mut there), left) {
            Ok(0) => return Err(shorter(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => {
                return Err(Refused::errno(errno));
            }
            // This file system cannot.
            Err(_) => return carry(from, to, here, at + length),
        }
    }
    Ok(())
}

/// Copies a part of a file to the same place in another one.
fn carry(from: &File, to: &File, mut at: u64, end: u64) -> Result<(), Refused> {
    let mut buffer = vec![0; CHUNK];
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let bytes = &mut buffer[..count];
        from.read_exact_at(bytes, at).map_err(shorter)?;
        to.write_all_at(bytes, at)?;
        at += count as u64;
    }
    Ok(())
}

fn shorter(error: io::Error) -> Refused {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Refused::need("the base has become shorter"),
        _ => error.into(),
    }
}
