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

/// What is measured in turns, each by a name; what is missing is simply not added.
#[derive(Default)]
pub(crate) struct Turns<'a>(Vec<Turn<'a>>);

struct Turn<'a> {
    name: &'static str,
    measure: Box<dyn FnMut() -> f64 + 'a>,
    values: Vec<f64>,
}

impl<'a> Turns<'a> {
    /// Adds one.
    pub(crate) fn add(&mut self, name: &'static str, measure: impl FnMut() -> f64 + 'a) {
        self.0.push(Turn {
            name,
            measure: Box::new(measure),
            values: Vec::new(),
        });
    }

    /// The medians of so many rounds, after some that only warm the caches.
    pub(crate) fn medians(mut self, first: usize, rounds: usize) -> Medians {
        for round in 0..first + rounds {
            for turn in &mut self.0 {
                let value = (turn.measure)();
                if env::var_os("OUTLAST_BENCH_EACH").is_some() {
                    eprintln!("  {round} {}: {value:.2}", turn.name);
                }
                if round >= first {
                    turn.values.push(value);
                }
            }
        }
        let all = self.0.into_iter();
        Medians(all.map(|turn| (turn.name, median(turn.values))).collect())
    }
}

/// Medians by name.
pub(crate) struct Medians(Vec<(&'static str, f64)>);

impl Medians {
    /// The median of that name, with it. None when that was not measured.
    pub(crate) fn of(&self, name: &str) -> Option<(&'static str, f64)> {
        self.0.iter().copied().find(|(known, _)| *known == name)
    }

    /// The first, which is ours, and all others.
    pub(crate) fn split(&self) -> (f64, &[(&'static str, f64)]) {
        let ((_, ours), others) = self.0.split_first().expect("something was measured");
        (*ours, others)
    }
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
