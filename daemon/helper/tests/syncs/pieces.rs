//! Large files, which arrive in pieces.

use std::fs;

use bytes::Bytes;
use outlast_client::helper_v1::{
    SyncBegin, SyncCopy, SyncPacked, SyncPiece, SyncRefusal as Refusal, sync_piece::Event,
    sync_target_request, sync_target_response,
};

use outlast_tree::blocks::{BLOCK, of_block};

use crate::bed::{Batch, Bed, Stream};

fn begin(path: &str, base: Option<&str>) -> Event {
    Event::Begin(SyncBegin {
        path: Bytes::copy_from_slice(path.as_bytes()),
        base: base.map(|base| Bytes::copy_from_slice(base.as_bytes())),
        part: false,
    })
}

fn content(seed: u8) -> Vec<u8> {
    (0..5_u32 << 20)
        .map(|at| (at >> 7) as u8 ^ at as u8 ^ seed)
        .collect()
}

async fn send(stream: &Stream, number: u64, bytes: &[u8]) {
    for part in bytes.chunks(1 << 20) {
        stream
            .piece(number, Event::Data(Bytes::copy_from_slice(part)))
            .await;
    }
}

#[tokio::test]
async fn a_large_file_arrives_and_is_put_in_its_place_as_a_whole() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().dir("d").file("d/large", "small")).await;
    let (one, two) = (content(1), content(2));
    stream.piece(7, begin("d/large", None)).await;
    stream.piece(8, begin("other", None)).await;
    send(&stream, 7, &one[..3_000_000]).await;
    let packed = SyncPacked {
        data: lz4_flex::block::compress(&two[..1 << 20]).into(),
        unpacked: 1 << 20,
    };
    stream.piece(8, Event::Packed(packed)).await;
    send(&stream, 7, &one[3_000_000..]).await;
    send(&stream, 8, &two[1 << 20..]).await;
    stream.settle(true).await;
    assert_eq!(bed.read("d/large"), "small", "not before it is whole");
    assert_eq!(bed.leftovers().len(), 2);
    stream
        .make(Batch::new().arrived("d/large", &one, 7).arrived("other", &two, 8))
        .await;
    assert!(fs::read(bed.at("d/large")).unwrap() == one && fs::read(bed.at("other")).unwrap() == two);
    assert_eq!(bed.mode("other"), 0o640);
    assert!(bed.leftovers().is_empty());
    assert!(stream.settle(false).await.altered.is_empty());
}

#[tokio::test]
async fn parts_are_copied_from_the_base() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let old = content(3);
    stream.piece(1, begin("f", None)).await;
    send(&stream, 1, &old).await;
    stream.make(Batch::new().arrived("f", &old, 1)).await;
    let mut new = old.clone();
    new[2_000_000..2_000_005].copy_from_slice(b"12345");
    new.extend_from_slice(b"more");
    stream.piece(2, begin("f", Some("f"))).await;
    stream.piece(2, copy(0, 2_000_000)).await;
    send(&stream, 2, b"12345").await;
    stream.piece(2, copy(2_000_005, old.len() - 2_000_005)).await;
    send(&stream, 2, b"more").await;
    stream.make(Batch::new().arrived("f", &new, 2)).await;
    assert!(fs::read(bed.at("f")).unwrap() == new);
    // Beyond the end, from nothing, from what is not as it was.
    stream.piece(3, begin("g", Some("f"))).await;
    stream.piece(3, copy(1, new.len())).await;
    stream.piece(4, begin("g", Some("none"))).await;
    stream.piece(5, begin("g", None)).await;
    stream.piece(5, copy(0, 1)).await;
    fs::write(bed.at("f"), "edited").unwrap();
    stream.piece(6, begin("g", Some("f"))).await;
    for number in 3..=6 {
        let refused = stream.refusal(Batch::new().arrived("g", &new, number)).await;
        assert_eq!(refused, Refusal::Need, "{number}");
    }
    assert!(!bed.at("g").exists() && bed.leftovers().is_empty());
}

fn copy(from: usize, length: usize) -> Event {
    Event::Copy(SyncCopy {
        from: from as u64,
        length: length as u64,
    })
}

fn values(content: &[u8]) -> Event {
    let blocks = content.chunks(BLOCK).zip(0..);
    let values: Vec<_> = blocks.map(|(block, index)| of_block(index, block)).collect();
    Event::Values(Bytes::copy_from_slice(values.as_flattened()))
}

/// A file of more than five blocks that arrived.
async fn base(stream: &mut Stream, path: &str, seed: u8) -> Vec<u8> {
    let content = [content(seed), vec![seed; 1000]].concat();
    stream.piece(1, begin(path, None)).await;
    send(stream, 1, &content).await;
    stream.make(Batch::new().arrived(path, &content, 1)).await;
    content
}

#[tokio::test]
async fn blocks_of_the_base_are_known_by_values_that_make_its_hash() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let old = base(&mut stream, "f", 5).await;
    let mut new = old.clone();
    new[BLOCK + 7..2 * BLOCK].fill(1);
    // In place, from elsewhere, and in parts that are no blocks; with values that are right, wrong, too many, too few.
    let (head, tail) = (&values(&old), 3 * BLOCK + 5);
    let wrong = values(&new);
    for (number, told) in [
        (2, vec![head.clone()]),
        (3, vec![wrong]),
        (4, vec![head.clone(), head.clone()]),
        (5, vec![values(&old[..2 * BLOCK])]),
        (6, vec![]),
    ] {
        stream.piece(number, begin("g", Some("f"))).await;
        for values in told {
            stream.piece(number, values).await;
        }
        stream.piece(number, copy(0, BLOCK)).await;
        send(&stream, number, &new[BLOCK..2 * BLOCK]).await;
        stream.piece(number, copy(2 * BLOCK, tail - 2 * BLOCK)).await;
        stream.piece(number, copy(tail, old.len() - tail)).await;
        stream.make(Batch::new().arrived("g", &new, number)).await;
        assert!(fs::read(bed.at("g")).unwrap() == new, "{number}");
    }
    let moved = [&old[BLOCK..3 * BLOCK], &old[..BLOCK], &old[3 * BLOCK..]].concat();
    stream.piece(7, begin("h", Some("f"))).await;
    stream.piece(7, values(&old)).await;
    stream.piece(7, copy(BLOCK, 2 * BLOCK)).await;
    stream.piece(7, copy(0, BLOCK)).await;
    stream.piece(7, copy(3 * BLOCK, old.len() - 3 * BLOCK)).await;
    stream.make(Batch::new().arrived("h", &moved, 7)).await;
    assert!(fs::read(bed.at("h")).unwrap() == moved);
    assert!(bed.leftovers().is_empty());
}

/// Nobody knows what was copied then, since nobody read it.
#[tokio::test]
async fn a_base_that_is_written_to_while_it_is_copied_is_refused() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let old = base(&mut stream, "f", 6).await;
    stream.piece(2, begin("g", Some("f"))).await;
    stream.piece(2, values(&old)).await;
    stream.piece(2, copy(0, old.len())).await;
    stream.settle(true).await;
    let theirs = fs::File::options().write(true).open(bed.at("f")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&theirs, b"theirs", 0).unwrap();
    let refused = stream.refusal(Batch::new().arrived("g", &old, 2)).await;
    assert_eq!(refused, Refusal::Need);
    assert!(!bed.at("g").exists() && bed.leftovers().is_empty());
}

#[tokio::test]
async fn what_is_not_as_it_was_said_to_be_is_not_used() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let whole = content(4);
    stream.piece(1, begin("f", None)).await;
    send(&stream, 1, &whole[1..]).await;
    stream.piece(2, begin("f", None)).await;
    send(&stream, 2, &whole[..1000]).await;
    stream.piece(3, begin("f", None)).await;
    let junk = SyncPacked {
        data: Bytes::from_static(b"\xff\xff\xff\xff"),
        unpacked: 1000,
    };
    stream.piece(3, Event::Packed(junk)).await;
    stream.piece(4, begin("none/f", None)).await;
    for (number, expected) in [
        (1, Refusal::Need),
        (2, Refusal::Need),
        (3, Refusal::Need),
        (5, Refusal::Need),
    ] {
        let refused = stream.refusal(Batch::new().arrived("f", &whole, number)).await;
        assert_eq!(refused, expected, "{number}");
        // It is used up.
        let again = stream.refusal(Batch::new().arrived("f", &whole, number)).await;
        assert_eq!(again, Refusal::Need);
    }
    assert_eq!(
        stream.refusal(Batch::new().arrived("none/f", &whole, 4)).await,
        Refusal::Failed
    );
    assert!(!bed.at("f").exists() && bed.leftovers().is_empty());
}

#[tokio::test]
async fn that_a_piece_was_taken_is_said_when_that_was_asked() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let part = Bytes::from_static(b"part");
    for (number, event, tell) in [
        (1, begin("f", None), false),
        (1, Event::Data(part.clone()), true),
        // Whatever becomes of it.
        (9, Event::Data(part), true),
    ] {
        let piece = SyncPiece {
            number,
            event: Some(event),
            tell,
        };
        stream.send(sync_target_request::Event::Piece(piece)).await;
    }
    for _ in 0..2 {
        let answer = stream.answer().await.unwrap();
        assert!(
            matches!(answer, Some(sync_target_response::Event::Took(_))),
            "{answer:?}"
        );
    }
    stream.settle(false).await;
}

#[tokio::test]
async fn what_is_not_used_is_removed_however_the_stream_ends() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().dir("d").file("d/f", "f")).await;
    for number in 1..=3 {
        stream.piece(number, begin("d/large", None)).await;
        send(&stream, number, b"some").await;
    }
    stream.piece(2, Event::Drop(true)).await;
    stream.settle(true).await;
    assert_eq!(bed.leftovers().len(), 2);
    stream.end().await;
    assert!(bed.leftovers().is_empty());
    // A conflict uses it up as well.
    fs::write(bed.at("d/f"), "theirs").unwrap();
    let mut stream = bed.open().await;
    stream.piece(1, begin("d/f", None)).await;
    send(&stream, 1, b"large").await;
    let refused = stream.refusal(Batch::new().arrived("d/f", "large", 1)).await;
    assert_eq!(refused, Refusal::Conflict);
    assert!(bed.leftovers().is_empty());
    assert_eq!(bed.read("d/f"), "theirs");
}
