//! A daemon that is started anew and finds that nothing has changed.

use crate::{
    bed::Bed,
    measure::{Turns, rounds},
    mirror::Mirror,
    peers::{Rsync, Unison},
    table::{Promise, Table},
    tree::Tree,
};

/// From the daemon's start to the end of a flush, with a new connection to the host: as a default `rsync` has it too.
pub(crate) fn unchanged(table: &mut Table) {
    for (far, what, most) in [
        (false, "nothing changed in 50,000 files, restarted", 0.5),
        (true, "nothing changed in 50,000 files, restarted, 40 ms", 0.25),
    ] {
        let bed = Bed::new();
        let machine = if far { &bed.far } else { &bed.near };
        let tree = Tree::new(bed.sandbox.path().join("many"), 500, 100, 256);
        let mirror = Mirror::new(&bed, machine, &tree.root);
        let (rsync, unison) = (Rsync::new(machine), Unison::new(machine));
        let mut turns = Turns::default();
        turns.add("outlast", || {
            drop(bed.sandbox.outlast(&["daemon", "restart"]).success());
            mirror.flush()
        });
        if let Some(rsync) = &rsync {
            rsync.run(&bed, machine, &tree.root);
            turns.add("rsync -a", || rsync.run_anew(&bed, machine, &tree.root));
            turns.add("rsync -a, connection kept", || {
                rsync.run(&bed, machine, &tree.root)
            });
        }
        if let Some(unison) = &unison {
            unison.run(&bed, machine, &tree.root);
            turns.add("unison, connection kept", || {
                unison.run(&bed, machine, &tree.root)
            });
        }
        let medians = turns.medians(1, rounds().div_ceil(10));
        let (ours, peers) = medians.split();
        for (peer, theirs) in peers {
            let promise = if *peer == "rsync -a" {
                Promise::Ratio(most)
            } else {
                Promise::Nothing
            };
            table.add(what, "ms", ours, Some((peer, *theirs)), &promise);
        }
    }
}
