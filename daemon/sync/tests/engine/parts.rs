//! Large files of which a part was there when the stream ended: only the rest is sent, whatever that part is worth.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use outlast_sync::engine::{Command, State};

use crate::{
    bed::{Bed, noise},
    large::{LARGE, begin, in_the_making},
};

/// Bytes of it that are there when the stream ends, at least.
const THERE: u64 = 6 << 20;
/// What goes over the line besides contents.
const BESIDES: u64 = 1 << 20;
/// Bytes a second that are sent: so quick that nobody waits, and so slow that little is under way.
const PACE: u64 = 16 << 20;

/// What is in the making. It is open, and so nothing else gets its inode.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn length(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    /// Whether it is what is there now.
    fn is(&self, path: &Path) -> bool {
        let (found, own) = (fs::metadata(path).unwrap(), self.file.metadata().unwrap());
        (found.dev(), found.ino()) == (own.dev(), own.ino())
    }
}

/// With one file there, and a pace.
async fn paced() -> Bed {
    let mut bed = Bed::new();
    bed.config.limit_bytes = Some(PACE);
    bed.write("dir/small", "small");
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    bed
}

/// Waits until so much of a file is there, and gives the part.
async fn wait_part(bed: &Bed, dir: &str, length: u64) -> Part {
    let is_much = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.len() >= length);
    bed.wait_disk("much of it", || in_the_making(bed, dir).iter().any(is_much))
        .await;
    let path = in_the_making(bed, dir).into_iter().find(is_much).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    Part { path, file }
}

/// Begins with a file. The line stalls when much of it is there.
async fn stalled(bed: &Bed, name: &str, seed: u64) -> Part {
    bed.line.stall_after(THERE + 2 * BESIDES);
    begin(bed, name, seed).await;
    wait_part(bed, name.rsplit_once('/').map_or("", |(dir, _)| dir), THERE).await
}

/// Begins with a file, and ends when much of it is there.
async fn cut(bed: &mut Bed, name: &str, seed: u64) -> Part {
    let part = stalled(bed, name, seed).await;
    if seed.is_multiple_of(2) {
        bed.stop().await;
        bed.line.heal();
    } else {
        bed.kill().await;
        bed.line.heal();
        // What it had begun in this process comes to its end.
        drop(bed.lock_target_when_free().await);
    }
    assert!(part.path.exists() && !bed.target(name).exists());
    part
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_it_is_sent_after_a_stop_and_after_a_kill() {
    for seed in [20, 21] {
        let mut bed = paced().await;
        let part = cut(&mut bed, "dir/large", seed).await;
        let length = part.length();
        let before = bed.line.carried();
        bed.line.stall_after(BESIDES / 2);
        bed.start();
        let view = bed
            .wait("what is there already", |view| {
                view.progress
                    .is_some_and(|progress| progress.done_bytes + (256 << 10) >= length)
            })
            .await;
        let progress = view.progress.unwrap();
        // After a kill the small one is seen anew as well.
        assert!(progress.total_bytes - (LARGE as u64) < 100, "{progress:?}");
        assert!(
            view.pending_bytes <= LARGE as u64 - length + (256 << 10),
            "{view:?}"
        );
        bed.line.heal();
        bed.flush().await;
        bed.assert_equal();
        assert!(part.is(&bed.target("dir/large")), "it is what was begun");
        assert!(bed.line.carried() - before <= LARGE as u64 - length + BESIDES);
        assert!(in_the_making(&bed, "dir").is_empty());
        let view = bed.wait_state(State::Watching).await;
        assert_eq!((view.pending_files, view.problem_count), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_of_it_stays_when_the_file_or_the_part_changed_meanwhile() {
    for what in 0..4 {
        let mut bed = paced().await;
        let part = cut(&mut bed, "large", 30 + what).await;
        let length = part.length();
        let here = File::options().write(true).open(bed.source("large")).unwrap();
        match what {
            // It was written to at its beginning, and grew.
            0 => {
                here.write_all_at(b"changed", 1000).unwrap();
                here.write_all_at(b"more", LARGE as u64).unwrap();
            }
            // It became shorter than what is there.
            1 => here.set_len(THERE / 2 + 3).unwrap(),
            // The machine lost its power.
            2 => {
                part.file.write_all_at(&[0; 4096], 1 << 20).unwrap();
                part.file.write_all_at(&[0; 4096], 5 << 20).unwrap();
            }
            _ => part.file.set_len(LARGE as u64 * 2).unwrap(),
        }
        let before = bed.line.carried();
        bed.start();
        bed.flush().await;
        bed.assert_equal();
        assert!(part.is(&bed.target("large")), "{what}");
        assert!(
            bed.line.carried() - before <= LARGE as u64 - length + BESIDES,
            "{what}"
        );
        assert!(in_the_making(&bed, "").is_empty());
        assert_eq!(bed.view().problem_count, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_sent_any_more_leaves_nothing() {
    for what in 0..6 {
        let mut bed = paced().await;
        bed.write("other", "stays");
        let _part = cut(&mut bed, "dir/large", 40 + what).await;
        let large = bed.source("dir/large");
        match what {
            0 => fs::remove_file(&large).unwrap(),
            1 => fs::write(&large, "small").unwrap(),
            2 => bed.write(".gitignore", "large\n"),
            3 => fs::remove_dir_all(bed.source("dir")).unwrap(),
            4 => {
                fs::remove_file(&large).unwrap();
                bed.write("dir/large/file", "below");
            }
            _ => {
                fs::remove_dir_all(bed.source("dir")).unwrap();
                bed.write("dir", "a file");
            }
        }
        bed.start();
        bed.flush().await;
        assert!(in_the_making(&bed, "dir").is_empty(), "{what}");
        if what == 2 {
            assert!(!bed.target("dir/large").exists());
        } else {
            bed.assert_equal();
        }
        assert_eq!(bed.view().problem_count, 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_under_another_name_and_a_reset_begin_anew() {
    let mut bed = paced().await;
    let part = cut(&mut bed, "dir/large", 50).await;
    fs::rename(bed.source("dir/large"), bed.source("dir/moved")).unwrap();
    bed.start();
    bed.flush().await;
    bed.assert_equal();
    assert!(!part.path.exists() && in_the_making(&bed, "dir").is_empty());
    let part = stalled(&bed, "large", 52).await;
    bed.say(Command::Pause).await;
    bed.wait_state(State::Paused).await;
    bed.line.heal();
    assert!(part.path.exists(), "a pause is no end");
    bed.say(Command::Reset { adopt: false }).await;
    bed.say(Command::Resume { confirm: false }).await;
    bed.flush().await;
    bed.assert_equal();
    assert!(in_the_making(&bed, "").is_empty());
}

/// An old version of it is there as well, of which some is still right.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_version_has_is_not_sent_either() {
    for what in 0..2 {
        let mut bed = Bed::new();
        let old = noise(2 * LARGE, 60);
        bed.write("large", &old);
        bed.start();
        bed.flush().await;
        bed.wait_state(State::Watching).await;
        bed.stop().await;
        let mut new = old.clone();
        new[LARGE / 4..LARGE + LARGE / 4].copy_from_slice(&noise(LARGE, 63));
        bed.config.limit_bytes = Some(PACE);
        bed.start();
        bed.wait_state(State::Watching).await;
        // Of what is new.
        bed.line.stall_after((LARGE - LARGE / 16) as u64);
        fs::write(bed.path().join("elsewhere"), &new).unwrap();
        fs::rename(bed.path().join("elsewhere"), bed.source("large")).unwrap();
        let part = wait_part(&bed, "", LARGE as u64).await;
        bed.stop().await;
        bed.line.heal();
        let length = part.length();
        let before = bed.line.carried();
        let rest = if what == 1 {
            bed.write("large", &old);
            0
        } else {
            (LARGE + LARGE / 4) as u64 - length
        };
        bed.start();
        bed.flush().await;
        bed.assert_equal();
        assert_eq!(
            part.is(&bed.target("large")),
            what == 0,
            "{what}: {length} bytes were there"
        );
        assert!(bed.line.carried() - before <= rest + BESIDES);
        assert!(in_the_making(&bed, "").is_empty() && !part.path.exists());
        assert_eq!(bed.view().problem_count, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_grows_under_way_is_not_begun_anew() {
    let bed = paced().await;
    let part = stalled(&bed, "large", 70).await;
    let file = File::options().append(true).open(bed.source("large")).unwrap();
    for grown in [1000, 5 << 20] {
        std::io::Write::write_all(&mut &file, &noise(grown, 71)).unwrap();
    }
    bed.line.heal();
    bed.flush().await;
    bed.assert_equal();
    assert!(part.is(&bed.target("large")), "it is what was begun");
    assert!(in_the_making(&bed, "").is_empty());
    // One that goes after it changed leaves nothing.
    let part = stalled(&bed, "other", 72).await;
    File::options()
        .write(true)
        .open(bed.source("other"))
        .unwrap()
        .write_all_at(b"changed", 0)
        .unwrap();
    fs::remove_file(bed.source("other")).unwrap();
    bed.line.heal();
    bed.wait_disk("nothing of it", || !part.path.exists()).await;
    bed.flush().await;
    bed.assert_equal();
    let view = bed.wait_state(State::Watching).await;
    assert_eq!((view.pending_files, view.problem_count), (0, 0));
}
