//! Measuring: how long something takes, the median of many rounds in which all that is compared takes its turn.

#![allow(dead_code, reason = "not every benchmark uses all of it")]

use std::{
    env,
    process::{Command, Stdio},
    time::Instant,
};

/// How many rounds there are.
pub(crate) fn rounds() -> usize {
    env::var("OUTLAST_BENCH_ROUNDS").map_or(100, |text| {
        text.parse().expect("OUTLAST_BENCH_ROUNDS is a number")
    })
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Milliseconds from the start of a command to its exit; its output goes nowhere.
pub(crate) fn time(command: &mut Command) -> f64 {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("the command can be started");
    let took = start.elapsed().as_secs_f64() * 1e3;
    assert!(status.success(), "{command:?} failed: {status}");
    took
}

/// The medians of several measurements, made in turns.
pub(crate) fn turns<const N: usize>(rounds: usize, mut each: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    /// They warm the caches.
    const FIRST: usize = 3;
    let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..rounds + FIRST {
        for (measure, values) in each.iter_mut().zip(&mut values) {
            let value = measure();
            if round >= FIRST {
                values.push(value);
            }
        }
    }
    values.map(median)
}

/// The medians of several commands, run in turns.
pub(crate) fn compare<const N: usize>(mut commands: [Option<Command>; N]) -> [Option<f64>; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..rounds() + 5 {
        for (command, times) in commands.iter_mut().zip(&mut times) {
            let Some(command) = command else { continue };
            let took = time(command);
            // The first rounds warm the caches.
            if round >= 5 {
                times.push(took);
            }
        }
    }
    times.map(|times| (!times.is_empty()).then(|| median(times)))
}
