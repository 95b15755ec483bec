//! Decisions about syncs.

use super::DeniedKind;
use crate::{
    host::LOCAL,
    sync::{self, BadTarget, PATH_MAX_BYTES, Seen, Sync, SyncState, TARGET_NOT_EMPTY},
};

/// Most patterns that one sync takes; who needs more writes them into a file `.outlastignore`.
pub const PATTERNS_MAX: usize = 1000;
/// Longest pattern, bytes: no path is longer, and what is matched against all of them must end in time.
pub const PATTERN_MAX_BYTES: usize = PATH_MAX_BYTES;

/// A refusal about a sync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No source.
    #[error("the source is empty")]
    EmptySource,
    /// A relative source.
    #[error("the source {0:?} is not absolute")]
    RelativeSource(String),
    /// A NUL byte in the source.
    #[error("the source holds a NUL byte, which no path can have")]
    NulSource,
    /// Longer than any path.
    #[error("the source is {0} bytes long; a path has at most {PATH_MAX_BYTES}")]
    LongSource(usize),
    /// All of this machine.
    #[error("a whole machine cannot be a source: / is refused")]
    RootSource,
    /// No target.
    #[error(transparent)]
    Target(#[from] BadTarget),
    /// Too many patterns.
    #[error("{0} patterns are given; a sync takes at most {PATTERNS_MAX}")]
    Patterns(usize),
    /// A pattern that is longer than any path.
    #[error("a pattern of {0} bytes is given; none fits more than {PATTERN_MAX_BYTES}")]
    LongPattern(usize),
    /// Nothing a second.
    #[error("a limit of 0 bytes a second would send nothing at all")]
    NoRate,
    /// Both are on this machine, and one holds the other.
    #[error("source {source_dir} and target {target} overlap: it would copy its own copies")]
    Overlap {
        /// The directory here.
        source_dir: String,
        /// The directory it was to go to.
        target: String,
    },
    /// It pauses.
    #[error("sync {sync} is paused")]
    Paused {
        /// Its name.
        sync: String,
    },
    /// There is nothing in its target to be asked about.
    #[error(
        "sync {sync} does not wait for a word about what its target holds, so there is nothing to preview"
    )]
    NoPreview {
        /// Its name.
        sync: String,
    },
    /// It waits for a confirmation.
    #[error("sync {sync} is halted: {why}")]
    Halted {
        /// Its name.
        sync: String,
        /// What it says for people.
        why: String,
    },
}

impl Denied {
    /// How it counts.
    #[must_use]
    pub const fn kind(&self) -> DeniedKind {
        match self {
            Self::Paused { .. } | Self::NoPreview { .. } | Self::Halted { .. } => DeniedKind::WrongState,
            _ => DeniedKind::Usage,
        }
    }

    /// What helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::EmptySource | Self::NulSource | Self::LongSource(_) => {
                "name a directory of this machine: outlast sync add . HOST:PATH".to_owned()
            }
            Self::RelativeSource(_) => "give the whole path, from / on".to_owned(),
            Self::RootSource | Self::Target(BadTarget::Root | BadTarget::Home) => {
                "name a directory in it: outlast sync add LOCAL HOST:PATH".to_owned()
            }
            Self::Target(BadTarget::OtherHome(_)) => {
                "give the whole path; a directory that is called so is ./~NAME".to_owned()
            }
            Self::Target(BadTarget::Empty | BadTarget::StepsBack(_)) => {
                "give a path from / on, or from the home directory there on".to_owned()
            }
            Self::Target(BadTarget::Nul | BadTarget::Long(_)) => {
                "name another directory there: outlast sync add LOCAL HOST:PATH".to_owned()
            }
            Self::Patterns(_) | Self::LongPattern(_) => {
                "put them into a file .outlastignore in the source".to_owned()
            }
            Self::NoRate => "leave the limit out to set none".to_owned(),
            Self::Overlap { .. } => "choose a target outside of the source".to_owned(),
            Self::Paused { sync } => format!("outlast sync resume {sync}"),
            Self::NoPreview { sync } => format!("outlast sync show {sync}"),
            Self::Halted { sync, .. } => {
                format!(
                    "if it should go on all the same: outlast sync resume {sync} --confirm; outlast sync show {sync} \
                     tells more"
                )
            }
        })
    }
}

/// A sync as it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The directory here.
    pub source: &'a str,
    /// The directory there.
    pub target: &'a str,
    /// Patterns.
    pub exclude: &'a [String],
    /// Bytes a second it may send.
    pub limit_bytes: Option<u64>,
}

/// Whether a sync may be made, as far as its words tell; the target as it is kept.
///
/// # Errors
/// The first thing that is wrong.
pub fn create(asked: &Asked<'_>) -> Result<String, Denied> {
    let source = asked.source;
    match source {
        "" => return Err(Denied::EmptySource),
        _ if source.contains('\0') => return Err(Denied::NulSource),
        _ if source.len() > PATH_MAX_BYTES => return Err(Denied::LongSource(source.len())),
        _ if !source.starts_with('/') => {
            return Err(Denied::RelativeSource(source.chars().take(80).collect()));
        }
        _ => {}
    }
    let target = sync::target(asked.target)?;
    if asked.exclude.len() > PATTERNS_MAX {
        return Err(Denied::Patterns(asked.exclude.len()));
    }
    let longest = asked.exclude.iter().map(String::len).max().unwrap_or(0);
    if longest > PATTERN_MAX_BYTES {
        return Err(Denied::LongPattern(longest));
    }
    if asked.limit_bytes == Some(0) {
        return Err(Denied::NoRate);
    }
    Ok(target)
}

/// Whether a sync may have these directories, both absolute and without symbolic links; the target is one of this machine
/// when the host is `local`.
///
/// # Errors
/// When the source is all of a machine, or they overlap.
pub fn places(source: &str, host: &str, target: &str) -> Result<(), Denied> {
    if source == "/" {
        return Err(Denied::RootSource);
    }
    if host == LOCAL && sync::overlap(source, target) {
        return Err(Denied::Overlap {
            source_dir: source.to_owned(),
            target: target.to_owned(),
        });
    }
    Ok(())
}

/// What comes of a wish about a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This is to be written before the sync is told.
    Write(Box<Sync>),
    /// There is nothing to write; it is told all the same.
    Tell,
}

fn wanted(sync: &Sync, wanted: Sync) -> Wanted {
    if *sync == wanted {
        Wanted::Tell
    } else {
        Wanted::Write(Box::new(wanted))
    }
}

/// What comes of a wish to pause.
#[must_use]
pub fn pause(sync: &Sync) -> Wanted {
    let seen = Seen {
        state: SyncState::Paused,
        reason: None,
        message: None,
        ..sync.seen.clone()
    };
    let paused = Sync {
        paused: true,
        seen,
        ..sync.clone()
    };
    wanted(sync, paused)
}

/// What comes of a wish to go on.
///
/// # Errors
/// When it is halted and that is not confirmed.
pub fn resume(sync: &Sync, confirm: bool) -> Result<Wanted, Denied> {
    let halted = sync.seen.state == SyncState::Halted;
    if halted && !confirm {
        return Err(halt(sync));
    }
    let takes_over = waits_for_a_word(sync);
    let mut resumed = Sync {
        paused: false,
        occupied: sync.occupied || takes_over,
        ..sync.clone()
    };
    if sync.paused || halted {
        resumed.seen = Seen {
            state: SyncState::Starting,
            reason: None,
            message: None,
            ..sync.seen.clone()
        };
    }
    Ok(wanted(sync, resumed))
}

/// What comes of a wish to compare everything anew.
#[must_use]
pub fn reset(sync: &Sync, adopt: bool) -> Wanted {
    // A wish to replace is not taken back by a smaller one.
    let reset = if adopt || sync.resetting == Some(sync::Reset::Adopt) {
        sync::Reset::Adopt
    } else {
        sync::Reset::Compare
    };
    let resetting = Sync {
        resetting: Some(reset),
        occupied: sync.occupied || adopt,
        ..sync.clone()
    };
    wanted(sync, resetting)
}

/// Whether it can be said what going on would do to what the target holds.
///
/// # Errors
/// When that is not what the sync waits for: of what it wrote itself a preview knows nothing.
pub fn preview(sync: &Sync) -> Result<(), Denied> {
    if waits_for_a_word(sync) {
        return Ok(());
    }
    Err(Denied::NoPreview {
        sync: sync.name.to_string(),
    })
}

/// Whether it is halted because of what its target holds.
fn waits_for_a_word(sync: &Sync) -> bool {
    sync.seen.state == SyncState::Halted && sync.seen.reason.as_deref() == Some(TARGET_NOT_EMPTY)
}

/// Whether everything can be had there as things stand.
///
/// # Errors
/// When nothing moves before somebody says so.
pub fn flush(sync: &Sync) -> Result<(), Denied> {
    match sync.seen.state {
        SyncState::Paused => Err(Denied::Paused {
            sync: sync.name.to_string(),
        }),
        SyncState::Halted => Err(halt(sync)),
        _ => Ok(()),
    }
}

fn halt(sync: &Sync) -> Denied {
    let seen = &sync.seen;
    let why = seen.message.as_ref().or(seen.reason.as_ref());
    Denied::Halted {
        sync: sync.name.to_string(),
        why: why
            .cloned()
            .unwrap_or_else(|| "it waits for a confirmation".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::Id,
        sync::{Reset, SyncMode},
    };

    fn row() -> Sync {
        Sync {
            id: Id::random(),
            name: "web".parse().unwrap(),
            source: "/src/web".to_owned(),
            host: "far".to_owned(),
            target: "web".to_owned(),
            mode: SyncMode::Mirror,
            exclude: Vec::new(),
            no_gitignore: false,
            git_dir: false,
            limit_bytes: None,
            created_at: 0,
            paused: false,
            occupied: false,
            resetting: None,
            seen: Seen {
                state: SyncState::Watching,
                ..Seen::default()
            },
        }
    }

    fn halted(reason: &str) -> Sync {
        Sync {
            seen: Seen {
                state: SyncState::Halted,
                reason: Some(reason.to_owned()),
                message: Some("half of it is gone".to_owned()),
                ..Seen::default()
            },
            ..row()
        }
    }

    fn written(wanted: Wanted) -> Sync {
        match wanted {
            Wanted::Write(sync) => *sync,
            Wanted::Tell => panic!("there is something to write"),
        }
    }

    #[test]
    fn what_is_asked_for_is_checked_word_by_word() {
        let patterns = vec!["x".to_owned(); PATTERNS_MAX + 1];
        let long = vec!["x".repeat(PATTERN_MAX_BYTES + 1)];
        let good = Asked {
            source: "/src",
            target: "~/x/",
            exclude: &patterns[1..],
            limit_bytes: Some(1),
        };
        assert_eq!(create(&good).as_deref(), Ok("x"));
        for (asked, denied) in [
            (Asked { source: "", ..good }, Denied::EmptySource),
            (
                Asked {
                    source: "src",
                    ..good
                },
                Denied::RelativeSource("src".to_owned()),
            ),
            (
                Asked {
                    source: "/\0",
                    ..good
                },
                Denied::NulSource,
            ),
            (Asked { target: "~", ..good }, Denied::Target(BadTarget::Home)),
            (
                Asked {
                    exclude: &patterns,
                    ..good
                },
                Denied::Patterns(PATTERNS_MAX + 1),
            ),
            (
                Asked {
                    exclude: &long,
                    ..good
                },
                Denied::LongPattern(PATTERN_MAX_BYTES + 1),
            ),
            (
                Asked {
                    limit_bytes: Some(0),
                    ..good
                },
                Denied::NoRate,
            ),
        ] {
            assert_eq!(create(&asked), Err(denied.clone()));
            assert_eq!(denied.kind(), DeniedKind::Usage);
            assert!(denied.hint().is_some(), "{denied}");
        }
    }

    #[test]
    fn on_one_machine_source_and_target_lie_apart() {
        assert!(places("/a", LOCAL, "/b").is_ok());
        assert!(places("/a", "far", "/a/b").is_ok());
        for (source, target) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a")] {
            let denied = places(source, LOCAL, target).unwrap_err();
            assert!(matches!(denied, Denied::Overlap { .. }), "{denied}");
        }
        assert_eq!(places("/", "far", "/x"), Err(Denied::RootSource));
    }

    #[test]
    fn a_pause_lasts_until_it_is_resumed() {
        let paused = written(pause(&row()));
        assert!(paused.paused);
        assert_eq!(paused.seen.state, SyncState::Paused);
        assert_eq!(pause(&paused), Wanted::Tell);
        assert!(matches!(flush(&paused), Err(Denied::Paused { .. })));
        let resumed = written(resume(&paused, false).unwrap());
        assert_eq!((resumed.paused, resumed.seen.state), (false, SyncState::Starting));
        assert_eq!(resume(&row(), false), Ok(Wanted::Tell));
    }

    #[test]
    fn what_is_halted_goes_on_only_when_that_is_confirmed() {
        let sync = halted("mass_deletion");
        let denied = resume(&sync, false).unwrap_err();
        assert_eq!(denied.kind(), DeniedKind::WrongState);
        assert!(denied.to_string().contains("half of it is gone"), "{denied}");
        assert!(
            denied
                .hint()
                .unwrap()
                .contains("outlast sync resume web --confirm"),
            "{denied:?}"
        );
        assert!(flush(&sync).is_err());
        let confirmed = written(resume(&sync, true).unwrap());
        assert!(!confirmed.occupied, "only what is asked about is confirmed");
        let confirmed = written(resume(&halted(TARGET_NOT_EMPTY), true).unwrap());
        assert!(confirmed.occupied);
        // A pause hides a halt, and the way out of it confirms nothing.
        let paused = written(pause(&halted(TARGET_NOT_EMPTY)));
        assert!(!written(resume(&paused, true).unwrap()).occupied);
    }

    #[test]
    fn only_what_waits_for_a_word_about_its_target_has_a_preview() {
        assert_eq!(preview(&halted(TARGET_NOT_EMPTY)), Ok(()));
        for sync in [
            row(),
            halted("mass_deletion"),
            written(pause(&halted(TARGET_NOT_EMPTY))),
        ] {
            let denied = preview(&sync).unwrap_err();
            assert_eq!(denied.kind(), DeniedKind::WrongState);
            assert_eq!(denied.hint().as_deref(), Some("outlast sync show web"));
        }
    }

    #[test]
    fn a_wish_to_replace_is_not_taken_back_by_a_smaller_one() {
        let compare = written(reset(&row(), false));
        assert_eq!(
            (compare.resetting, compare.occupied),
            (Some(Reset::Compare), false)
        );
        let adopt = written(reset(&compare, true));
        assert_eq!((adopt.resetting, adopt.occupied), (Some(Reset::Adopt), true));
        assert_eq!(reset(&adopt, false), Wanted::Tell);
        assert!(flush(&adopt).is_ok());
    }
}
