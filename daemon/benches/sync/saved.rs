//! How soon the host has what was saved: one file, and a thousand at once.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use outlast_testkit::Random;

use crate::{
    bed::{Bed, Floor, Machine},
    eye::Eye,
    measure::{Medians, Turns, rounds},
    mirror::Mirror,
    peers::{Lsyncd, Rsync, Unison},
    table::{Promise, Table},
    tree::{Tree, bytes},
};

/// How many directories the trees have.
const DIRS: usize = 20;
/// And files in each of them.
const FILES: usize = 50;
/// Bytes of a file, about.
const SIZE: usize = 4096;

/// One file, overwritten where it lies.
pub(crate) fn saved(table: &mut Table) {
    let bed = Bed::new();
    let mut floor = Floor::new();
    for (machine, what) in [
        (&bed.near, "saved file visible"),
        (&bed.far, "saved file visible, 40 ms"),
    ] {
        let mut turns = Turns::default();
        turns.add("round trip", || floor.round_trip());
        let medians = measure(&bed, machine, 1, turns, rounds());
        let half = medians.of("round trip").map_or(0.0, |(_, trip)| trip / 2.0);
        let half = (machine.name == "far").then_some(("half a round trip", half));
        let ours = medians.of("outlast").expect("it was measured").1;
        let promise = if half.is_some() {
            Promise::Above(5.0)
        } else {
            Promise::AtMost(5.0)
        };
        table.add(what, "ms", ours, half, &promise);
        compared(table, what, &medians, 0.25);
    }
}

/// A thousand files, overwritten where they lie.
pub(crate) fn burst(table: &mut Table) {
    let bed = Bed::new();
    for (machine, what) in [
        (&bed.near, "1,000 files visible"),
        (&bed.far, "1,000 files visible, 40 ms"),
    ] {
        let medians = measure(
            &bed,
            machine,
            DIRS * FILES,
            Turns::default(),
            rounds().div_ceil(10),
        );
        compared(table, what, &medians, 0.35);
    }
}

fn compared(table: &mut Table, what: &str, medians: &Medians, promised: f64) {
    let ours = medians.of("outlast").expect("it was measured").1;
    for (peer, promise) in [
        ("lsyncd", Promise::Ratio(promised)),
        ("rsync -a by hand", Promise::Nothing),
        ("unison by hand", Promise::Nothing),
    ] {
        if let Some(peer) = medians.of(peer) {
            table.add(what, "ms", ours, Some(peer), &promise);
        }
    }
}

/// So many files at once, by everyone. Each has a source of its own: what watches is not to see what another is given.
fn measure<'a>(
    bed: &'a Bed,
    machine: &'a Machine,
    count: usize,
    mut turns: Turns<'a>,
    rounds: usize,
) -> Medians {
    let tree = |owner: &str| {
        let root = bed.sandbox.path().join(format!("{owner}-{}", machine.name));
        Tree::new(root, DIRS, FILES, SIZE)
    };
    let source = tree("ours");
    let mirror = Mirror::new(bed, machine, &source.root);
    let mut ours = Saving::new(source, &mirror.target);
    turns.add("outlast", move || ours.save(count, |_| ()));

    let source = tree("lsyncd");
    let lsyncd = Lsyncd::start(bed, machine, &source.root);
    if let Some(lsyncd) = lsyncd {
        let mut theirs = Saving::new(source, &lsyncd.target);
        turns.add("lsyncd", move || {
            // It lives as long as it is measured.
            let _alive = lsyncd.pid();
            theirs.save(count, |_| ())
        });
    }
    if let Some(rsync) = Rsync::new(machine) {
        let source = tree("rsync");
        rsync.run(bed, machine, &source.root);
        let mut theirs = Saving::new(source, &rsync.target);
        turns.add("rsync -a by hand", move || {
            theirs.save(count, |source| {
                rsync.run(bed, machine, source);
            })
        });
    }
    if let Some(unison) = Unison::new(machine) {
        let source = tree("unison");
        unison.run(bed, machine, &source.root);
        let mut theirs = Saving::new(source, &unison.target);
        turns.add("unison by hand", move || {
            theirs.save(count, |source| {
                unison.run(bed, machine, source);
            })
        });
    }
    turns.medians(3, rounds)
}

/// Files that are saved again and again.
struct Saving {
    tree: Tree,
    eye: Eye,
    target: PathBuf,
    random: Random,
    round: usize,
}

impl Saving {
    /// Files of a tree that was copied.
    fn new(tree: Tree, target: &Path) -> Self {
        Self {
            eye: Eye::new(target, &tree.dirs),
            target: target.to_owned(),
            tree,
            random: Random::new(3),
            round: 0,
        }
    }

    /// Milliseconds from the first write until the last of so many files is there. `then` is what somebody does who has
    /// saved them.
    fn save(&mut self, count: usize, then: impl FnOnce(&Path)) -> f64 {
        self.round += 1;
        // Another size each time: rsync takes a file that was written in the same second with the same size for the same.
        let size = SIZE + self.round;
        let all = self.tree.files.len();
        let files = (0..count).map(|number| &self.tree.files[(self.round + number) % all]);
        let new: Vec<_> = files.map(|file| (file, bytes(&mut self.random, size))).collect();
        let expected: HashMap<_, _> = new
            .iter()
            .map(|(file, content)| (self.target.join(file), content.clone()))
            .collect();
        let start = Instant::now();
        for (file, content) in &new {
            fs::write(self.tree.root.join(file), content).expect("the sandbox can be written");
        }
        then(&self.tree.root);
        self.eye.wait(expected);
        start.elapsed().as_secs_f64() * 1e3
    }
}
