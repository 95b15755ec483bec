//! First copies, of many small files and of one large one; and what is sent again when a little of a large one changes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use outlast_testkit::Random;

use crate::{
    bed::{Bed, Machine},
    measure::{Medians, Turns, rounds},
    mirror::Mirror,
    peers::{Rsync, Unison, pipe},
    table::{Promise, Table},
    tree::{Tree, change, large as write_large, remove, settle},
};

/// How large the large file is, mebibytes.
const LARGE: usize = 1024;

/// Many small files to a new directory.
pub(crate) fn many(table: &mut Table) {
    let bed = Bed::new();
    let tree = Tree::new(bed.sandbox.path().join("many"), 200, 100, 4096);
    for (machine, what) in [
        (&bed.near, "first copy of 20,000 x 4 KiB"),
        (&bed.far, "first copy of 20,000 x 4 KiB, 40 ms"),
    ] {
        let source = tree.root.display();
        let piped = machine.sshd.home().join("piped");
        let (first, second) = (
            format!("tar -C {source} -c ."),
            format!("tar -C {} -x", piped.display()),
        );
        let mut turns = Turns::default();
        turns.add("outlast", || first_copy(&bed, machine, &tree.root));
        turns.add("tar | ssh", || {
            fs::create_dir(&piped).expect("the sandbox can be written");
            settle();
            let took = pipe(&bed, machine, &first, &second);
            remove(&piped);
            took
        });
        // unison takes a quarter of a minute for so many.
        rsync(&bed, machine, &tree.root, &mut turns);
        let medians = turns.medians(1, rounds().div_ceil(20));
        add(table, what, &medians, "tar | ssh", 1.2);
    }
}

/// One large file to a new directory.
pub(crate) fn large(table: &mut Table) {
    let bed = Bed::new();
    let source = one_large_file(&bed);
    for (machine, what) in [
        (&bed.near, "first copy of 1 GiB"),
        (&bed.far, "first copy of 1 GiB, 40 ms"),
    ] {
        let mut turns = Turns::default();
        turns.add("outlast", || first_copy(&bed, machine, &source));
        turns.add("cat | ssh", || cat(&bed, machine, &source));
        rsync(&bed, machine, &source, &mut turns);
        unison(&bed, machine, &source, &mut turns);
        let medians = turns.medians(1, rounds().div_ceil(33));
        add(table, what, &medians, "cat | ssh", 1.1);
    }
}

/// A mebibyte somewhere in the large file.
pub(crate) fn delta(table: &mut Table) {
    let bed = Bed::new();
    let source = one_large_file(&bed);
    for (machine, what) in [
        (&bed.near, "1 MiB changed in 1 GiB"),
        (&bed.far, "1 MiB changed in 1 GiB, 40 ms"),
    ] {
        let file = source.join("large");
        let mirror = Mirror::new(&bed, machine, &source);
        let rsync = Rsync::new(machine);
        let mut turns = Turns::default();
        let mut random = Random::new(4);
        turns.add("outlast", || {
            settle();
            let start = Instant::now();
            change(&file, LARGE, &mut random);
            mirror.flush();
            start.elapsed().as_secs_f64() * 1e3
        });
        turns.add("cat | ssh, all", || cat(&bed, machine, &source));
        if let Some(rsync) = &rsync {
            rsync.run(&bed, machine, &source);
            turns.add("rsync -a by hand", || {
                settle();
                rsync.run(&bed, machine, &source)
            });
        }
        let medians = turns.medians(1, rounds().div_ceil(33));
        add(table, what, &medians, "cat | ssh, all", 0.2);
        mirror.end();
    }
}

/// A directory with nothing but the large file.
fn one_large_file(bed: &Bed) -> PathBuf {
    let source = bed.sandbox.path().join("one");
    fs::create_dir(&source).expect("the sandbox can be written");
    write_large(&source.join("large"), LARGE);
    source
}

/// Milliseconds that ours takes for all of it.
fn first_copy(bed: &Bed, machine: &Machine, source: &Path) -> f64 {
    settle();
    let mirror = Mirror::new(bed, machine, source);
    let took = mirror.first;
    mirror.end();
    took
}

/// Milliseconds that `cat | ssh` takes for the large file.
fn cat(bed: &Bed, machine: &Machine, source: &Path) -> f64 {
    settle();
    let (from, to) = (source.join("large"), machine.sshd.home().join("piped"));
    let (first, second) = (
        format!("cat {}", from.display()),
        format!("cat > {}", to.display()),
    );
    let took = pipe(bed, machine, &first, &second);
    remove(&to);
    took
}

fn rsync<'a>(bed: &'a Bed, machine: &'a Machine, source: &'a Path, turns: &mut Turns<'a>) {
    if let Some(rsync) = Rsync::new(machine) {
        turns.add("rsync -a", move || {
            settle();
            let took = rsync.run(bed, machine, source);
            remove(&rsync.target);
            took
        });
    }
}

fn unison<'a>(bed: &'a Bed, machine: &'a Machine, source: &'a Path, turns: &mut Turns<'a>) {
    if let Some(unison) = Unison::new(machine) {
        turns.add("unison", move || {
            settle();
            let took = unison.run(bed, machine, source);
            remove(&unison.target);
            unison.forget(bed, machine);
            took
        });
    }
}

/// A line for each peer; one of them is what was promised by.
fn add(table: &mut Table, what: &str, medians: &Medians, promised: &str, most: f64) {
    let (ours, peers) = medians.split();
    for (peer, theirs) in peers {
        let promise = if *peer == promised {
            Promise::Ratio(most)
        } else {
            Promise::Nothing
        };
        table.add(what, "ms", ours, Some((peer, *theirs)), &promise);
    }
}
