//! Nothing outside a target is touched, whatever somebody puts in its way.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use bytes::Bytes;
use outlast_client::helper_v1::{SyncBegin, SyncRefusal as Refusal, sync_piece};

use crate::bed::{Batch, Bed, Stream, all};

/// A target with a directory of ours that was replaced by a link to one outside, which looks the same.
async fn swapped(bed: &Bed) -> Stream {
    let mut stream = bed.open().await;
    let batch = Batch::new()
        .dir("d")
        .dir("d/e")
        .file("d/e/f", "ours")
        .file("d/g", "ours")
        .file("src", "src");
    stream.make(batch).await;
    fs::rename(bed.at("d"), bed.path().join("outside")).unwrap();
    symlink(bed.path().join("outside"), bed.at("d")).unwrap();
    stream
}

#[tokio::test]
async fn a_directory_that_became_a_link_leads_nowhere() {
    let bed = Bed::new();
    let mut stream = swapped(&bed).await;
    let before = all(&bed.path().join("outside"));
    let batch = Batch::new()
        .file("d/g", "new")
        .file("d/new", "new")
        .there("d/g", "ours", 0o600, 5)
        .dir("d/dir")
        .dir_with("d/e", 0o700)
        .link("d/link", "x")
        .same_as("d/copy", "src", "src")
        .same_as("copy", "ours", "d/g")
        .gone("d/e/f")
        .gone("d/g")
        .gone("d/e")
        .gone("d")
        .file("d/g", "new")
        .replacing();
    let outcomes = stream.outcomes(batch).await;
    let refused = |at: usize| outcomes[at] != Refusal::Unspecified;
    for at in 0..outcomes.len() {
        assert!(refused(at), "change {at} was made: {outcomes:?}");
    }
    assert_eq!(outcomes[0], Refusal::Conflict);
    let begin = SyncBegin {
        path: Bytes::from_static(b"d/large"),
        base: None,
        part: false,
    };
    stream.piece(1, sync_piece::Event::Begin(begin)).await;
    stream
        .piece(1, sync_piece::Event::Data(Bytes::from_static(b"large")))
        .await;
    let refused = stream.refusal(Batch::new().arrived("d/large", "large", 1)).await;
    assert_eq!(refused, Refusal::Conflict);
    assert_eq!(all(&bed.path().join("outside")), before);
    assert_eq!(fs::read_to_string(bed.path().join("outside/g")).unwrap(), "ours");
    stream.end().await;
    // Nor when it is looked for after a start.
    let mut stream = bed.open().await;
    assert!(stream.record.as_ref().unwrap().get(b"d/g").is_none());
    assert_eq!(
        stream.refusal(Batch::new().file("d/g", "new")).await,
        Refusal::Conflict
    );
    assert_eq!(all(&bed.path().join("outside")), before);
}

#[tokio::test]
async fn settling_looks_through_no_link() {
    let bed = Bed::new();
    let mut stream = swapped(&bed).await;
    let settled = stream.settle(false).await;
    assert_eq!(settled.altered, ["d", "d/e", "d/e/f", "d/g"]);
}

#[tokio::test]
async fn a_link_at_the_place_itself_is_replaced_not_followed() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().file("f", "1").link("l", "f")).await;
    let outside = bed.path().join("outside");
    fs::write(&outside, "1").unwrap();
    fs::remove_file(bed.at("f")).unwrap();
    symlink(&outside, bed.at("f")).unwrap();
    let batch = Batch::new().file("f", "2").there("f", "1", 0o600, 5);
    assert_eq!(stream.outcomes(batch).await, [Refusal::Conflict, Refusal::Need]);
    stream
        .make(Batch::new().file("f", "2").replacing().file("l", "3"))
        .await;
    assert_eq!((bed.read("f"), bed.read("l")), ("2".to_owned(), "3".to_owned()));
    assert_eq!(fs::read_to_string(outside).unwrap(), "1");
}

/// A directory and a link to one outside take turns while we write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_at_the_same_moment_lead_nowhere() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().dir("d").dir("d/e")).await;
    let outside = bed.path().join("outside");
    fs::create_dir_all(outside.join("e")).unwrap();
    symlink(&outside, bed.path().join("link")).unwrap();
    let (stop, dir, link) = (AtomicBool::new(false), bed.at("d"), bed.path().join("link"));
    thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            let here = rustix::fs::CWD;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(here, &dir, here, &link, exchange).unwrap();
            }
        });
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                for round in 0..200 {
                    let batch = (0..10).fold(Batch::new(), |batch, file| {
                        batch
                            .file(&format!("d/e/{round}-{file}"), "x")
                            .file(&format!("d/{round}-{file}"), "x")
                    });
                    stream.outcomes(batch).await;
                }
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(all(&outside), [outside.join("e")]);
}
