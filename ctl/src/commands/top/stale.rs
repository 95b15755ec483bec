//! What has to be asked again because of events, gathered until it is asked.

use std::collections::BTreeSet;

use outlast_client::v1;

/// More things than that are asked by one call for everything.
const MANY: usize = 12;

/// What is not known as it is now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stale {
    pub all: bool,
    pub hosts: bool,
    pub sessions: BTreeSet<String>,
    pub jobs: BTreeSet<String>,
    pub syncs: BTreeSet<String>,
}

impl Stale {
    /// Nothing is known.
    pub fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Something changed.
    pub fn note(&mut self, event: &v1::Event) {
        let (noun, what) = event.kind.split_once('.').unwrap_or((&event.kind, ""));
        let things = match noun {
            "session" => &mut self.sessions,
            "job" => &mut self.jobs,
            "sync" => &mut self.syncs,
            "host" => {
                self.hosts = true;
                return;
            }
            "gap" | "daemon" | "store" => {
                self.all = true;
                return;
            }
            // A noun of a later version is none that is shown.
            _ => return,
        };
        if what == "removed" {
            things.remove(&event.subject);
        } else {
            things.insert(event.subject.clone());
        }
    }

    /// All that is to be asked now. Nothing is left.
    pub fn take(&mut self) -> Self {
        let mut taken = std::mem::take(self);
        if taken.sessions.len() + taken.jobs.len() + taken.syncs.len() > MANY {
            taken.all = true;
        }
        if taken.all { Self::everything() } else { taken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, subject: &str) -> v1::Event {
        v1::Event {
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            ..v1::Event::default()
        }
    }

    #[test]
    fn each_event_says_what_it_concerns_and_many_are_everything() {
        let mut stale = Stale::default();
        for (kind, subject) in [
            ("session.state", "a"),
            ("session.activity", "a"),
            ("session.state", "b"),
            ("session.removed", "b"),
            ("job.state", "j"),
            ("host.link", "build1"),
            ("moon.phase", "m"),
        ] {
            stale.note(&event(kind, subject));
        }
        let taken = stale.take();
        assert!(stale.is_empty());
        assert_eq!((taken.all, taken.hosts), (false, true));
        assert_eq!(Vec::from_iter(&taken.sessions), ["a"]);
        assert_eq!(Vec::from_iter(&taken.jobs), ["j"]);
        for number in 0..20 {
            stale.note(&event("session.state", &number.to_string()));
        }
        assert_eq!(stale.take(), Stale::everything());
        stale.note(&event("gap", ""));
        assert_eq!(stale.take(), Stale::everything());
    }
}
