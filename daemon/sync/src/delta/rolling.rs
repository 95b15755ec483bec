//! A sum of as many bytes as a block has, that can be moved on by a byte without summing up anew: the bytes, and the bytes
//! each as often as it is places from the end. It tells what is worth a look and proves nothing.

use outlast_tree::blocks::BLOCK;

/// Bytes that are summed up in one step. Few enough that no number of 32 bits overflows.
const WIDTH: usize = 64;

/// How often each byte of a step counts.
const WEIGHTS: [u32; WIDTH] = {
    let mut weights = [0; WIDTH];
    let mut at = 0;
    while at < WIDTH {
        // A step is a few bytes.
        weights[at] = (WIDTH - at) as u32;
        at += 1;
    }
    weights
};

/// Odd numbers of no pattern, which bring both sums into one.
const MIX: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// The sums of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    plain: u64,
    weighted: u64,
}

impl Sum {
    /// Of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (mut plain, mut weighted) = (0_u64, 0_u64);
        let (steps, rest) = bytes.as_chunks::<WIDTH>();
        for step in steps {
            // So plain that it is done for many bytes at once.
            let (mut here, mut weighs) = (0_u32, 0_u32);
            for (byte, weight) in step.iter().zip(WEIGHTS) {
                here += u32::from(*byte);
                weighs += u32::from(*byte) * weight;
            }
            weighted += plain * WIDTH as u64 + u64::from(weighs);
            plain += u64::from(here);
        }
        for byte in rest {
            plain += u64::from(*byte);
            weighted += plain;
        }
        Self { plain, weighted }
    }

    /// Takes what follows.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let next = Self::of(bytes);
        self.weighted += self.plain * bytes.len() as u64 + next.weighted;
        self.plain += next.plain;
    }

    /// Of the block that begins one byte later: `gone` is the first byte of this one, `come` the last of that.
    pub(super) fn roll(self, gone: u8, come: u8) -> Self {
        let plain = self.plain + u64::from(come) - u64::from(gone);
        let weighted = self.weighted + plain - u64::from(gone) * BLOCK as u64;
        Self { plain, weighted }
    }

    /// Both as one number, whose upper bits are the better ones.
    pub(super) fn value(self) -> u64 {
        let plain = self.plain.wrapping_mul(MIX[0]);
        plain.wrapping_add(self.weighted.wrapping_mul(MIX[1]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_byte_counts_as_often_as_it_is_places_from_the_end(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let places = (1..=bytes.len() as u64).rev();
            let plain = bytes.iter().map(|byte| u64::from(*byte)).sum();
            let weighted = bytes.iter().zip(places).map(|(byte, place)| u64::from(*byte) * place).sum();
            assert_eq!(Sum::of(&bytes), Sum { plain, weighted });
        }
    }

    #[test]
    fn moving_on_is_as_summing_up_anew() {
        let bytes: Vec<u8> = (0..BLOCK + 300).map(|at| (at * at / 7) as u8).collect();
        let mut moved = Sum::of(&bytes[..BLOCK]);
        for at in 1..=300 {
            moved = moved.roll(bytes[at - 1], bytes[at - 1 + BLOCK]);
            assert_eq!(moved, Sum::of(&bytes[at..at + BLOCK]), "moved by {at}");
        }
    }

    #[test]
    fn no_block_is_too_large_for_it() {
        for byte in [0, 255] {
            let bytes = vec![byte; BLOCK];
            let sum = Sum::of(&bytes);
            assert_eq!(sum.roll(byte, byte), sum);
        }
    }
}
