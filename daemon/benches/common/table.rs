//! What was measured, for people.

#![allow(dead_code, reason = "not every benchmark uses all of it")]

/// Collects lines and prints them with their columns in order.
#[derive(Default)]
pub(crate) struct Table {
    lines: Vec<[String; 5]>,
}

/// Which way a promise goes.
pub(crate) enum Promise {
    /// Not above this many times the peer.
    Ratio(f64),
    /// Not above the peer by more than this.
    Above(f64),
    /// Not above this.
    AtMost(f64),
    /// Not below this.
    AtLeast(f64),
    /// Nothing was promised; it is good to know.
    Nothing,
}

impl Table {
    /// Adds a figure with a peer's beside it, both in one unit.
    pub(crate) fn add(
        &mut self,
        what: &str,
        unit: &str,
        ours: f64,
        peer: Option<(&str, f64)>,
        promise: &Promise,
    ) {
        // Nothing is no measure.
        let ratio = peer
            .filter(|(_, theirs)| *theirs != 0.0)
            .map(|(_, theirs)| ours / theirs);
        let (promised, kept) = match *promise {
            Promise::Ratio(most) => (format!("≤ {most}x"), ratio.map(|ratio| ratio <= most)),
            Promise::Above(most) => (
                format!("≤ {most:.1} {unit} more"),
                peer.map(|(_, theirs)| ours - theirs <= most),
            ),
            Promise::AtMost(most) => (format!("≤ {most} {unit}"), Some(ours <= most)),
            Promise::AtLeast(least) => (format!("≥ {least} {unit}"), Some(ours >= least)),
            Promise::Nothing => (String::new(), None),
        };
        let verdict = match kept {
            Some(true) => " ok",
            Some(false) => " SHORT",
            None => "",
        };
        self.lines.push([
            what.to_owned(),
            format!("{ours:.2} {unit}"),
            peer.map_or("-".to_owned(), |(name, theirs)| {
                format!("{name} {theirs:.2} {unit}")
            }),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}x")),
            format!("{promised}{verdict}"),
        ]);
    }

    /// Prints everything that was added.
    pub(crate) fn print(&self) {
        if self.lines.is_empty() {
            return;
        }
        let head = ["figure", "outlast", "peer", "ratio", "promised"].map(str::to_owned);
        let all: Vec<&[String; 5]> = std::iter::once(&head).chain(&self.lines).collect();
        let width = |column: usize| {
            all.iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        for line in all {
            let cells = line
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}
