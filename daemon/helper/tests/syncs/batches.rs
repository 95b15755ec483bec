//! What becomes of changes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use outlast_client::helper_v1::SyncRefusal as Refusal;

use crate::bed::{Batch, Bed, MTIME, Stream, mtime_ns};

#[tokio::test]
async fn a_tree_is_copied_into_a_target_that_is_made() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    assert_eq!(stream.opened.altered, 0);
    assert_eq!(stream.opened.target, bed.target().to_str().unwrap());
    let batch = Batch::new()
        .dir("a")
        .dir_with("a/b", 0o750)
        .file_with("a/b/c", "see", 0o4751, MTIME)
        .file_with("a/b/old", "", 0o600, -1_500_000_000)
        .link("a/link", "b/c")
        .file("top", "top");
    let done = stream.make(batch).await;
    assert_eq!(done.generation, stream.position().generation + 1);
    assert_eq!(bed.read("a/b/c"), "see");
    assert_eq!((bed.mode("a/b"), bed.mode("a/b/c")), (0o750, 0o751));
    assert_eq!(mtime_ns(&bed.at("a/b/c")), MTIME);
    assert_eq!(mtime_ns(&bed.at("a/b/old")), -1_500_000_000);
    assert_eq!(fs::read_link(bed.at("a/link")).unwrap(), Path::new("b/c"));
    assert_eq!(bed.leftovers(), Vec::<std::path::PathBuf>::new());
    let settled = stream.settle(false).await;
    assert_eq!((settled.generation, settled.altered.len()), (done.generation, 0));
    stream.end().await;
}

#[tokio::test]
async fn what_is_in_a_new_directory_is_as_it_would_be_in_an_old_one() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    fs::create_dir(bed.at("theirs")).unwrap();
    let batch = Batch::new()
        .dir("a")
        .file_with("a/open", "1", 0o666, MTIME)
        .file_with("a/closed", "2", 0o400, MTIME)
        .dir("a/in")
        .file("a/in/deep", "3")
        .link("a/link", "in")
        // Twice, and the later one counts.
        .file("a/open", "4")
        .dir("theirs")
        .file("theirs/file", "5")
        .dir("empty")
        .dir("b")
        .file("b/file", "6")
        .gone("b/file")
        .dir("c")
        .file("c/bad", "7")
        .file("c/good", "8");
    let mut batch = batch;
    let bad = batch.ops.len() - 2;
    batch.ops[bad].entry.as_mut().unwrap().hash = vec![1; 32].into();
    let mut expected = vec![Refusal::Unspecified; batch.ops.len()];
    expected[bad] = Refusal::Need;
    assert_eq!(stream.outcomes(batch).await, expected);
    let texts = [
        ("a/open", "4"),
        ("a/in/deep", "3"),
        ("theirs/file", "5"),
        ("c/good", "8"),
    ];
    for (path, text) in texts {
        assert_eq!(bed.read(path), text, "{path}");
    }
    assert_eq!((bed.mode("a/closed"), bed.mode("a/open")), (0o400, 0o644));
    assert!(bed.at("empty").is_dir() && !bed.at("b/file").exists() && !bed.at("c/bad").exists());
    assert!(bed.leftovers().is_empty());
    assert!(stream.settle(false).await.altered.is_empty());
    stream.end().await;
    let again = bed.open().await;
    assert_eq!(again.opened.altered, 0);
}

#[tokio::test]
async fn modes_are_right_whatever_the_directory_gives_to_new_files() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let modes = [0o666, 0o777, 0o640, 0o600, 0o444];
    let mut batch = Batch::new().dir("new");
    for (number, mode) in modes.into_iter().enumerate() {
        batch = batch.file_with(&format!("new/{number}"), "x", mode, MTIME);
        batch = batch.file_with(&format!("top{number}"), "x", mode, MTIME);
    }
    stream.make(batch).await;
    for (number, mode) in modes.into_iter().enumerate() {
        let found = (
            bed.mode(&format!("new/{number}")),
            bed.mode(&format!("top{number}")),
        );
        assert_eq!(found, (mode, mode));
    }
}

#[tokio::test]
async fn contents_can_be_packed_and_are_checked() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let zeros = vec![0; 100_000];
    stream
        .send(Batch::new().file("z", &zeros).file("y", "y").packed())
        .await;
    let done = stream.done().await.unwrap();
    assert!(done.outcomes.iter().all(|outcome| outcome.refusal == 0));
    assert_eq!(fs::read(bed.at("z")).unwrap(), zeros);
    assert_eq!(bed.read("y"), "y");
    // The data is other than was said, and shorter.
    let mut wrong = Batch::new().file("x", "what").file("w", "more");
    wrong.ops[0].entry.as_mut().unwrap().hash = vec![1; 32].into();
    wrong.ops[1].entry.as_mut().unwrap().size = 5;
    assert_eq!(stream.outcomes(wrong).await, [Refusal::Need, Refusal::Need]);
    assert!(!bed.at("x").exists() && !bed.at("w").exists());
    assert!(bed.leftovers().is_empty());
}

#[tokio::test]
async fn what_is_ours_is_replaced_and_what_was_changed_is_kept() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream
        .make(
            Batch::new()
                .file("ours", "1")
                .file("theirs", "1")
                .file("touched", "1"),
        )
        .await;
    fs::write(bed.at("theirs"), "edited").unwrap();
    fs::set_permissions(bed.at("touched"), fs::Permissions::from_mode(0o600)).unwrap();
    let batch = Batch::new()
        .file("ours", "22")
        .file("theirs", "22")
        .file("touched", "22");
    let outcomes = stream.outcomes(batch).await;
    assert_eq!(
        outcomes,
        [Refusal::Unspecified, Refusal::Conflict, Refusal::Conflict]
    );
    assert_eq!(
        (bed.read("ours"), bed.read("theirs")),
        ("22".to_owned(), "edited".to_owned())
    );
    // It stays so, whoever asks, until it is to be replaced.
    let again = Batch::new().file("theirs", "22");
    assert_eq!(stream.refusal(again.clone()).await, Refusal::Conflict);
    assert_eq!(
        stream.refusal(Batch::new().gone("theirs")).await,
        Refusal::Conflict
    );
    stream.make(again.replacing()).await;
    assert_eq!(bed.read("theirs"), "22");
    stream.make(Batch::new().gone("theirs").gone("ours")).await;
    assert!(!bed.at("theirs").exists() && !bed.at("ours").exists());
    assert!(bed.at("touched").exists());
    assert!(bed.leftovers().is_empty());
}

#[tokio::test]
async fn what_is_equal_already_becomes_ours() {
    let bed = Bed::new();
    fs::create_dir_all(bed.at("d/e")).unwrap();
    fs::write(bed.at("d/same"), "same").unwrap();
    fs::write(bed.at("d/there"), "there").unwrap();
    fs::write(bed.at("d/other"), "differs").unwrap();
    symlink("same", bed.at("d/link")).unwrap();
    fs::set_permissions(bed.at("d"), fs::Permissions::from_mode(0o700)).unwrap();
    let wanted = outlast_client::helper_v1::SyncOpen {
        occupied: true,
        ..bed.wanted()
    };
    let mut stream = Stream::open(&bed.client(), wanted).await.unwrap();
    let inode = |path: &str| fs::symlink_metadata(bed.at(path)).unwrap().ino();
    let before = ["d/same", "d/there", "d/link"].map(inode);
    let batch = Batch::new()
        .dir("d")
        .dir("d/e")
        .file_with("d/same", "same", 0o755, MTIME)
        .there("d/there", "there", 0o640, MTIME)
        .there("d/other", "other", 0o640, MTIME)
        .there("d/none", "none", 0o640, MTIME)
        .link("d/link", "same");
    let made = Refusal::Unspecified;
    let expected = [made, made, made, made, Refusal::Need, Refusal::Need, made];
    assert_eq!(stream.outcomes(batch).await, expected);
    assert_eq!(
        ["d/same", "d/there", "d/link"].map(inode),
        before,
        "they were not written anew"
    );
    assert_eq!((bed.mode("d/same"), bed.mode("d/there")), (0o755, 0o640));
    assert_eq!(mtime_ns(&bed.at("d/there")), MTIME);
    assert_eq!(bed.mode("d"), 0o755, "and so is its mode");
    assert_eq!(bed.read("d/other"), "differs");
    // And ours is ours to remove.
    let batch = Batch::new()
        .gone("d/same")
        .gone("d/there")
        .gone("d/link")
        .gone("d/e");
    stream.make(batch).await;
    assert_eq!(stream.refusal(Batch::new().gone("d")).await, Refusal::NotEmpty);
    assert_eq!(bed.read("d/other"), "differs");
}

#[tokio::test]
async fn only_what_is_ours_is_removed() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream
        .make(Batch::new().dir("d").file("d/f", "f").file("gone", ""))
        .await;
    fs::write(bed.at("d/theirs"), "theirs").unwrap();
    fs::create_dir(bed.at("foreign")).unwrap();
    fs::remove_file(bed.at("gone")).unwrap();
    let batch = Batch::new()
        .gone("d/f")
        .gone("d/theirs")
        .gone("d")
        .gone("gone")
        .gone("never/was/there")
        .gone("foreign");
    let made = Refusal::Unspecified;
    let expected = [
        made,
        Refusal::Conflict,
        Refusal::NotEmpty,
        made,
        made,
        Refusal::Conflict,
    ];
    assert_eq!(stream.outcomes(batch).await, expected);
    assert_eq!(bed.read("d/theirs"), "theirs");
    assert!(!bed.at("d/f").exists() && bed.at("foreign").exists());
    // It is not ours any more, even when it is empty by now.
    fs::remove_file(bed.at("d/theirs")).unwrap();
    assert_eq!(stream.refusal(Batch::new().gone("d")).await, Refusal::Conflict);
    assert!(bed.at("d").exists());
}

#[tokio::test]
async fn files_directories_and_links_take_each_others_place() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream
        .make(
            Batch::new()
                .file("a", "a")
                .dir("b")
                .link("c", "a")
                .dir("d")
                .file("d/in", "x"),
        )
        .await;
    // Directories that have to go are empty before.
    let batch = Batch::new()
        .gone("d/in")
        .dir("a")
        .link("b", "c")
        .file("c", "c")
        .file("d", "d");
    stream.make(batch).await;
    assert!(bed.at("a").is_dir());
    assert_eq!(fs::read_link(bed.at("b")).unwrap(), Path::new("c"));
    assert_eq!((bed.read("c"), bed.read("d")), ("c".to_owned(), "d".to_owned()));
    assert!(fs::symlink_metadata(bed.at("c")).unwrap().is_file());
    let batch = Batch::new()
        .link("a", "x")
        .dir("b")
        .file("b/new", "n")
        .link("c", "y")
        .link("d", "z");
    stream.make(batch).await;
    for link in ["a", "c", "d"] {
        assert!(bed.at(link).is_symlink(), "{link}");
    }
    assert_eq!(bed.read("b/new"), "n");
    // A directory that holds something stays, and with it what it holds.
    fs::write(bed.at("b/theirs"), "theirs").unwrap();
    let batch = Batch::new().gone("b/new").file("b", "file");
    assert_eq!(
        stream.outcomes(batch).await,
        [Refusal::Unspecified, Refusal::NotEmpty]
    );
    assert_eq!(bed.read("b/theirs"), "theirs");
    assert!(bed.leftovers().is_empty());
}

#[tokio::test]
async fn what_is_somebody_elses_is_replaced_only_when_asked_and_no_directory_is() {
    let bed = Bed::new();
    fs::create_dir_all(bed.at("dir")).unwrap();
    fs::write(bed.at("file"), "theirs").unwrap();
    symlink("/etc/passwd", bed.at("link")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, bed.at("fifo"), fifo, 0o600.into(), 0).unwrap();
    let wanted = outlast_client::helper_v1::SyncOpen {
        occupied: true,
        ..bed.wanted()
    };
    let mut stream = Stream::open(&bed.client(), wanted).await.unwrap();
    for path in ["dir", "file", "link", "fifo"] {
        let refused = stream.refusal(Batch::new().file(path, "ours")).await;
        assert_eq!(refused, Refusal::Conflict, "{path}");
        let refused = stream.refusal(Batch::new().link(path, "ours")).await;
        assert_eq!(refused, Refusal::Conflict, "{path}");
        if path != "dir" {
            assert_eq!(
                stream.refusal(Batch::new().dir(path)).await,
                Refusal::Conflict,
                "{path}"
            );
        }
    }
    assert_eq!(bed.read("file"), "theirs");
    let refused = stream.refusal(Batch::new().file("dir", "ours").replacing()).await;
    assert_eq!(refused, Refusal::Conflict);
    stream.make(Batch::new().dir("file").replacing()).await;
    stream.make(Batch::new().file("link", "ours").replacing()).await;
    stream.make(Batch::new().link("fifo", "ours").replacing()).await;
    assert!(bed.at("file").is_dir() && bed.at("dir").is_dir() && bed.at("fifo").is_symlink());
    assert_eq!(bed.read("link"), "ours");
    assert!(bed.leftovers().is_empty());
}

#[tokio::test]
async fn a_file_is_copied_from_another_one_that_is_as_it_was() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let large = vec![7; 3 << 20];
    stream
        .make(Batch::new().file("from", &large).file("other", "o"))
        .await;
    stream.make(Batch::new().same_as("to", &large, "from")).await;
    assert_eq!(fs::read(bed.at("to")).unwrap(), large);
    assert_eq!(bed.mode("to"), 0o600);
    let batch = Batch::new()
        .same_as("x", "not that", "from")
        .same_as("x", "o", "none")
        .same_as("x", "o", "../other");
    assert_eq!(stream.outcomes(batch).await, [Refusal::Need; 3]);
    fs::write(bed.at("other"), "O").unwrap();
    assert_eq!(
        stream.refusal(Batch::new().same_as("x", "o", "other")).await,
        Refusal::Need
    );
    assert!(!bed.at("x").exists());
    assert!(bed.leftovers().is_empty());
}

#[tokio::test]
async fn mode_and_time_alone_are_set_in_place() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().file_with("f", "f", 0o000, MTIME)).await;
    let inode = fs::metadata(bed.at("f")).unwrap().ino();
    stream.make(Batch::new().there("f", "f", 0o500, MTIME + 5)).await;
    let found = fs::metadata(bed.at("f")).unwrap();
    assert_eq!(
        (found.ino(), mtime_ns(&bed.at("f")), bed.mode("f")),
        (inode, MTIME + 5, 0o500)
    );
    stream.make(Batch::new().dir("d").dir_with("d", 0o510)).await;
    assert_eq!(bed.mode("d"), 0o510);
    assert!(stream.settle(false).await.altered.is_empty());
}

#[tokio::test]
async fn one_change_that_fails_does_not_stop_the_others() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let long = "x".repeat(256);
    let batch = Batch::new()
        .file("../out", "1")
        .file("/abs", "2")
        .file(".outlast-a7e1c2d4-0000-4000-8000-000000000001-7", "3")
        .file(&long, "4")
        .file("none/f", "5")
        .file("fine", "6")
        .file("fine/below", "7");
    let outcomes = stream.outcomes(batch).await;
    let expected = [
        Refusal::Name,
        Refusal::Name,
        Refusal::Name,
        Refusal::Name,
        Refusal::Failed,
        Refusal::Unspecified,
        Refusal::Conflict,
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(bed.read("fine"), "6");
    assert!(!bed.path().join("out").exists());
    stream.end().await;
}

#[tokio::test]
async fn settling_tells_what_was_changed_meanwhile() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream
        .make(
            Batch::new()
                .dir("d")
                .file("d/a", "a")
                .file("d/b", "b")
                .link("l", "x")
                .dir("e"),
        )
        .await;
    fs::write(bed.at("d/a"), "edited").unwrap();
    fs::remove_file(bed.at("l")).unwrap();
    fs::remove_dir(bed.at("e")).unwrap();
    let on_disk = stream.settle(true).await;
    assert!(on_disk.altered.is_empty());
    let settled = stream.settle(false).await;
    assert_eq!(settled.altered, ["d/a", "e", "l"]);
    assert_eq!(settled.generation, on_disk.generation + 1);
    assert!(stream.settle(false).await.altered.is_empty(), "told once");
    assert_eq!(
        stream.refusal(Batch::new().file("d/a", "ours")).await,
        Refusal::Conflict
    );
    stream
        .make(Batch::new().dir("e").link("l", "x").file("d/b", "bb"))
        .await;
}

#[tokio::test]
async fn a_directory_that_becomes_ours_gets_the_mode_that_the_record_tells() {
    let bed = Bed::new();
    fs::create_dir_all(bed.at("d/e")).unwrap();
    fs::set_permissions(bed.at("d"), fs::Permissions::from_mode(0o777)).unwrap();
    // Whom things made in it belong to is nobody's business but theirs who decided it.
    fs::set_permissions(bed.at("d/e"), fs::Permissions::from_mode(0o2770)).unwrap();
    let wanted = outlast_client::helper_v1::SyncOpen {
        occupied: true,
        ..bed.wanted()
    };
    let mut stream = Stream::open(&bed.client(), wanted).await.unwrap();
    let batch = Batch::new()
        .dir_with("d", 0o750)
        .dir_with("d/e", 0o700)
        .dir_with("d/e/new", 0o705);
    stream.make(batch).await;
    assert_eq!(
        (bed.mode("d"), bed.mode("d/e"), bed.mode("d/e/new") & 0o777),
        (0o750, 0o2700, 0o705)
    );
    assert!(stream.settle(false).await.altered.is_empty());
    stream.end().await;
    let stream = bed.open().await;
    assert_eq!(stream.opened.altered, 0);
    let record = stream.record.unwrap();
    let mode = |path: &[u8]| record.get(path).unwrap().entry.mode;
    assert_eq!(
        (mode(b"d"), mode(b"d/e"), mode(b"d/e/new")),
        (0o750, 0o700, 0o705)
    );
}

#[tokio::test]
async fn a_directory_whose_mode_was_changed_is_told_and_can_be_had_again() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let tree = Batch::new().dir_with("d", 0o750).file("d/f", "f").dir("d/e");
    stream.make(tree).await;
    let change = |mode| fs::set_permissions(bed.at("d"), fs::Permissions::from_mode(mode)).unwrap();
    change(0o777);
    assert_eq!(stream.settle(false).await.altered, ["d"]);
    assert!(stream.settle(false).await.altered.is_empty(), "told once");
    stream.make(Batch::new().dir_with("d", 0o750)).await;
    assert_eq!(bed.mode("d"), 0o750);
    assert!(stream.settle(false).await.altered.is_empty());
    // Also while nobody looked.
    stream.end().await;
    change(0o700);
    let mut stream = bed.open().await;
    assert_eq!(stream.opened.altered, 1);
    let record = stream.record.take().unwrap();
    assert!(record.get(b"d").is_none() && record.get(b"d/f").is_some());
    let batch = Batch::new().dir_with("d", 0o750).file("d/f", "ff").gone("d/e");
    stream.make(batch).await;
    assert_eq!((bed.mode("d"), bed.read("d/f")), (0o750, "ff".to_owned()));
    assert!(bed.leftovers().is_empty());
    // What is no permission is no change of one.
    change(0o2750);
    assert!(stream.settle(false).await.altered.is_empty());
}
