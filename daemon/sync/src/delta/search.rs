//! Finds blocks of the old file in what changed of the new one, wherever they begin.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use outlast_tree::blocks::{self, BLOCK};

use super::{STEP, Signature, check, joined, rolling::Sum};

/// Bytes of the new file that one thread searches at a time. Blocks that begin in them may end after them.
const PIECE: u64 = 16 * STEP;

/// Bits that tell most sums apart from all of the old file, so that the map is hardly ever asked.
const FILTER: u32 = 20;

/// Blocks whose sum is that of an old one and which are not it, before a piece is given up. By chance there is none; content
/// made for it would have us hash a block for every byte.
const PATIENCE: usize = 64;

/// Something of the old file in the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it begins in the new file.
    pub(super) at: u64,
    /// Where it begins in the old file.
    pub(super) from: u64,
    /// Its length.
    pub(super) length: u64,
}

/// What is looked for.
pub(super) struct Search<'a> {
    old: &'a Signature,
    /// Old blocks by their weak sum. Of those with the same sum the first: mostly they hold the same.
    by_weak: HashMap<u64, usize>,
    filter: Vec<u64>,
}

impl<'a> Search<'a> {
    pub(super) fn new(old: &'a Signature) -> Self {
        let mut by_weak = HashMap::with_capacity(old.weak.len());
        let mut filter = vec![0; 1 << (FILTER - 6)];
        for (index, weak) in old.weak.iter().enumerate() {
            by_weak.entry(*weak).or_insert(index);
            let (word, bit) = place(*weak);
            filter[word] |= bit;
        }
        Self { old, by_weak, filter }
    }

    /// Looks in these ranges of a file, which begin with blocks and are in order. What is found is in the order of the file
    /// and within one range each; two may overlap, where searches on different threads met.
    pub(super) fn run(
        &self,
        file: &File,
        ranges: &[Range<u64>],
        threads: usize,
        stop: &AtomicBool,
    ) -> io::Result<Vec<Found>> {
        if self.old.blocks.0.is_empty() {
            return Ok(Vec::new());
        }
        // Where blocks may begin, and where they have to end.
        let mut pieces = Vec::new();
        for range in ranges {
            let mut begin = range.start;
            while begin < range.end {
                let end = range.end.min(begin + PIECE);
                pieces.push((begin..end, range.end));
                begin = end;
            }
        }
        let next = AtomicUsize::new(0);
        let work = || -> io::Result<Vec<Found>> {
            let mut found = Vec::new();
            let mut buffer = Vec::new();
            while let Some((piece, end)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                check(stop)?;
                self.piece(file, piece.clone(), *end, &mut buffer, &mut found)?;
            }
            Ok(found)
        };
        let results: Vec<_> = thread::scope(|scope| {
            let count = threads.clamp(1, pieces.len().max(1));
            // One of them is this one.
            let running: Vec<_> = (1..count).map(|_| scope.spawn(work)).collect();
            let mine = work();
            running.into_iter().map(joined).chain([mine]).collect()
        });
        let mut all = Vec::new();
        for found in results {
            all.extend(found?);
        }
        all.extend(self.end(file, ranges)?);
        all.sort_by_key(|found| found.at);
        Ok(all)
    }

    /// The end of the old file at the end of the last range. It has no sum that could be rolled.
    fn end(&self, file: &File, ranges: &[Range<u64>]) -> io::Result<Option<Found>> {
        let last = self.old.weak.len();
        let (Some(range), true) = (ranges.last(), last < self.old.blocks.0.len()) else {
            return Ok(None);
        };
        let old = self.old.range(last);
        let length = old.end - old.start;
        let Some(at) = range.end.checked_sub(length).filter(|at| *at >= range.start) else {
            return Ok(None);
        };
        // Shorter than a block.
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut bytes, at)?;
        let from = old.start;
        Ok(self.is(last, &bytes, 0).map(|_| Found { at, from, length }))
    }

    /// Looks for blocks that begin in a piece and end before `end`.
    fn piece(
        &self,
        file: &File,
        piece: Range<u64>,
        end: u64,
        buffer: &mut Vec<u8>,
        found: &mut Vec<Found>,
    ) -> io::Result<()> {
        // The longest that can be found begins with the last byte.
        let length = end.min(piece.end + STEP - 1) - piece.start;
        // At most a piece and a block.
        let length = usize::try_from(length).unwrap_or_default();
        buffer.resize(length, 0);
        file.read_exact_at(buffer, piece.start)?;
        let bytes = &buffer[..];
        let last_begin = usize::try_from(piece.end - piece.start).unwrap_or_default();
        let mut patience = PATIENCE;
        let mut at = 0;
        // Of blocks in their place only the end of the old file can still be here, with something after it now.
        let mut expected = match usize::try_from(piece.start / STEP) {
            Ok(index) if index == self.old.weak.len() => index,
            _ => usize::MAX,
        };
        loop {
            // Blocks that follow one another need no sum.
            while at < last_begin
                && let Some(count) = self.is(expected, bytes, at)
            {
                found.push(Found {
                    at: piece.start + at as u64,
                    from: self.old.range(expected).start,
                    length: count as u64,
                });
                at += count;
                expected += 1;
            }
            let Some(window) = bytes.get(at..at + BLOCK) else {
                break;
            };
            let mut sum = Sum::of(window);
            let hit = loop {
                if at >= last_begin {
                    break None;
                }
                let value = sum.value();
                let (word, bit) = place(value);
                if self.filter[word] & bit != 0
                    && let Some(&index) = self.by_weak.get(&value)
                {
                    if self.is(index, bytes, at).is_some() {
                        break Some(index);
                    }
                    patience -= 1;
                    if patience == 0 {
                        break None;
                    }
                }
                let Some(come) = bytes.get(at + BLOCK) else {
                    break None;
                };
                sum = sum.roll(bytes[at], *come);
                at += 1;
            };
            match hit {
                Some(index) => expected = index,
                None => break,
            }
        }
        Ok(())
    }

    /// Whether an old block begins here, and how long it is then.
    fn is(&self, index: usize, bytes: &[u8], at: usize) -> Option<usize> {
        let value = self.old.blocks.0.get(index)?;
        let range = self.old.range(index);
        let count = usize::try_from(range.end - range.start).ok()?;
        let here = bytes.get(at..at + count)?;
        (blocks::of_block(index as u64, here) == *value).then_some(count)
    }
}

/// The bit of a sum in the filter. The upper bits of a sum are the better ones.
fn place(sum: u64) -> (usize, u64) {
    let bit = sum >> (64 - FILTER);
    // Fewer bits than the filter has words for.
    (usize::try_from(bit >> 6).unwrap_or_default(), 1 << (bit & 63))
}
