//! Where a sync may go, and what it does with what is there.

use std::{fs, os::unix::fs::symlink, path::Path};

use outlast_testkit::{Accounts, DEADLINE, Run, Sandbox, Sshd, wait_until};

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
            assert!([2, 4].contains(&refused.exit()), "{target}: {refused}");
            assert!(!is_listed(&bed.sandbox, "other"), "{target}: {refused}");
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

/// Asserts that a sync to this target is refused before there is one, with this exit code and a command to type.
fn assert_refused(bed: &Bed, target: &str, code: i32, part: &str) {
    for options in [&[][..], &["--adopt"]] {
        let refused = add_to(bed, target, options).code(code);
        assert!(refused.err().contains(part), "{target}: {refused}");
        assert!(
            refused.err().contains("\nhint: ") && refused.err().contains("outlast sync "),
            "{target}: {refused}"
        );
        assert!(!is_listed(&bed.sandbox, "other"), "{target}: {refused}");
    }
}

#[test]
fn what_only_the_host_can_refuse_is_refused_before_there_is_a_sync() {
    let bed = Bed::new();
    fs::write(bed.source.join("f"), "f\n").unwrap();
    drop(bed.add(&[]).success());
    let home = bed.sshd.home();
    fs::write(home.join("file"), "").unwrap();
    symlink(&bed.target, home.join("way in")).unwrap();
    symlink(bed.sshd.state().join("outlast"), home.join("own")).unwrap();
    // The directory of this very daemon, which lies on the same machine.
    let ours = bed.sandbox.state_dir();
    symlink(&ours, home.join("daemon")).unwrap();
    for (target, code, part) in [
        ("file", 2, "is no directory"),
        ("file/sub", 2, "no directory"),
        ("way in", 4, "overlaps that of sync mirror"),
        ("way in/sub", 4, "overlaps that of sync mirror"),
        ("own", 2, "keeps its own"),
        ("own/sub", 2, "keeps its own"),
        ("daemon", 2, "keeps its own"),
        ("daemon/sub", 2, "keeps its own"),
        (text(&ours), 2, "keeps its own"),
    ] {
        assert_refused(&bed, target, code, part);
    }
    assert!(!home.join("file/sub").exists() && !ours.join("sub").exists());
}

#[test]
fn a_target_that_cannot_be_made_is_refused_before_there_is_a_sync() {
    let sandbox = Sandbox::new();
    let accounts = Accounts::new(&sandbox, &[("bash", "/bin/bash")]);
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .among(&accounts)
        .start();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    drop(sandbox.outlast(&["host", "add", "far", "bash@far"]).success());
    let source = sandbox.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "f\n").unwrap();
    for target in ["/srv/app", "/etc/a/b"] {
        let place = format!("far:{target}");
        for options in [&[][..], &["--adopt"]] {
            let mut args = vec!["sync", "add", NAME, text(&source), &place];
            args.extend(options);
            let refused = sandbox.outlast(&args).code(5);
            assert!(
                refused.err().contains("Permission denied") && refused.err().contains("\nhint: "),
                "{refused}"
            );
            assert!(!is_listed(&sandbox, NAME));
        }
    }
    // What it may make is fine.
    let args = ["sync", "add", NAME, text(&source), "far:deep/mirror"];
    drop(sandbox.outlast(&args).success());
}

#[test]
fn what_the_host_refuses_later_says_what_to_type() {
    let mut bed = Bed::new();
    fs::write(bed.source.join("f"), "f\n").unwrap();
    fs::write(bed.sshd.home().join("file"), "").unwrap();
    bed.unplug();
    drop(add_to(&bed, "file", &[]).success());
    bed.plug_in();
    let seen = wait_until(DEADLINE * 2, "the refusal", || {
        let shown = bed.sandbox.outlast(&["sync", "show", "other"]).success();
        shown.out().contains("is no directory").then(|| shown.out())
    });
    let hint = seen.lines().find(|line| line.starts_with("hint "));
    let hint = hint.unwrap_or_else(|| panic!("no hint: {seen}"));
    assert!(hint.contains("outlast sync remove other"), "{seen}");
    // The host is back: now it is refused at once.
    drop(bed.sandbox.outlast(&["sync", "remove", "other"]).success());
    assert_refused(&bed, "file", 2, "is no directory");
}

#[test]
fn what_a_target_holds_that_was_away_is_shown_before_it_is_taken() {
    let mut bed = Bed::new();
    for name in ["same", "differs", "new"] {
        fs::write(bed.source.join(name), format!("{name}\n")).unwrap();
    }
    fs::create_dir(&bed.target).unwrap();
    fs::write(bed.target.join("differs"), "otherwise\n").unwrap();
    fs::write(bed.target.join("extra"), "extra\n").unwrap();
    let before = walk(&bed.target);
    bed.unplug();
    drop(bed.add(&[]).success());
    bed.plug_in();
    assert_eq!(bed.wait_halted(), "target_not_empty");
    let sync = |args: &[&str]| bed.sandbox.outlast(&[&["sync"], args].concat());
    let hint = sync(&["show", NAME]).success().out();
    assert!(hint.contains("outlast sync show mirror --preview"), "{hint}");
    let shown = sync(&["show", NAME, "--preview"]).success().out();
    for part in [
        "has 2 things already",
        "would be replaced:\n  differs\n",
        "stay:\n  extra\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let told = sync(&["show", NAME, "--preview", "--json"]).success().json();
    assert_eq!(told["preview"]["differ"]["some"][0], "differs", "{told}");
    assert_eq!(told["preview"]["extra"]["count"], 1, "{told}");
    assert_eq!(walk(&bed.target), before);
    // Also to who says at once that it should go on.
    let resumed = sync(&["resume", NAME, "--confirm"]).success();
    assert!(
        resumed.err().contains("would be replaced:\n  differs\n"),
        "{resumed}"
    );
    bed.settle();
    assert_eq!(
        fs::read_to_string(bed.target.join("differs")).unwrap(),
        "differs\n"
    );
    assert_eq!(fs::read_to_string(bed.target.join("extra")).unwrap(), "extra\n");
    // There is nothing to be asked about any more.
    let refused = sync(&["show", NAME, "--preview"]).code(4);
    assert!(
        refused.err().contains("hint: outlast sync show mirror"),
        "{refused}"
    );
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
fn conflicts_are_decided_one_by_one() {
    let mut bed = Bed::new();
    let names = ["a", "b", "d/c", "d/e"];
    fs::create_dir(bed.source.join("d")).unwrap();
    for name in names {
        fs::write(bed.source.join(name), "one\n").unwrap();
    }
    drop(bed.add(&[]).success());
    for name in names {
        fs::write(bed.target.join(name), "somebody else's\n").unwrap();
        fs::write(bed.source.join(name), "two\n").unwrap();
    }
    drop(bed.flush().code(1));
    let there = |bed: &Bed| names.map(|name| fs::read_to_string(bed.target.join(name)).unwrap() == "two\n");
    assert_eq!(there(&bed), [false; 4]);
    let reset = |bed: &Bed, path: &str| {
        let adopt = format!("--adopt={path}");
        bed.sandbox.outlast(&["sync", "reset", NAME, &adopt])
    };
    drop(reset(&bed, "a").success());
    drop(bed.flush().code(1));
    assert_eq!(there(&bed), [true, false, false, false]);
    // A directory means what is in it.
    drop(reset(&bed, "d").success());
    drop(bed.flush().code(1));
    assert_eq!(there(&bed), [true, false, true, true]);
    let conflict = ("conflict".to_owned(), "b".to_owned());
    assert_eq!(problems(&bed.seen().unwrap()), [conflict]);
    for (path, code) in [("a", 3), ("nosuch", 3), ("../b", 3), ("", 2)] {
        let refused = reset(&bed, path).code(code);
        assert!(
            refused.err().contains("\nhint: outlast sync show mirror"),
            "{refused}"
        );
    }
    // What somebody puts there later is somebody else's again.
    fs::write(bed.target.join("a"), "somebody else's\n").unwrap();
    fs::write(bed.source.join("a"), "three\n").unwrap();
    drop(bed.flush().code(1));
    assert_eq!(
        fs::read_to_string(bed.target.join("a")).unwrap(),
        "somebody else's\n"
    );
    bed.unplug();
    let refused = reset(&bed, "b").code(6);
    assert!(refused.err().contains("\nhint: "), "{refused}");
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
    symlink(&outside, bed.target.join("d")).unwrap();
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
