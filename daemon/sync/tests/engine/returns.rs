//! Coming back after an end of any kind.

use std::{fs, os::unix::fs::MetadataExt as _};

use outlast_sync::engine::{Command, State};

use crate::bed::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_or_a_kill_only_what_changed_is_sent() {
    let mut bed = Bed::new();
    for index in 0..200 {
        bed.write(&format!("d/f{index}"), format!("{index}"));
    }
    bed.start();
    bed.flush().await;
    let before = fs::metadata(bed.target("d/f7")).unwrap();
    for clean in [true, false, true] {
        if clean {
            bed.stop().await;
        } else {
            bed.kill().await;
        }
        bed.write("d/f8", format!("changed while nobody looked, clean: {clean}"));
        bed.start();
        bed.flush().await;
        bed.assert_equal();
        let now = fs::metadata(bed.target("d/f7")).unwrap();
        assert_eq!((before.ino(), before.ctime_nsec()), (now.ino(), now.ctime_nsec()));
    }
    // All that is known here is lost: it is found out again without sending anything.
    bed.stop().await;
    fs::remove_dir_all(&bed.config.cache).unwrap();
    bed.start();
    bed.flush().await;
    let now = fs::metadata(bed.target("d/f7")).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (now.ino(), now.ctime_nsec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_during_a_pause_comes_after_it() {
    let mut bed = Bed::new();
    bed.write("a", "1");
    bed.start();
    bed.flush().await;
    bed.say(Command::Pause).await;
    bed.wait_state(State::Paused).await;
    assert_eq!(bed.try_flush().await.unwrap_err().reason, "paused");
    bed.write("a", "2");
    bed.say(Command::Resume { confirm: false }).await;
    bed.wait_disk("the change", || {
        fs::read(bed.target("a")).ok() == Some(b"2".to_vec())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_finds_what_no_time_tells() {
    let mut bed = Bed::new();
    bed.write("a", "abc");
    bed.start();
    bed.flush().await;
    bed.say(Command::Reset { adopt: false }).await;
    bed.flush().await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_there_is_brought_back_by_a_flush() {
    let mut bed = Bed::new();
    bed.write("d/a", "a");
    bed.write("d/b", "b");
    bed.start();
    bed.flush().await;
    fs::remove_dir_all(bed.target("d")).unwrap();
    bed.flush().await;
    bed.assert_equal();
}
