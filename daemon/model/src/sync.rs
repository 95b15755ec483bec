//! Syncs: continuous one-way mirrors of a directory of this machine to a directory on a host.
//!
//! ```text
//!   starting ──► scanning ──► pushing ◄──► watching
//!       ▲            └──────────┴────────────┴──► disconnected | error   (goes on by itself)
//!       │                                    └──► paused | halted        (until somebody says so)
//!       └────────────────────────────────────────────┘
//! ```
//!
//! What a sync is doing is seen anew by every daemon; what is kept of it is what was seen last, and what somebody wants.

use std::{fmt, str::FromStr};

use crate::{BadWord, id::Id, job::TimeMs, name::Name};

/// What a sync is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncState {
    /// It has just begun, or was told to go on.
    Starting,
    /// It looks at the whole source.
    Scanning,
    /// All that can be there is there; changes are waited for.
    Watching,
    /// Changes are on their way.
    Pushing,
    /// It was told to pause.
    Paused,
    /// It does not go on before somebody confirms that it should.
    Halted,
    /// Its host is away. Changes are collected.
    Disconnected,
    /// It cannot go on, and tries again by itself.
    Error,
}

impl SyncState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Scanning,
        Self::Watching,
        Self::Pushing,
        Self::Paused,
        Self::Halted,
        Self::Disconnected,
        Self::Error,
    ];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Scanning => "scanning",
            Self::Watching => "watching",
            Self::Pushing => "pushing",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Disconnected => "disconnected",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SyncState {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| BadWord::new("sync state", text))
    }
}

/// What a sync does about what is gone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncMode {
    /// It goes there too, if the sync wrote it.
    Mirror,
    /// Nothing is deleted.
    Update,
}

impl SyncMode {
    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Update => "update",
        }
    }
}

impl FromStr for SyncMode {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        [Self::Mirror, Self::Update]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| BadWord::new("sync mode", text))
    }
}

/// A wish to compare everything anew that was not fulfilled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reset {
    /// What differs there and is not the sync's stays.
    Compare,
    /// What differs there is replaced.
    Adopt,
}

impl Reset {
    /// The word it is kept by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Adopt => "adopt",
        }
    }
}

impl FromStr for Reset {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        [Self::Compare, Self::Adopt]
            .into_iter()
            .find(|reset| reset.as_str() == text)
            .ok_or_else(|| BadWord::new("kind of reset", text))
    }
}

/// The reason of a halt that a confirmation answers by taking over what is there.
pub const TARGET_NOT_EMPTY: &str = "target_not_empty";

/// What is kept of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// The directory here: absolute, without symbolic links.
    pub source: String,
    /// Host it goes to.
    pub host: String,
    /// The directory there as it was asked for: absolute, or relative to the home directory there; see [`target`].
    pub target: String,
    /// What it does about what is gone here.
    pub mode: SyncMode,
    /// Patterns that were given with it.
    pub exclude: Vec<String>,
    /// Git's rules do not count.
    pub no_gitignore: bool,
    /// `.git` counts.
    pub git_dir: bool,
    /// Bytes a second it may send. Absent: as many as there is room for.
    pub limit_bytes: Option<u64>,
    /// When it was accepted.
    pub created_at: TimeMs,
    /// Somebody told it to pause.
    pub paused: bool,
    /// Somebody said that what is there at paths of the source may be replaced at the first contact.
    pub occupied: bool,
    /// Somebody wants everything compared anew, and it was not yet.
    pub resetting: Option<Reset>,
    /// What was seen last.
    pub seen: Seen,
}

impl Sync {
    /// The directory there as well as it is known.
    #[must_use]
    pub fn place(&self) -> &str {
        self.seen.target.as_deref().unwrap_or(&self.target)
    }
}

/// What was seen of a sync last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it is doing.
    pub state: SyncState,
    /// Machine-readable cause of the state.
    pub reason: Option<String>,
    /// The same for people, one sentence.
    pub message: Option<String>,
    /// Files of the source that are on the host as they are here.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that are not there yet.
    pub pending_files: u64,
    /// Bytes in them.
    pub pending_bytes: u64,
    /// How many paths are not as they should be.
    pub problem_count: u64,
    /// When everything was last there.
    pub synced_at: Option<TimeMs>,
    /// The directory there, absolute. Absent: the host was not reached yet.
    pub target: Option<String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            state: SyncState::Starting,
            reason: None,
            message: None,
            files: 0,
            bytes: 0,
            pending_files: 0,
            pending_bytes: 0,
            problem_count: 0,
            synced_at: None,
            target: None,
        }
    }
}

impl Seen {
    /// Whether the log of events is to tell of the change from `before` to this.
    #[must_use]
    pub fn is_news(&self, before: &Self) -> bool {
        (self.state, &self.reason) != (before.state, &before.reason)
    }
}

/// Longest path, bytes, without the final NUL.
pub const PATH_MAX_BYTES: usize = 4095;

/// Why a target cannot be used. The message is the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Nothing.
    #[error("the target is empty")]
    Empty,
    /// All of a machine.
    #[error("a whole machine cannot be a target: / is refused")]
    Root,
    /// All of a home.
    #[error("a whole home directory cannot be a target; name a directory in it")]
    Home,
    /// Somebody's home by the shell's word for it.
    #[error("the target {0:?} begins with the home of another user, which is not looked up")]
    OtherHome(String),
    /// A step back.
    #[error("the target {0:?} has a `..` in it")]
    StepsBack(String),
    /// A NUL byte.
    #[error("the target holds a NUL byte, which no path can have")]
    Nul,
    /// Longer than any path.
    #[error("the target is {0} bytes long; a path has at most {PATH_MAX_BYTES}")]
    Long(usize),
}

/// A target as it is kept: absolute or relative to the home directory, each part once, no slash at its end.
///
/// # Errors
/// When it is none.
pub fn target(text: &str) -> Result<String, BadTarget> {
    if text.is_empty() {
        return Err(BadTarget::Empty);
    }
    if text.contains('\0') {
        return Err(BadTarget::Nul);
    }
    if text.len() > PATH_MAX_BYTES {
        return Err(BadTarget::Long(text.len()));
    }
    let shown = || text.chars().take(80).collect();
    let mut parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let absolute = text.starts_with('/');
    if !absolute && text.starts_with('~') {
        match parts.first() {
            Some(&"~") => drop(parts.remove(0)),
            _ => return Err(BadTarget::OtherHome(shown())),
        }
    }
    if parts.contains(&"..") {
        return Err(BadTarget::StepsBack(shown()));
    }
    match (absolute, parts.is_empty()) {
        (true, true) => Err(BadTarget::Root),
        (false, true) => Err(BadTarget::Home),
        (true, false) => Ok(format!("/{}", parts.join("/"))),
        // Who means a directory called ~ has to keep it apart from the home directory.
        (false, false) if parts[0].starts_with('~') => Ok(format!("./{}", parts.join("/"))),
        (false, false) => Ok(parts.join("/")),
    }
}

/// Whether one of two directories is the other or lies in it. Both are absolute, or both relative to the same place;
/// otherwise nobody can tell, and they do not.
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || outer == "/")
    };
    one.starts_with('/') == other.starts_with('/') && (inside(one, other) || inside(other, one))
}

/// What a sync of this source is called when nobody says otherwise: the last part of the path, as far as names go.
#[must_use]
pub fn name_of(source: &str) -> Name {
    let last = source
        .rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    let text: String = last
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_.-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let text: String = text.chars().take(Name::LONGEST).collect();
    let text = text.trim_end_matches('-');
    text.parse().unwrap_or_else(|_nothing_left| Name::plain("sync"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for state in SyncState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        for mode in [SyncMode::Mirror, SyncMode::Update] {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        for reset in [Reset::Compare, Reset::Adopt] {
            assert_eq!(reset.as_str().parse(), Ok(reset));
        }
        assert_eq!(
            "gone".parse::<SyncState>().unwrap_err().to_string(),
            "\"gone\" is no sync state"
        );
    }

    #[test]
    fn a_target_has_one_spelling() {
        for (text, kept) in [
            ("/srv/app", "/srv/app"),
            ("//srv/./app//", "/srv/app"),
            ("app", "app"),
            ("./app/", "app"),
            ("~/app", "app"),
            ("a b/ü", "a b/ü"),
            ("a~", "a~"),
            ("./~", "./~"),
            ("./~x/y", "./~x/y"),
        ] {
            assert_eq!(target(text).as_deref(), Ok(kept), "{text}");
            assert_eq!(target(kept).as_deref(), Ok(kept), "{text}");
        }
        for (text, rule) in [
            ("", BadTarget::Empty),
            ("/", BadTarget::Root),
            ("//.", BadTarget::Root),
            ("~", BadTarget::Home),
            ("~/", BadTarget::Home),
            (".", BadTarget::Home),
            ("a\0", BadTarget::Nul),
            ("~bob/x", BadTarget::OtherHome("~bob/x".to_owned())),
            ("../x", BadTarget::StepsBack("../x".to_owned())),
            ("/a/../b", BadTarget::StepsBack("/a/../b".to_owned())),
        ] {
            assert_eq!(target(text), Err(rule), "{text:?}");
        }
        let long = "x".repeat(PATH_MAX_BYTES + 1);
        assert_eq!(target(&long), Err(BadTarget::Long(PATH_MAX_BYTES + 1)));
    }

    #[test]
    fn directories_overlap_when_one_holds_the_other() {
        for (one, other) in [("/a", "/a"), ("/a", "/a/b"), ("a/b", "a"), ("/", "/x")] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [("/a", "/ab"), ("a", "/a"), ("/a/b", "/a/c")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
        }
    }

    #[test]
    fn every_source_has_a_name() {
        let long = format!("/{}", "x".repeat(300));
        for (source, name) in [
            ("/home/me/web-app", "web-app"),
            ("/home/me/My App (2)", "My-App--2"),
            ("/srv/.dotfiles", "dotfiles"),
            ("/srv/ü", "sync"),
            ("/", "sync"),
            (&long, &long[1..64]),
        ] {
            assert_eq!(name_of(source).as_str(), name, "{source}");
        }
    }

    #[test]
    fn only_a_state_or_its_cause_is_news() {
        let before = Seen::default();
        let more = Seen {
            files: 5,
            message: Some("x".to_owned()),
            ..before.clone()
        };
        assert!(!more.is_news(&before));
        let halted = Seen {
            reason: Some("source_missing".to_owned()),
            ..before.clone()
        };
        assert!(halted.is_news(&before));
    }
}
