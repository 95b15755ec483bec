//! The hash and the signature of content that comes piece by piece.

use outlast_tree::{
    Hash,
    blocks::{BLOCK, Rolling},
};

use super::{Signature, rolling::Sum};

/// Takes content.
#[derive(Debug, Default)]
pub struct Signer {
    rolling: Rolling,
    /// Of the block that is not full yet, and how much of it came.
    sum: Sum,
    filled: usize,
    weak: Vec<u64>,
}

impl Signer {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.rolling.update(now);
            self.sum.extend(now);
            self.filled += now.len();
            if self.filled == BLOCK {
                self.weak.push(std::mem::take(&mut self.sum).value());
                self.filled = 0;
            }
            bytes = later;
        }
    }

    /// The hash of all that came, and its signature.
    #[must_use]
    pub fn finish(mut self) -> (Hash, Signature) {
        let length = self.rolling.length();
        let (hash, blocks) = self.rolling.finish();
        if blocks.0.is_empty() {
            self.weak.clear();
        }
        let signature = Signature {
            length,
            blocks,
            weak: self.weak,
        };
        (hash, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_reading_the_file_says() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 77] {
            let bytes: Vec<u8> = (0..length).map(|at| ((at * 31) >> 3) as u8).collect();
            for piece in [1 << 16, 100_001, 1 << 20] {
                let mut signer = Signer::new();
                for piece in bytes.chunks(piece) {
                    signer.update(piece);
                }
                let (hash, signature) = signer.finish();
                assert_eq!(hash, *blake3::hash(&bytes).as_bytes(), "{length} bytes");
                assert_eq!(signature, Signature::of(&bytes), "{length} bytes");
            }
        }
    }
}
