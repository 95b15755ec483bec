//! The parts of the dashboard.

/// One list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Sessions,
    Jobs,
    Syncs,
    Hosts,
    Events,
}

impl Section {
    /// All of them, from top to bottom.
    pub const ALL: [Self; 5] = [Self::Sessions, Self::Jobs, Self::Syncs, Self::Hosts, Self::Events];

    /// Where it stands among all of them.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions",
            Self::Jobs => "Jobs",
            Self::Syncs => "Syncs",
            Self::Hosts => "Hosts",
            Self::Events => "Events",
        }
    }

    /// The one that has a key: `1` is the first.
    pub fn of_key(key: char) -> Option<Self> {
        let number = usize::try_from(key.to_digit(10)?).ok()?;
        Self::ALL.get(number.checked_sub(1)?).copied()
    }

    /// The one below; the first after the last.
    pub fn next(self) -> Self {
        Self::ALL[(self.index() + 1) % Self::ALL.len()]
    }

    /// The one above; the last before the first.
    pub fn previous(self) -> Self {
        Self::ALL[(self.index() + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}
