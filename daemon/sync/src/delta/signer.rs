//! The hash and the signature of content that comes piece by piece.

use outlast_tree::{
    Hash,
    blocks::{self, BLOCK, Blocks},
};

use super::{Signature, rolling::Sum};

/// Takes content.
#[derive(Debug, Default)]
pub struct Signer {
    signature: Signature,
    /// What came of the block that is not full yet, or of the last one while nothing came after it.
    block: Vec<u8>,
}

impl Signer {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.signature.length += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.block.len() == BLOCK {
                self.close();
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
        }
    }

    /// The hash of all that came, and its signature.
    #[must_use]
    pub fn finish(mut self) -> (Hash, Signature) {
        if self.signature.length <= BLOCK as u64 {
            self.signature.blocks = Blocks::default();
            return (blake3::hash(&self.block).into(), self.signature);
        }
        self.close();
        // There are as many as the length says, because both were counted here.
        let hash = blocks::root(&self.signature.blocks, self.signature.length).unwrap_or_default();
        (hash, self.signature)
    }

    fn close(&mut self) {
        let index = self.signature.blocks.0.len() as u64;
        self.signature.blocks.0.push(blocks::of_block(index, &self.block));
        if self.block.len() == BLOCK {
            self.signature.weak.push(Sum::of(&self.block).value());
        }
        self.block.clear();
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
