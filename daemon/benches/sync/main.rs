//! Syncs against lsyncd, rsync, unison and plain pipes through ssh, in one run: to a host on loopback, and one 40 ms away.
//!
//! Rounds are interleaved, so that a machine that gets slower does so for everyone, and medians are taken. All go by the
//! same sshd with the same settings of `ssh`. What is written is incompressible, so that nobody gains by packing it. The far
//! end lies on this machine too, so this program sees for itself when a file is there. A figure that falls short is
//! marked; it fails nothing, because a busy machine is no defect. A peer that is not installed is named and left out.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that cannot go on ends the run"
)]

#[path = "../common/bed.rs"]
mod bed;
mod copy;
mod eye;
#[path = "../common/measure.rs"]
mod measure;
mod mirror;
mod peers;
#[path = "../common/programs.rs"]
mod programs;
mod saved;
#[path = "../common/table.rs"]
mod table;
mod tree;
mod unchanged;
mod watched;

use std::env;

use table::Table;

/// Measures and adds lines to the table.
type Figure = fn(&mut Table);

/// Every figure by the name that asks for it alone.
const ALL: &[(&str, Figure)] = &[
    ("saved", saved::saved),
    ("burst", saved::burst),
    ("copy", copy::many),
    ("large", copy::large),
    ("delta", copy::delta),
    ("unchanged", unchanged::unchanged),
    ("watched", watched::watched),
];

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if cfg!(debug_assertions) {
        println!("this is a debug build: run packaging/bench.sh, figures of this one mean nothing");
    }
    let mut table = Table::default();
    for (name, figure) in ALL {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            eprintln!("measuring: {name}");
            figure(&mut table);
        }
    }
    table.print();
}
