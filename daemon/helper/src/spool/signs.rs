//! What a run shows of what it does, as it stands in the session's directory: `activity`, which the pane writes, `terminal`,
//! which the logger does, and `answered`, which a helper does. Each is JSON of the whole, by temp + rename.
//!
//! Messages and titles in them are text of programs: plain and bounded ([`crate::plain`]), and nothing else is known of them.

use std::{
    io,
    str::FromStr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::Dir;

/// Time between two writings of one file: what changes all the time is not worth more, and nobody waits for longer.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// The same while it cannot be written: a full disk costs nothing then, and is noticed soon when it is emptied.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What a program can say that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// It works.
    Working,
    /// It waits for an answer.
    Waiting,
    /// It has nothing to do.
    Idle,
    /// Something went wrong.
    Error,
}

impl FromStr for Doing {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "working" => Ok(Self::Working),
            "waiting" => Ok(Self::Waiting),
            "idle" => Ok(Self::Idle),
            "error" => Ok(Self::Error),
            _ => Err(()),
        }
    }
}

/// A process, known by more than its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since boot.
    pub start_time: u64,
}

/// The file `activity`: what was reported last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Version of the spool, [`super::SPOOL_VERSION`].
    pub version: u32,
    /// The run that reported.
    pub run: u32,
    /// What it does.
    pub state: Doing,
    /// What it said with it; may be empty.
    #[serde(default)]
    pub message: String,
    /// Milliseconds since 1970 when it began to say just this.
    pub since_ms: i64,
    /// Milliseconds since 1970 when it said so last.
    pub at_ms: i64,
    /// The leader of the process group that had the terminal then. None: it was not known, or it is the session's own
    /// program, which lives as long as the run.
    #[serde(default)]
    pub holder: Option<Holder>,
}

/// The file `terminal`: what the terminal was told last. All times are milliseconds since 1970; 0: never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terminal {
    /// Version of the spool, [`super::SPOOL_VERSION`].
    pub version: u32,
    /// The run whose terminal it is.
    pub run: u32,
    /// Last prompt mark: A, B, C or D. Empty: none.
    pub prompt: String,
    /// When that was.
    pub prompt_ms: i64,
    /// Progress: 0 none, 1 normal, 2 error, 3 indeterminate, 4 paused.
    pub progress: u8,
    /// When that was first said.
    pub progress_ms: i64,
    /// Text of the last notification.
    pub notice: String,
    /// When that was.
    pub notice_ms: i64,
    /// When the bell last rang.
    pub bell_ms: i64,
    /// Title.
    pub title: String,
    /// When it became that.
    pub title_ms: i64,
}

/// The file `answered`: when somebody last answered through the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Version of the spool, [`super::SPOOL_VERSION`].
    pub version: u32,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

impl Dir {
    /// Reads `activity`. None: nothing was reported.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else (`InvalidData`).
    pub fn read_activity(&self) -> io::Result<Option<Activity>> {
        self.read_json(ACTIVITY)
    }

    /// Reads `terminal`. None: the terminal was told nothing.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else (`InvalidData`).
    pub fn read_terminal(&self) -> io::Result<Option<Terminal>> {
        self.read_json(TERMINAL)
    }

    /// Reads `answered`. None: nobody answered.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else (`InvalidData`).
    pub fn read_answered(&self) -> io::Result<Option<Answered>> {
        self.read_json(ANSWERED)
    }

    /// Writes `answered`.
    pub(crate) fn write_answered(&self, answered: Answered) -> io::Result<()> {
        self.write_json(ANSWERED, &answered, false)
    }
}

/// Names of the files.
pub(crate) const ACTIVITY: &str = "activity";
pub(crate) const TERMINAL: &str = "terminal";
const ANSWERED: &str = "answered";

/// Keeps a file as the last value was, without writing it more often than anybody needs.
#[derive(Debug)]
pub(crate) struct Kept {
    name: &'static str,
    /// When it may be written again.
    free_at: Option<Instant>,
    owed: bool,
}

impl Kept {
    /// Keeps the file of this name.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            free_at: None,
            owed: false,
        }
    }

    /// Says that the value changed.
    pub(crate) fn change(&mut self) {
        self.owed = true;
    }

    /// When the value has to be written. None: it was.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.owed.then(|| self.free_at.unwrap_or_else(Instant::now))
    }

    /// Writes the value if it is time to.
    pub(crate) fn write_due<T: Serialize>(&mut self, dir: &Dir, value: &T) {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.write(dir, value);
        }
    }

    /// Writes the value now, unless it was written.
    pub(crate) fn write<T: Serialize>(&mut self, dir: &Dir, value: &T) {
        if !self.owed {
            return;
        }
        self.owed = dir.exists() && dir.write_json(self.name, value, false).is_err();
        self.free_at = Instant::now().checked_add(if self.owed { TRY_EVERY } else { WRITE_EVERY });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::SPOOL_VERSION;

    #[test]
    fn fields_that_are_not_known_or_not_there_hurt_nobody() {
        let activity: Activity = serde_json::from_str(
            r#"{"version":1,"run":2,"state":"waiting","since_ms":3,"at_ms":4,"new":{}}"#,
        )
        .unwrap();
        assert_eq!((activity.state, activity.holder), (Doing::Waiting, None));
        let terminal: Terminal = serde_json::from_str(r#"{"version":1,"bell_ms":5}"#).unwrap();
        assert_eq!((terminal.run, terminal.bell_ms), (0, 5));
    }

    #[test]
    fn what_changes_all_the_time_is_written_now_and_then_and_in_the_end() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().join("d"));
        dir.create_new().unwrap();
        let mut terminal = Terminal {
            version: SPOOL_VERSION,
            ..Terminal::default()
        };
        let mut kept = Kept::new(TERMINAL);
        assert_eq!(kept.due(), None);
        for bell_ms in 1..=1000 {
            terminal.bell_ms = bell_ms;
            kept.change();
            kept.write_due(&dir, &terminal);
            assert!(bell_ms > 1 || dir.read_terminal().unwrap().unwrap().bell_ms == 1);
        }
        assert!(kept.due().is_none_or(|due| due > Instant::now()));
        kept.write(&dir, &terminal);
        assert_eq!((dir.read_terminal().unwrap(), kept.due()), (Some(terminal), None));
    }

    #[test]
    fn a_directory_that_is_gone_is_owed_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(TERMINAL);
        kept.change();
        kept.write(&Dir::new(temp.path().join("none")), &Terminal::default());
        assert_eq!(kept.due(), None);
    }
}
