//! Parts of large files that are kept when a stream ends before they are whole, and gone on with by the next one.

use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use outlast_client::helper_v1::{
    ForgetSyncRequest, SyncAsk, SyncBegin, SyncOpen, SyncRefusal as Refusal, sync_piece::Event,
    sync_target_response,
};
use outlast_tree::{
    Hash,
    blocks::{BLOCK, of_block},
};

use crate::{
    bed::{Batch, Bed, HELPER, ID, Process, Stream, serve_args},
    limits::as_nobody,
};

/// Of the file, and of what came of it: no whole block at the end.
const LENGTH: usize = 20 * BLOCK + 77;
const CAME: usize = 12 * BLOCK + 1000;

fn content(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(LENGTH + 8);
    while bytes.len() < LENGTH {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(LENGTH);
    bytes
}

fn keeping(bed: &Bed) -> SyncOpen {
    SyncOpen {
        keep: true,
        ..bed.wanted()
    }
}

async fn open(bed: &Bed) -> Stream {
    Stream::open(&bed.client(), keeping(bed)).await.unwrap()
}

fn begin(path: &str, part: bool) -> Event {
    Event::Begin(SyncBegin {
        path: Bytes::copy_from_slice(path.as_bytes()),
        base: None,
        part,
    })
}

async fn send(stream: &Stream, number: u64, bytes: &[u8]) {
    for part in bytes.chunks(300_000) {
        let data = Event::Data(Bytes::copy_from_slice(part));
        stream.piece(number, data).await;
    }
}

fn values(content: &[u8]) -> Vec<Hash> {
    let blocks = content.chunks_exact(BLOCK).zip(0..);
    blocks.map(|(block, index)| of_block(index, block)).collect()
}

fn parts(stream: &Stream) -> Vec<(String, u64)> {
    let told = stream.opened.parts.iter();
    let mut told: Vec<_> = told
        .map(|part| (String::from_utf8(part.path.to_vec()).unwrap(), part.length))
        .collect();
    told.sort();
    told
}

async fn drop_part(stream: &Stream, path: &str) {
    let path = Bytes::copy_from_slice(path.as_bytes());
    stream.piece(0, Event::Ask(SyncAsk { path, drop: true })).await;
}

/// Asks for a part, and gives the values of its blocks.
async fn ask(stream: &mut Stream, number: u64, path: &str) -> Vec<Hash> {
    let path = Bytes::copy_from_slice(path.as_bytes());
    stream
        .piece(number, Event::Ask(SyncAsk { path, drop: false }))
        .await;
    let mut values = Vec::new();
    loop {
        match stream.answer().await.unwrap() {
            Some(sync_target_response::Event::Held(held)) => {
                assert_eq!(held.number, number);
                values.extend_from_slice(held.values.as_chunks::<32>().0);
                if !held.more {
                    return values;
                }
            }
            other => panic!("nothing is told: {other:?}"),
        }
    }
}

/// A bed with a part of `d/large` that is kept, and where that lies.
async fn kept(whole: &[u8]) -> (Bed, PathBuf) {
    let bed = Bed::new();
    let mut stream = open(&bed).await;
    stream.make(Batch::new().dir("d").file("d/f", "f")).await;
    stream.piece(1, begin("d/large", false)).await;
    send(&stream, 1, &whole[..CAME]).await;
    stream.settle(false).await;
    stream.end().await;
    let [part] = &bed.leftovers()[..] else {
        panic!("one part is kept: {:?}", bed.leftovers());
    };
    let part = part.clone();
    (bed, part)
}

/// Goes on with what is kept of `d/large`: what is right stays, the rest is sent. Says how much stayed.
async fn go_on(stream: &mut Stream, number: u64, whole: &[u8]) -> usize {
    let held = ask(stream, number, "d/large").await;
    let wanted = values(whole);
    stream.piece(number, begin("d/large", true)).await;
    let mut stayed = 0;
    for (index, block) in whole.chunks(BLOCK).enumerate() {
        if block.len() == BLOCK && held.get(index) == Some(&wanted[index]) {
            stream.piece(number, Event::Stay(BLOCK as u64)).await;
            stayed += 1;
        } else {
            send(stream, number, block).await;
        }
    }
    stayed
}

#[tokio::test]
async fn what_came_is_kept_and_gone_on_with() {
    let whole = content(1);
    let (bed, part) = kept(&whole).await;
    assert!(!bed.at("d/large").exists());
    // Again and again, and at last to the end.
    for round in 0..3 {
        let mut stream = open(&bed).await;
        assert_eq!(parts(&stream), [("d/large".to_owned(), CAME as u64)]);
        assert!(stream.opened.altered == 0 && bed.leftovers() == [part.clone()]);
        let held = ask(&mut stream, 7, "d/large").await;
        assert!(held == values(&whole[..CAME]));
        if round == 1 {
            stream.piece(7, begin("d/large", true)).await;
            stream.piece(7, Event::Stay(2 * BLOCK as u64)).await;
        }
        stream.settle(true).await;
        stream.end().await;
    }
    let mut stream = open(&bed).await;
    assert_eq!(go_on(&mut stream, 1, &whole).await, CAME / BLOCK);
    stream.make(Batch::new().arrived("d/large", &whole, 1)).await;
    assert!(fs::read(bed.at("d/large")).unwrap() == whole);
    assert!(stream.settle(false).await.altered.is_empty() && bed.leftovers().is_empty());
    stream.end().await;
    let stream = open(&bed).await;
    assert!(parts(&stream).is_empty() && stream.opened.altered == 0);
}

#[tokio::test]
async fn a_killed_helper_leaves_what_the_next_one_goes_on_with() {
    let whole = content(2);
    let bed = Bed::new();
    let mut first = open(&bed).await;
    first.make(Batch::new().dir("d")).await;
    first.end().await;
    let (mut stayed, mut came) = (0, 4 * BLOCK);
    while came < LENGTH {
        let mut command = Command::new(HELPER);
        command.args(serve_args(&bed));
        let mut process = Process::start(command);
        let mut stream = Stream::open(&process.client, keeping(&bed)).await.unwrap();
        assert_eq!(bed.leftovers().len(), parts(&stream).len());
        let now = go_on(&mut stream, 1, &whole[..came]).await;
        assert!(now >= stayed, "{now} blocks, and {stayed} before");
        // A record that is written anew still tells of it.
        let many = (0..1_500).map(|file| format!("f{file}"));
        let batch = many.fold(Batch::new(), |batch, file| {
            if batch.ops.len() < 900 {
                batch.file(&file, "")
            } else {
                batch
            }
        });
        stream.make(batch).await;
        stream.settle(true).await;
        process.kill();
        (stayed, came) = (came / BLOCK, came + 4 * BLOCK);
    }
    let mut stream = open(&bed).await;
    assert_eq!(go_on(&mut stream, 1, &whole).await, stayed);
    stream.make(Batch::new().arrived("d/large", &whole, 1)).await;
    assert!(fs::read(bed.at("d/large")).unwrap() == whole && bed.leftovers().is_empty());
}

#[tokio::test]
async fn what_is_wrong_in_a_part_is_sent() {
    let whole = content(3);
    let (bed, part) = kept(&whole).await;
    // Whatever a machine without power left of it.
    let file = fs::File::options().write(true).open(&part).unwrap();
    file.write_all_at(&[0; 100], 3 * BLOCK as u64 - 50).unwrap();
    file.set_len((LENGTH + 5 * BLOCK) as u64).unwrap();
    let mut stream = open(&bed).await;
    assert_eq!(go_on(&mut stream, 1, &whole).await, CAME / BLOCK - 2);
    stream.make(Batch::new().arrived("d/large", &whole, 1)).await;
    assert!(fs::read(bed.at("d/large")).unwrap() == whole && bed.leftovers().is_empty());
}

#[tokio::test]
async fn a_part_that_is_touched_after_it_was_read_is_not_used() {
    let whole = content(4);
    let (bed, part) = kept(&whole).await;
    let mut stream = open(&bed).await;
    assert!(!ask(&mut stream, 1, "d/large").await.is_empty());
    let file = fs::File::options().write(true).open(&part).unwrap();
    file.write_all_at(b"theirs", 0).unwrap();
    stream.piece(1, begin("d/large", true)).await;
    stream.piece(1, Event::Stay(BLOCK as u64)).await;
    send(&stream, 1, &whole[BLOCK..]).await;
    let arrived = Batch::new().arrived("d/large", &whole, 1);
    assert_eq!(stream.refusal(arrived.clone()).await, Refusal::Need);
    assert!(!bed.at("d/large").exists() && bed.leftovers().is_empty());
    // It is sent from the beginning then.
    stream.piece(1, begin("d/large", false)).await;
    send(&stream, 1, &whole).await;
    stream.make(arrived).await;
    assert!(fs::read(bed.at("d/large")).unwrap() == whole);
}

#[tokio::test]
async fn blocks_that_are_not_there_do_not_stay() {
    let whole = content(5);
    let block = BLOCK as u64;
    for stay in [
        vec![1],
        vec![0, block - 1],
        vec![13 * block],
        vec![u64::MAX - block + 1],
        vec![12 * block, block],
    ] {
        let (bed, _) = kept(&whole).await;
        let mut stream = open(&bed).await;
        ask(&mut stream, 1, "d/large").await;
        stream.piece(1, begin("d/large", true)).await;
        let mut length = 0;
        for stay in &stay {
            stream.piece(1, Event::Stay(*stay)).await;
            length += usize::try_from(*stay).unwrap_or(LENGTH);
        }
        send(&stream, 1, &whole[length.min(LENGTH)..]).await;
        let refused = stream.refusal(Batch::new().arrived("d/large", &whole, 1)).await;
        assert_eq!(refused, Refusal::Need, "{stay:?}");
        assert!(bed.leftovers().is_empty());
    }
    // In the middle of a block, without a part, with one of another number, and asked for where none is.
    let (bed, _) = kept(&whole).await;
    let mut stream = open(&bed).await;
    assert!(ask(&mut stream, 9, "d/f").await.is_empty());
    assert!(ask(&mut stream, 9, "none/f").await.is_empty());
    ask(&mut stream, 1, "d/large").await;
    stream.piece(2, begin("d/large", true)).await;
    stream.piece(2, Event::Stay(block)).await;
    let refused = stream.refusal(Batch::new().arrived("d/large", &whole, 2)).await;
    assert_eq!(refused, Refusal::Need);
    assert!(bed.leftovers().is_empty(), "it was used up");
}

#[tokio::test]
async fn a_part_in_whose_place_something_else_is_is_none() {
    let whole = content(6);
    let theirs = vec![7; CAME];
    for swap in 0..5 {
        let (bed, part) = kept(&whole).await;
        let foreign = bed.path().join("foreign");
        fs::write(&foreign, &theirs).unwrap();
        if swap != 2 && swap != 3 {
            fs::remove_file(&part).unwrap();
        }
        match swap {
            0 => symlink(&foreign, &part).unwrap(),
            1 => fs::hard_link(&foreign, &part).unwrap(),
            2 => {
                let other = bed.path().join("other");
                fs::copy(&foreign, &other).unwrap();
                fs::rename(&other, &part).unwrap();
            }
            // It has another name as well, by which somebody sees what is written to it.
            3 => fs::hard_link(&part, bed.at("d/other")).unwrap(),
            _ => {
                let aside = bed.path().join("aside");
                fs::rename(bed.at("d"), &aside).unwrap();
                symlink(&aside, bed.at("d")).unwrap();
                fs::hard_link(&foreign, aside.join(part.file_name().unwrap())).unwrap();
            }
        }
        let mut stream = open(&bed).await;
        assert!(parts(&stream).is_empty(), "{swap}");
        assert!(ask(&mut stream, 1, "d/large").await.is_empty());
        assert!(swap == 4 || bed.leftovers().is_empty(), "{swap}");
        assert!(fs::read(&foreign).unwrap() == theirs, "{swap}");
        if swap == 3 {
            assert!(fs::read(bed.at("d/other")).unwrap() == whole[..CAME]);
        }
        stream.end().await;
    }
    // While the stream is open.
    for touch in [false, true] {
        let (bed, part) = kept(&whole).await;
        let foreign = bed.path().join("foreign");
        fs::write(&foreign, &theirs).unwrap();
        let mut stream = open(&bed).await;
        if touch {
            ask(&mut stream, 1, "d/large").await;
        }
        fs::remove_file(&part).unwrap();
        fs::hard_link(&foreign, &part).unwrap();
        if !touch {
            assert!(ask(&mut stream, 1, "d/large").await.is_empty());
        }
        stream.piece(1, begin("d/large", true)).await;
        send(&stream, 1, &whole).await;
        stream.make(Batch::new().arrived("d/large", &whole, 1)).await;
        assert!(fs::read(bed.at("d/large")).unwrap() == whole && bed.leftovers().is_empty());
        assert!(fs::read(&foreign).unwrap() == theirs);
        assert_eq!(fs::metadata(&foreign).unwrap().nlink(), 1);
    }
}

#[tokio::test]
async fn what_nobody_wants_is_removed() {
    let whole = content(7);
    let open_with = |bed: &Bed, wanted: SyncOpen| {
        let client = bed.client();
        async move { Stream::open(&client, wanted).await.unwrap() }
    };
    // It is said so; the path is begun anew; its directory goes, and makes room for a file.
    for what in 0..4 {
        let (bed, _) = kept(&whole).await;
        let mut stream = open(&bed).await;
        match what {
            0 => drop_part(&stream, "d/large").await,
            1 => {
                stream.piece(4, begin("d/large", false)).await;
                stream.piece(4, Event::Drop(true)).await;
            }
            2 => drop(stream.make(Batch::new().gone("d/f").gone("d")).await),
            _ => drop(stream.make(Batch::new().gone("d/f").file("d", "a file")).await),
        }
        stream.settle(false).await;
        assert!(bed.leftovers().is_empty(), "{what}");
        assert!(ask(&mut stream, 1, "d/large").await.is_empty());
        stream.end().await;
        assert!(parts(&open(&bed).await).is_empty(), "{what}");
    }
    // Who opens it wants none of it, or takes nothing for what it was.
    let (bed, _) = kept(&whole).await;
    assert!(parts(&open_with(&bed, bed.wanted()).await).is_empty() && bed.leftovers().is_empty());
    let (bed, _) = kept(&whole).await;
    let reread = SyncOpen {
        reread: true,
        ..keeping(&bed)
    };
    assert!(parts(&open_with(&bed, reread).await).is_empty() && bed.leftovers().is_empty());
    // It was left for too long, or there is too little of it.
    let (bed, part) = kept(&whole).await;
    let file = fs::File::options().write(true).open(&part).unwrap();
    let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    file.set_modified(old).unwrap();
    assert!(parts(&open(&bed).await).is_empty() && bed.leftovers().is_empty());
    // A clock that was a bit ahead is no age.
    for (hours, count) in [(23, 1), (25, 0)] {
        let (bed, part) = kept(&whole).await;
        let file = fs::File::options().write(true).open(&part).unwrap();
        let ahead = SystemTime::now() + Duration::from_secs(hours * 60 * 60);
        file.set_modified(ahead).unwrap();
        assert_eq!(parts(&open(&bed).await).len(), count);
        assert_eq!(bed.leftovers().len(), count);
    }
    let (bed, part) = kept(&whole).await;
    let file = fs::File::options().write(true).open(&part).unwrap();
    file.set_len(2 * BLOCK as u64 - 1).unwrap();
    assert!(parts(&open(&bed).await).is_empty() && bed.leftovers().is_empty());
    // The sync is forgotten, or its record is damaged, of which only what is in the making is believed.
    let (bed, _) = kept(&whole).await;
    let id = ID.to_owned();
    bed.client().forget_sync(ForgetSyncRequest { id }).await.unwrap();
    assert!(bed.leftovers().is_empty() && !bed.record(ID).exists());
    let (bed, _) = kept(&whole).await;
    fs::write(bed.record(ID).join("manifest"), "junk").unwrap();
    let mut stream = open(&bed).await;
    assert_eq!(parts(&stream).len(), 1);
    assert_eq!(go_on(&mut stream, 1, &whole).await, CAME / BLOCK);
    drop_part(&stream, "d/large").await;
    stream.piece(1, Event::Drop(true)).await;
    stream.settle(false).await;
    assert!(bed.leftovers().is_empty());
}

#[tokio::test]
async fn of_two_for_one_path_the_newer_one_is_kept() {
    let whole = content(8);
    let (bed, _) = kept(&whole).await;
    let mut stream = open(&bed).await;
    for number in 1..=3 {
        stream.piece(number, begin("d/large", false)).await;
        send(&stream, number, &whole[..(2 + number as usize) * BLOCK]).await;
    }
    stream.settle(true).await;
    stream.end().await;
    assert_eq!(bed.leftovers().len(), 1);
    let stream = open(&bed).await;
    assert_eq!(parts(&stream), [("d/large".to_owned(), 5 * BLOCK as u64)]);
}

#[tokio::test]
async fn what_came_of_a_file_that_changed_is_kept_in_the_same_stream() {
    let whole = content(15);
    let bed = Bed::new();
    let mut stream = open(&bed).await;
    stream.make(Batch::new().dir("d")).await;
    stream.piece(1, begin("d/large", false)).await;
    send(&stream, 1, &whole[..CAME]).await;
    stream.piece(1, Event::Drop(false)).await;
    assert_eq!(go_on(&mut stream, 2, &whole).await, CAME / BLOCK);
    stream.piece(2, Event::Drop(false)).await;
    // What was gone on with is as good as what was sent.
    assert_eq!(go_on(&mut stream, 3, &whole).await, LENGTH / BLOCK);
    stream.make(Batch::new().arrived("d/large", &whole, 3)).await;
    assert!(fs::read(bed.at("d/large")).unwrap() == whole && bed.leftovers().is_empty());
    // Too little of it, in a stream that wants nothing kept, and of none.
    stream.piece(4, begin("d/large", false)).await;
    send(&stream, 4, &whole[..BLOCK]).await;
    stream.piece(4, Event::Drop(false)).await;
    stream.piece(5, Event::Drop(false)).await;
    stream.settle(false).await;
    assert!(bed.leftovers().is_empty());
    stream.end().await;
    let mut stream = bed.open().await;
    stream.piece(1, begin("d/large", false)).await;
    send(&stream, 1, &whole[..CAME]).await;
    stream.piece(1, Event::Drop(false)).await;
    stream.settle(false).await;
    assert!(bed.leftovers().is_empty());
}

#[tokio::test]
async fn a_save_does_not_wait_for_a_part_that_is_read() {
    let whole = content(9);
    let (bed, part) = kept(&whole).await;
    // Much of nothing, which takes as long to be read as if it were something: minutes.
    let file = fs::File::options().write(true).open(&part).unwrap();
    file.set_len(256 << 30).unwrap();
    let mut stream = open(&bed).await;
    let path = Bytes::from_static(b"d/large");
    stream.piece(1, Event::Ask(SyncAsk { path, drop: false })).await;
    stream.make(Batch::new().file("d/f", "saved")).await;
    assert_eq!(bed.read("d/f"), "saved");
    // Who leaves does not wait for it either.
    stream.end().await;
}

#[tokio::test]
async fn zeros_take_no_room() {
    let bed = Bed::new();
    let mut stream = open(&bed).await;
    stream.make(Batch::new().dir("d")).await;
    let mut whole = content(10);
    whole[BLOCK..15 * BLOCK].fill(0);
    whole[18 * BLOCK..].fill(0);
    stream.piece(1, begin("d/large", false)).await;
    for part in whole.chunks(BLOCK) {
        send(&stream, 1, part).await;
    }
    stream.make(Batch::new().arrived("d/large", &whole, 1)).await;
    assert!(fs::read(bed.at("d/large")).unwrap() == whole);
    let found = fs::metadata(bed.at("d/large")).unwrap();
    let written = 4 * BLOCK as u64;
    assert!(found.blocks() * 512 <= written + 65536, "{}", found.blocks());
    // Over what is there they are written.
    let other = content(13);
    let (bed, _) = kept(&other).await;
    let mut stream = open(&bed).await;
    assert_eq!(go_on(&mut stream, 1, &whole).await, 0);
    stream.make(Batch::new().arrived("d/large", &whole, 1)).await;
    assert!(fs::read(bed.at("d/large")).unwrap() == whole);
}

#[tokio::test]
async fn what_nobody_comes_back_for_is_removed_by_whichever_helper_comes() {
    let whole = content(14);
    let (bed, part) = kept(&whole).await;
    let journal = bed.record(ID).join("journal");
    let start = || {
        let mut command = Command::new(HELPER);
        command.args(serve_args(&bed));
        Process::start(command)
    };
    let aged = |hours: u64| {
        let old = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        let file = fs::File::options().write(true).open(&journal).unwrap();
        file.set_modified(old).unwrap();
    };
    aged(23);
    let mut first = start();
    // One that comes back is served as ever.
    let stream = Stream::open(&first.client, keeping(&bed)).await.unwrap();
    assert_eq!(parts(&stream).len(), 1);
    stream.end().await;
    first.kill();
    // A part that was written to since is left, for another day.
    aged(25);
    let mut other = start();
    let age = || {
        fs::metadata(&journal)
            .unwrap()
            .modified()
            .unwrap()
            .elapsed()
            .unwrap()
    };
    outlast_testkit::wait_until(outlast_testkit::DEADLINE, "a look at the record", || {
        (age() < Duration::from_secs(60 * 60)).then_some(())
    });
    // Whoever looks has the lock meanwhile, for which this waits.
    let stream = Stream::open(&other.client, keeping(&bed)).await.unwrap();
    assert_eq!(parts(&stream), [("d/large".to_owned(), CAME as u64)]);
    stream.end().await;
    other.kill();
    aged(25);
    let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    fs::File::options()
        .write(true)
        .open(&part)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let mut second = start();
    outlast_testkit::wait_until(outlast_testkit::DEADLINE, "nothing left", || {
        (!part.exists()).then_some(())
    });
    second.kill();
    // All else of it is as it was.
    let stream = open(&bed).await;
    assert!(parts(&stream).is_empty() && stream.opened.altered == 0);
    assert_eq!(bed.read("d/f"), "f");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_that_deny_writing_keep_nothing_that_is_not_wanted() {
    let whole = content(16);
    let bed = Bed::new();
    let mut process = as_nobody(&bed);
    let mut stream = Stream::open(&process.client, keeping(&bed)).await.unwrap();
    let batch = Batch::new()
        .dir("d")
        .dir("shut")
        .dir_with("d", 0o555)
        .dir_with("shut", 0o000);
    stream.make(batch).await;
    let modes = || (bed.mode("d"), bed.mode("shut"));
    for keep in [true, false] {
        for (number, path) in [(1, "d/large"), (2, "shut/large")] {
            stream.piece(number, begin(path, false)).await;
            send(&stream, number, &whole[..CAME]).await;
        }
        stream.settle(false).await;
        assert_eq!(modes(), (0o555, 0o000));
        process.kill();
        process = as_nobody(&bed);
        let wanted = SyncOpen { keep, ..bed.wanted() };
        stream = Stream::open(&process.client, wanted).await.unwrap();
        assert_eq!(modes(), (0o555, 0o000));
        assert!(
            bed.leftovers().len() == usize::from(keep),
            "{:?}",
            bed.leftovers()
        );
        if keep {
            assert_eq!(parts(&stream), [("d/large".to_owned(), CAME as u64)]);
            assert_eq!(go_on(&mut stream, 3, &whole).await, CAME / BLOCK);
            stream.make(Batch::new().arrived("d/large", &whole, 3)).await;
            assert!(fs::read(bed.at("d/large")).unwrap() == whole);
        }
    }
    stream.end().await;
    for dir in ["d", "shut"] {
        fs::set_permissions(bed.at(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(bed.leftovers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_denies_writing_keeps_nothing_of_what_is_dropped_or_forgotten() {
    let whole = content(17);
    let bed = Bed::new();
    let mut process = as_nobody(&bed);
    let mut stream = Stream::open(&process.client, keeping(&bed)).await.unwrap();
    stream
        .make(Batch::new().dir("d").dir("d/in").dir_with("d/in", 0o555))
        .await;
    stream.piece(1, begin("d/in/large", false)).await;
    send(&stream, 1, &whole[..CAME]).await;
    stream.settle(false).await;
    assert_eq!(bed.leftovers().len(), 1);
    stream.piece(1, Event::Drop(true)).await;
    stream.settle(false).await;
    assert!(bed.leftovers().is_empty() && bed.mode("d/in") == 0o555);
    stream.piece(2, begin("d/in/large", false)).await;
    send(&stream, 2, &whole[..CAME]).await;
    stream.settle(false).await;
    stream.end().await;
    assert_eq!(bed.leftovers().len(), 1);
    // What cannot be removed is still known of.
    let id = || ForgetSyncRequest { id: ID.to_owned() };
    let aside = bed.path().join("aside");
    fs::rename(bed.at("d/in"), &aside).unwrap();
    fs::create_dir(bed.at("d/in")).unwrap();
    let theirs = bed.at("d/in").join(format!(".outlast-{ID}-9"));
    fs::create_dir(&theirs).unwrap();
    process.client.clone().forget_sync(id()).await.unwrap_err();
    assert!(bed.record(ID).exists() && theirs.exists());
    fs::remove_dir_all(bed.at("d/in")).unwrap();
    fs::rename(&aside, bed.at("d/in")).unwrap();
    process.client.clone().forget_sync(id()).await.unwrap();
    assert!(bed.leftovers().is_empty() && !bed.record(ID).exists());
    assert_eq!(bed.mode("d/in"), 0o555);
    process.kill();
}

#[tokio::test]
async fn one_that_somebody_cut_off_is_not_put_there() {
    let mut whole = content(18);
    whole[15 * BLOCK..].fill(0);
    let bed = Bed::new();
    let mut stream = open(&bed).await;
    stream.make(Batch::new().dir("d")).await;
    stream.piece(1, begin("d/large", false)).await;
    send(&stream, 1, &whole).await;
    stream.settle(false).await;
    let part = bed.leftovers().remove(0);
    let file = fs::File::options().write(true).open(part).unwrap();
    file.set_len(10 * BLOCK as u64).unwrap();
    let arrived = Batch::new().arrived("d/large", &whole, 1);
    assert_eq!(stream.refusal(arrived).await, Refusal::Need);
    assert!(!bed.at("d/large").exists());
}
