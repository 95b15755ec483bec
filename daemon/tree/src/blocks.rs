//! Hashes of large files by blocks: one pass gives the BLAKE3 of the whole and a value for each block, from which the whole
//! can be told again when only some blocks changed, in any order and on several threads.

use std::{fs::File, io, os::unix::fs::FileExt as _, thread};

use blake3::{
    Hasher,
    hazmat::{self, HasherExt as _, Mode},
};

use crate::Hash;

/// Bytes of a block. A power of two, as the tree of BLAKE3 wants it.
pub const BLOCK: usize = 256 << 10;

/// Values of the blocks of one file. A file of at most one block has none: its hash says it all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks(pub Vec<Hash>);

impl Blocks {
    /// How many blocks a file of this length has.
    #[must_use]
    pub fn count(length: u64) -> usize {
        if length <= BLOCK as u64 {
            return 0;
        }
        usize::try_from(length.div_ceil(BLOCK as u64)).unwrap_or(usize::MAX)
    }
}

/// The value of one block of a file that has more than one.
#[must_use]
pub fn of_block(index: u64, bytes: &[u8]) -> Hash {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(index * BLOCK as u64);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// The hash of a whole file of this length. None: the blocks are not as many as it has.
#[must_use]
pub fn root(blocks: &Blocks, length: u64) -> Option<Hash> {
    if blocks.0.is_empty() || blocks.0.len() != Blocks::count(length) {
        return None;
    }
    let (left, right) = halves(&blocks.0, length);
    Some(hazmat::merge_subtrees_root(&left, &right, Mode::Hash).into())
}

fn halves(blocks: &[Hash], length: u64) -> (Hash, Hash) {
    let left_length = hazmat::left_subtree_len(length);
    let at = usize::try_from(left_length / BLOCK as u64).unwrap_or(usize::MAX);
    let (left, right) = blocks.split_at(at.min(blocks.len()));
    (subtree(left, left_length), subtree(right, length - left_length))
}

fn subtree(blocks: &[Hash], length: u64) -> Hash {
    match blocks {
        [one] => *one,
        _ => {
            let (left, right) = halves(blocks, length);
            hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

/// Hashes what comes piece by piece.
#[derive(Debug)]
pub struct Rolling {
    blocks: Vec<Hash>,
    /// Of the block that is not full yet.
    current: Hasher,
    filled: usize,
    length: u64,
}

impl Default for Rolling {
    fn default() -> Self {
        Self::new()
    }
}

impl Rolling {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            blocks: Vec::new(),
            current: Hasher::new(),
            filled: 0,
            length: 0,
        }
    }

    /// Takes more.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == BLOCK {
                self.close();
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.current.update(now);
            self.filled += now.len();
            self.length += now.len() as u64;
            bytes = later;
        }
    }

    /// Takes a whole block without its bytes, by the value it has at this place. False, and nothing is taken, where no
    /// block begins.
    pub fn known(&mut self, value: Hash) -> bool {
        if self.filled == BLOCK {
            self.close();
        }
        if self.filled > 0 {
            return false;
        }
        self.length += BLOCK as u64;
        self.push(value);
        true
    }

    /// Bytes that came so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The hash of all that came, and of its blocks. Of one block that came by its value alone it cannot be told: that is
    /// the hash of nothing.
    #[must_use]
    pub fn finish(mut self) -> (Hash, Blocks) {
        if self.blocks.is_empty() {
            return (self.current.finalize().into(), Blocks::default());
        }
        if self.filled > 0 {
            self.close();
        }
        let blocks = Blocks(self.blocks);
        // There are as many as the length says, because both were counted here.
        let hash = root(&blocks, self.length).unwrap_or_default();
        (hash, blocks)
    }

    fn close(&mut self) {
        let value = self.current.finalize_non_root();
        self.push(value);
    }

    fn push(&mut self, value: Hash) {
        self.blocks.push(value);
        self.current = Hasher::new();
        self.current
            .set_input_offset(self.blocks.len() as u64 * BLOCK as u64);
        self.filled = 0;
    }
}

/// Hashes a file of this length on some threads.
///
/// # Errors
/// When it cannot be read, or is shorter (`UnexpectedEof`).
pub fn parallel(file: &File, length: u64, threads: usize) -> io::Result<(Hash, Blocks)> {
    let count = Blocks::count(length);
    if count == 0 {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(BLOCK)];
        file.read_exact_at(&mut bytes, 0)?;
        return Ok((blake3::hash(&bytes).into(), Blocks::default()));
    }
    let mut blocks = vec![Hash::default(); count];
    // Neighbours go to one thread, so that every one of them reads straight on.
    let share = count.div_ceil(threads.max(1));
    let results: Vec<io::Result<()>> = thread::scope(|scope| {
        let running: Vec<_> = blocks
            .chunks_mut(share)
            .enumerate()
            .map(|(part, values)| scope.spawn(move || some(file, length, part * share, values)))
            .collect();
        let joined = running.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|result| result.unwrap_or_else(|_panic| Err(io::Error::other("a thread ended early"))))
            .collect()
    });
    results.into_iter().collect::<io::Result<()>>()?;
    let blocks = Blocks(blocks);
    let hash = root(&blocks, length).unwrap_or_default();
    Ok((hash, blocks))
}

fn some(file: &File, length: u64, first: usize, values: &mut [Hash]) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    for (index, value) in (first as u64..).zip(values) {
        let offset = index * BLOCK as u64;
        let count = (length - offset).min(BLOCK as u64);
        let bytes = &mut buffer[..usize::try_from(count).unwrap_or(BLOCK)];
        file.read_exact_at(bytes, offset)?;
        *value = of_block(index, bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn content(length: usize, seed: u8) -> Vec<u8> {
        (0..length)
            .map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed)
            .collect()
    }

    fn check(length: usize, pieces: usize) {
        let bytes = content(length, 3);
        let expected: Hash = blake3::hash(&bytes).into();
        let mut rolling = Rolling::new();
        for piece in bytes.chunks(pieces) {
            rolling.update(piece);
        }
        let (hash, blocks) = rolling.finish();
        assert_eq!(hash, expected, "{length} bytes");
        assert_eq!(blocks.0.len(), Blocks::count(length as u64));
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("it can be written");
        assert_eq!(
            parallel(&file, length as u64, 3).expect("it can be read"),
            (hash, blocks)
        );
    }

    #[test]
    fn blocks_make_the_hash_of_the_whole_at_every_edge() {
        for blocks in [0, 1, 2, 3, 4, 5, 7, 8, 16] {
            for off in [-1, 0, 1] {
                if let Some(length) = (blocks * BLOCK).checked_add_signed(off) {
                    check(length, 100_000);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(40))]
        #[test]
        fn blocks_make_the_hash_of_the_whole(length in 0..(4_usize << 20), pieces in 1_000..600_000_usize) {
            check(length, pieces);
        }

        #[test]
        fn a_changed_block_makes_the_new_hash(length in BLOCK + 1..(2_usize << 20), at in any::<prop::sample::Index>()) {
            let mut bytes = content(length, 9);
            let mut rolling = Rolling::new();
            rolling.update(&bytes);
            let (_, mut blocks) = rolling.finish();
            let at = at.index(length);
            bytes[at] ^= 1;
            let block = at / BLOCK;
            let end = length.min((block + 1) * BLOCK);
            blocks.0[block] = of_block(block as u64, &bytes[block * BLOCK..end]);
            assert_eq!(root(&blocks, length as u64), Some(blake3::hash(&bytes).into()));
        }
    }

    #[test]
    fn blocks_that_are_known_need_no_bytes() {
        let bytes = content(4 * BLOCK + 1000, 5);
        let values: Vec<Hash> = (0..)
            .zip(bytes.chunks(BLOCK))
            .map(|(index, block)| of_block(index, block))
            .collect();
        let mut rolling = Rolling::new();
        assert!(rolling.known(values[0]));
        rolling.update(&bytes[BLOCK..2 * BLOCK]);
        assert!(rolling.known(values[2]));
        rolling.update(&bytes[3 * BLOCK..3 * BLOCK + 10]);
        assert!(!rolling.known(values[3]), "in the middle of a block");
        rolling.update(&bytes[3 * BLOCK + 10..]);
        assert_eq!(rolling.length(), bytes.len() as u64);
        assert_eq!(
            rolling.finish(),
            (blake3::hash(&bytes).into(), Blocks(values.clone()))
        );
        // To the end.
        let mut rolling = Rolling::new();
        assert!(values[..3].iter().all(|value| rolling.known(*value)));
        assert_eq!(rolling.finish().0, *blake3::hash(&bytes[..3 * BLOCK]).as_bytes());
        let mut alone = Rolling::new();
        assert!(alone.known(values[0]));
        assert_eq!(alone.finish().0, Hash::default());
    }

    #[test]
    fn blocks_of_another_length_make_no_hash() {
        let blocks = Blocks(vec![[0; 32]; 3]);
        assert_eq!(root(&blocks, 4 * BLOCK as u64), None);
        assert_eq!(root(&Blocks::default(), 10), None);
    }
}
