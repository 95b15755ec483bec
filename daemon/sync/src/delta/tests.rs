use std::io::Write as _;

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop, prop_oneof, proptest},
    test_runner::Config,
};

use super::*;

/// Bytes that do not repeat.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("it can be written");
    file
}

fn go() -> AtomicBool {
    AtomicBool::new(false)
}

/// How a file is made from its old content.
#[derive(Debug)]
struct Delta {
    hash: Hash,
    signature: Signature,
    segments: Vec<Segment>,
}

fn compare(
    file: &File,
    length: u64,
    old: &Signature,
    threads: usize,
    stop: &AtomicBool,
) -> io::Result<Delta> {
    let mut segments = Vec::new();
    let (hash, signature) = super::compare(file, length, old, &[], threads, stop, |segment| {
        segments.push(segment);
        io::Result::Ok(())
    })?;
    Ok(Delta {
        hash,
        signature,
        segments,
    })
}

/// Compares, puts the new content together from the old one, and says how many bytes had to be sent.
fn sent(old: &[u8], new: &[u8], threads: usize) -> u64 {
    let (_, signature) = sign(&file(old), old.len() as u64, threads, &go()).expect("it can be read");
    assert_eq!(signature, Signature::of(old));
    let delta = compare(&file(new), new.len() as u64, &signature, threads, &go()).expect("it can be read");
    assert_eq!(delta.hash, *blake3::hash(new).as_bytes());
    assert_eq!(delta.signature, Signature::of(new));
    let part = |bytes: &[u8], from: u64, length: u64| {
        let (from, length) = (from as usize, length as usize);
        bytes[from..from + length].to_vec()
    };
    let (mut made, mut data) = (Vec::new(), 0);
    for segment in &delta.segments {
        match *segment {
            Segment::Copy { from, length } => made.extend(part(old, from, length)),
            Segment::Data { from, length } => {
                assert_eq!(from, made.len() as u64, "it is what comes next");
                made.extend(part(new, from, length));
                data += length;
            }
            Segment::Stay { .. } => panic!("nothing is kept"),
        }
    }
    assert!(made == new, "{:?}", delta.segments);
    let mut begin = 0;
    for pair in delta.segments.windows(2) {
        begin += pair[0].length();
        if begin.is_multiple_of((WINDOW * BLOCK) as u64) {
            continue;
        }
        let together = match (pair[0], pair[1]) {
            (Segment::Data { .. }, Segment::Data { .. }) => true,
            (Segment::Copy { from, length }, Segment::Copy { from: next, .. }) => from + length == next,
            _ => false,
        };
        assert!(!together, "{pair:?} are one");
    }
    data
}

#[derive(Debug, Clone)]
enum Edit {
    Overwrite(prop::sample::Index, usize),
    Insert(prop::sample::Index, usize),
    Delete(prop::sample::Index, usize),
    Append(usize),
    Truncate(prop::sample::Index),
    /// A part of it once more, somewhere.
    Repeat(prop::sample::Index, prop::sample::Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    let small = || {
        prop_oneof![
            1..100_usize,
            1..BLOCK,
            BLOCK..3 * BLOCK,
            proptest::strategy::Just(BLOCK)
        ]
    };
    prop_oneof![
        3 => (at(), small()).prop_map(|(at, count)| Edit::Overwrite(at, count)),
        3 => (at(), small()).prop_map(|(at, count)| Edit::Insert(at, count)),
        3 => (at(), small()).prop_map(|(at, count)| Edit::Delete(at, count)),
        2 => small().prop_map(Edit::Append),
        1 => at().prop_map(Edit::Truncate),
        1 => (at(), at(), small()).prop_map(|(from, to, count)| Edit::Repeat(from, to, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit, seed: u64) {
    let place = |at: &prop::sample::Index, bytes: &Vec<u8>| at.index(bytes.len() + 1);
    match edit {
        Edit::Overwrite(at, count) => {
            let at = place(at, bytes);
            let end = bytes.len().min(at + count);
            bytes[at..end].copy_from_slice(&noise(end - at, seed));
        }
        Edit::Insert(at, count) => {
            let at = place(at, bytes);
            bytes.splice(at..at, noise(*count, seed));
        }
        Edit::Delete(at, count) => {
            let at = place(at, bytes);
            bytes.drain(at..bytes.len().min(at + count));
        }
        Edit::Append(count) => bytes.extend(noise(*count, seed)),
        Edit::Truncate(at) => bytes.truncate(place(at, bytes)),
        Edit::Repeat(from, to, count) => {
            let from = place(from, bytes);
            let part = bytes[from..bytes.len().min(from + count)].to_vec();
            let to = place(to, bytes);
            bytes.splice(to..to, part);
        }
    }
}

proptest! {
    #![proptest_config(Config::with_cases(24))]
    #[test]
    fn what_is_put_together_is_the_new_content(
        length in 0..(4_usize << 20), edits in vec(edit(), 0..5), threads in 1..4_usize, is_dull in any::<bool>(),
    ) {
        // Dull content has every block many times.
        let old = if is_dull { vec![0; length] } else { noise(length, 1) };
        let mut new = old.clone();
        for (seed, edit) in (2..).zip(&edits) {
            apply(&mut new, edit, seed);
        }
        sent(&old, &new, threads);
    }

    #[test]
    fn an_edit_costs_what_it_adds_and_two_blocks(
        length in (2 * BLOCK)..(2_usize << 20), at in any::<prop::sample::Index>(), count in 0..BLOCK, kind in 0..3,
    ) {
        let old = noise(length, 1);
        let (at, mut new) = (at.index(length + 1), old.clone());
        let added = match kind {
            0 => {
                new.splice(at..at, noise(count, 2));
                count
            }
            1 => {
                new.drain(at..length.min(at + count));
                0
            }
            _ => {
                let end = length.min(at + count);
                new[at..end].copy_from_slice(&noise(end - at, 2));
                end - at
            }
        };
        let sent = sent(&old, &new, 2);
        assert!(sent <= (added + 2 * BLOCK) as u64, "{sent} sent for {added} added");
    }

    #[test]
    fn a_signature_comes_back_from_its_bytes(length in 0..(2_usize << 20), cut in any::<prop::sample::Index>()) {
        let signature = Signature::of(&noise(length, 1));
        let bytes = signature.encode();
        assert_eq!(Signature::decode(&bytes), Some(signature));
        assert_eq!(Signature::decode(&bytes[..cut.index(bytes.len())]), None);
        assert_eq!(Signature::decode(&[&bytes[..], &[0]].concat()), None);
    }
}

#[test]
fn no_bytes_make_memory_be_taken_that_is_not_there() {
    for length in [u64::MAX, 1 << 63, 1 << 40] {
        assert_eq!(Signature::decode(&length.to_le_bytes()), None);
    }
    assert_eq!(Signature::decode(&[]), None);
}

#[test]
fn an_insertion_at_the_front_sends_what_was_inserted() {
    let old = noise(8 << 20, 1);
    let new = [&noise(10, 2)[..], &old].concat();
    assert_eq!(sent(&old, &new, 2), 10);
}

#[test]
fn what_was_appended_is_sent_alone() {
    for length in [5 * BLOCK, 5 * BLOCK + 1, 6 * BLOCK - 1] {
        let old = noise(length, 1);
        let new = [&old[..], &noise(1000, 2)].concat();
        assert_eq!(sent(&old, &new, 2), 1000, "to {length}");
    }
}

#[test]
fn a_file_that_was_cut_sends_its_last_block_at_most() {
    let old = noise(2 << 20, 1);
    assert_eq!(sent(&old, &old[..5 * BLOCK], 2), 0);
    assert_eq!(sent(&old, &old[..5 * BLOCK + 7], 2), 7);
}

#[test]
fn the_end_is_found_behind_something_else() {
    let old = noise(4 * BLOCK + 1000, 1);
    let mut new = [&noise(10, 2)[..], &old].concat();
    // The last full block is another one, so that nothing leads to the end.
    new[3 * BLOCK + 500] ^= 1;
    assert_eq!(sent(&old, &new, 1), 10 + BLOCK as u64);
}

/// What is read at a time has nothing to do with what is found.
#[test]
fn what_changed_across_windows_is_found_as_a_whole() {
    let edge = WINDOW * BLOCK;
    let old = noise(edge + 8 * BLOCK, 1);
    let (before, after) = (edge - 2 * BLOCK, edge + 3 * BLOCK);
    let inserted = [&old[..before], &noise(10, 2), &old[before..]].concat();
    assert_eq!(sent(&old, &inserted, 2), 10);
    let mut changed = old.clone();
    changed[before..after].copy_from_slice(&noise(after - before, 3));
    changed[edge + 6 * BLOCK] ^= 1;
    assert_eq!(sent(&old, &changed, 2), (after - before + BLOCK) as u64);
}

#[test]
fn blocks_that_changed_places_are_copied() {
    let old = noise(40 * BLOCK, 1);
    let (front, back) = old.split_at(20 * BLOCK);
    assert_eq!(sent(&old, &[back, front].concat(), 2), 0);
}

#[test]
fn nothing_changed_is_one_copy_and_nothing_known_is_all_data() {
    let old = noise(3 * BLOCK + 5, 1);
    let length = old.len() as u64;
    let compared = |old: &Signature| compare(&file(&noise(3 * BLOCK + 5, 1)), length, old, 2, &go());
    let delta = compared(&Signature::of(&old)).expect("it can be read");
    assert_eq!(delta.segments, [Segment::Copy { from: 0, length }]);
    for nothing in [Signature::default(), Signature::of(&old[..BLOCK])] {
        let delta = compared(&nothing).expect("it can be read");
        assert_eq!(delta.segments, [Segment::Data { from: 0, length }]);
    }
    assert_eq!(sent(&old, &[], 2), 0);
}

/// The weak sum of every block is that of another one, as somebody could arrange it.
#[test]
fn blocks_that_only_look_alike_cost_little_and_are_sent() {
    let (old, new) = (noise(3 * BLOCK, 1), noise(PIECE_AND_MORE, 2));
    let mut signature = Signature::of(&old);
    // A content of one byte has one sum wherever the window is.
    let dull = vec![7; PIECE_AND_MORE];
    signature.weak[0] = Sum::of(&dull[..BLOCK]).value();
    for new in [new, dull] {
        let length = new.len() as u64;
        let delta = compare(&file(&new), length, &signature, 2, &go()).expect("it can be read");
        assert_eq!(delta.segments, [Segment::Data { from: 0, length }]);
    }
}

const PIECE_AND_MORE: usize = 17 * BLOCK + 3;

#[test]
fn a_file_that_became_shorter_and_a_stop_are_errors() {
    let bytes = noise(3 * BLOCK, 1);
    let longer = bytes.len() as u64 + 1;
    let result = sign(&file(&bytes), longer, 2, &go()).expect_err("it is shorter");
    assert_eq!(result.kind(), io::ErrorKind::UnexpectedEof);
    for length in [0, 1, bytes.len()] {
        let stopped = AtomicBool::new(true);
        let result = compare(&file(&bytes), length as u64, &Signature::default(), 2, &stopped);
        assert_eq!(
            result.expect_err("it was stopped").kind(),
            io::ErrorKind::Interrupted
        );
    }
}

/// What a part that is kept and an old file have of a new one is not sent, whatever else is in them.
#[test]
fn what_is_kept_stays() {
    let new = noise(70 * BLOCK + 99, 1);
    // Of the part the middle is wrong, and its end is no whole block.
    let mut kept = new[..40 * BLOCK + 5].to_vec();
    kept[10 * BLOCK + 3] ^= 1;
    kept[11 * BLOCK] ^= 1;
    // The old file has some of it in place, some elsewhere, and some not.
    let mut old = noise(70 * BLOCK, 2);
    old[5 * BLOCK..12 * BLOCK].copy_from_slice(&new[5 * BLOCK..12 * BLOCK]);
    old[50 * BLOCK..55 * BLOCK].copy_from_slice(&new[60 * BLOCK + 7..65 * BLOCK + 7]);
    let values = kept.chunks_exact(BLOCK).zip(0..);
    let values: Vec<_> = values
        .map(|(block, index)| blocks::of_block(index, block))
        .collect();
    for old in [&old[..], &[]] {
        let (mut made, mut data, mut stays) = (Vec::<u8>::new(), 0, [0, 0]);
        let signature = Signature::of(old);
        let length = new.len() as u64;
        let compared = super::compare(&file(&new), length, &signature, &values, 2, &go(), |segment| {
            let at = made.len();
            match segment {
                Segment::Copy { from, length } => made.extend(&old[from as usize..][..length as usize]),
                Segment::Stay { length, is_old } => {
                    assert!(at.is_multiple_of(BLOCK) && length.is_multiple_of(STEP));
                    made.extend(&kept[at..][..length as usize]);
                    stays[usize::from(is_old)] += length / STEP;
                }
                Segment::Data { from, length } => {
                    assert_eq!(from, at as u64);
                    made.extend(&new[at..][..length as usize]);
                    data += length;
                }
            }
            io::Result::Ok(())
        });
        let (hash, signature) = compared.expect("it can be read");
        assert_eq!(
            (hash, signature),
            (*blake3::hash(&new).as_bytes(), Signature::of(&new))
        );
        assert!(made == new);
        if old.is_empty() {
            assert_eq!((data, stays), (32 * STEP + 99, [38, 0]));
        } else {
            assert_eq!((data, stays), (25 * STEP + 99, [33, 5]));
        }
    }
}
