//! Contents of files.

use outlast_testkit::Random;

/// So many bytes that no program makes shorter.
pub fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    let words = (0..length.div_ceil(8)).flat_map(|_| random.number().to_le_bytes());
    words.take(length).collect()
}

/// Bytes of a file as they come: mostly few, sometimes none, seldom as many as 3 MiB; text, noise or a mixture.
pub fn any(random: &mut Random) -> Vec<u8> {
    let length = match random.between(0, 100) {
        0..10 => 0,
        10..70 => random.between(1, 2_000),
        70..95 => random.between(2_000, 40_000),
        95..99 => random.between(40_000, 1 << 20),
        _ => random.between(1 << 20, 3 << 20),
    };
    let length = usize::try_from(length).unwrap();
    match random.between(0, 3) {
        0 => noise(random, length),
        1 => {
            let line = format!("line {} of a text\n", random.between(0, 50));
            line.bytes().cycle().take(length).collect()
        }
        _ => {
            let mut bytes = vec![0; length / 2];
            bytes.extend(noise(random, length - length / 2));
            bytes
        }
    }
}
