//! When nothing goes on before somebody says so.

use std::fs;

use outlast_sync::engine::{Command, Halt, Mode, State};

use crate::bed::Bed;

fn fill(bed: &Bed, count: usize) {
    for index in 0..count {
        bed.write(&format!("d/f{index}"), format!("{index}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_source_empties_nothing() {
    let mut bed = Bed::new();
    fill(&bed, 3);
    bed.start();
    bed.flush().await;
    fs::remove_dir_all(bed.source("d")).unwrap();
    let refused = bed.try_flush().await.unwrap_err();
    assert_eq!(refused.reason, "source_emptied");
    let view = bed.wait_state(State::Halted).await;
    assert_eq!(view.reason.as_deref(), Some("source_emptied"));
    assert!(bed.target("d/f1").exists());
    assert_eq!(bed.try_flush().await.unwrap_err().reason, "source_emptied");
    bed.say(Command::Resume { confirm: true }).await;
    bed.wait_disk("it goes when that is confirmed", || !bed.target("d").exists())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_gone_or_replaced_halts() {
    let mut bed = Bed::new();
    fill(&bed, 3);
    bed.start();
    bed.flush().await;
    let away = bed.path().join("away");
    fs::rename(bed.source(""), &away).unwrap();
    assert_eq!(bed.try_flush().await.unwrap_err().reason, "source_missing");
    fs::write(bed.path().join("source"), "a file").unwrap();
    bed.say(Command::Resume { confirm: true }).await;
    bed.wait("replaced", |view| {
        view.reason.as_deref() == Some("source_replaced")
    })
    .await;
    fs::remove_file(bed.path().join("source")).unwrap();
    fs::rename(&away, bed.path().join("source")).unwrap();
    bed.say(Command::Resume { confirm: true }).await;
    bed.wait_state(State::Watching).await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_half_of_many_files_do_not_go_at_once() {
    let mut bed = Bed::new();
    fill(&bed, 500);
    bed.write("other", "stays");
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    fs::remove_dir_all(bed.source("d")).unwrap();
    let view = bed.wait_state(State::Halted).await;
    assert_eq!(view.reason.as_deref(), Some("mass_deletion"));
    // The very first ones may be seen by themselves, and a few go at once.
    let left = fs::read_dir(bed.target("d")).unwrap().count();
    assert!((497..=500).contains(&left), "{left} are left");
    bed.say(Command::Resume { confirm: true }).await;
    bed.wait_disk("they go", || !bed.target("d").exists()).await;
    bed.flush().await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_ends_when_looking_again_finds_nothing_to_be_confirmed() {
    let mut bed = Bed::new();
    fill(&bed, 400);
    bed.start();
    bed.flush().await;
    let away = bed.path().join("away");
    fs::rename(bed.source("d"), &away).unwrap();
    let gone = bed.wait_state(State::Halted).await;
    let refused = bed.look_again().await.unwrap_err();
    assert_eq!(Some(&refused.reason), gone.reason.as_ref());
    assert_eq!(bed.wait_state(State::Halted).await.reason, gone.reason);
    assert!(bed.target("d/f1").exists());
    fs::rename(&away, bed.source("d")).unwrap();
    // One less, and it is known of no more what went before.
    fs::remove_file(bed.source("d/f7")).unwrap();
    bed.stop().await;
    bed.config.halted = Some(Halt {
        reason: "source_emptied".to_owned(),
        message: "it was".to_owned(),
    });
    bed.start();
    let refused = bed.look_again().await.unwrap_err();
    assert_eq!(refused.reason, "mass_deletion");
    assert!(refused.message.contains("1 of 400"), "{refused:?}");
    assert!(bed.target("d/f7").exists());
    bed.write("d/f7", "7");
    bed.look_again().await.unwrap();
    bed.flush().await;
    bed.assert_equal();
    // What comes then is judged as ever.
    fs::remove_file(bed.source("d/f7")).unwrap();
    bed.flush().await;
    assert!(!bed.target("d/f7").exists());
    // Where nothing is halted there is nothing to look at.
    bed.look_again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_deletes_nothing() {
    let mut bed = Bed::new();
    bed.config.mode = Mode::Update;
    fill(&bed, 3);
    bed.start();
    bed.flush().await;
    fs::remove_dir_all(bed.source("d")).unwrap();
    bed.write("new", "n");
    bed.flush().await;
    assert!(bed.target("d/f1").exists() && bed.target("new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_something_in_it_is_taken_only_when_told() {
    let mut bed = Bed::new();
    bed.write("same", "s");
    bed.write("other", "ours");
    fs::create_dir(bed.target("")).unwrap();
    fs::write(bed.target("same"), "s").unwrap();
    fs::write(bed.target("other"), "theirs").unwrap();
    fs::write(bed.target("extra"), "theirs").unwrap();
    bed.start();
    let view = bed.wait_state(State::Halted).await;
    assert_eq!(view.reason.as_deref(), Some("target_not_empty"));
    assert_eq!(fs::read(bed.target("other")).unwrap(), b"theirs");
    bed.say(Command::Resume { confirm: true }).await;
    bed.wait_state(State::Watching).await;
    assert_eq!(fs::read(bed.target("other")).unwrap(), b"ours");
    assert_eq!(fs::read(bed.target("extra")).unwrap(), b"theirs");
    bed.stop().await;
    bed.start();
    // Taken once; afterwards what is not ours is left alone again.
    fs::write(bed.target("other"), "theirs again").unwrap();
    bed.write("other", "ours again");
    bed.flush().await;
    assert_eq!(fs::read(bed.target("other")).unwrap(), b"theirs again");
    bed.say(Command::Reset { adopt: true }).await;
    bed.flush().await;
    assert_eq!(fs::read(bed.target("other")).unwrap(), b"ours again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_or_replaced_halts() {
    let mut bed = Bed::new();
    fill(&bed, 3);
    bed.start();
    bed.flush().await;
    bed.stop().await;
    fs::remove_dir_all(bed.target("")).unwrap();
    bed.start();
    let view = bed.wait_state(State::Halted).await;
    assert_eq!(view.reason.as_deref(), Some("target_missing"));
    bed.say(Command::Resume { confirm: true }).await;
    bed.flush().await;
    bed.assert_equal();
    bed.stop().await;
    fs::rename(bed.target(""), bed.path().join("elsewhere")).unwrap();
    fs::create_dir(bed.target("")).unwrap();
    bed.start();
    let view = bed.wait_state(State::Halted).await;
    assert_eq!(view.reason.as_deref(), Some("target_replaced"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_for_nothing_is_asked_for_again() {
    let mut bed = Bed::new();
    fill(&bed, 400);
    bed.start();
    bed.flush().await;
    let away = bed.path().join("away");
    fs::rename(bed.source("d"), &away).unwrap();
    bed.write("other", "o");
    assert_eq!(bed.try_flush().await.unwrap_err().reason, "mass_deletion");
    fs::rename(&away, bed.source("d")).unwrap();
    bed.say(Command::Resume { confirm: true }).await;
    bed.wait_state(State::Watching).await;
    bed.assert_equal();
    fs::remove_dir_all(bed.source("d")).unwrap();
    let view = bed.wait_state(State::Halted).await;
    assert_eq!(view.reason.as_deref(), Some("mass_deletion"));
    assert!(fs::read_dir(bed.target("d")).unwrap().count() >= 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_and_goes_and_what_is_renamed_halts_nothing() {
    let mut bed = Bed::new();
    fill(&bed, 301);
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    // More than may go at once, if all of them counted.
    for round in 0..10 {
        let names: Vec<String> = (0..25).map(|index| format!("temporary{round}-{index}")).collect();
        for name in &names {
            bed.write(name, "t");
        }
        bed.wait_disk("they came", || names.iter().all(|name| bed.target(name).exists()))
            .await;
        for name in &names {
            fs::remove_file(bed.source(name)).unwrap();
        }
        bed.wait_disk("they went", || {
            !names.iter().any(|name| bed.target(name).exists())
        })
        .await;
    }
    fs::rename(bed.source("d"), bed.source("renamed")).unwrap();
    bed.flush().await;
    bed.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_outlives_the_engine() {
    let mut bed = Bed::new();
    fill(&bed, 400);
    bed.start();
    bed.flush().await;
    bed.stop().await;
    bed.config.halted = Some(Halt {
        reason: "mass_deletion".to_owned(),
        message: "300 of 400 files would go on the host".to_owned(),
    });
    for index in 0..300 {
        fs::remove_file(bed.source(&format!("d/f{index}"))).unwrap();
    }
    bed.start();
    let view = bed.wait_state(State::Halted).await;
    assert_eq!(view.reason.as_deref(), Some("mass_deletion"));
    assert_eq!(bed.try_flush().await.unwrap_err().reason, "mass_deletion");
    assert!(bed.target("d/f1").exists());
    bed.say(Command::Resume { confirm: true }).await;
    bed.flush().await;
    bed.assert_equal();
}
