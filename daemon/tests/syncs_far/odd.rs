//! Sources and disks that are not as one would like: full, unreadable, never still.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::{
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use outlast_testkit::{DEADLINE, Namespace, Random, Sandbox, Sshd, run, wait_until, write_program};

use crate::{
    PATIENCE,
    bed::{Bed, NAME, problems, text},
    breaker::some_time,
    compare::assert_equal,
    content::noise,
    foreign::Foreign,
    kills::assert_all_there,
    tree::walk,
};

#[test]
fn a_full_disk_there_costs_what_has_no_room_and_nothing_else() {
    let sandbox = Sandbox::new();
    let client = sandbox.ssh();
    // Its shells run in a namespace of their own, where the target lies on a small disk.
    let enter = sandbox.path().join("enter");
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .option(&format!("ForceCommand {}", enter.display()))
        .start();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    let disk = "mkdir \"$1/far/home/small\"
        mount -t tmpfs -o size=4m,mode=0700 outlast-test \"$1/far/home/small\"";
    let namespace = Namespace::new(&sandbox, disk);
    let shell = namespace.command(&sandbox, "sh");
    let words: Vec<String> = shell
        .get_args()
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let script = format!(
        "#!/bin/sh\nexec nsenter {} -c \"$SSH_ORIGINAL_COMMAND\"\n",
        words.join(" ")
    );
    write_program(&enter, &script);
    drop(sandbox.outlast(&["host", "add", "far", "far"]).success());

    let source = sandbox.path().join("source");
    fs::create_dir(&source).unwrap();
    let mut random = Random::from_env();
    let large = noise(&mut random, 6 << 20);
    fs::write(source.join("a large"), &large).unwrap();
    fs::write(source.join("b small"), "small\n").unwrap();
    let add = ["sync", "add", NAME, text(&source), "far:small/mirror"];
    drop(sandbox.outlast(&add).code(1));
    let show = || {
        sandbox
            .outlast(&["sync", "show", NAME, "--json"])
            .success()
            .json()
    };
    let told = problems(&show());
    assert_eq!(told, [("disk_full".to_owned(), "a large".to_owned())]);
    let target = sshd.home().join("small/mirror");
    let there = |args: &[&str]| namespace.run(&sandbox, DEADLINE, args[0], &args[1..]);
    let found = there(&["find", text(&target), "-type", "f"]).success();
    assert_eq!(found.out(), format!("{}/b small\n", target.display()));
    // The rest goes on.
    fs::write(source.join("c small"), "small\n").unwrap();
    let copied = target.join("c small");
    wait_until(DEADLINE, "another file", || {
        (there(&["test", "-e", text(&copied)]).exit() == 0).then_some(())
    });
    // It recovers by itself.
    drop(
        there(&[
            "mount",
            "-o",
            "remount,size=100m",
            text(&sshd.home().join("small")),
        ])
        .success(),
    );
    wait_until(PATIENCE, "the large file", || {
        let same = there(&[
            "cmp",
            text(&source.join("a large")),
            text(&target.join("a large")),
        ]);
        (same.exit() == 0).then_some(())
    });
    drop(sandbox.outlast(&["sync", "flush", NAME]).success());
    assert_eq!(show()["problem_count"], 0);
}

#[test]
fn a_branch_is_switched_with_ten_thousand_files() {
    let bed = Bed::new();
    bed.init();
    let write = |version: u64| {
        for number in 0..10_000_u64 {
            // Some are on one branch alone.
            let name = if number % 50 == 0 {
                format!("only{version} {number}")
            } else {
                format!("f{number}")
            };
            let dir = bed.source.join(format!("d{}", number % 100));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(name), format!("version {version} of {number}\n")).unwrap();
        }
    };
    write(0);
    drop(bed.git(&["add", "-A"]));
    drop(bed.git(&["commit", "-q", "-m", "One"]));
    drop(bed.git(&["checkout", "-q", "-b", "other"]));
    drop(bed.git(&["rm", "-q", "-r", "."]));
    write(1);
    drop(bed.git(&["add", "-A"]));
    drop(bed.git(&["commit", "-q", "-m", "Two"]));
    drop(bed.add(&[]).success());
    for branch in ["main", "other"] {
        drop(bed.git(&["checkout", "-q", branch]));
        let sync = bed.settle();
        assert_equal(&bed, &Foreign::default(), &sync);
    }
}

#[test]
fn what_an_editor_saves_by_renaming_is_there_by_itself() {
    let bed = Bed::new();
    let file = bed.source.join("text");
    fs::write(&file, "version 0\n").unwrap();
    drop(bed.add(&[]).success());
    for version in 1..20 {
        let content = format!("version {version}\n");
        if version % 2 == 0 {
            // Like vim: the old one becomes a backup, which goes.
            fs::rename(&file, bed.source.join("text~")).unwrap();
            fs::write(&file, &content).unwrap();
            fs::remove_file(bed.source.join("text~")).unwrap();
        } else {
            let beside = bed.source.join(".text.swp");
            fs::write(&beside, &content).unwrap();
            File::open(&beside).unwrap().sync_all().unwrap();
            fs::rename(&beside, &file).unwrap();
        }
        wait_until(DEADLINE, "what was saved", || {
            let there = fs::read_to_string(bed.target.join("text")).ok()?;
            (there == content).then_some(())
        });
    }
    bed.settle();
    assert_all_there(&bed);
}

#[test]
fn a_restart_with_nothing_changed_writes_nothing() {
    let bed = Bed::new();
    let mut random = Random::from_env();
    for number in 0..500 {
        let dir = bed.source.join(format!("d{}", number % 10));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{number}")), noise(&mut random, 1000)).unwrap();
    }
    fs::write(bed.source.join("large"), noise(&mut random, 3 << 20)).unwrap();
    drop(bed.add(&[]).success());
    let state = || -> Vec<_> {
        let tree = walk(&bed.target);
        tree.keys()
            .map(|path| fs::symlink_metadata(crate::tree::at(&bed.target, path)).unwrap())
            .map(|found| (found.ino(), found.ctime(), found.ctime_nsec()))
            .collect()
    };
    let before = state();
    assert_eq!(before.len(), 511);
    drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
    drop(bed.flush().success());
    assert!(state() == before, "a restart wrote something");
    bed.sandbox.kill_daemon().unwrap();
    bed.sandbox.start_daemon();
    drop(bed.flush().success());
    assert!(state() == before, "a start after a kill wrote something");
    bed.kill_helpers();
    drop(bed.flush().success());
    assert!(state() == before, "a new helper wrote something");
    drop(bed.sandbox.outlast(&["sync", "reset", NAME]).success());
    drop(bed.flush().success());
    let inodes = |state: &[(u64, i64, i64)]| state.iter().map(|(ino, ..)| *ino).collect::<Vec<_>>();
    assert_eq!(
        inodes(&state()),
        inodes(&before),
        "a comparison by content sent content"
    );
}

#[test]
fn what_cannot_be_read_is_told_and_kept_there() {
    let bed = Bed::new();
    // Root reads everything, unless it may not do without looking at modes.
    let daemon = ["daemon", "stop"];
    drop(bed.sandbox.outlast(&daemon).success());
    let outlast = bed.sandbox.command("outlast");
    let mut start = bed.sandbox.command("setpriv");
    start.arg("--bounding-set=-dac_override,-dac_read_search");
    start.arg(outlast.get_program()).args(["daemon", "start"]);
    if !rustix::process::geteuid().is_root() {
        start = outlast;
        start.args(["daemon", "start"]);
    }
    drop(run(start, DEADLINE).success());
    for name in ["a", "b", "c"] {
        fs::write(bed.source.join(name), "one\n").unwrap();
    }
    fs::create_dir(bed.source.join("closed")).unwrap();
    fs::write(bed.source.join("closed/f"), "one\n").unwrap();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(bed.source.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("b", 0);
    drop(bed.add(&[]).code(1));
    assert_eq!(
        problems(&bed.seen().unwrap()),
        [("unreadable".to_owned(), "b".to_owned())]
    );
    assert!(!bed.target.join("b").exists() && bed.target.join("c").exists());
    mode("b", 0o600);
    drop(bed.flush().success());
    // What was there stays: it is not known to be gone.
    fs::write(bed.source.join("b"), "two\n").unwrap();
    mode("b", 0);
    mode("closed", 0);
    drop(bed.flush().code(1));
    let told = problems(&bed.seen().unwrap());
    let unreadable = |path: &str| ("unreadable".to_owned(), path.to_owned());
    assert_eq!(told, [unreadable("b"), unreadable("closed")]);
    assert_eq!(fs::read_to_string(bed.target.join("closed/f")).unwrap(), "one\n");
    assert!(bed.target.join("b").exists());
    mode("b", 0o644);
    mode("closed", 0o755);
    drop(bed.flush().success());
    assert_all_there(&bed);
}

#[test]
fn what_is_neither_file_nor_directory_nor_link_is_listed_and_left_out() {
    let bed = Bed::new();
    fs::write(bed.source.join("f"), "one\n").unwrap();
    let mut mkfifo = bed.sandbox.command("mkfifo");
    mkfifo.arg(bed.source.join("fifo"));
    drop(run(mkfifo, DEADLINE).success());
    let _socket = UnixListener::bind(bed.source.join("socket")).unwrap();
    drop(bed.add(&[]).success());
    let sync = bed.settle();
    let special = |path: &str| ("special_file".to_owned(), path.to_owned());
    assert_eq!(problems(&sync), [special("fifo"), special("socket")]);
    let there: Vec<_> = walk(&bed.target).into_keys().collect();
    assert_eq!(there, [b"f"]);
    // A file becomes one.
    fs::remove_file(bed.source.join("f")).unwrap();
    fs::rename(bed.source.join("fifo"), bed.source.join("f")).unwrap();
    fs::write(bed.source.join("g"), "one\n").unwrap();
    let sync = bed.settle();
    assert_eq!(problems(&sync), [special("f"), special("socket")]);
    let there: Vec<_> = walk(&bed.target).into_keys().collect();
    assert_eq!(there, [b"g"]);
}

#[test]
fn files_that_never_rest_arrive_when_they_do() {
    let bed = Bed::new();
    let (log, table) = (bed.source.join("log"), bed.source.join("table"));
    fs::write(&log, "").unwrap();
    fs::write(&table, vec![0; 2 << 20]).unwrap();
    fs::write(bed.source.join("still"), "still\n").unwrap();
    let over = AtomicBool::new(false);
    let mut random = Random::from_env();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = OpenOptions::new().append(true).open(&log).unwrap();
            let table = OpenOptions::new().write(true).open(&table).unwrap();
            let mut number = 0_u64;
            while !over.load(Ordering::Relaxed) && number < 100_000 {
                number += 1;
                some_time(&mut random, 2);
                writeln!(log, "line {number}").unwrap();
                table
                    .write_all_at(&number.to_le_bytes(), number * 4099 % (2 << 20))
                    .unwrap();
            }
        });
        drop(bed.add(&["--no-wait"]).success());
        for round in 0..3 {
            fs::write(bed.source.join("still"), format!("still {round}\n")).unwrap();
            // It ends, whatever comes of the others.
            let flushed = bed.flush();
            assert!([0, 1].contains(&flushed.exit()), "{flushed}");
            let there = fs::read_to_string(bed.target.join("still")).unwrap();
            assert_eq!(there, format!("still {round}\n"));
            let others = problems(&bed.seen().unwrap());
            assert!(others.iter().all(|(kind, _)| kind == "changing"), "{others:?}");
        }
        over.store(true, Ordering::Relaxed);
    });
    // Nobody asks for it.
    wait_until(PATIENCE, "what came to rest", || {
        let same = |name: &str| fs::read(bed.source.join(name)).ok() == fs::read(bed.target.join(name)).ok();
        (same("log") && same("table")).then_some(())
    });
    let sync = bed.settle();
    assert_eq!(sync["problem_count"], 0, "{sync}");
    assert_all_there(&bed);
}
