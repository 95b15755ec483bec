//! What is not on the host as it is here, and why: what the host refused, and what could not be read.

use std::collections::BTreeMap;

use outlast_client::helper_v1::{SyncOutcome, SyncRefusal};
use outlast_tree::RelPath;

use crate::{
    plan::is_at_or_below,
    problem::{Problem, ProblemKind},
    root::Seen,
};

/// By path.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// What the host refused, with what was seen here then. It is not tried again before something else is seen.
    by_host: BTreeMap<RelPath, (Option<Seen>, Problem)>,
    /// What could not be read here. It is tried again whenever it is looked at.
    here: BTreeMap<RelPath, Problem>,
    /// What was left out when it was looked at.
    looked: BTreeMap<Vec<u8>, Problem>,
    /// Something of it is not as it was when that was asked last.
    changed: bool,
}

impl Refused {
    /// Whether just this was refused, or a directory above it was.
    pub(crate) fn is(&self, path: &[u8], seen: Option<&Seen>) -> bool {
        if self.by_host.is_empty() {
            return false;
        }
        let at = |path: &[u8]| self.by_host.get(&RelPath::new(path).ok()?);
        at(path).is_some_and(|(was, _)| was.as_ref() == seen)
            || (seen.is_some() && above(path).any(|dir| at(dir).is_some_and(|(was, _)| was.is_some())))
    }

    /// Notes what the host refused.
    pub(crate) fn by_host(&mut self, path: RelPath, seen: Option<Seen>, problem: Problem) {
        self.changed = true;
        self.by_host.insert(path, (seen, problem));
    }

    /// Notes what could not be read.
    pub(crate) fn here(&mut self, path: RelPath, problem: Problem) {
        self.changed = true;
        self.here.insert(path, problem);
    }

    /// It is there now, or is to be tried again, and with it what is below.
    pub(crate) fn is_there(&mut self, path: &RelPath) {
        if self.by_host.remove(path).is_some() {
            self.changed = true;
            self.by_host.retain(|other, _| !is_at_or_below(other, path));
        }
    }

    /// Whether something of somebody else's is in the way of what is here, at this path or below.
    pub(crate) fn has_conflict(&self, path: &RelPath) -> bool {
        let mut below = self.by_host.iter().filter(|(at, _)| is_at_or_below(at, path));
        below.any(|(_, (seen, problem))| seen.is_some() && problem.kind == ProblemKind::Conflict)
    }

    /// What was refused at this path and below is tried again.
    pub(crate) fn try_again(&mut self, path: &RelPath) {
        let before = self.by_host.len();
        self.by_host.retain(|at, _| !is_at_or_below(at, path));
        self.changed |= self.by_host.len() != before;
    }

    /// Everything is tried again.
    pub(crate) fn forget(&mut self) {
        self.changed |= !self.by_host.is_empty() || !self.here.is_empty();
        self.by_host.clear();
        self.here.clear();
    }

    /// Everything or a part was looked at: what is not as it was is forgotten, with what was refused only because of it, and
    /// what was left out is noted.
    pub(crate) fn looked(
        &mut self,
        was_looked_at: impl Fn(&[u8]) -> bool,
        seen: impl Fn(&[u8]) -> Option<Seen>,
        problems: Vec<Problem>,
    ) {
        let before = self.by_host.len() + self.here.len() + self.looked.len();
        let gone: Vec<RelPath> = self
            .by_host
            .iter()
            .filter(|(path, (was, _))| was_looked_at(path) && *was != seen(path))
            .map(|(path, _)| path.clone())
            .collect();
        for path in &gone {
            self.is_there(path);
        }
        self.here.retain(|path, _| !was_looked_at(path));
        self.looked.retain(|path, _| !was_looked_at(path));
        let left = self.by_host.len() + self.here.len() + self.looked.len();
        self.changed |= before != left || !problems.is_empty();
        self.looked.extend(
            problems
                .into_iter()
                .map(|problem| (problem.path.clone(), problem)),
        );
    }

    /// Whether something of it is not as it was when this was asked last.
    pub(crate) fn have_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All of them but those that follow from another one, by path.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        let by_host = self.by_host.iter().filter(|(path, (seen, _))| {
            let of_a_put = |dir: &[u8]| {
                let dir = RelPath::new(dir).ok();
                dir.and_then(|dir| self.by_host.get(&dir))
                    .is_some_and(|(seen, _)| seen.is_some())
            };
            seen.is_none() || !above(path).any(of_a_put)
        });
        by_host
            .map(|(_, (_, problem))| problem)
            .chain(self.here.values())
            .chain(self.looked.values())
    }
}

/// The directories above a path, without the root.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    slashes.map(|at| &path[..at])
}

/// The problem that a refusal makes. None: it was done, or the content is to be sent again.
pub(crate) fn problem(path: &RelPath, outcome: &SyncOutcome) -> Option<Problem> {
    let kind = match outcome.refusal() {
        SyncRefusal::Unspecified | SyncRefusal::Need => return None,
        SyncRefusal::Conflict => ProblemKind::Conflict,
        SyncRefusal::Name => ProblemKind::NameRefused,
        SyncRefusal::Clash => ProblemKind::NameClash,
        SyncRefusal::Permission => ProblemKind::NotPermitted,
        SyncRefusal::Full => ProblemKind::DiskFull,
        SyncRefusal::NotEmpty => ProblemKind::NotEmpty,
        SyncRefusal::TooLarge => ProblemKind::TooLarge,
        SyncRefusal::Failed => ProblemKind::Failed,
    };
    Some(Problem::new(path, kind, outcome.message.clone()))
}

#[cfg(test)]
mod tests {
    use outlast_tree::{Kind, StatKey};

    use super::*;

    fn path(bytes: &[u8]) -> RelPath {
        RelPath::new(bytes).expect("a path")
    }

    fn seen(size: u64) -> Seen {
        Seen {
            kind: Kind::File,
            mode: 0o644,
            special_bits: false,
            key: StatKey {
                size,
                ..StatKey::default()
            },
        }
    }

    fn conflict(at: &[u8]) -> Problem {
        Problem::new(at, ProblemKind::Conflict, "it is another's")
    }

    #[test]
    fn only_what_is_here_and_in_conflict_there_can_be_solved() {
        let mut refused = Refused::default();
        refused.by_host(path(b"d/a"), Some(seen(1)), conflict(b"d/a"));
        refused.by_host(path(b"d/gone"), None, conflict(b"d/gone"));
        let full = Problem::new(b"full", ProblemKind::DiskFull, "no room");
        refused.by_host(path(b"full"), Some(seen(1)), full);
        for (at, has) in [
            (&b"d"[..], true),
            (b"d/a", true),
            (b"d/gone", false),
            (b"full", false),
            (b"d/a/b", false),
        ] {
            assert_eq!(refused.has_conflict(&path(at)), has, "{}", at.escape_ascii());
        }
        refused.try_again(&path(b"d"));
        assert_eq!(refused.problems().count(), 1);
    }

    #[test]
    fn the_same_is_not_tried_again_and_what_is_below_is_not_told() {
        let mut refused = Refused::default();
        assert!(!refused.is(b"a", Some(&seen(1))));
        refused.by_host(path(b"a"), Some(seen(1)), conflict(b"a"));
        refused.by_host(path(b"a/b"), Some(seen(2)), conflict(b"a/b"));
        refused.by_host(path(b"z"), None, conflict(b"z"));
        assert!(refused.is(b"a", Some(&seen(1))) && !refused.is(b"a", Some(&seen(2))));
        assert!(refused.is(b"a/c", Some(&seen(9))) && !refused.is(b"ab", Some(&seen(9))));
        assert!(refused.is(b"z", None) && !refused.is(b"z", Some(&seen(1))));
        let told: Vec<_> = refused.problems().map(|problem| problem.path.clone()).collect();
        assert_eq!(told, [b"a".to_vec(), b"z".to_vec()]);
        // Another look finds another file.
        refused.looked(|at| at == b"a", |_| Some(seen(3)), Vec::new());
        assert!(!refused.is(b"a", Some(&seen(1))));
        refused.forget();
        assert_eq!(refused.problems().count(), 0);
    }
}
