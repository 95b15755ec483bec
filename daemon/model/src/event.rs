//! Events: the append-only, numbered log of everything that changed.
//!
//! Every kind, its subject and the keys of its `data` (a JSON object; a key whose value is not known is left out):
//!
//! | kind | subject | data |
//! |---|---|---|
//! | `job.state` | id of the job | `name host state cancelling exit_code signal reason started_at ended_at log_bytes` |
//! | `job.removed` | id of the job | `name host state` (its last) |
//! | `session.state` | id of the session | `name host state run stopping deleting pid exit_code signal reason started_at ended_at` |
//! | `session.activity` | id of the session | `name host activity source message since`; without `activity` it is not known |
//! | `session.removed` | id of the session | `name host state` (its last) |
//! | `sync.state` | id of the sync | `name host state reason message files bytes pending_files pending_bytes problem_count last_synced_at` |
//! | `sync.removed` | id of the sync | `name host state` (its last) |
//! | `host.added` | name of the host | `kind address` |
//! | `host.removed` | name of the host | empty |
//! | `host.link` | name of the host | `link error reason next_try_at` |
//! | `daemon.started` | empty | `pid version` |
//! | `daemon.stopping` | empty | `pid version restart` (true when another takes its place at once) |
//! | `store.restored` | empty | `how` (`restored`, `rebuilt`, `salvaged`) `from` (file name of the backup) `set_aside` (file name) |
//!
//! `gap` is no kind: it is never stored, but stands in a stream for a range that is stored no longer.
//!
//! Times in `data` are RFC 3339 UTC with milliseconds.

use std::{fmt, str::FromStr};

use crate::{BadWord, job::TimeMs};

/// What happened, as `noun.what`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A job was accepted, changed its state, or was asked to end.
    JobState,
    /// A job and its log were removed.
    JobRemoved,
    /// A session was accepted, changed its state, or was asked to stop, restart or go.
    SessionState,
    /// What a session does changed, or how that is known, or what it says with it.
    SessionActivity,
    /// A session was removed.
    SessionRemoved,
    /// A sync was accepted, or changed its state or the cause of it.
    SyncState,
    /// A sync was removed.
    SyncRemoved,
    /// A host was added.
    HostAdded,
    /// A host was removed, with all that was known of it.
    HostRemoved,
    /// The connection to a host changed.
    HostLink,
    /// A daemon began to serve.
    DaemonStarted,
    /// The daemon is ending.
    DaemonStopping,
    /// The database was found damaged and was brought back; the numbering began anew.
    StoreRestored,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::JobState,
        Self::JobRemoved,
        Self::SessionState,
        Self::SessionActivity,
        Self::SessionRemoved,
        Self::SyncState,
        Self::SyncRemoved,
        Self::HostAdded,
        Self::HostRemoved,
        Self::HostLink,
        Self::DaemonStarted,
        Self::DaemonStopping,
        Self::StoreRestored,
    ];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobState => "job.state",
            Self::JobRemoved => "job.removed",
            Self::SessionState => "session.state",
            Self::SessionActivity => "session.activity",
            Self::SessionRemoved => "session.removed",
            Self::SyncState => "sync.state",
            Self::SyncRemoved => "sync.removed",
            Self::HostAdded => "host.added",
            Self::HostRemoved => "host.removed",
            Self::HostLink => "host.link",
            Self::DaemonStarted => "daemon.started",
            Self::DaemonStopping => "daemon.stopping",
            Self::StoreRestored => "store.restored",
        }
    }

    /// The part before the dot: what a filter on a whole noun names.
    #[must_use]
    pub fn noun(self) -> &'static str {
        self.as_str()
            .split_once('.')
            .map_or(self.as_str(), |(noun, _what)| noun)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| BadWord::new("kind of event", text))
    }
}

/// Whether a filter word (`job.state`, or `job` for all of a noun) fits a kind. An unknown word fits nothing.
#[must_use]
pub fn filter_fits(filter: &str, kind: &str) -> bool {
    kind == filter
        || kind
            .strip_prefix(filter)
            .is_some_and(|rest| rest.starts_with('.'))
}

/// An entry to be written; number and time are given when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened.
    pub kind: Kind,
    /// Id of the thing concerned; the name for a host; empty for the daemon itself.
    pub subject: String,
    /// A JSON object with the keys of the table above.
    pub data: String,
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number: from 1, never back within an epoch.
    pub seq: u64,
    /// When it was written.
    pub time: TimeMs,
    /// What happened. Text, so that an entry of a kind this build does not know is passed on as it is.
    pub kind: String,
    /// Id of the thing concerned; the name for a host; may be empty.
    pub subject: String,
    /// A JSON object.
    pub data: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_have_a_noun() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert!(filter_fits(kind.noun(), kind.as_str()), "{kind}");
            assert!(filter_fits(kind.as_str(), kind.as_str()), "{kind}");
        }
        assert!("gap".parse::<Kind>().is_err());
    }

    #[test]
    fn a_filter_is_a_kind_or_a_whole_noun() {
        assert!(!filter_fits("jo", "job.state"));
        assert!(!filter_fits("", "job.state"));
        assert!(!filter_fits("job.", "job.state"));
        assert!(!filter_fits("job.state.x", "job.state"));
        assert!(!filter_fits("session", "job.state"));
    }
}
