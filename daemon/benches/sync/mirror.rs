//! Syncs of ours.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    bed::{Bed, Machine},
    tree::remove,
};

/// How long a copy may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A sync.
pub(crate) struct Mirror<'a> {
    bed: &'a Bed,
    name: String,
    /// Directory on the host.
    pub(crate) target: PathBuf,
    /// Milliseconds that its first copy took.
    pub(crate) first: f64,
}

impl<'a> Mirror<'a> {
    /// A sync to a new directory on a host. Everything is there when it is back.
    pub(crate) fn new(bed: &'a Bed, machine: &Machine, source: &Path) -> Self {
        let name = format!("ours-{}", machine.name);
        let target = machine.sshd.home().join("ours");
        let place = format!("{}:{}", machine.name, target.display());
        let source = source.to_str().expect("paths of the sandbox are text");
        let first = run(bed, &["sync", "add", &name, source, &place]);
        Self {
            bed,
            name,
            target,
            first,
        }
    }

    /// Milliseconds until everything that was written before is there.
    pub(crate) fn flush(&self) -> f64 {
        run(self.bed, &["sync", "flush", &self.name])
    }

    /// Ends it and removes what it wrote.
    pub(crate) fn end(self) {
        run(self.bed, &["sync", "remove", &self.name]);
        remove(&self.target);
    }
}

/// Milliseconds that a command of ours takes.
fn run(bed: &Bed, args: &[&str]) -> f64 {
    let start = Instant::now();
    drop(bed.sandbox.outlast_within(PATIENCE, args).success());
    start.elapsed().as_secs_f64() * 1e3
}
