//! The release build against its peers, in one run.
//!
//! Rounds are interleaved, so that a machine that gets slower does so for everyone, and medians are taken. A figure
//! that falls short is marked; it fails nothing, because a busy machine is no defect. Refuses to measure anything
//! but the programs of the release build.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that cannot go on ends the run"
)]

mod figures;
mod latency;
#[path = "../common/measure.rs"]
mod measure;
mod peers;
#[path = "../common/programs.rs"]
mod programs;
#[path = "../common/table.rs"]
mod table;

use std::env;

use table::Table;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    // The job whose lines are timed is this very program.
    if let [ticker, count] = args.as_slice()
        && ticker == latency::TICKER
    {
        latency::tick(count.parse().expect("a number of lines"));
        return;
    }
    if cfg!(debug_assertions) {
        println!("this is a debug build: run packaging/bench.sh, figures of this one mean nothing");
    }
    let mut table = Table::default();
    for (name, figure) in figures::ALL {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            eprintln!("measuring: {name}");
            figure(&mut table);
        }
    }
    table.print();
}
