//! A large file over a line that is cut, and with programs that are killed, in the middle of it: only the rest goes over the
//! line afterwards.

use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
};

use outlast_testkit::{Random, wait_until};
use rustix::process::Signal;

use crate::{PATIENCE, bed::Bed, content::noise, kills::assert_all_there};

/// Bytes of the file.
const LARGE: u64 = 24 << 20;

/// Bytes a second the line lets through.
const PACE: u64 = 16 << 20;

/// What goes over the line besides the file, and what was under way when it was cut.
const BESIDES: u64 = 3 << 20;

/// A bed with a slow line and a sync of nothing.
fn slow() -> Bed {
    let bed = Bed::new();
    fs::write(bed.source.join("small"), "small\n").unwrap();
    drop(bed.add(&[]).success());
    bed.proxy.throttle(Some(PACE));
    bed
}

/// Puts a file there, whole at once.
fn put(bed: &Bed, random: &mut Random, name: &str) {
    let elsewhere = bed.sandbox.path().join("elsewhere");
    fs::write(&elsewhere, noise(random, usize::try_from(LARGE).unwrap())).unwrap();
    fs::rename(elsewhere, bed.source.join(name)).unwrap();
}

/// What is in the making there, and its length.
fn part(bed: &Bed) -> Option<(PathBuf, u64)> {
    let listed = fs::read_dir(&bed.target).ok()?;
    let paths = listed.filter_map(|entry| Some(entry.ok()?.path()));
    let parts = paths.filter(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(".outlast-")
    });
    let parts = parts.filter_map(|path| {
        let length = fs::metadata(&path).ok()?.len();
        Some((path, length))
    });
    parts.max_by_key(|(_, length)| *length)
}

/// Puts a file there. The line stalls when more than half of it went over it; gives what is there then.
fn put_half(bed: &Bed, random: &mut Random, name: &str) -> PathBuf {
    bed.proxy.stall_after(LARGE / 2 + BESIDES);
    put(bed, random, name);
    wait_part(bed, LARGE / 2)
}

/// Waits until so much of a file is there.
fn wait_part(bed: &Bed, length: u64) -> PathBuf {
    wait_until(PATIENCE, "a part of the file", || {
        part(bed).filter(|(_, is)| *is >= length).map(|(path, _)| path)
    })
}

#[test]
fn only_the_rest_goes_over_the_line_after_a_cut_or_a_kill() {
    let mut bed = slow();
    let mut random = Random::from_env();
    for what in [
        "cut",
        "helper killed",
        "daemon killed",
        "sshd killed",
        "daemon restarted",
    ] {
        let there = put_half(&bed, &mut random, "large");
        // While it is open nothing else gets its inode.
        let held = fs::File::open(&there).unwrap();
        match what {
            "cut" => bed.proxy.cut(),
            "helper killed" => bed.kill_helpers(),
            "daemon killed" => drop(bed.sandbox.kill_any_daemon()),
            "sshd killed" => drop(bed.sshd.signal_connections(Signal::KILL)),
            _ => drop(bed.sandbox.outlast(&["daemon", "restart"]).success()),
        }
        bed.proxy.heal();
        let (before, length) = (
            bed.proxy.carried(),
            fs::metadata(&there).map_or(0, |left| left.len()),
        );
        let sync = bed.settle();
        let carried = bed.proxy.carried() - before;
        println!("{what}: of {LARGE} bytes {length} were there, and {carried} went over the line after it");
        assert!(length >= LARGE / 2, "{what}: it was kept");
        assert!(carried <= LARGE - length + BESIDES, "{what}");
        assert_eq!(
            fs::metadata(bed.target.join("large")).unwrap().ino(),
            held.metadata().unwrap().ino(),
            "{what}"
        );
        assert_eq!(sync["problem_count"], 0, "{sync}");
        assert_all_there(&bed);
        fs::remove_file(bed.source.join("large")).unwrap();
        drop(bed.flush().success());
    }
}

#[test]
fn a_file_gets_through_a_line_that_is_cut_again_and_again() {
    let mut bed = slow();
    let mut random = Random::from_env();
    let before = bed.proxy.carried();
    let mut last = bed.proxy.stall_after(LARGE / 5);
    put(&bed, &mut random, "large");
    let cuts = 4;
    // No connection lasts for more than some of it.
    for _ in 0..cuts {
        wait_until(PATIENCE, "the line to stall", || {
            (bed.proxy.carried() >= last).then_some(())
        });
        bed.proxy.cut();
        last = bed.proxy.stall_after(LARGE / 5);
    }
    bed.proxy.heal();
    let sync = bed.settle();
    let carried = bed.proxy.carried() - before;
    println!("{carried} bytes went over the line for {LARGE}, with {cuts} cuts");
    assert!(carried <= LARGE + cuts * BESIDES);
    assert_eq!(sync["problem_count"], 0, "{sync}");
    assert_all_there(&bed);
}

#[test]
fn what_changed_meanwhile_goes_over_the_line_and_what_is_gone_leaves_nothing() {
    let mut bed = slow();
    let mut random = Random::from_env();
    put_half(&bed, &mut random, "large");
    bed.unplug();
    let file = fs::File::options()
        .write(true)
        .open(bed.source.join("large"))
        .unwrap();
    file.write_all_at(&noise(&mut random, 1 << 20), 1 << 20).unwrap();
    let before = bed.proxy.carried();
    bed.plug_in();
    let sync = bed.settle();
    let carried = bed.proxy.carried() - before;
    println!("{carried} bytes went over the line after it");
    assert!(carried <= LARGE / 2 + (1 << 20) + BESIDES);
    assert_eq!(sync["problem_count"], 0, "{sync}");
    assert_all_there(&bed);
    // It goes; and a sync that is removed leaves nothing half-written either, though its host is away when that is said.
    put_half(&bed, &mut random, "other");
    bed.unplug();
    fs::remove_file(bed.source.join("other")).unwrap();
    bed.plug_in();
    drop(bed.flush().success());
    assert_all_there(&bed);
    put_half(&bed, &mut random, "third");
    bed.unplug();
    drop(
        bed.sandbox
            .outlast(&["sync", "remove", crate::bed::NAME, "--yes"])
            .success(),
    );
    assert!(part(&bed).is_some());
    bed.plug_in();
    wait_until(PATIENCE, "nothing half-written", || {
        part(&bed).is_none().then_some(())
    });
}
