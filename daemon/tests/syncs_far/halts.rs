//! A source that is gone, or much of it: nothing is deleted there before somebody says so.

use std::{fs, path::Path};

use crate::{
    bed::{Bed, NAME},
    kills::assert_all_there,
    tree::{Tree, walk},
};

/// A sync of so many files in three directories.
fn mirrored(files: u64) -> (Bed, Tree) {
    let bed = Bed::new();
    plant(&bed.source, files);
    drop(bed.add(&[]).success());
    let there = walk(&bed.target);
    assert_eq!(there.len() as u64, files + 3);
    (bed, there)
}

fn plant(source: &Path, files: u64) {
    for number in 0..files {
        let dir =
            source.join(["most", "some", "few"][usize::try_from(number % 10).unwrap().saturating_sub(7)]);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{number}")), format!("{number}\n")).unwrap();
    }
}

/// Asserts what a halted sync answers, goes on, and asserts that it does.
fn goes_on(bed: &Bed) {
    drop(bed.flush().code(4));
    let refused = bed.sandbox.outlast(&["sync", "resume", NAME]).code(4);
    assert!(refused.err().contains("--confirm"), "{refused}");
    drop(
        bed.sandbox
            .outlast(&["sync", "resume", NAME, "--confirm"])
            .success(),
    );
    fs::write(bed.source.join("after"), "the halt\n").unwrap();
    bed.settle();
    assert_all_there(bed);
}

/// Asserts that a halted sync whose cause is gone goes on when it is told to, and that nothing has to be confirmed.
fn goes_on_by_itself(bed: &Bed) {
    drop(bed.flush().code(4));
    drop(bed.sandbox.outlast(&["sync", "resume", NAME]).success());
    fs::write(bed.source.join("after"), "the halt\n").unwrap();
    drop(bed.flush().success());
    assert_all_there(bed);
}

#[test]
fn a_source_that_vanished_deletes_nothing_there() {
    let (bed, there) = mirrored(50);
    let away = bed.sandbox.path().join("away");
    fs::rename(&bed.source, &away).unwrap();
    assert_eq!(bed.wait_halted(), "source_missing");
    // Also when that is found at the start.
    drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
    assert_eq!(bed.wait_halted(), "source_missing");
    // And when somebody says to go on without it being back.
    drop(bed.sandbox.outlast(&["sync", "resume", NAME, "--confirm"]));
    drop(bed.flush());
    assert_eq!(bed.wait_halted(), "source_missing");
    assert_eq!(walk(&bed.target), there);
    // Nor does looking again, which finds it as it was.
    drop(bed.sandbox.outlast(&["sync", "resume", NAME]).code(4));
    assert_eq!(bed.wait_halted(), "source_missing");
    fs::rename(&away, &bed.source).unwrap();
    goes_on_by_itself(&bed);
}

#[test]
fn a_source_that_was_emptied_deletes_nothing_there() {
    let (bed, there) = mirrored(30);
    let away = bed.sandbox.path().join("away");
    fs::create_dir(&away).unwrap();
    // What was unmounted is empty at once: here at least for the sync, which pauses meanwhile.
    drop(bed.sandbox.outlast(&["sync", "pause", NAME]).success());
    for name in ["most", "some", "few"] {
        fs::rename(bed.source.join(name), away.join(name)).unwrap();
    }
    drop(bed.sandbox.outlast(&["sync", "resume", NAME]).success());
    assert_eq!(bed.wait_halted(), "source_emptied");
    drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
    assert_eq!(bed.wait_halted(), "source_emptied");
    assert_eq!(walk(&bed.target), there);
    goes_on(&bed);
    assert_eq!(walk(&bed.target).len(), 1);
}

#[test]
fn a_source_that_became_a_file_deletes_nothing_there() {
    let (bed, there) = mirrored(30);
    let away = bed.sandbox.path().join("away");
    fs::rename(&bed.source, &away).unwrap();
    fs::write(&bed.source, "a file").unwrap();
    let reason = bed.wait_halted();
    // Between the two it was missing.
    assert!(
        ["source_replaced", "source_missing"].contains(&reason.as_str()),
        "{reason}"
    );
    drop(bed.sandbox.outlast(&["sync", "resume", NAME, "--confirm"]));
    drop(bed.flush());
    assert_eq!(bed.wait_halted(), "source_replaced");
    assert_eq!(walk(&bed.target), there);
    fs::remove_file(&bed.source).unwrap();
    fs::rename(&away, &bed.source).unwrap();
    goes_on_by_itself(&bed);
}

#[test]
fn more_than_half_of_many_files_wait_for_a_word() {
    let (bed, there) = mirrored(400);
    let away = bed.sandbox.path().join("away");
    fs::rename(bed.source.join("most"), &away).unwrap();
    assert_eq!(bed.wait_halted(), "mass_deletion");
    assert_eq!(walk(&bed.target), there);
    drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
    assert_eq!(bed.wait_halted(), "mass_deletion");
    assert_eq!(walk(&bed.target), there);
    goes_on(&bed);
    assert!(!bed.target.join("most").exists());
}

#[test]
fn what_comes_back_by_itself_needs_no_deletion() {
    let (bed, _) = mirrored(400);
    let away = bed.sandbox.path().join("away");
    fs::rename(bed.source.join("most"), &away).unwrap();
    assert_eq!(bed.wait_halted(), "mass_deletion");
    let inodes = inodes(&bed.target);
    fs::rename(&away, bed.source.join("most")).unwrap();
    goes_on_by_itself(&bed);
    let now = self::inodes(&bed.target);
    assert!(
        inodes.iter().all(|inode| now.contains(inode)),
        "something was written again"
    );
}

fn inodes(target: &Path) -> Vec<(u64, i64)> {
    use std::os::unix::fs::MetadataExt as _;
    let files = fs::read_dir(target.join("most")).unwrap().flatten();
    files
        .map(|file| file.metadata().unwrap())
        .map(|found| (found.ino(), found.ctime_nsec()))
        .collect()
}

#[test]
fn what_came_back_in_part_still_wants_a_word_also_after_a_restart() {
    let (bed, there) = mirrored(400);
    let away = bed.sandbox.path().join("away");
    fs::rename(bed.source.join("most"), &away).unwrap();
    assert_eq!(bed.wait_halted(), "mass_deletion");
    drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
    assert_eq!(bed.wait_halted(), "mass_deletion");
    // So few that nobody would be asked if that were all.
    fs::rename(&away, bed.source.join("most")).unwrap();
    fs::remove_file(bed.source.join("most/f0")).unwrap();
    let refused = bed.sandbox.outlast(&["sync", "resume", NAME]).code(4);
    assert!(refused.err().contains("1 of 400 files"), "{refused}");
    assert_eq!(walk(&bed.target), there);
    goes_on(&bed);
    assert!(!bed.target.join("most/f0").exists());
}

#[test]
fn a_halt_stands_while_the_host_is_away() {
    let (mut bed, there) = mirrored(400);
    let away = bed.sandbox.path().join("away");
    fs::rename(bed.source.join("most"), &away).unwrap();
    assert_eq!(bed.wait_halted(), "mass_deletion");
    bed.unplug();
    fs::rename(&away, bed.source.join("most")).unwrap();
    let refused = bed.sandbox.outlast(&["sync", "resume", NAME]).code(4);
    assert!(refused.err().contains("its host is away"), "{refused}");
    assert_eq!(bed.wait_halted(), "mass_deletion");
    bed.plug_in();
    goes_on_by_itself(&bed);
    assert_eq!(walk(&bed.target).len(), there.len() + 1);
}

#[test]
fn fewer_deletions_go_without_a_word() {
    let (bed, _) = mirrored(400);
    for name in ["some", "few"] {
        fs::remove_dir_all(bed.source.join(name)).unwrap();
    }
    bed.settle();
    assert_all_there(&bed);
}

#[test]
fn a_target_that_vanished_is_not_made_again_unasked() {
    let (bed, _) = mirrored(50);
    bed.sandbox.kill_daemon().unwrap();
    fs::remove_dir_all(&bed.target).unwrap();
    bed.sandbox.start_daemon();
    assert_eq!(bed.wait_halted(), "target_missing");
    assert!(!bed.target.exists());
    goes_on(&bed);
}

#[test]
fn a_target_that_is_another_one_is_not_taken_unasked() {
    let (bed, _) = mirrored(50);
    bed.sandbox.kill_daemon().unwrap();
    fs::rename(&bed.target, bed.sshd.home().join("old")).unwrap();
    fs::create_dir(&bed.target).unwrap();
    bed.sandbox.start_daemon();
    assert_eq!(bed.wait_halted(), "target_replaced");
    assert_eq!(walk(&bed.target).len(), 0);
    goes_on(&bed);
}
