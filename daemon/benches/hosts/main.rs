//! Hosts over ssh against `ssh` itself, in one run: a real sshd on loopback, and one that is 40 ms away.
//!
//! Rounds are interleaved, so that a machine that gets slower does so for everyone, and medians are taken. What is promised
//! in round trips is compared with a byte that a plain TCP socket sends the same way in the same round. A figure that
//! falls short is marked; it fails nothing, because a busy machine is no defect.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that cannot go on ends the run"
)]

mod attention;
#[path = "../common/bed.rs"]
mod bed;
mod busy;
mod calls;
mod connect;
#[path = "../common/measure.rs"]
mod measure;
mod output;
#[path = "../common/table.rs"]
mod table;
mod typing;

use std::env;

use table::Table;

/// Measures and adds lines to the table.
type Figure = fn(&mut Table);

/// Every figure by the name that asks for it alone.
const ALL: &[(&str, Figure)] = &[
    ("exec", calls::exec),
    ("crowd", calls::crowd),
    ("first", output::first),
    ("output", output::throughput),
    ("busy", busy::busy),
    ("typing", typing::typing),
    ("connect", connect::connect),
    ("attention", attention::attention),
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
