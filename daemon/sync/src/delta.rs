//! What of a large file is new, told from the values of the blocks of the old one, without having it.
//!
//! A block that lies where it lay is known by its value. What lies elsewhere, because something was inserted or deleted
//! before it, is found by a weak sum that is rolled over the new content byte by byte, and proved by the value of the block
//! it would be. Nothing is taken for equal on the word of the weak sum alone.
//!
//! The file may change while it is read. That is for the caller to notice, who knows what tells; the one who puts the
//! parts together compares the hash of the whole.

mod rolling;
mod search;
mod signer;

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    slice::from_ref,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use outlast_tree::{
    Hash,
    blocks::{self, BLOCK, Blocks},
};

pub use self::signer::Signer;
use self::{
    rolling::Sum,
    search::{Found, Search},
};

/// [`BLOCK`] as an offset.
const STEP: u64 = BLOCK as u64;

/// Blocks that are compared before what was found is said.
const WINDOW: usize = 32;

/// Bytes of a value of a block.
const VALUE: usize = 32;

/// Bytes of a weak sum.
const WEAK: usize = 8;

/// Values of the blocks of a file, 40 bytes for each 256 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    length: u64,
    /// None for a file of at most one block: its hash says it all.
    blocks: Blocks,
    /// Weak sums of those that are full: all, or all but the last.
    weak: Vec<u64>,
}

impl Signature {
    /// As bytes, without anything that tells of damage.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let size = size_of::<u64>() + self.blocks.0.len() * VALUE + self.weak.len() * WEAK;
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        for value in &self.blocks.0 {
            bytes.extend_from_slice(value);
        }
        for weak in &self.weak {
            bytes.extend_from_slice(&weak.to_le_bytes());
        }
        bytes
    }

    /// From bytes. None: they are not of one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, bytes) = bytes.split_first_chunk()?;
        let length = u64::from_le_bytes(*length);
        let values = Blocks::count(length).checked_mul(VALUE)?;
        let (values, weak) = bytes.split_at_checked(values)?;
        if weak.len() != full(length).checked_mul(WEAK)? {
            return None;
        }
        let values = values.as_chunks::<VALUE>().0.to_vec();
        let weak = weak.as_chunks::<WEAK>().0;
        Some(Self {
            length,
            blocks: Blocks(values),
            weak: weak.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
        })
    }

    /// Values of its blocks.
    pub(crate) fn values(&self) -> &[Hash] {
        &self.blocks.0
    }

    /// Of content in memory.
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut signature = Self::empty(bytes.len() as u64);
        for (index, block) in bytes.chunks(BLOCK).enumerate() {
            if let Some(value) = signature.blocks.0.get_mut(index) {
                *value = blocks::of_block(index as u64, block);
            }
            if let Some(weak) = signature.weak.get_mut(index) {
                *weak = Sum::of(block).value();
            }
        }
        signature
    }

    /// With room for the values of a file of this length.
    fn empty(length: u64) -> Self {
        Self {
            length,
            blocks: Blocks(vec![Hash::default(); Blocks::count(length)]),
            weak: vec![0; full(length)],
        }
    }

    /// Where the block lies.
    fn range(&self, index: usize) -> Range<u64> {
        let begin = index as u64 * STEP;
        begin..self.length.min(begin + STEP)
    }
}

/// How many full blocks a file has, of those that it has values of.
fn full(length: u64) -> usize {
    match Blocks::count(length) {
        0 => 0,
        count if length.is_multiple_of(STEP) => count,
        count => count - 1,
    }
}

/// A part of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// It is in the old file.
    Copy {
        /// Where it begins there.
        from: u64,
        /// Its length.
        length: u64,
    },
    /// It lies where it goes in the part that is kept: whole blocks.
    Stay {
        /// Its length.
        length: u64,
        /// It lies there in the old file as well.
        is_old: bool,
    },
    /// It has to be sent.
    Data {
        /// Where it begins in the new file.
        from: u64,
        /// Its length.
        length: u64,
    },
}

impl Segment {
    /// Its length.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Copy { length, .. } | Self::Stay { length, .. } | Self::Data { length, .. } => *length,
        }
    }
}

/// Reads a file of this length on some threads: its hash and the values of its blocks.
///
/// # Errors
/// When it cannot be read, is shorter (`UnexpectedEof`), or `stop` was set (`Interrupted`).
pub fn sign(file: &File, length: u64, threads: usize, stop: &AtomicBool) -> io::Result<(Hash, Signature)> {
    let mut signature = Signature::empty(length);
    let all = 0..signature.blocks.0.len();
    if all.is_empty() {
        return Ok((short(file, length, stop)?, signature));
    }
    read(file, &mut signature, all, None, threads, stop)?;
    Ok((root(&signature), signature))
}

/// Reads a file of this length on some threads and says what of it can be copied from the old one, piece by piece while it
/// reads on: one after the other they are the new content. What lies where it lay is read once, the rest twice. Gives the
/// hash and the values of the blocks. `kept`: values of the full blocks of a part that came of it before.
///
/// # Errors
/// When it cannot be read, is shorter (`UnexpectedEof`), or `stop` was set (`Interrupted`); and what `say` says.
pub fn compare<E: From<io::Error>>(
    file: &File,
    length: u64,
    old: &Signature,
    kept: &[Hash],
    threads: usize,
    stop: &AtomicBool,
    mut say: impl FnMut(Segment) -> Result<(), E>,
) -> Result<(Hash, Signature), E> {
    let mut signature = Signature::empty(length);
    let count = signature.blocks.0.len();
    let search = Search::new(old);
    let find = |changed: &[Range<u64>]| search.run(file, changed, threads, stop);
    if count == 0 {
        let hash = short(file, length, stop)?;
        let all = 0..length;
        parts(all.clone(), from_ref(&all), find)?
            .into_iter()
            .try_for_each(say)?;
        return Ok((hash, signature));
    }
    let mut said = 0;
    // Where something begins that changed and is not over yet.
    let mut open = None;
    for first in (0..count).step_by(WINDOW) {
        let window = first..count.min(first + WINDOW);
        read(file, &mut signature, window.clone(), Some(old), threads, stop)?;
        let mut changed = Vec::new();
        for index in window.clone() {
            let begin = signature.range(index).start;
            if !lies_there(&signature, old, index) && !is_kept(&signature, kept, index) {
                open.get_or_insert(begin);
            } else if let Some(open) = open.take() {
                changed.push(open..begin);
            }
        }
        if window.end == count
            && let Some(open) = open.take()
        {
            changed.push(open..length);
        }
        let until = open.unwrap_or_else(|| signature.range(window.end - 1).end);
        let mut at = said;
        for part in parts(said..until, &changed, find)? {
            match part {
                // What is found in place is whole blocks, but for the last.
                Segment::Copy { from, length } if from == at && !kept.is_empty() => {
                    stays(&signature, old, kept, from..from + length)
                        .into_iter()
                        .try_for_each(&mut say)?;
                }
                part => say(part)?,
            }
            at += part.length();
        }
        said = until;
    }
    Ok((root(&signature), signature))
}

/// What a range of the new file consists of, of which this changed; the rest is where it was.
fn parts(
    range: Range<u64>,
    changed: &[Range<u64>],
    find: impl Fn(&[Range<u64>]) -> io::Result<Vec<Found>>,
) -> io::Result<Vec<Segment>> {
    let mut parts = Parts::default();
    let mut found = find(changed)?.into_iter().peekable();
    let mut in_place = range.start;
    for range in changed {
        parts.copy(in_place, range.start - in_place);
        let mut at = range.start;
        while let Some(found) = found.next_if(|found| found.at < range.end) {
            // Where two overlap, the first one has it.
            let skip = at.saturating_sub(found.at);
            if skip >= found.length {
                continue;
            }
            parts.data(at, (found.at + skip) - at);
            parts.copy(found.from + skip, found.length - skip);
            at = found.at + found.length;
        }
        parts.data(at, range.end - at);
        in_place = range.end;
    }
    parts.copy(in_place, range.end - in_place);
    Ok(parts.0)
}

/// What is in place of the new file: what of it stays in the part that is kept, and what is only in the old one.
fn stays(new: &Signature, old: &Signature, kept: &[Hash], range: Range<u64>) -> Vec<Segment> {
    let mut parts = Parts::default();
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min((at / STEP + 1) * STEP);
        let index = usize::try_from(at / STEP).unwrap_or(usize::MAX);
        // A part of a block, which is another one's end that happens to lie in place, is in the old file.
        let is_whole = at.is_multiple_of(STEP) && end - at == STEP;
        if is_whole && is_kept(new, kept, index) {
            parts.stay(STEP, lies_there(new, old, index));
        } else {
            parts.copy(at, end - at);
        }
        at = end;
    }
    parts.0
}

/// Whether a block of the new file is where it is in the part that is kept.
fn is_kept(new: &Signature, kept: &[Hash], index: usize) -> bool {
    kept.get(index)
        .is_some_and(|value| new.blocks.0.get(index) == Some(value))
}

/// Whether a block of the new file is where it is in the old one. Values of blocks of different length differ.
fn lies_there(new: &Signature, old: &Signature, index: usize) -> bool {
    new.range(index) == old.range(index) && new.blocks.0.get(index) == old.blocks.0.get(index)
}

/// Segments, of which neighbours that are one are put together.
#[derive(Debug, Default)]
struct Parts(Vec<Segment>);

impl Parts {
    fn copy(&mut self, begin: u64, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.last_mut() {
            Some(Segment::Copy { from, length }) if *from + *length == begin => *length += count,
            _ => self.0.push(Segment::Copy {
                from: begin,
                length: count,
            }),
        }
    }

    fn stay(&mut self, count: u64, old: bool) {
        match self.0.last_mut() {
            Some(Segment::Stay { length, is_old }) if *is_old == old => *length += count,
            _ => self.0.push(Segment::Stay {
                length: count,
                is_old: old,
            }),
        }
    }

    fn data(&mut self, begin: u64, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.last_mut() {
            Some(Segment::Data { from, length }) if *from + *length == begin => *length += count,
            _ => self.0.push(Segment::Data {
                from: begin,
                length: count,
            }),
        }
    }
}

/// Hash of a file that has no blocks.
fn short(file: &File, length: u64, stop: &AtomicBool) -> io::Result<Hash> {
    check(stop)?;
    // It fits into a block.
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(BLOCK)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(blake3::hash(&bytes).into())
}

/// Hash of a file that has blocks, all of which are known.
fn root(signature: &Signature) -> Hash {
    // There are as many as the length says, because they were made from it.
    blocks::root(&signature.blocks, signature.length).unwrap_or_default()
}

/// Reads some blocks for their values. The weak sums of blocks that are in the old file are taken from there.
fn read(
    file: &File,
    signature: &mut Signature,
    window: Range<usize>,
    old: Option<&Signature>,
    threads: usize,
    stop: &AtomicBool,
) -> io::Result<()> {
    let length = signature.length;
    // Neighbours go to one thread, so that every one of them reads straight on.
    let share = window.len().div_ceil(threads.max(1));
    let full = signature.weak.len();
    let weak = &mut signature.weak[window.start.min(full)..window.end.min(full)];
    let values = &mut signature.blocks.0[window.clone()];
    let results: Vec<io::Result<()>> = thread::scope(|scope| {
        let mut weak = weak.chunks_mut(share);
        let running: Vec<_> = values
            .chunks_mut(share)
            .enumerate()
            .map(|(part, values)| {
                let weak = weak.next().unwrap_or_default();
                let first = window.start + part * share;
                scope.spawn(move || some(file, length, first, values, weak, old, stop))
            })
            .collect();
        running.into_iter().map(joined).collect()
    });
    results.into_iter().collect()
}

/// The blocks from `first` on. There may be one less of the weak sums.
fn some(
    file: &File,
    length: u64,
    first: usize,
    values: &mut [Hash],
    weak: &mut [u64],
    old: Option<&Signature>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    let mut weak = weak.iter_mut();
    for (index, value) in (first..).zip(values) {
        check(stop)?;
        let offset = index as u64 * STEP;
        let count = (length - offset).min(STEP);
        let bytes = &mut buffer[..usize::try_from(count).unwrap_or(BLOCK)];
        file.read_exact_at(bytes, offset)?;
        *value = blocks::of_block(index as u64, bytes);
        if let Some(weak) = weak.next() {
            let known = old.filter(|old| old.blocks.0.get(index) == Some(value));
            let known = known.and_then(|old| old.weak.get(index));
            *weak = known.copied().unwrap_or_else(|| Sum::of(bytes).value());
        }
    }
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread
        .join()
        .unwrap_or_else(|_panic| Err(io::Error::other("a thread ended early")))
}

fn check(stop: &AtomicBool) -> io::Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "it was stopped"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
