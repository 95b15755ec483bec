//! What only root can find out: things that are somebody else's. packaging/test.sh has root run these.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
};

use bytes::Bytes;
use outlast_client::helper_v1::{SyncBegin, SyncOpen, SyncRefusal as Refusal, sync_piece};

use crate::{
    bed::{Batch, Bed, Stream, all},
    limits::{NOBODY, as_nobody, wanted},
};

/// Says what is missing, where it is.
fn is_root() {
    let root = rustix::process::geteuid().is_root();
    assert!(root, "this takes root: packaging/test.sh asks for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_whose_mode_is_not_ours_to_set_is_told() {
    is_root();
    let bed = Bed::new();
    fs::create_dir_all(bed.at("theirs")).unwrap();
    fs::set_permissions(bed.at("theirs"), fs::Permissions::from_mode(0o777)).unwrap();
    let process = as_nobody(&bed);
    let wanted = SyncOpen {
        occupied: true,
        ..bed.wanted()
    };
    let mut stream = Stream::open(&process.client, wanted).await.unwrap();
    let batch = Batch::new()
        .dir_with("theirs", 0o755)
        .gone("theirs")
        .file("theirs/f", "f")
        .dir_with("theirs", 0o777);
    let made = Refusal::Unspecified;
    assert_eq!(
        stream.outcomes(batch).await,
        [Refusal::Permission, Refusal::Conflict, made, made]
    );
    assert_eq!(bed.mode("theirs"), 0o777);
    assert!(stream.settle(false).await.altered.is_empty());
}

#[tokio::test]
async fn what_root_makes_at_somebodys_belongs_to_them() {
    is_root();
    let bed = Bed::new();
    let home = bed.path().join("theirs");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let target = home.join("new/target");
    let mut stream = Stream::open(&bed.client(), wanted(&target)).await.unwrap();
    stream
        .make(
            Batch::new()
                .dir("d")
                .file("d/f", "f")
                .link("l", "d")
                .file("large", ""),
        )
        .await;
    let begin = SyncBegin {
        path: Bytes::from_static(b"large"),
        base: None,
        part: false,
    };
    stream.piece(1, sync_piece::Event::Begin(begin)).await;
    stream
        .piece(1, sync_piece::Event::Data(Bytes::from_static(b"large")))
        .await;
    stream.make(Batch::new().arrived("large", "large", 1)).await;
    let made = all(&home);
    assert_eq!(made.len(), 6);
    for path in made {
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (NOBODY, NOBODY), "{path:?}");
    }
}
