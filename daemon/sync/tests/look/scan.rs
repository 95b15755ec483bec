use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    sync::{Mutex, atomic::AtomicBool},
    time::Instant,
};

use outlast_sync::{ProblemKind, Root, RootGone, scan::scan};
use outlast_tree::Kind;

use crate::bed::{Bed, fifo, paths, rel};

#[test]
fn everything_that_counts_is_found_in_order() {
    let bed = Bed::new();
    for path in ["b", "a/x", "a!", "a/y/z", "a.c", ".gitignore", "empty/skip.o"] {
        bed.write(path, path);
    }
    bed.write(".gitignore", "*.o\n");
    symlink("/etc", bed.top.join("link")).unwrap();
    let found = bed.scan();
    let right = [
        ".gitignore",
        "a",
        "a/x",
        "a/y",
        "a/y/z",
        "a!",
        "a.c",
        "b",
        "empty",
        "link",
    ];
    assert_eq!(paths(&found), right);
    assert_eq!(found.tree.get(b"link").unwrap().kind, Kind::Link);
    assert_eq!(found.tree.get(b"a/y/z").unwrap().key.size, 5);
    assert_eq!((found.unknown.len(), found.problems.len()), (0, 0));
    let mut dirs = found.dirs;
    dirs.sort();
    assert_eq!(dirs, ["a", "a/y", "empty"].map(rel));
}

#[test]
fn special_files_and_kept_names_are_told_and_left_out() {
    let bed = Bed::new();
    bed.write("a", "");
    bed.write(".outlast-a7e1c2d4-0000-4000-8000-000000000001-7", "");
    fifo(&bed.top.join("pipe"));
    let found = bed.scan();
    assert_eq!(paths(&found), ["a"]);
    let mut kinds = found
        .problems
        .iter()
        .map(|problem| problem.kind)
        .collect::<Vec<_>>();
    kinds.sort();
    assert_eq!(kinds, [ProblemKind::SpecialFile, ProblemKind::NameRefused]);
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_not_gone() {
    let bed = Bed::new();
    bed.write("open/a", "");
    bed.write("closed/a", "");
    let closed = bed.top.join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let found = without_privileges(|| bed.scan());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(paths(&found), ["closed", "open", "open/a"]);
    assert_eq!(found.unknown, [rel("closed")]);
    assert_eq!(found.problems[0].kind, ProblemKind::Unreadable);
}

/// Runs something in a thread that file permissions hold for, also when the tests are run by root.
fn without_privileges<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if crate::bed::is_root() {
                rustix::thread::set_capabilities(
                    None,
                    rustix::thread::CapabilitySets {
                        effective: rustix::thread::CapabilitySet::empty(),
                        permitted: rustix::thread::CapabilitySet::empty(),
                        inheritable: rustix::thread::CapabilitySet::empty(),
                    },
                )
                .unwrap();
            }
            act()
        });
        thread.join().unwrap()
    })
}

#[test]
fn some_entries_are_looked_at_as_they_are_in_a_whole_look() {
    let bed = Bed::new();
    bed.write(".gitignore", "*.o\nbuild/\n");
    for path in ["a/x", "a/y/z", "a/q.o", "b", "build/c/d"] {
        bed.write(path, "");
    }
    assert_eq!(paths(&bed.look(&["a"], &[])), ["a", "a/x", "a/y", "a/y/z"]);
    assert_eq!(
        paths(&bed.look(&[], &["a", "a/y/z", "b", "gone", "a/q.o", "build/c/d", "b/under"])),
        ["a", "a/y/z", "b"]
    );
    assert_eq!(paths(&bed.look(&["build/c", "gone/x"], &[])), [""; 0]);
    let found = bed.look(&["a"], &[]);
    for (path, seen) in found.tree.iter() {
        assert_eq!(bed.scan().tree.get(path), Some(seen));
    }
}

#[test]
fn a_directory_is_told_before_it_is_listed() {
    let bed = Bed::new();
    for number in 0..200 {
        bed.write(&format!("d{}/e{}/f{number}", number % 3, number % 11), "");
    }
    let told = Mutex::new(Vec::new());
    let found = scan(&bed.root(), &bed.rules(), &AtomicBool::new(false), &|dir| {
        // Whatever comes now is seen.
        let path = String::from_utf8(dir.to_vec()).unwrap();
        bed.write(
            &format!("{path}{}late", if path.is_empty() { "" } else { "/" }),
            "",
        );
        told.lock().unwrap().push(dir.to_vec());
    });
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), found.dirs.len() + 1);
    let late = |dir: &&Vec<u8>| {
        let path = [dir.as_slice(), if dir.is_empty() { b"" } else { b"/" }, b"late"].concat();
        found.tree.get(&path).is_some()
    };
    assert_eq!(told.iter().filter(late).count(), told.len());
}

#[test]
fn a_source_that_is_gone_or_replaced_is_an_answer_of_its_own() {
    let bed = Bed::new();
    let device = bed.root().device();
    assert!(matches!(
        Root::open(&bed.top, Some(device + 1)),
        Err(RootGone::OtherDevice(_))
    ));
    fs::remove_dir(&bed.top).unwrap();
    assert!(matches!(
        Root::open(&bed.top, Some(device)),
        Err(RootGone::Missing(_))
    ));
    fs::write(&bed.top, "").unwrap();
    assert!(matches!(
        Root::open(&bed.top, None),
        Err(RootGone::NotDirectory(_))
    ));
    fs::remove_file(&bed.top).unwrap();
    symlink("/", &bed.top).unwrap();
    assert!(matches!(
        Root::open(&bed.top, None),
        Err(RootGone::NotDirectory(_))
    ));
}

#[test]
fn nothing_is_opened_through_a_symlink() {
    let bed = Bed::new();
    bed.write("real/x", "");
    symlink("real", bed.top.join("way")).unwrap();
    let root = bed.root();
    assert!(root.open_file(b"real/x").is_ok());
    assert!(root.open_file(b"way/x").is_err());
    assert!(root.open_dir(b"way").is_err());
    assert!(root.look(b"way/x").is_err());
    assert_eq!(root.look(b"way").unwrap().kind, Kind::Link);
    assert_eq!(&*root.read_link(b"way").unwrap(), b"real");
}

/// Prints how long it takes; compared with nothing, since machines differ.
#[test]
fn fifty_thousand_files_are_found() {
    let bed = Bed::new();
    bed.write(
        ".gitignore",
        "*.o\n*.pyc\nnode_modules/\n/target\n__pycache__\n.idea/\n*.sw[po]\n",
    );
    for number in 0..50_000 {
        let path = format!(
            "crate-{}/src/module_{}/file_{number}.rs",
            number / 2000,
            number / 50 % 40
        );
        if number % 50 == 0 {
            bed.write(&path, "");
        } else {
            fs::write(bed.top.join(path), "").unwrap();
        }
    }
    let rules = bed.rules();
    let begun = Instant::now();
    let found = scan(&bed.root(), &rules, &AtomicBool::new(false), &|_| {});
    let took = begun.elapsed();
    let files = found
        .tree
        .iter()
        .filter(|(_, seen)| seen.kind == Kind::File)
        .count();
    assert_eq!(files, 50_001);
    let memory = found.tree.memory();
    println!("{} entries in {took:?}, {memory} bytes", found.tree.len());
}
