//! Opening a target: which ones are refused, what is told of the record, who has it when two want it, looking and forgetting.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use outlast_client::helper_v1::{
    ForgetSyncRequest, LookTargetRequest, SyncKind, SyncOpen, SyncPosition, SyncRefusal as Refusal,
    SyncSettle, sync_piece, sync_target_request,
};
use outlast_tree::{
    RelPath,
    journal::{Change, Journal, Record},
};
use tonic::Code;

use crate::bed::{Batch, Bed, Client, HELPER, ID, Process, Stream, all, entry, serve_args, subject};

const OTHER: &str = "a7e1c2d4-0000-4000-8000-000000000002";

fn target(path: &Path) -> Bytes {
    Bytes::copy_from_slice(path.to_str().unwrap().as_bytes())
}

async fn refused(client: &Client, wanted: SyncOpen) -> tonic::Status {
    match Stream::open(client, wanted).await {
        Ok(stream) => panic!("it was opened: {:?}", stream.opened),
        Err(status) => status,
    }
}

#[tokio::test]
async fn directories_that_hold_more_than_a_target_are_refused() {
    let bed = Bed::new();
    let client = bed.client();
    let state = bed.state_dir();
    let places: [PathBuf; 7] = [
        "/".into(),
        std::env::home_dir().unwrap(),
        state.clone(),
        state.join("owner/x"),
        bed.path().to_owned(),
        bed.path().join("target/../../.."),
        bed.path().join("file/x"),
    ];
    fs::write(bed.path().join("file"), "").unwrap();
    symlink("/", bed.path().join("root")).unwrap();
    for place in places
        .into_iter()
        .chain([bed.path().join("root"), bed.path().join("file")])
    {
        let wanted = SyncOpen {
            target: target(&place),
            occupied: true,
            here: true,
            ..bed.wanted()
        };
        let status = refused(&client, wanted).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{place:?}: {status:?}");
        assert!(!bed.record(ID).exists(), "{place:?} left a record");
    }
    let wanted = SyncOpen {
        id: "../x".to_owned(),
        ..bed.wanted()
    };
    assert_eq!(refused(&client, wanted).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn two_targets_never_overlap() {
    let bed = Bed::new();
    let client = bed.client();
    let mut stream = bed.open().await;
    stream.make(Batch::new().dir("in")).await;
    fs::create_dir(bed.path().join("targets")).unwrap();
    for place in [
        bed.target(),
        bed.at("in"),
        bed.at("in/new"),
        bed.path().join("state/../target"),
    ] {
        let wanted = SyncOpen {
            id: OTHER.to_owned(),
            target: target(&place),
            occupied: true,
            ..SyncOpen::default()
        };
        let status = refused(&client, wanted).await;
        assert_eq!(
            (status.code(), subject(&status)),
            (Code::InvalidArgument, ID.to_owned())
        );
        assert!(!bed.record(OTHER).exists());
    }
    // One of a sync that there is.
    let wanted = SyncOpen {
        id: OTHER.to_owned(),
        target: target(&bed.target()),
        occupied: true,
        all: vec![ID.to_owned(), OTHER.to_owned()],
        ..SyncOpen::default()
    };
    assert_eq!(subject(&refused(&client, wanted).await), ID);
    // A name that only begins alike is another directory.
    let wanted = SyncOpen {
        id: OTHER.to_owned(),
        target: target(&bed.path().join("targets")),
        ..SyncOpen::default()
    };
    Stream::open(&client, wanted).await.unwrap().end().await;
}

#[tokio::test]
async fn what_a_forgotten_sync_left_is_in_nobodys_way() {
    let bed = Bed::new();
    let client = bed.client();
    let mut stream = bed.open().await;
    stream.make(Batch::new().dir("in").file("in/a", "a")).await;
    stream.end().await;
    let wanted = SyncOpen {
        id: OTHER.to_owned(),
        target: target(&bed.target()),
        all: vec![OTHER.to_owned()],
        ..SyncOpen::default()
    };
    // It holds something that the new one did not write.
    let status = refused(&client, wanted.clone()).await;
    assert_eq!(subject(&status), "target_not_empty");
    let wanted = SyncOpen {
        occupied: true,
        ..wanted
    };
    Stream::open(&client, wanted).await.unwrap().end().await;
    assert!(!bed.record(ID).exists());
    assert_eq!(fs::read(bed.at("in/a")).unwrap(), b"a");
}

#[tokio::test]
async fn what_is_there_already_has_to_be_accepted() {
    let bed = Bed::new();
    let client = bed.client();
    fs::create_dir(bed.target()).unwrap();
    fs::write(bed.at("theirs"), "theirs").unwrap();
    let status = refused(&client, bed.wanted()).await;
    assert_eq!(
        (status.code(), subject(&status).as_str()),
        (Code::FailedPrecondition, "target_not_empty")
    );
    assert!(!bed.record(ID).exists());
    let wanted = SyncOpen {
        occupied: true,
        ..bed.wanted()
    };
    Stream::open(&client, wanted).await.unwrap().end().await;
    // It was accepted once.
    Stream::open(&client, bed.wanted()).await.unwrap().end().await;
    assert_eq!(bed.read("theirs"), "theirs");
}

#[tokio::test]
async fn a_target_that_is_gone_or_another_one_is_not_used_unasked() {
    let bed = Bed::new();
    let client = bed.client();
    let mut stream = bed.open().await;
    stream.make(Batch::new().file("f", "f")).await;
    // Under way already.
    fs::rename(bed.target(), bed.path().join("moved")).unwrap();
    stream.send(Batch::new().file("g", "g").event()).await;
    let status = stream.answer().await.unwrap_err();
    assert_eq!(
        (status.code(), subject(&status).as_str()),
        (Code::FailedPrecondition, "target_missing")
    );
    let status = refused(&client, bed.wanted()).await;
    assert_eq!(subject(&status), "target_missing");
    fs::create_dir(bed.target()).unwrap();
    fs::write(bed.at("f"), "f").unwrap();
    let status = refused(&client, bed.wanted()).await;
    assert_eq!(subject(&status), "target_replaced");
    assert!(!bed.path().join("moved/g").exists() && !bed.at("g").exists());
    // Another directory by another name is another one too.
    let wanted = SyncOpen {
        target: target(&bed.path().join("elsewhere")),
        ..bed.wanted()
    };
    assert_eq!(subject(&refused(&client, wanted).await), "target_missing");
    let wanted = SyncOpen {
        here: true,
        ..bed.wanted()
    };
    let mut stream = Stream::open(&client, wanted).await.unwrap();
    assert_eq!(stream.opened.altered, 1, "what is called so now is not ours");
    stream.make(Batch::new().file("f", "f").file("g", "g")).await;
    fs::remove_dir_all(bed.target()).unwrap();
    let wanted = SyncOpen {
        here: true,
        ..bed.wanted()
    };
    let stream = Stream::open(&client, wanted).await.unwrap();
    assert_eq!(stream.opened.altered, 2);
    assert!(bed.target().is_dir());
}

#[tokio::test]
async fn the_record_is_told_only_to_who_does_not_have_it() {
    let bed = Bed::new();
    let client = bed.client();
    let mut stream = Stream::open(&client, bed.wanted()).await.unwrap();
    assert!(stream.record.as_ref().unwrap().is_empty());
    let batch = Batch::new()
        .dir("d")
        .file("d/f", "f")
        .link("l", "d")
        .file("gone", "");
    stream.make(batch).await;
    let done = stream.make(Batch::new().gone("gone")).await;
    let epoch = stream.position().epoch;
    let open = async |generation: u64| {
        let position = SyncPosition {
            epoch: epoch.clone(),
            generation,
        };
        let wanted = SyncOpen {
            position: Some(position),
            ..bed.wanted()
        };
        Stream::open(&client, wanted).await.unwrap()
    };
    let known = open(done.generation).await;
    assert_eq!((known.record.is_none(), known.opened.record_bytes), (true, None));
    assert_eq!(known.position().generation, done.generation);
    let behind = open(done.generation - 1).await;
    let record = behind.record.unwrap();
    let paths: Vec<_> = record
        .iter()
        .map(|(path, _)| RelPath::new(path).unwrap())
        .collect();
    let expected = ["d", "d/f", "l"].map(|path| RelPath::new(path.as_bytes()).unwrap());
    assert_eq!(paths, expected);
    assert_eq!(record.get(b"d/f").unwrap().entry.size, 1);
    let wanted = SyncOpen {
        position: Some(SyncPosition {
            epoch: OTHER.to_owned(),
            generation: done.generation,
        }),
        ..bed.wanted()
    };
    assert!(Stream::open(&client, wanted).await.unwrap().record.is_some());
}

#[tokio::test]
async fn what_was_changed_while_nobody_looked_is_not_ours_any_more() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let batch = Batch::new()
        .dir("d")
        .file("d/same", "1")
        .file("edited", "1")
        .file("gone", "1")
        .link("l", "x");
    stream.make(batch).await;
    let epoch = stream.position().epoch;
    stream.end().await;
    fs::write(bed.at("edited"), "2").unwrap();
    fs::remove_file(bed.at("gone")).unwrap();
    fs::remove_file(bed.at("l")).unwrap();
    symlink("x", bed.at("l")).unwrap();
    fs::write(bed.at("d/new"), "").unwrap();
    let stream = bed.open().await;
    assert_eq!(stream.opened.altered, 3);
    assert_ne!(stream.position().epoch, epoch);
    let record = stream.record.as_ref().unwrap();
    let paths: Vec<_> = record.iter().map(|(path, _)| path.to_vec()).collect();
    assert_eq!(paths, [b"d".to_vec(), b"d/same".to_vec()]);
    drop(stream);
    assert_eq!(bed.open().await.opened.altered, 0, "told once");
}

#[tokio::test]
async fn among_very_many_none_that_was_changed_is_missed() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    // More than one thread looks at on its own, with directories that several of them share.
    const FILES: usize = 20_000;
    let path = |number: usize| match number % 3 {
        0 => format!("all/{number:05}"),
        _ => format!("d{:02}/{number:05}", number / 1000),
    };
    let mut batch = Batch::new().dir("all");
    for dir in 0..FILES / 1000 {
        batch = batch.dir(&format!("d{dir:02}"));
    }
    stream.make(batch).await;
    for part in (0..FILES).collect::<Vec<_>>().chunks(1000) {
        let files = part
            .iter()
            .fold(Batch::new(), |batch, number| batch.file(&path(*number), ""));
        stream.make(files).await;
    }
    stream.end().await;
    assert_eq!(bed.open().await.opened.altered, 0);
    let changed: Vec<String> = (0..FILES).step_by(97).map(path).collect();
    for path in &changed {
        fs::write(bed.at(path), "theirs").unwrap();
    }
    let stream = bed.open().await;
    assert_eq!(stream.opened.altered, changed.len() as u64);
    let record = stream.record.as_ref().unwrap();
    assert!(changed.iter().all(|path| record.get(path.as_bytes()).is_none()));
}

#[tokio::test]
async fn contents_that_changed_in_secret_are_found_by_reading() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream
        .make(Batch::new().file("a", "right").file("b", "right"))
        .await;
    stream.end().await;
    // What a bad disk does: other bytes under the same times. Here the record is made to expect them.
    let path = bed.record(ID).join("manifest");
    let (head, mut table) = outlast_tree::manifest::read(&path).unwrap().unwrap();
    fs::write(bed.at("b"), "wrong").unwrap();
    let found = rustix::fs::stat(bed.at("b")).unwrap();
    table.get_mut(b"b").unwrap().key = outlast_tree::StatKey::of(&found);
    outlast_tree::manifest::write(&path, &head, &table).unwrap();
    assert_eq!(bed.open().await.opened.altered, 0);
    let wanted = SyncOpen {
        reread: true,
        ..bed.wanted()
    };
    let stream = Stream::open(&bed.client(), wanted).await.unwrap();
    assert_eq!(stream.opened.altered, 1);
    assert!(stream.record.unwrap().get(b"b").is_none());
}

#[tokio::test]
async fn after_another_boot_what_may_be_lost_is_read_again() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().file("safe", "1").dir("safe too")).await;
    stream.settle(true).await;
    stream.make(Batch::new().dir("d")).await;
    let batch = Batch::new()
        .file("kept", "1")
        .file("lost", "1")
        .file("mode", "1")
        .link("link", "x");
    stream.make(batch).await;
    let epoch = stream.position().epoch;
    stream.end().await;
    let path = bed.record(ID).join("manifest");
    let (mut head, table) = outlast_tree::manifest::read(&path).unwrap().unwrap();
    head.boot = "another".to_owned();
    head.dev += 1;
    outlast_tree::manifest::write(&path, &head, &table).unwrap();
    // As a file system does that had the length on the disk and not the bytes.
    fs::write(bed.at("lost"), "\0").unwrap();
    fs::write(bed.at("mode"), "1").unwrap();
    let stream = bed.open().await;
    assert_eq!(stream.opened.altered, 2);
    assert_ne!(
        stream.position().epoch,
        epoch,
        "generations may be lost, so their numbers are not used again"
    );
    let record = stream.record.as_ref().unwrap();
    let paths: Vec<_> = record
        .iter()
        .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
        .collect();
    assert_eq!(paths, ["d", "kept", "link", "safe", "safe too"]);
    assert!(
        record
            .iter()
            .all(|(_, far)| far.key.ctime_ns != outlast_tree::StatKey::DOUBTED)
    );
    drop(stream);
    let again = bed.open().await;
    assert_eq!(again.opened.altered, 0);
}

/// The power took the last generation, of which the daemon had heard. The change that is found instead gets its number.
#[tokio::test]
async fn a_generation_that_was_lost_is_not_taken_for_the_next_one() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().file("f", "1")).await;
    stream.settle(true).await;
    let files = ["manifest", "journal"].map(|file| bed.record(ID).join(file));
    let kept: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let lost = stream.make(Batch::new().file("f", "2")).await;
    let position = SyncPosition {
        epoch: stream.position().epoch,
        generation: lost.generation,
    };
    stream.end().await;
    for (file, kept) in files.iter().zip(kept) {
        fs::write(file, kept).unwrap();
    }
    let wanted = SyncOpen {
        position: Some(position.clone()),
        ..bed.wanted()
    };
    let stream = Stream::open(&bed.client(), wanted).await.unwrap();
    assert_eq!(
        (stream.opened.altered, stream.position().generation),
        (1, position.generation)
    );
    assert!(stream.record.expect("it is told").get(b"f").is_none());
}

/// What a helper leaves behind that is killed while it writes to a directory that denies writing.
#[tokio::test]
async fn a_directory_that_was_opened_for_the_moment_is_shut_again() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let batch = Batch::new()
        .dir("shut")
        .dir("shut/in")
        .file("shut/in/f", "1")
        .file("shut/in/g", "1");
    stream.make(batch).await;
    let shut = Batch::new().dir_with("shut/in", 0o500).dir_with("shut", 0o555);
    let done = stream.make(shut).await;
    stream.end().await;
    let change = |path: &[u8]| Change {
        path: RelPath::new(path).unwrap(),
        new: Some(outlast_tree::Entry::file(
            0o644,
            0,
            1,
            *blake3::hash(b"2").as_bytes(),
        )),
    };
    let (mut journal, _) = Journal::open(&bed.record(ID).join("journal")).unwrap();
    let generation = done.generation + 1;
    let changes = vec![change(b"shut/in/f"), change(b"shut/in/g"), change(b"shut/in/h")];
    journal.add(&Record::Begin { generation, changes }).unwrap();
    drop(journal);
    for dir in ["shut", "shut/in"] {
        fs::set_permissions(bed.at(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(bed.at("shut/in/f"), "2").unwrap();
    fs::write(bed.at(&format!("shut/in/.outlast-{ID}-1")), "half").unwrap();
    let stream = bed.open().await;
    assert_eq!(
        (stream.opened.altered, stream.position().generation),
        (0, generation)
    );
    assert_eq!((bed.mode("shut"), bed.mode("shut/in")), (0o555, 0o500));
    assert!(bed.leftovers().is_empty());
    let record = stream.record.unwrap();
    let paths: Vec<_> = record
        .iter()
        .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
        .collect();
    assert_eq!(paths, ["shut", "shut/in", "shut/in/f", "shut/in/g"]);
    let hash = |path: &[u8]| record.get(path).unwrap().entry.hash;
    assert_eq!(hash(b"shut/in/f"), *blake3::hash(b"2").as_bytes());
    assert_eq!(hash(b"shut/in/g"), *blake3::hash(b"1").as_bytes());
    fs::set_permissions(bed.at("shut"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(bed.at("shut/in"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_damaged_record_costs_nothing_but_reading() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let batch = Batch::new().dir("d").file("d/same", "same").file("edited", "1");
    stream.make(batch.clone()).await;
    let epoch = stream.position().epoch;
    stream.end().await;
    fs::write(bed.at("edited"), "2").unwrap();
    let path = bed.record(ID).join("manifest");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut stream = bed.open().await;
    assert_ne!(stream.position().epoch, epoch);
    assert!(stream.record.as_ref().unwrap().is_empty());
    let outcomes = stream.outcomes(batch).await;
    assert_eq!(
        outcomes,
        [Refusal::Unspecified, Refusal::Unspecified, Refusal::Conflict]
    );
    assert_eq!(
        (bed.read("d/same"), bed.read("edited")),
        ("same".to_owned(), "2".to_owned())
    );
}

#[tokio::test]
async fn a_name_that_is_lost_costs_nothing() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().file("f", "f")).await;
    let position = stream.position();
    stream.end().await;
    let name = bed.record(ID).join("target");
    fs::write(&name, "").unwrap();
    let stream = bed.open().await;
    assert_eq!(
        (stream.opened.altered, stream.position().epoch),
        (0, position.epoch)
    );
    drop(stream);
    assert!(!fs::read(&name).unwrap().is_empty(), "it was written anew");
    // Where it is lost and the directory as well, the record still is the record of something.
    fs::write(&name, "").unwrap();
    fs::remove_dir_all(bed.target()).unwrap();
    assert_eq!(
        subject(&refused(&bed.client(), bed.wanted()).await),
        "target_missing"
    );
    assert!(bed.record(ID).join("manifest").exists());
}

#[tokio::test]
async fn a_newer_stream_takes_over() {
    let bed = Bed::new();
    let client = bed.client();
    let mut older = Stream::open(&client, bed.wanted()).await.unwrap();
    older.make(Batch::new().file("f", "1")).await;
    let mut newer = Stream::open(&client, bed.wanted()).await.unwrap();
    assert_eq!(older.answer().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(newer.opened.altered, 0);
    newer.make(Batch::new().file("f", "2")).await;
    assert_eq!(bed.read("f"), "2");
    // Whoever does not listen is ended as well.
    for number in 0..200 {
        newer
            .send(Batch::new().file("f", number.to_string()).event())
            .await;
        if number > 30 {
            break;
        }
    }
    let newest = Stream::open(&client, bed.wanted()).await.unwrap();
    assert_eq!(newest.opened.altered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_goes_away_is_waited_for_and_one_that_stays_is_told_of() {
    let bed = Bed::new();
    let mut command = std::process::Command::new(HELPER);
    command.args(serve_args(&bed));
    let mut process = Process::start(command);
    let mut far = Stream::open(&process.client, bed.wanted()).await.unwrap();
    far.make(Batch::new().file("f", "1")).await;
    let status = refused(&bed.client(), bed.wanted()).await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let client = bed.client();
    let opening = tokio::spawn({
        let (client, wanted) = (client.clone(), bed.wanted());
        async move { Stream::open(&client, wanted).await }
    });
    process.kill();
    let mut near = opening.await.unwrap().unwrap();
    assert_eq!((near.opened.altered, near.record.as_ref().unwrap().len()), (0, 1));
    near.make(Batch::new().file("f", "2")).await;
}

#[tokio::test]
async fn a_caller_that_leaves_gives_the_target_back() {
    let bed = Bed::new();
    let helper = bed.helper();
    for _ in 0..5 {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let connection = tokio::spawn(outlast_helper::serve::connection(
            std::sync::Arc::clone(&helper),
            theirs,
            outlast_helper::serve::Traffic::InProcess,
        ));
        let stream = Stream::open(&crate::bed::client(ours), bed.wanted())
            .await
            .unwrap();
        let settle = sync_target_request::Event::Settle(SyncSettle { to_disk: true });
        stream.send(settle).await;
        drop(stream);
        // Another helper gets it, as fast as it may want.
        let next = Stream::open(&bed.client(), bed.wanted()).await.unwrap();
        next.end().await;
        connection.abort();
    }
}

#[tokio::test]
async fn a_helper_that_ends_gives_its_targets_back() {
    let bed = Bed::new();
    let helper = bed.helper();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let serving = outlast_helper::serve::connection(
        std::sync::Arc::clone(&helper),
        theirs,
        outlast_helper::serve::Traffic::InProcess,
    );
    tokio::spawn(serving);
    let mut stream = Stream::open(&crate::bed::client(ours), bed.wanted())
        .await
        .unwrap();
    stream.make(Batch::new().file("f", "1")).await;
    helper.finish().await;
    assert_eq!(stream.answer().await.unwrap(), None);
    assert_eq!(
        fs::read(bed.record(ID).join("journal")).unwrap().len(),
        0,
        "all of it is in the manifest"
    );
}

#[tokio::test]
async fn a_forgotten_sync_leaves_what_it_wrote_and_nothing_else() {
    let bed = Bed::new();
    let client = bed.client();
    let request = || ForgetSyncRequest { id: ID.to_owned() };
    client.clone().forget_sync(request()).await.unwrap();
    let mut stream = Stream::open(&client, bed.wanted()).await.unwrap();
    stream.make(Batch::new().dir("d").file("d/f", "f")).await;
    let begin = outlast_client::helper_v1::SyncBegin {
        path: Bytes::from_static(b"d/large"),
        base: None,
        part: false,
    };
    stream.piece(1, sync_piece::Event::Begin(begin)).await;
    stream.settle(true).await;
    assert_eq!(bed.leftovers().len(), 1);
    client.clone().forget_sync(request()).await.unwrap();
    assert_eq!(stream.answer().await.unwrap_err().code(), Code::Aborted);
    assert!(!bed.record(ID).exists());
    assert_eq!(all(&bed.target()), [bed.at("d"), bed.at("d/f")]);
    // What is left is nobody's now.
    assert_eq!(subject(&refused(&client, bed.wanted()).await), "target_not_empty");
    let bad = ForgetSyncRequest { id: "..".to_owned() };
    assert_eq!(
        client.clone().forget_sync(bad).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_directory_can_be_looked_at_before_it_is_a_target() {
    let bed = Bed::new();
    let mut client = bed.client();
    let mut look = async |limit: u32| {
        let request = LookTargetRequest {
            target: target(&bed.target()),
            limit,
            ..LookTargetRequest::default()
        };
        client.look_target(request).await.unwrap().into_inner()
    };
    let none = look(10).await;
    assert_eq!((none.exists, none.entries.len(), none.more), (false, 0, false));
    assert_eq!(none.target, bed.target().to_str().unwrap());
    fs::create_dir_all(bed.at("d")).unwrap();
    fs::write(bed.at("d/f"), "four").unwrap();
    symlink("/", bed.at("l")).unwrap();
    let seen = look(10).await;
    assert!(seen.exists && !seen.more);
    let told: Vec<_> = seen
        .entries
        .iter()
        .map(|seen| (seen.path.clone(), seen.entry.as_ref().unwrap().kind()))
        .collect();
    let expected = [
        ("d", SyncKind::Dir),
        ("d/f", SyncKind::File),
        ("l", SyncKind::Link),
    ];
    assert_eq!(told, expected.map(|(path, kind)| (Bytes::from(path), kind)));
    let file = seen.entries[1].entry.as_ref().unwrap();
    assert_eq!(file.size, entry(b"four", 0, 0).size);
    assert_eq!(seen.entries[2].entry.as_ref().unwrap().link, "/");
    let some = look(2).await;
    assert_eq!((some.entries.len(), some.more), (2, true));
    assert!(!bed.record(ID).exists());
}

#[tokio::test]
async fn what_would_be_refused_as_a_target_is_refused_when_it_is_looked_at() {
    let bed = Bed::new();
    let mut client = bed.client();
    let mut stream = bed.open().await;
    stream.make(Batch::new().dir("in")).await;
    fs::write(bed.path().join("file"), "").unwrap();
    symlink(bed.target(), bed.path().join("way in")).unwrap();
    symlink(bed.state_dir(), bed.path().join("own")).unwrap();
    let mut look = async |place: PathBuf, all: &[&str]| {
        let request = LookTargetRequest {
            target: target(&place),
            id: OTHER.to_owned(),
            all: all.iter().map(|id| (*id).to_owned()).collect(),
            ..LookTargetRequest::default()
        };
        client.look_target(request).await
    };
    for (place, part) in [
        (bed.path().join("file"), "no directory"),
        (bed.path().join("file/x"), "no directory"),
        (bed.state_dir(), "its own"),
        (bed.path().join("own/x"), "its own"),
        (bed.target(), "overlap"),
        (bed.path().join("way in"), "overlap"),
        (bed.path().join("way in/in/new"), "overlap"),
    ] {
        let status = look(place.clone(), &[ID, OTHER]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{place:?}: {status:?}");
        assert!(status.message().contains(part), "{place:?}: {status:?}");
    }
    // Its own record is in nobody's way, nor is that of a sync that there is no more.
    look(bed.target(), &[OTHER]).await.unwrap();
    let own = LookTargetRequest {
        target: target(&bed.target()),
        id: ID.to_owned(),
        all: vec![ID.to_owned()],
        ..LookTargetRequest::default()
    };
    bed.client().look_target(own).await.unwrap();
    assert!(bed.record(ID).exists() && !bed.record(OTHER).exists());
    stream.end().await;
}
