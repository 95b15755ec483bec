//! The target is opened while the source is looked at.

use std::{fs, os::unix::fs::FileExt as _};

use outlast_sync::engine::{Command, Load, State};

use crate::bed::Bed;

/// More than goes by the connection for what is short.
const MUCH: usize = 1 << 20;

/// More than goes by the one for what is much, bytes.
const HUGE: u64 = 257 << 20;

async fn once_there(count: usize) -> Bed {
    let mut bed = Bed::new();
    for index in 0..count {
        bed.write(&format!("d/f{index}"), format!("{index}"));
    }
    bed.start();
    bed.flush().await;
    bed.stop().await;
    bed
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_the_target_is_open() {
    let mut bed = once_there(20).await;
    bed.write("d/f1", "changed");
    fs::remove_file(bed.source("d/f2")).unwrap();
    let lock = bed.lock_target();
    bed.start();
    bed.wait_state(State::Scanning).await;
    assert_eq!(fs::read(bed.target("d/f1")).unwrap(), b"1");
    assert!(bed.target("d/f2").exists());
    drop(lock);
    bed.flush().await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_stopped_and_paused_while_the_target_is_being_opened() {
    let mut bed = once_there(20).await;
    bed.write("d/f1", "changed");
    let lock = bed.lock_target();
    bed.start();
    bed.wait_state(State::Scanning).await;
    bed.say(Command::Pause).await;
    bed.wait_state(State::Paused).await;
    bed.say(Command::Resume { confirm: false }).await;
    bed.wait_state(State::Scanning).await;
    bed.stop().await;
    drop(lock);
    bed.start();
    bed.flush().await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_right_after_the_start_finds_what_was_changed_on_either_side() {
    let mut bed = once_there(20).await;
    bed.start();
    bed.flush().await;
    bed.stop().await;
    for round in 0..3 {
        fs::write(bed.target("d/f3"), format!("theirs {round}")).unwrap();
        fs::remove_file(bed.target("d/f4")).unwrap();
        bed.write("d/f5", format!("ours {round}"));
        bed.start();
        bed.flush().await;
        // What is theirs stays and is told; what is gone comes back.
        assert_eq!(bed.view().problem_count, 1);
        assert_eq!(fs::read(bed.target("d/f4")).unwrap(), b"4");
        assert_eq!(
            fs::read(bed.target("d/f5")).unwrap(),
            format!("ours {round}").as_bytes()
        );
        bed.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_much_goes_by_the_connection_for_that() {
    let mut bed = once_there(20).await;
    assert_eq!(
        bed.wanted(),
        [Load::Much],
        "for a target of which nothing was known"
    );
    bed.write("d/f1", "little");
    bed.start();
    bed.flush().await;
    bed.write("d/f2", "little");
    bed.flush().await;
    assert_eq!(bed.wanted(), [Load::Much]);
    bed.write("large", vec![7; MUCH]);
    bed.write("d/f3", "little");
    bed.flush().await;
    assert_eq!(bed.wanted(), [Load::Much; 2]);
    bed.write("larger", vec![8; 2 * MUCH]);
    bed.flush().await;
    assert_eq!(bed.wanted(), [Load::Much; 2], "once it is there it is used");
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_new_content_that_is_huge_goes_by_the_connection_for_that() {
    let mut bed = once_there(1).await;
    let huge = fs::File::create(bed.source("huge")).unwrap();
    huge.set_len(HUGE).unwrap();
    bed.start();
    bed.flush().await;
    assert_eq!(bed.wanted(), [Load::Much, Load::Huge]);
    bed.stop().await;
    // Of what is there only a part is sent.
    huge.write_all_at(b"changed", HUGE / 2).unwrap();
    bed.start();
    bed.flush().await;
    assert_eq!(bed.wanted(), [Load::Much, Load::Huge, Load::Much]);
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_stays_so_when_the_record_turns_out_to_be_another() {
    let mut bed = once_there(500).await;
    for index in 0..400 {
        fs::remove_file(bed.source(&format!("d/f{index}"))).unwrap();
    }
    bed.start();
    assert_eq!(bed.try_flush().await.unwrap_err().reason, "mass_deletion");
    bed.wait_state(State::Halted).await;
    // Found when the target is opened: what was compared with the record as it was is compared again.
    fs::remove_file(bed.target("d/f450")).unwrap();
    bed.say(Command::Resume { confirm: true }).await;
    bed.wait_disk("it goes", || !bed.target("d/f1").exists()).await;
    bed.flush().await;
    bed.assert_equal();
}
