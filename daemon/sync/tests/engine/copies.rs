//! What is here is there.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use outlast_sync::{ProblemKind, engine::State};

use crate::bed::{Bed, noise};

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_copied_and_changes_follow() {
    let mut bed = Bed::new();
    bed.write("a.txt", "one");
    bed.write("dir/sub/b.txt", noise(300_000, 1));
    bed.write("dir/empty", "");
    bed.write("large", noise(3 << 20, 2));
    fs::set_permissions(bed.source("a.txt"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("../outside", bed.source("link")).unwrap();
    fs::create_dir(bed.source("closed")).unwrap();
    bed.write("closed/x", "x");
    fs::set_permissions(bed.source("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    bed.start();
    bed.flush().await;
    bed.assert_equal();
    let view = bed.view();
    assert_eq!((view.files, view.problem_count), (5, 0));
    bed.wait_state(State::Watching).await;

    // A save is there without anybody asking.
    bed.write("a.txt", "two");
    bed.wait_disk("the save", || {
        fs::read(bed.target("a.txt")).ok() == Some(b"two".to_vec())
    })
    .await;
    // An editor that saves by rename, a new directory with files, a rename, a removal.
    bed.write(".a.txt.swp", "three");
    fs::rename(bed.source(".a.txt.swp"), bed.source("a.txt")).unwrap();
    bed.write("new/deep/c.txt", "c");
    fs::rename(bed.source("dir"), bed.source("moved")).unwrap();
    fs::remove_file(bed.source("large")).unwrap();
    bed.wait_disk("all of it", || bed.differences().is_empty()).await;
    bed.flush().await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_directories_and_links_change_places() {
    let mut bed = Bed::new();
    bed.write("x/y/z", "deep");
    bed.write("f", "file");
    symlink("f", bed.source("l")).unwrap();
    bed.start();
    bed.flush().await;
    bed.assert_equal();
    fs::remove_dir_all(bed.source("x")).unwrap();
    bed.write("x", "now a file");
    fs::remove_file(bed.source("f")).unwrap();
    bed.write("f/g", "now a directory");
    fs::remove_file(bed.source("l")).unwrap();
    bed.write("l/m", "another");
    bed.flush().await;
    bed.assert_equal();
    assert_eq!(bed.view().problem_count, 0, "{:#?}", bed.view());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_modes_and_times_that_change_are_set() {
    let mut bed = Bed::new();
    bed.write("a", noise(100_000, 3));
    bed.start();
    bed.flush().await;
    let inode = fs::metadata(bed.target("a")).unwrap().ino();
    fs::set_permissions(bed.source("a"), fs::Permissions::from_mode(0o600)).unwrap();
    bed.flush().await;
    bed.assert_equal();
    fs::File::open(bed.source("a"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    bed.flush().await;
    bed.assert_equal();
    assert_eq!(fs::metadata(bed.target("a")).unwrap().ino(), inode);
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_stand_for_others_are_not_copied_and_told() {
    let mut bed = Bed::new();
    bed.write("tool", "t");
    bed.write("shared/f", "f");
    let mode = |path: std::path::PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(bed.source("tool"), 0o4755);
    mode(bed.source("shared"), 0o3775);
    bed.start();
    bed.flush().await;
    let told = |bed: &Bed| {
        let view = bed.view();
        let mut told: Vec<_> = view
            .problems
            .iter()
            .map(|problem| (problem.kind, String::from_utf8_lossy(&problem.path).into_owned()))
            .collect();
        told.sort();
        told
    };
    let bits = |path: &str| (ProblemKind::SpecialBits, path.to_owned());
    assert_eq!(told(&bed), [bits("shared"), bits("tool")]);
    assert!(!ProblemKind::SpecialBits.is_missing());
    let there = |path: &str| fs::metadata(bed.target(path)).unwrap().mode() & 0o7777;
    assert_eq!((there("tool"), there("shared")), (0o755, 0o775));
    assert_eq!(fs::read(bed.target("shared/f")).unwrap(), b"f");
    // One by one, as they come and go.
    mode(bed.source("tool"), 0o755);
    mode(bed.source("shared/f"), 0o2755);
    bed.wait("the change", |view| {
        view.problems.iter().any(|problem| problem.path == b"shared/f")
            && !view.problems.iter().any(|problem| problem.path == b"tool")
    })
    .await;
    assert_eq!(told(&bed), [bits("shared"), bits("shared/f")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_goes_and_comes() {
    let mut bed = Bed::new();
    bed.write("keep.txt", "k");
    bed.write("build/out.o", "o");
    bed.write("notes.tmp", "t");
    bed.start();
    bed.flush().await;
    assert!(bed.target("build/out.o").exists() && bed.target("notes.tmp").exists());
    bed.write(".gitignore", "*.o\n");
    bed.write(".outlastignore", "*.tmp\n");
    bed.wait_disk("what is ignored now goes", || {
        !bed.target("build/out.o").exists() && !bed.target("notes.tmp").exists()
    })
    .await;
    fs::remove_file(bed.source(".gitignore")).unwrap();
    bed.wait_disk("what counts again comes back", || {
        bed.target("build/out.o").exists()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_a_large_file_is_made_in_it() {
    let mut bed = Bed::new();
    let mut content = noise(8 << 20, 4);
    bed.write("large", &content);
    bed.start();
    bed.flush().await;
    content[5 << 20..(5 << 20) + 1000].fill(7);
    bed.write("large", &content);
    bed.flush().await;
    bed.assert_equal();
    content.splice(100..100, [1, 2, 3]);
    bed.write("large", &content);
    bed.flush().await;
    bed.assert_equal();
    fs::rename(bed.source("large"), bed.source("moved")).unwrap();
    bed.flush().await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_wrote_there_is_kept_and_told() {
    let mut bed = Bed::new();
    bed.write("a", "ours");
    bed.write("d/b", "ours");
    bed.start();
    bed.flush().await;
    fs::write(bed.target("a"), "theirs").unwrap();
    fs::write(bed.target("d/foreign"), "theirs").unwrap();
    bed.write("a", "ours, changed");
    fs::remove_dir_all(bed.source("d")).unwrap();
    bed.flush().await;
    assert_eq!(fs::read(bed.target("a")).unwrap(), b"theirs");
    assert_eq!(fs::read(bed.target("d/foreign")).unwrap(), b"theirs");
    assert!(!bed.target("d/b").exists());
    let view = bed.view();
    assert!(
        view.problems
            .iter()
            .any(|problem| problem.path == b"a" && problem.kind == ProblemKind::Conflict),
        "{view:#?}"
    );
    // Out of the way, the next flush goes through.
    fs::remove_file(bed.target("a")).unwrap();
    bed.flush().await;
    assert_eq!(fs::read(bed.target("a")).unwrap(), b"ours, changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_copied_is_told_and_the_rest_goes_on() {
    let mut bed = Bed::new();
    bed.write("good", "g");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bed.source("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    bed.start();
    bed.flush().await;
    assert_eq!(fs::read(bed.target("good")).unwrap(), b"g");
    let view = bed.view();
    assert_eq!(view.problem_count, 1, "{view:#?}");
    assert_eq!(view.problems[0].kind, ProblemKind::SpecialFile);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_at_once_are_all_there() {
    let mut bed = Bed::new();
    for index in 0..3000 {
        bed.write(&format!("d{}/f{index}", index % 50), format!("content {index}"));
    }
    bed.start();
    bed.flush().await;
    bed.assert_equal();
    bed.wait_state(State::Watching).await;
    for index in 0..3000 {
        bed.write(&format!("d{}/f{index}", index % 50), format!("changed {index}"));
    }
    bed.wait_disk("all changes", || bed.differences().is_empty())
        .await;
    let view = bed.wait("nothing pending", |view| view.pending_files == 0).await;
    assert_eq!((view.files, view.problem_count), (3000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_come_all_at_once_are_all_watched() {
    let mut bed = Bed::new();
    bed.write("first", "f");
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    let leaves: Vec<String> = (0..600)
        .map(|index| format!("new/a{}/b{}/c{index}", index % 7, index % 31))
        .collect();
    for leaf in &leaves {
        fs::create_dir_all(bed.source(leaf)).unwrap();
    }
    bed.wait_disk("the directories", || {
        leaves.iter().all(|leaf| bed.target(leaf).is_dir())
    })
    .await;
    bed.wait_state(State::Watching).await;
    for leaf in &leaves {
        bed.write(&format!("{leaf}/file"), "late");
    }
    bed.wait_disk("a file in each", || {
        leaves
            .iter()
            .all(|leaf| bed.target(&format!("{leaf}/file")).exists())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_below_something_foreign_comes_when_that_has_gone() {
    let mut bed = Bed::new();
    bed.write("a", "a");
    bed.start();
    bed.flush().await;
    fs::write(bed.target("d"), "theirs").unwrap();
    fs::create_dir(bed.source("d")).unwrap();
    bed.wait("the conflict", |view| view.problem_count == 1).await;
    bed.write("d/x", "x");
    bed.write("d/y/z", "z");
    bed.flush().await;
    let view = bed.view();
    assert_eq!(
        view.problem_count, 1,
        "only what is in the way is told: {view:#?}"
    );
    fs::remove_file(bed.target("d")).unwrap();
    fs::File::open(bed.source("d"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    bed.wait_disk("all of it", || {
        bed.target("d/x").exists() && bed.target("d/y/z").exists()
    })
    .await;
    bed.wait("no problem", |view| view.problem_count == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_original_was_changed_there_is_sent() {
    let mut bed = Bed::new();
    bed.write("original", noise(100_000, 5));
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    fs::write(bed.target("original"), "theirs").unwrap();
    fs::copy(bed.source("original"), bed.source("copy")).unwrap();
    bed.wait_disk("the copy", || {
        fs::read(bed.target("copy")).ok() == Some(noise(100_000, 5))
    })
    .await;
    fs::copy(bed.source("original"), bed.source("another")).unwrap();
    fs::remove_file(bed.source("another")).unwrap();
    bed.flush().await;
    assert!(!bed.target("another").exists());
}
