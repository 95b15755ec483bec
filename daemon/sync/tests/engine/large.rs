//! Large files go beside everything else.

use std::{fs, path::PathBuf, time::Duration};

use outlast_sync::{
    ProblemKind,
    engine::{Command, State},
};
use tokio::time::timeout;

use crate::bed::{Bed, noise};

/// Bytes a second that are sent.
pub const PACE: u64 = 4 << 20;
/// What takes some seconds at that pace.
pub const LARGE: usize = 12 << 20;

/// With one file there, and a pace.
pub async fn slow() -> Bed {
    let mut bed = Bed::new();
    bed.config.limit_bytes = Some(PACE);
    bed.write("dir/small", "small");
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    bed
}

/// What is in the making below the target.
pub fn in_the_making(bed: &Bed, dir: &str) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(bed.target(dir)) else {
        return Vec::new();
    };
    let paths = listed.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(".outlast-")
        })
        .collect()
}

/// Puts a large file there, whole at once, and waits until a part of it was sent.
pub async fn begin(bed: &Bed, name: &str, seed: u64) {
    let (elsewhere, place) = (bed.path().join("elsewhere"), bed.source(name));
    fs::write(&elsewhere, noise(LARGE, seed)).unwrap();
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::rename(elsewhere, place).unwrap();
    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
    bed.wait_disk("a part of it", || {
        in_the_making(bed, dir)
            .iter()
            .any(|path| fs::metadata(path).is_ok_and(|found| found.len() > 0))
    })
    .await;
    assert!(!bed.target(name).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_there_before_a_large_file_that_is_under_way() {
    let bed = slow().await;
    begin(&bed, "large", 1).await;
    for round in 0..3 {
        let saved = format!("saved {round}");
        bed.write("dir/small", &saved);
        bed.write(&format!("new{round}/file"), &saved);
        bed.wait_disk("the save", || {
            let is = |name: &str| fs::read(bed.target(name)).is_ok_and(|found| found == saved.as_bytes());
            is("dir/small") && is(&format!("new{round}/file"))
        })
        .await;
        assert!(!bed.target("large").exists(), "round {round}");
        bed.wait("the large one alone", |view| {
            view.state == State::Pushing && view.pending_files == 1
        })
        .await;
    }
    // Whoever waits, waits for both.
    bed.write("dir/small", "the last one");
    bed.flush().await;
    bed.assert_equal();
    let view = bed.wait_state(State::Watching).await;
    assert_eq!((view.pending_files, view.problem_count), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_changes_under_way_is_there_as_it_is_in_the_end() {
    let bed = slow().await;
    begin(&bed, "large", 2).await;
    bed.write("large", noise(LARGE / 4, 3));
    bed.flush().await;
    bed.assert_equal();
    assert_eq!(bed.view().problem_count, 0);
    assert!(in_the_making(&bed, "").is_empty());
    // And when it becomes a small one, a directory, or another mode is all that changes.
    begin(&bed, "large2", 4).await;
    bed.write("large2", "small");
    bed.flush().await;
    bed.assert_equal();
    begin(&bed, "large3", 5).await;
    fs::remove_file(bed.source("large3")).unwrap();
    bed.write("large3/file", "below");
    bed.flush().await;
    bed.assert_equal();
    assert_eq!(bed.view().problem_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_under_way_leaves_nothing() {
    let bed = slow().await;
    begin(&bed, "large", 6).await;
    fs::remove_file(bed.source("large")).unwrap();
    bed.wait_disk("nothing of it", || in_the_making(&bed, "").is_empty())
        .await;
    begin(&bed, "dir/below/large", 7).await;
    fs::remove_dir_all(bed.source("dir/below")).unwrap();
    bed.wait_disk("no directory", || !bed.target("dir/below").exists())
        .await;
    begin(&bed, "ignored.o", 8).await;
    bed.write(".gitignore", "*.o\n");
    bed.wait_disk("nothing of what does not count", || {
        bed.target(".gitignore").exists() && in_the_making(&bed, "").is_empty()
    })
    .await;
    bed.flush().await;
    assert!(!bed.target("large").exists() && !bed.target("ignored.o").exists());
    let view = bed.wait_state(State::Watching).await;
    assert_eq!(
        (view.pending_files, view.pending_bytes, view.problem_count),
        (0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_renamed_under_way_is_there_under_its_new_name() {
    let bed = slow().await;
    begin(&bed, "dir/large", 9).await;
    fs::rename(bed.source("dir"), bed.source("moved")).unwrap();
    bed.wait_disk("a part of it in its new place", || {
        !in_the_making(&bed, "moved").is_empty()
    })
    .await;
    fs::rename(bed.source("moved/large"), bed.source("again")).unwrap();
    bed.flush().await;
    bed.assert_equal();
    assert_eq!(bed.view().problem_count, 0);
    // It is there now, so it is not sent once more.
    fs::rename(bed.source("again"), bed.source("once more")).unwrap();
    let at_once = Duration::from_millis(LARGE as u64 * 1000 / PACE / 2);
    timeout(at_once, bed.flush())
        .await
        .expect("a rename sends nothing");
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_between_it_is_there_afterwards() {
    let mut bed = slow().await;
    begin(&bed, "large", 10).await;
    bed.say(Command::Pause).await;
    bed.wait_state(State::Paused).await;
    bed.say(Command::Resume { confirm: false }).await;
    bed.wait_state(State::Pushing).await;
    bed.say(Command::Reset { adopt: false }).await;
    bed.write("dir/small", "meanwhile");
    bed.wait_disk("a part of it once more", || !in_the_making(&bed, "").is_empty())
        .await;
    bed.kill().await;
    assert!(!bed.target("large").exists());
    bed.start();
    bed.flush().await;
    bed.assert_equal();
    assert!(in_the_making(&bed, "").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_rests_holds_up_nobody_and_is_told() {
    let bed = slow().await;
    begin(&bed, "large", 11).await;
    let path = bed.source("large");
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let restless = std::thread::spawn(move || {
        let mut seed = 100;
        while end.recv_timeout(Duration::from_millis(20)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let file = fs::File::options().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &noise(1000, seed), 0).unwrap();
            seed += 1;
        }
    });
    bed.flush().await;
    let view = bed.view();
    assert!(
        view.problems
            .iter()
            .any(|problem| problem.kind == ProblemKind::Changing),
        "{view:#?}"
    );
    bed.write("dir/small", "saved");
    bed.wait_disk("a save", || {
        fs::read(bed.target("dir/small")).is_ok_and(|found| found == b"saved")
    })
    .await;
    drop(ended);
    restless.join().unwrap();
    bed.wait("no problem", |view| {
        view.problem_count == 0 && view.state == State::Watching
    })
    .await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_there_one_after_the_other() {
    let mut bed = Bed::new();
    for index in 0..40 {
        bed.write(
            &format!("d{}/large{index}", index % 3),
            noise((1 << 20) + 1000 * index, index as u64),
        );
    }
    bed.start();
    bed.flush().await;
    bed.assert_equal();
    let view = bed.wait_state(State::Watching).await;
    assert_eq!((view.files, view.pending_files, view.pending_bytes), (40, 0, 0));
}
