//! Random trees, storms of changes, and everything that can break in between: after a flush the far side has what counts,
//! and what is somebody else's is as it was.

use std::{
    env, fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use outlast_testkit::Random;

use crate::{
    bed::Bed,
    breaker::{break_things, some_time},
    compare::assert_equal,
    edits::{Edits, OUTSIDE},
    expected::EXCLUDE,
    foreign::Foreign,
};

/// How many rounds, unless `OUTLAST_STORM_ROUNDS` says.
const ROUNDS: u64 = 10;

fn rounds() -> u64 {
    env::var("OUTLAST_STORM_ROUNDS").map_or(ROUNDS, |text| {
        text.parse().expect("OUTLAST_STORM_ROUNDS is a number")
    })
}

#[test]
fn after_any_storm_the_far_side_has_what_counts() {
    let mut random = Random::from_env();
    storm(&mut random, true, 10_000);
}

#[test]
fn after_any_calm_the_far_side_has_what_counts() {
    let mut random = Random::from_env();
    storm(&mut random, false, 300);
}

/// Rounds of changes of at most so many things at once, with things that break or without.
fn storm(random: &mut Random, breaks: bool, most: u64) {
    let bed = Bed::new();
    bed.init();
    let global = bed.sandbox.path().join("config/git");
    fs::create_dir_all(&global).unwrap();
    fs::write(global.join("ignore"), "*.global\nf8.txt\n").unwrap();
    let outside = bed.sandbox.path().join(OUTSIDE);
    fs::write(&outside, "outside\n").unwrap();
    let mut edits = Edits::new(&bed.sandbox, &bed.source, random.fork());
    edits.plant(150);
    let began = Instant::now();
    drop(bed.add(&EXCLUDE).success());
    let mut foreign = Foreign::default();
    assert_equal(&bed, &foreign, &bed.settle());
    println!("first copy: {:?}", began.elapsed());
    for round in 0..rounds() {
        let breaking = breaks && !random.one_in(4);
        let over = AtomicBool::new(false);
        let mut breaker = random.fork();
        let bursts = random.between(1, 5);
        let began = Instant::now();
        let changes = thread::scope(|scope| {
            let (bed, over) = (&bed, &over);
            if breaking {
                scope.spawn(move || break_things(bed, &mut breaker, 8, over));
            }
            let mut changes = 0;
            for _ in 0..bursts {
                changes += edits.storm(most);
                some_time(random, 60);
            }
            over.store(true, Ordering::Relaxed);
            changes
        });
        let changed = began.elapsed();
        let sync = bed.settle();
        println!(
            "round {round}: {changes} changes in {changed:?}, flushed after {:?} more",
            began.elapsed() - changed
        );
        assert_equal(&bed, &foreign, &sync);
        for _ in 0..random.between(0, 3) {
            foreign.meddle(random, &bed.target);
        }
    }
    // Nothing is in the way any more.
    foreign.leave(&bed.target);
    assert_equal(&bed, &foreign, &bed.settle());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "outside\n");
}
