//! Whoever is killed in the middle of a copy, at whatever instant: every file there is the old one or the new one.

use std::{collections::BTreeSet, fs, path::Path};

use outlast_testkit::{Random, wait_until};
use rustix::process::Signal;

use crate::{
    PATIENCE,
    bed::Bed,
    breaker::some_time,
    compare::assert_equal,
    foreign::Foreign,
    tree::{Kind, name, walk},
};

/// How many files are copied.
const FILES: u64 = 3_000;

/// How often somebody is killed.
const KILLS: u64 = 6;

fn path(number: u64) -> String {
    format!("d{}/f{number}", number % 40)
}

/// What a file says in a version; one in a hundred is large.
fn content(number: u64, version: u64) -> String {
    let lines = if number.is_multiple_of(100) {
        20_000
    } else {
        1 + number % 60
    };
    format!("file {number} of version {version}\n").repeat(usize::try_from(lines).unwrap())
}

fn write_all(source: &Path, version: u64) {
    for number in 0..FILES {
        let path = source.join(path(number));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(number, version)).unwrap();
    }
}

/// Asserts that every file there is whole, and counts those of a version.
fn count_of(target: &Path, version: u64) -> u64 {
    let mut new = 0;
    for number in 0..FILES {
        let path = target.join(path(number));
        let Ok(found) = fs::read_to_string(&path) else {
            continue;
        };
        if found == content(number, version) {
            new += 1;
        } else {
            let is_old = (0..version).any(|old| found == content(number, old));
            assert!(
                is_old,
                "{} is half of something: {} bytes",
                path.display(),
                found.len()
            );
        }
    }
    new
}

/// Copies with kills: first to where nothing is, then over what is there.
fn kill_while_copying(kill: impl Fn(&Bed)) {
    let bed = Bed::new();
    let mut random = Random::from_env();
    write_all(&bed.source, 0);
    drop(bed.add(&["--no-wait"]).success());
    for version in 0..2 {
        if version > 0 {
            write_all(&bed.source, version);
        }
        let mut seen = BTreeSet::new();
        for _ in 0..KILLS {
            // In the middle of it, where there still is a middle.
            let before = count_of(&bed.target, version);
            wait_until(PATIENCE, "more to be there", || {
                let running = bed.sandbox.outlast(&["daemon", "start"]).exit() == 0;
                let now = count_of(&bed.target, version);
                (running && (now > before || now == FILES)).then_some(())
            });
            some_time(&mut random, 40);
            kill(&bed);
            seen.insert(count_of(&bed.target, version));
        }
        println!("version {version}: killed with {seen:?} there");
        let sync = bed.settle();
        assert_eq!(count_of(&bed.target, version), FILES);
        assert_all_there(&bed);
        assert_eq!(sync["problem_count"], 0, "{sync}");
    }
}

/// Asserts that both sides are the same, without a repository here.
pub fn assert_all_there(bed: &Bed) {
    let (here, there) = (walk(&bed.source), walk(&bed.target));
    let staged = there.keys().find(|path| name(path).starts_with(b".outlast-"));
    assert_eq!(staged, None, "something half-written stays");
    for (path, node) in &here {
        assert_eq!(Some(node), there.get(path), "{}", path.escape_ascii());
        if node.kind == Kind::File {
            let read = |root: &Path| fs::read(crate::tree::at(root, path)).unwrap();
            assert!(read(&bed.source) == read(&bed.target), "{}", path.escape_ascii());
        }
    }
    assert_eq!(here.len(), there.len());
}

#[test]
fn a_killed_daemon_leaves_every_file_old_or_new() {
    kill_while_copying(|bed| {
        let _killed = bed.sandbox.kill_any_daemon();
    });
}

#[test]
fn a_killed_helper_there_leaves_every_file_old_or_new() {
    kill_while_copying(Bed::kill_helpers);
}

#[test]
fn a_killed_connection_leaves_every_file_old_or_new() {
    kill_while_copying(|bed| {
        let _killed = bed.sshd.signal_connections(Signal::KILL);
    });
}

#[test]
fn what_changes_while_the_host_is_away_is_there_when_it_is_back() {
    let mut bed = Bed::new();
    bed.init();
    for number in 0..50 {
        fs::write(bed.source.join(format!("f{number}")), "before\n").unwrap();
    }
    drop(bed.add(&[]).success());
    bed.proxy.refuse();
    bed.proxy.cut();
    bed.wait("the host to be away", |seen| seen["state"] == "disconnected");
    fs::write(bed.source.join("f0"), "after\n").unwrap();
    fs::rename(bed.source.join("f1"), bed.source.join("f1 moved")).unwrap();
    fs::remove_file(bed.source.join("f2")).unwrap();
    fs::create_dir(bed.source.join("dir")).unwrap();
    fs::write(bed.source.join("dir/new"), "new\n").unwrap();
    // It answers at once that it is still away, also after a restart that finds nobody there.
    drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
    bed.wait("the host to be away", |seen| seen["state"] == "disconnected");
    fs::write(bed.source.join("f3"), "after the restart\n").unwrap();
    assert_eq!(fs::read_to_string(bed.target.join("f0")).unwrap(), "before\n");
    bed.proxy.heal();
    // Nobody asks for it.
    wait_until(PATIENCE, "the last change to be there", || {
        let there = |name: &str| fs::read_to_string(bed.target.join(name)).unwrap_or_default();
        let all =
            there("f0") == "after\n" && there("f3") == "after the restart\n" && there("dir/new") == "new\n";
        let gone = !bed.target.join("f1").exists() && !bed.target.join("f2").exists();
        (all && gone).then_some(())
    });
    assert_equal(&bed, &Foreign::default(), &bed.settle());
}
