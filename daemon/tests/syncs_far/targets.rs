//! Where a sync may go, and what it does with what is there.

use std::{fs, path::Path};

use outlast_testkit::{Run, Sandbox};

use crate::{
    bed::{Bed, NAME, problems, text},
    kills::assert_all_there,
    tree::walk,
};

fn add_to(bed: &Bed, target: &str, options: &[&str]) -> Run {
    let place = format!("far:{target}");
    let mut args = vec!["sync", "add", "other", text(&bed.source), &place];
    args.extend(options);
    bed.sandbox.outlast(&args)
}

fn is_listed(sandbox: &Sandbox, name: &str) -> bool {
    let listed = sandbox.outlast(&["sync", "list", "--json"]).success().json();
    listed.as_array().unwrap().iter().any(|sync| sync["name"] == name)
}

#[test]
fn targets_that_would_hurt_are_refused() {
    let bed = Bed::new();
    fs::write(bed.source.join("f"), "f\n").unwrap();
    fs::create_dir(bed.sshd.home().join("deep")).unwrap();
    drop(
        bed.sandbox
            .outlast(&["sync", "add", NAME, text(&bed.source), "far:deep/mirror"])
            .success(),
    );
    let home = bed.sshd.home();
    let below = |dir: &Path, name: &str| dir.join(name).display().to_string();
    let targets = [
        "/".to_owned(),
        "~".to_owned(),
        ".".to_owned(),
        home.display().to_string(),
        format!("{}/", home.display()),
        below(&home, "deep/.."),
        bed.sshd.dir().display().to_string(),
        "deep/mirror".to_owned(),
        below(&home, "deep/mirror"),
        "deep/mirror/sub".to_owned(),
        "deep".to_owned(),
        below(&bed.sshd.state(), "outlast"),
        below(&bed.sshd.state(), "outlast/sub"),
        below(&bed.sshd.cache(), "outlast"),
    ];
    let before = walk(bed.sshd.dir()).len();
    for target in &targets {
        for options in [&["--yes"][..], &["--adopt"]] {
            let refused = add_to(&bed, target, options);
            // What only the host knows is told after it was added, when nobody wanted to look first.
            let is_late = options == ["--adopt"] && is_listed(&bed.sandbox, "other");
            let codes: &[i32] = if is_late { &[1] } else { &[2, 4] };
            assert!(codes.contains(&refused.exit()), "{target}: {refused}");
            if is_late {
                assert!(
                    refused.err().contains("cannot be a target"),
                    "{target}: {refused}"
                );
                drop(bed.sandbox.outlast(&["sync", "remove", "other"]).success());
            }
        }
    }
    // The log of the helper may have been written; of the source nothing was.
    let after = walk(bed.sshd.dir());
    assert!(after.len() <= before + 2, "something was written");
    let copies = after.keys().filter(|path| path.ends_with(b"/f")).count();
    assert_eq!(copies, 1);
    // What only looks like it is fine.
    drop(add_to(&bed, "deep/mirror2", &[]).success());
}

#[test]
fn what_is_there_at_first_is_taken_only_when_somebody_says_so() {
    let bed = Bed::new();
    for name in ["same", "differs", "new"] {
        fs::write(bed.source.join(name), format!("{name}\n")).unwrap();
    }
    fs::create_dir(&bed.target).unwrap();
    fs::write(bed.target.join("same"), "same\n").unwrap();
    fs::write(bed.target.join("differs"), "otherwise\n").unwrap();
    fs::write(bed.target.join("extra"), "extra\n").unwrap();
    let before = walk(&bed.target);
    let refused = bed.add(&[]);
    println!("{refused}");
    assert_ne!(refused.exit(), 0, "{refused}");
    for word in ["differs", "extra", "--adopt"] {
        assert!(refused.err().contains(word), "{word} is not told: {refused}");
    }
    assert_eq!(walk(&bed.target), before);
    assert!(!is_listed(&bed.sandbox, NAME));
    drop(bed.add(&["--adopt"]).success());
    bed.settle();
    assert_eq!(fs::read_to_string(bed.target.join("extra")).unwrap(), "extra\n");
    fs::write(bed.source.join("extra"), "extra\n").unwrap();
    bed.settle();
    assert_all_there(&bed);
    // It was taken with its content, so it goes with it too.
    fs::remove_file(bed.source.join("same")).unwrap();
    bed.settle();
    assert_all_there(&bed);
}

#[test]
fn conflicts_are_kept_and_shown_until_somebody_decides() {
    let bed = Bed::new();
    fs::write(bed.source.join("a"), "one\n").unwrap();
    drop(bed.add(&[]).success());
    fs::write(bed.target.join("a"), "somebody else's\n").unwrap();
    fs::write(bed.target.join("b"), "somebody else's\n").unwrap();
    fs::write(bed.source.join("a"), "two\n").unwrap();
    fs::write(bed.source.join("b"), "two\n").unwrap();
    fs::write(bed.source.join("c"), "two\n").unwrap();
    let flushed = bed.flush().code(1);
    assert!(flushed.err().contains("conflict"), "{flushed}");
    let told = problems(&bed.seen().unwrap());
    let conflict = |path: &str| ("conflict".to_owned(), path.to_owned());
    assert_eq!(told, [conflict("a"), conflict("b")]);
    for name in ["a", "b"] {
        assert_eq!(
            fs::read_to_string(bed.target.join(name)).unwrap(),
            "somebody else's\n"
        );
    }
    assert_eq!(fs::read_to_string(bed.target.join("c")).unwrap(), "two\n");
    // Both ways out: it is taken away there, or replaced.
    fs::remove_file(bed.target.join("a")).unwrap();
    drop(bed.flush().code(1));
    assert_eq!(fs::read_to_string(bed.target.join("a")).unwrap(), "two\n");
    drop(bed.sandbox.outlast(&["sync", "reset", NAME, "--adopt"]).success());
    drop(bed.flush().success());
    assert_all_there(&bed);
}

#[test]
fn an_update_deletes_nothing() {
    let bed = Bed::new();
    for name in ["a", "b", "c"] {
        fs::write(bed.source.join(name), "one\n").unwrap();
    }
    drop(bed.add(&["--mode", "update"]).success());
    fs::remove_file(bed.source.join("a")).unwrap();
    fs::rename(bed.source.join("b"), bed.source.join("d")).unwrap();
    fs::write(bed.source.join("c"), "two\n").unwrap();
    drop(bed.flush().success());
    let there: Vec<_> = walk(&bed.target).into_keys().collect();
    assert_eq!(there, [b"a", b"b", b"c", b"d"]);
    assert_eq!(fs::read_to_string(bed.target.join("c")).unwrap(), "two\n");
}

#[test]
fn what_becomes_ignored_goes_unless_somebody_changed_it_there() {
    let bed = Bed::new();
    bed.init();
    for name in ["a.log", "b.log", "tracked.log"] {
        fs::write(bed.source.join(name), "one\n").unwrap();
    }
    drop(bed.git(&["add", "tracked.log"]));
    drop(bed.add(&[]).success());
    fs::write(bed.target.join("b.log"), "somebody else's\n").unwrap();
    fs::write(bed.source.join(".gitignore"), "*.log\n").unwrap();
    bed.settle();
    let there: Vec<_> = walk(&bed.target).into_keys().collect();
    assert_eq!(there, [&b".gitignore"[..], b"b.log", b"tracked.log"]);
    assert_eq!(
        fs::read_to_string(bed.target.join("b.log")).unwrap(),
        "somebody else's\n"
    );
}

#[test]
fn a_link_that_somebody_put_there_leads_nowhere() {
    let bed = Bed::new();
    fs::create_dir_all(bed.source.join("d/sub")).unwrap();
    for name in ["d/f", "d/sub/g", "d/gone"] {
        fs::write(bed.source.join(name), "one\n").unwrap();
    }
    drop(bed.add(&[]).success());
    let outside = bed.sshd.home().join("outside");
    fs::rename(bed.target.join("d"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, bed.target.join("d")).unwrap();
    let before = walk(&outside);
    for name in ["d/f", "d/sub/g", "d/new"] {
        fs::write(bed.source.join(name), "two\n").unwrap();
    }
    fs::remove_file(bed.source.join("d/gone")).unwrap();
    drop(bed.flush().code(1));
    assert_eq!(walk(&outside), before, "something outside was touched");
    assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "one\n");
    let told = problems(&bed.seen().unwrap());
    assert!(
        told.contains(&("conflict".to_owned(), "d".to_owned())),
        "{told:?}"
    );
    // Also when all of it goes here.
    fs::remove_dir_all(bed.source.join("d")).unwrap();
    fs::write(bed.source.join("other"), "left\n").unwrap();
    drop(bed.flush());
    assert_eq!(walk(&outside), before, "something outside was touched");
    fs::remove_file(bed.target.join("d")).unwrap();
    fs::create_dir_all(bed.source.join("d")).unwrap();
    fs::write(bed.source.join("d/f"), "three\n").unwrap();
    drop(bed.flush().success());
    assert_all_there(&bed);
}

#[test]
fn every_flush_tells_of_what_still_differs() {
    let bed = Bed::new();
    let names = ["a", "b", "c", "d"];
    for name in names {
        fs::write(bed.source.join(name), "ours\n").unwrap();
    }
    drop(bed.add(&[]).success());
    for name in names {
        fs::write(bed.target.join(name), "theirs\n").unwrap();
        fs::write(bed.source.join(name), "ours, changed\n").unwrap();
    }
    for round in 0..20 {
        let flushed = bed.flush();
        assert_eq!(flushed.exit(), 1, "round {round}: {flushed}");
        let told = problems(&bed.seen().unwrap());
        assert_eq!(told.len(), names.len(), "round {round}: {told:?}");
    }
}
