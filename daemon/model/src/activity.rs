//! What a session does, and how it is known. Pure.
//!
//! What there is to go by is called a sign. Signs differ in how far they can be trusted, so the first of these that has
//! something to say decides, whatever the later ones say:
//!
//! 1. a *report*: the program, or a hook in it, said what it does;
//! 2. the *terminal*: notifications, progress and prompt marks, which are sequences with a meaning;
//! 3. the *process*: which program has the terminal, and whether it is blocked reading a line from it;
//! 4. the *screen*: it looks as the program's screen looks in that state;
//! 5. the *output*: there is some.
//!
//! A sign that waits or idles is spent once somebody has answered through the terminal; it says something again when it
//! is given again. A screen that looks as it did before the answer is not given again until that has lasted: it is drawn
//! with what was typed before there is work. Signs age where they can be left behind by a program that crashed. When no sign is left, what the
//! session does is not known, and that is what is said.
//!
//! All times are those of the host that the signs come from; nothing is compared with the clock of another machine. They
//! lie between 0 and [`LATEST`], so that arithmetic on them cannot overflow.

use std::{fmt, str::FromStr, time::Duration};

use crate::{BadWord, job::TimeMs};

/// The latest time of a sign: the year 285,616.
pub const LATEST: TimeMs = 1 << 53;

/// How long after output a program counts as working, when nothing else is known.
const OUTPUT_COUNTS: i64 = 10_000;

/// How long a program may print on after a notification or a bell until that is taken for no question.
const PRINTS_ON: i64 = 3_000;

/// How long after progress was said and nothing was printed it still counts.
const PROGRESS_COUNTS: i64 = 60_000;

/// How long a program counts as starting that shows no sign.
const STARTS: i64 = 3_000;

/// How long output after an answer may be the echo of it.
const ECHO: i64 = 300;

/// How long a shell may take to say that a command has ended, once it has the terminal.
const MARKS: i64 = 1_000;

/// How much earlier than a mark a program may seem to have come that came after it: the mark is noted when it is read, and the
/// clock of processes is coarse.
const COMES: i64 = 500;

/// How long a shell may take to run what it was answered.
const RUNS: i64 = 500;

/// How long a program may take to show something else than before an answer, and after it drew what was typed. Some begin to
/// work on it a second later.
const BEGINS: i64 = 2_000;

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Its program is coming up.
    Starting,
    /// It works.
    Working,
    /// It waits for an answer.
    Waiting,
    /// It has nothing to do.
    Idle,
    /// It says that something went wrong.
    Error,
}

impl Doing {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Working,
        Self::Waiting,
        Self::Idle,
        Self::Error,
    ];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Idle => "idle",
            Self::Error => "error",
        }
    }

    /// Whether an answer ends it: it does something else then, or says so again.
    #[must_use]
    pub const fn ends_by_answer(self) -> bool {
        matches!(self, Self::Waiting | Self::Idle | Self::Error)
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Doing {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        Self::ALL
            .into_iter()
            .find(|doing| doing.as_str() == text)
            .ok_or_else(|| BadWord::new("activity", text))
    }
}

/// What a session does, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What it does.
    pub doing: Doing,
    /// Where that was read from: `report`, `terminal`, `process`, `screen` or `output`; behind a colon what it was there,
    /// as in `terminal:prompt`, `process:make`, `screen:claude/permission`.
    pub source: String,
    /// What the program says or asks. Text of the program's, not to be trusted.
    pub message: Option<String>,
    /// Since when.
    pub since: TimeMs,
}

/// What a program reported of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it does.
    pub doing: Doing,
    /// What it said with it.
    pub message: Option<String>,
    /// When it began to say so.
    pub since: TimeMs,
    /// When it said so last.
    pub at: TimeMs,
    /// What had the terminal then is gone.
    pub orphaned: bool,
}

/// A mark that a shell makes around its prompt and its commands (OSC 133).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The shell prompts for a command.
    Prompt,
    /// A command runs.
    Command,
}

/// Progress as a program tells it to its terminal (OSC 9;4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    On,
    /// It goes on no more because something went wrong.
    Failed,
    /// It goes on when something is done about it.
    Paused,
}

/// The program that has the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreground {
    /// Its name.
    pub program: String,
    /// It is the session's own program.
    pub own: bool,
    /// It is a shell.
    pub shell: bool,
    /// There are rules for its screen, or it reads keys and may wait for one: its being there says nothing.
    pub read: bool,
    /// Its bell means that it waits.
    pub bell_waits: bool,
    /// Since when it has the terminal.
    pub since: TimeMs,
}

impl Foreground {
    /// Whether it may be a program that was not there at that time. Shells make their own marks, and the session's own program
    /// was there before, whenever it was seen first.
    fn came_after(&self, at: TimeMs) -> bool {
        !self.shell && !self.own && self.since + COMES > at
    }
}

/// The program that has the terminal is blocked reading a line from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What it asks.
    pub message: Option<String>,
    /// Since when it is seen.
    pub since: TimeMs,
    /// When it was last looked at.
    pub at: TimeMs,
}

/// A rule that the screen fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Names of the provider and the rule: `claude/permission`.
    pub rule: String,
    /// What the program does then.
    pub doing: Doing,
    /// What it asks.
    pub message: Option<String>,
    /// Since when it is seen.
    pub since: TimeMs,
    /// When the screen was last looked at.
    pub at: TimeMs,
}

/// All that a run shows of what it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// When this was put together.
    pub now: TimeMs,
    /// When the run was started.
    pub started: TimeMs,
    /// The last report of the run.
    pub report: Option<Report>,
    /// The last prompt mark, and when it came.
    pub mark: Option<(Mark, TimeMs)>,
    /// The progress that was said last, and since when.
    pub progress: Option<(Progress, TimeMs)>,
    /// The last notification, and when it came.
    pub notice: Option<(String, TimeMs)>,
    /// When the bell rang last.
    pub bell: Option<TimeMs>,
    /// The program that has the terminal.
    pub foreground: Option<Foreground>,
    /// That program reads a line.
    pub ask: Option<Ask>,
    /// What the screen looks like.
    pub screen: Option<Screen>,
    /// When there was output last.
    pub output: Option<TimeMs>,
    /// When somebody last answered through the terminal.
    pub answered: Option<TimeMs>,
}

impl Signs {
    /// What the run does by these signs, and after what time the same signs may mean something else. Absent: not known.
    #[must_use]
    pub fn read(&self) -> (Option<Activity>, Option<Duration>) {
        let mut next = Next::default();
        let activity = self
            .by_report(&mut next)
            .or_else(|| self.by_terminal(&mut next))
            .or_else(|| self.by_process(&mut next))
            .or_else(|| self.by_screen(&mut next))
            .or_else(|| self.by_ask())
            .or_else(|| self.by_output(&mut next))
            .or_else(|| self.by_age(&mut next));
        let after = next.0.map(|at| at.saturating_sub(self.now).max(0));
        let after = after.map(|after| Duration::from_millis(after.cast_unsigned()));
        (activity, after)
    }

    /// Whether what has the terminal says itself what it does, by reports or sequences, whatever was answered since: it will
    /// say it again.
    #[must_use]
    pub fn speaks(&self) -> bool {
        let unanswered = Self {
            answered: None,
            ask: None,
            ..self.clone()
        };
        let said = unanswered
            .by_report(&mut Next::default())
            .or_else(|| unanswered.by_terminal(&mut Next::default()));
        said.is_some()
    }

    /// Whether what was known of the run before may still be so, although these signs do not tell it, because not all was
    /// looked at yet. `now`: what they tell.
    #[must_use]
    pub fn leave_open(&self, before: &Activity, now: Option<&Activity>) -> bool {
        let program = before.source.strip_prefix("process:");
        // All else is written down where it is read at once.
        if program.is_none() && !before.source.starts_with("screen:") {
            return false;
        }
        let other = self.foreground.as_ref().is_some_and(|found| match program {
            Some(program) => found.program != program,
            None => !found.read,
        });
        if other || (before.doing.ends_by_answer() && self.is_answered(before.since)) {
            return false;
        }
        now.is_none_or(|now| {
            // It is there, which is less than what it was seen doing.
            let is_there = now.source == before.source && now.doing == Doing::Working;
            (is_there && before.doing == Doing::Waiting)
                || self.trust(&now.source) < self.trust(&before.source)
        })
    }

    /// How far what was read from there can be trusted.
    fn trust(&self, source: &str) -> u8 {
        let read = self.foreground.as_ref().is_some_and(|program| program.read);
        match source.split(':').next() {
            Some("report") => 6,
            Some("terminal") => 5,
            // Without a program it is only that there is one.
            Some("process") if !source.contains(':') => 0,
            Some("process") if !read => 4,
            Some("screen") => 3,
            Some("process") => 2,
            _ => 1,
        }
    }

    /// Whether somebody answered after a program said this. What it said in the same millisecond came of the answer: nobody
    /// answers as fast as that, but programs do.
    fn is_answered(&self, at: TimeMs) -> bool {
        self.answered.is_some_and(|answered| answered > at)
    }

    /// Whether the screen was looked at before somebody answered, or just then.
    fn is_old(&self, screen: &Screen) -> bool {
        self.answered.is_some_and(|answered| answered >= screen.at)
    }

    /// Whether it is the screen from before an answer, or may be that still: the same rest is shown again, or as yet, and
    /// nothing else was seen since. When that has lasted, and was seen after all there was to see, it is rest again.
    fn is_spent(&self, screen: &Screen, next: &mut Next) -> bool {
        let Some(answered) = self.answered.filter(|answered| *answered >= screen.since) else {
            return false;
        };
        if self.is_old(screen) {
            return true;
        }
        // What has drawn nothing yet did not even read it.
        let latest = answered + BEGINS;
        let drawn = self.output.filter(|output| *output > answered);
        let begun = drawn.map_or(latest, |drawn| drawn.min(latest)) + BEGINS;
        if self.now < begun {
            next.at(begun);
            return true;
        }
        screen.at < begun && self.output.is_some_and(|output| output > screen.at)
    }

    fn by_report(&self, next: &mut Next) -> Option<Activity> {
        let report = self.report.as_ref().filter(|report| !report.orphaned)?;
        if self.is_answered(report.at)
            && (report.doing.ends_by_answer() || self.seen_otherwise(report.doing, next))
        {
            return None;
        }
        Some(Activity {
            doing: report.doing,
            source: "report".to_owned(),
            message: report.message.clone(),
            since: report.since,
        })
    }

    /// Whether the screen shows something else since the last answer. A program that is interrupted does not always report it.
    fn seen_otherwise(&self, doing: Doing, next: &mut Next) -> bool {
        let seen = self.screen.as_ref().filter(|screen| !self.is_old(screen));
        seen.is_some_and(|screen| screen.doing != doing && !self.is_spent(screen, next))
    }

    /// The newest of what the terminal was told.
    fn by_terminal(&self, next: &mut Next) -> Option<Activity> {
        let said = [
            self.notice(next),
            self.progress(next),
            self.mark(next),
            self.bell(next),
        ];
        said.into_iter().flatten().max_by_key(|activity| activity.since)
    }

    fn notice(&self, next: &mut Next) -> Option<Activity> {
        let (text, at) = self.notice.as_ref()?;
        let message = Some(text.clone()).filter(|text| !text.is_empty());
        self.asks(*at, next)
            .then(|| terminal("notification", Doing::Waiting, message, *at))
    }

    fn bell(&self, next: &mut Next) -> Option<Activity> {
        let at = self.bell?;
        let counts = self.foreground.as_ref().is_some_and(|program| program.bell_waits);
        (counts && self.asks(at, next)).then(|| terminal("bell", Doing::Waiting, None, at))
    }

    /// Whether a call for attention still stands: nobody answered, the same program has the terminal, and it did not just
    /// go on.
    fn asks(&self, at: TimeMs, next: &mut Next) -> bool {
        let printed_on = self.output.is_some_and(|output| output > at + PRINTS_ON);
        let other = self.foreground.as_ref().is_some_and(|program| program.since > at);
        if self.now < at + PRINTS_ON {
            next.at(at + PRINTS_ON);
        }
        !self.is_answered(at) && !printed_on && !other
    }

    fn progress(&self, next: &mut Next) -> Option<Activity> {
        let (progress, since) = self.progress?;
        let heard = self.output.unwrap_or(since).max(since);
        if self.now > heard + PROGRESS_COUNTS
            || self
                .foreground
                .as_ref()
                .is_some_and(|program| program.since > since)
        {
            return None;
        }
        next.at(heard + PROGRESS_COUNTS + 1);
        let doing = match progress {
            Progress::On => Doing::Working,
            Progress::Failed => Doing::Error,
            Progress::Paused => Doing::Waiting,
        };
        if doing.ends_by_answer() && self.is_answered(since) {
            return None;
        }
        Some(terminal("progress", doing, None, since))
    }

    fn mark(&self, next: &mut Next) -> Option<Activity> {
        let (mark, at) = self.mark?;
        // A shell that got the terminal back, and not the one whose command it was, which would have made a mark; or one that
        // is the command, and makes none at its prompt.
        let shell = self.foreground.as_ref().filter(|program| program.shell);
        let came = |shell: &&Foreground| shell.since + if shell.own { 0 } else { COMES } > at;
        if let Some(shell) = shell.filter(|shell| mark == Mark::Command && came(shell)) {
            let marks = shell.since.max(at) + MARKS;
            next.at(marks);
            if self.now >= marks {
                return None;
            }
        }
        match mark {
            // A program whose screen is read, or that reads a line, is known better than as a command that runs.
            Mark::Command if self.foreground.as_ref().is_some_and(|program| program.read) => None,
            Mark::Command if self.by_ask().is_some() => None,
            Mark::Command => Some(terminal("prompt", Doing::Working, None, at)),
            Mark::Prompt if self.is_answered(at) => None,
            // A program that came since, of which no mark told.
            Mark::Prompt
                if self
                    .foreground
                    .as_ref()
                    .is_some_and(|program| program.came_after(at)) =>
            {
                None
            }
            Mark::Prompt => Some(terminal("prompt", Doing::Idle, None, at)),
        }
    }

    fn by_process(&self, next: &mut Next) -> Option<Activity> {
        let program = self.foreground.as_ref().filter(|program| !program.read)?;
        if let Some(asks) = self.by_ask() {
            return Some(asks);
        }
        let doing = if program.shell {
            if let Some(answered) = self.answered.filter(|answered| self.now < answered + RUNS) {
                next.at(answered + RUNS);
                return None;
            }
            Doing::Idle
        } else if program.own {
            // It is always there.
            return None;
        } else {
            Doing::Working
        };
        Some(Activity {
            doing,
            source: format!("process:{}", program.program),
            message: None,
            since: program.since,
        })
    }

    /// A program that has to get a line to go on. Where there are rules for its screen, those say better whether that is a
    /// question or a prompt.
    fn by_ask(&self) -> Option<Activity> {
        let program = self.foreground.as_ref()?;
        let ask = self.ask.as_ref()?;
        // It was seen before it got the answer, or just then.
        if self.answered.is_some_and(|answered| answered >= ask.at) {
            return None;
        }
        Some(Activity {
            doing: Doing::Waiting,
            source: format!("process:{}", program.program),
            message: ask.message.clone(),
            since: ask.since,
        })
    }

    fn by_screen(&self, next: &mut Next) -> Option<Activity> {
        let screen = self.screen.as_ref()?;
        if screen.doing.ends_by_answer() && self.is_spent(screen, next) {
            return None;
        }
        Some(Activity {
            doing: screen.doing,
            source: format!("screen:{}", screen.rule),
            message: screen.message.clone(),
            since: screen.since,
        })
    }

    fn by_output(&self, next: &mut Next) -> Option<Activity> {
        let output = self.output?;
        // What was printed before an answer was for the question.
        let is_old = self.answered.is_some_and(|answered| output <= answered + ECHO);
        if is_old || self.now > output + OUTPUT_COUNTS {
            return None;
        }
        next.at(output + OUTPUT_COUNTS + 1);
        Some(Activity {
            doing: Doing::Working,
            source: "output".to_owned(),
            message: None,
            since: output,
        })
    }

    fn by_age(&self, next: &mut Next) -> Option<Activity> {
        if self.output.is_some()
            || self.answered.is_some()
            || self.report.is_some()
            || self.now > self.started + STARTS
        {
            return None;
        }
        next.at(self.started + STARTS + 1);
        Some(Activity {
            doing: Doing::Starting,
            source: "process".to_owned(),
            message: None,
            since: self.started,
        })
    }
}

fn terminal(what: &str, doing: Doing, message: Option<String>, since: TimeMs) -> Activity {
    Activity {
        doing,
        source: format!("terminal:{what}"),
        message,
        since,
    }
}

/// When to read the signs again.
#[derive(Default)]
struct Next(Option<TimeMs>);

impl Next {
    fn at(&mut self, at: TimeMs) {
        self.0 = Some(self.0.map_or(at, |before| before.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_program_that_said_what_it_does_speaks_also_when_it_is_answered() {
        let mut signs = signs(50);
        assert!(!signs.speaks());
        signs.report = report(Doing::Waiting, 10);
        signs.answered = Some(20);
        assert!(signs.read().0.is_none() && signs.speaks());
        // Whoever said so is gone.
        signs.report.as_mut().unwrap().orphaned = true;
        assert!(!signs.speaks());
        signs.mark = Some((Mark::Prompt, 10));
        assert!(signs.speaks());
        signs.foreground = Some(Foreground {
            since: 11,
            ..program("python3")
        });
        assert!(!signs.speaks());
    }

    #[test]
    fn what_was_known_counts_until_all_was_looked_at() {
        let was = |doing, source: &str| Activity {
            doing,
            source: source.to_owned(),
            message: None,
            since: 10,
        };
        let mut signs = signs(50);
        let asked = was(Doing::Waiting, "process:app");
        assert!(signs.leave_open(&asked, None), "nobody can tell who is there");
        signs.foreground = Some(program("app"));
        let leave_open = |signs: &Signs, before: &Activity| {
            let (now, _) = signs.read();
            signs.leave_open(before, now.as_ref())
        };
        assert!(leave_open(&signs, &asked));
        signs.output = Some(40);
        assert!(leave_open(&signs, &asked));
        let seen = was(Doing::Idle, "screen:tool/prompt");
        assert!(!leave_open(&signs, &seen), "its program is gone");
        signs.foreground.as_mut().unwrap().read = true;
        assert!(leave_open(&signs, &seen));
        // It asks something else, which the screen tells better.
        signs.ask = ask(30);
        assert!(leave_open(&signs, &seen));
        assert!(!leave_open(&signs, &asked));
        signs.ask = None;
        // Somebody answered.
        signs.answered = Some(11);
        assert!(!leave_open(&signs, &asked) && !leave_open(&signs, &seen));
        assert!(leave_open(&signs, &was(Doing::Working, "screen:tool/works")));
        signs.answered = None;
        // What is written down was read.
        for source in ["report", "terminal:prompt", "output"] {
            assert!(!signs.leave_open(&was(Doing::Waiting, source), None), "{source}");
        }
        signs.report = report(Doing::Working, 5);
        assert!(!leave_open(&signs, &asked));
        signs.report = None;
        signs.foreground = Some(program("other"));
        assert!(!leave_open(&signs, &asked), "another program is there");
    }

    #[test]
    fn a_shell_that_is_the_command_of_a_mark_rests_though_it_makes_none() {
        let mut signs = signs(1_400);
        // The mark was noted after the shell was there.
        signs.mark = Some((Mark::Command, 1_000));
        signs.foreground = Some(Foreground {
            since: 900,
            ..program("bash")
        });
        let does = |signs: &Signs| {
            let (activity, again) = signs.read();
            (activity.map(|activity| (activity.doing, activity.source)), again)
        };
        let prompt = (Doing::Working, "terminal:prompt".to_owned());
        assert_eq!(
            does(&signs),
            (Some(prompt.clone()), Some(Duration::from_millis(600)))
        );
        signs.now = 2_000;
        assert_eq!(does(&signs).0, Some((Doing::Idle, "process:bash".to_owned())));
        // One that was there before runs a command of its own.
        signs.foreground.as_mut().unwrap().since = 500;
        assert_eq!(does(&signs).0, Some(prompt.clone()));
        // And the session's own shell made the mark.
        signs.foreground = Some(Foreground {
            since: 900,
            own: true,
            ..program("bash")
        });
        assert_eq!(does(&signs).0, Some(prompt));
    }

    fn signs(now: TimeMs) -> Signs {
        Signs {
            now,
            ..Signs::default()
        }
    }

    fn report(doing: Doing, at: TimeMs) -> Option<Report> {
        Some(Report {
            doing,
            message: Some("said".to_owned()),
            since: at,
            at,
            orphaned: false,
        })
    }

    fn program(name: &str) -> Foreground {
        Foreground {
            program: name.to_owned(),
            own: false,
            shell: name == "bash",
            read: false,
            bell_waits: false,
            since: 0,
        }
    }

    fn screen(doing: Doing, at: TimeMs) -> Option<Screen> {
        Some(Screen {
            rule: "tool/asks".to_owned(),
            doing,
            message: None,
            since: at,
            at,
        })
    }

    fn known(signs: &Signs) -> Option<(Doing, String)> {
        signs.read().0.map(|activity| (activity.doing, activity.source))
    }

    fn is(doing: Doing, source: &str) -> Option<(Doing, String)> {
        Some((doing, source.to_owned()))
    }

    #[test]
    fn words_read_back() {
        for doing in Doing::ALL {
            assert_eq!(doing.as_str().parse(), Ok(doing));
        }
        assert!("busy".parse::<Doing>().is_err());
    }

    #[test]
    fn the_most_trusted_sign_decides() {
        let mut all = Signs {
            output: Some(99_000),
            screen: screen(Doing::Idle, 98_000),
            foreground: Some(Foreground {
                read: true,
                ..program("tool")
            }),
            ..signs(100_000)
        };
        assert_eq!(known(&all), is(Doing::Idle, "screen:tool/asks"));
        all.notice = Some(("look".to_owned(), 99_000));
        assert_eq!(known(&all), is(Doing::Waiting, "terminal:notification"));
        all.report = report(Doing::Working, 1_000);
        assert_eq!(known(&all), is(Doing::Working, "report"));
        assert_eq!(all.read().0.unwrap().message.as_deref(), Some("said"));
    }

    #[test]
    fn an_answer_ends_waiting_until_the_program_says_so_again() {
        let mut asked = Signs {
            report: report(Doing::Waiting, 1_000),
            answered: Some(2_000),
            ..signs(100_000)
        };
        assert_eq!(known(&asked), None);
        // Programs are quick.
        asked.report = report(Doing::Waiting, 2_000);
        assert_eq!(known(&asked), is(Doing::Waiting, "report"));
        asked.report = report(Doing::Waiting, 3_000);
        assert_eq!(known(&asked), is(Doing::Waiting, "report"));
        asked.report = report(Doing::Working, 1_000);
        assert_eq!(known(&asked), is(Doing::Working, "report"));
        // It was interrupted, which it does not report.
        asked.screen = screen(Doing::Idle, 2_001);
        assert_eq!(known(&asked), is(Doing::Idle, "screen:tool/asks"));
        asked.report = None;
        asked.screen = screen(Doing::Waiting, 2_000);
        assert_eq!(known(&asked), None);
        asked.screen = screen(Doing::Waiting, 2_001);
        assert_eq!(known(&asked), is(Doing::Waiting, "screen:tool/asks"));
    }

    #[test]
    fn a_screen_as_before_the_answer_is_rest_again_when_it_lasts() {
        let mut same = Signs {
            screen: screen(Doing::Idle, 1_000),
            answered: Some(2_000),
            output: Some(2_200),
            ..signs(2_600)
        };
        assert_eq!(known(&same), None, "not looked at since");
        same.screen.as_mut().unwrap().at = 2_500;
        assert_eq!(same.read(), (None, Some(Duration::from_millis(1_600))));
        // A report that it works counts for more than that.
        same.report = report(Doing::Working, 1_500);
        assert_eq!(known(&same), is(Doing::Working, "report"));
        same.report = None;
        same.now = 4_200;
        assert_eq!(known(&same), is(Doing::Idle, "screen:tool/asks"));
        // It printed since it was looked at, and is to be looked at again.
        same.output = Some(6_900);
        same.now = 7_000;
        assert_eq!(known(&same), is(Doing::Working, "output"));
        same.screen.as_mut().unwrap().at = 7_100;
        assert_eq!(known(&same), is(Doing::Idle, "screen:tool/asks"));
        // Something else was seen in between.
        same.screen = screen(Doing::Idle, 2_550);
        same.now = 2_600;
        assert_eq!(known(&same), is(Doing::Idle, "screen:tool/asks"));
    }

    #[test]
    fn the_report_of_what_crashed_is_stale() {
        let mut crashed = Signs {
            report: report(Doing::Working, 1_000),
            foreground: Some(program("bash")),
            ..signs(100_000)
        };
        crashed.report.as_mut().unwrap().orphaned = true;
        assert_eq!(known(&crashed), is(Doing::Idle, "process:bash"));
    }

    #[test]
    fn a_shell_idles_and_what_it_runs_works() {
        let mut shell = Signs {
            foreground: Some(program("bash")),
            output: Some(99_900),
            ..signs(100_000)
        };
        assert_eq!(known(&shell), is(Doing::Idle, "process:bash"));
        shell.foreground = Some(program("make"));
        assert_eq!(known(&shell), is(Doing::Working, "process:make"));
        shell.mark = Some((Mark::Command, 50_000));
        assert_eq!(known(&shell), is(Doing::Working, "terminal:prompt"));
        // One that makes marks ran within one that makes none.
        shell.foreground = Some(Foreground {
            since: 99_500,
            ..program("bash")
        });
        assert_eq!(known(&shell), is(Doing::Working, "terminal:prompt"));
        shell.now = 100_500;
        assert_eq!(known(&shell), is(Doing::Idle, "process:bash"));
        shell.now = 100_000;
        shell.foreground = Some(program("bash"));
        shell.mark = Some((Mark::Prompt, 60_000));
        assert_eq!(known(&shell), is(Doing::Idle, "terminal:prompt"));
        // Typed, and the shell did not say yet that it runs.
        shell.answered = Some(99_600);
        shell.output = None;
        assert_eq!(shell.read(), (None, Some(Duration::from_millis(100))));
        shell.now = 100_100;
        assert_eq!(known(&shell), is(Doing::Idle, "process:bash"));
    }

    #[test]
    fn a_prompt_is_one_whoever_made_it_until_another_program_comes() {
        let mut prompts = Signs {
            foreground: Some(program("xonsh")),
            mark: Some((Mark::Prompt, 60_000)),
            ..signs(100_000)
        };
        assert_eq!(known(&prompts), is(Doing::Idle, "terminal:prompt"));
        // As one that a shell is told to run while another one runs, which it begins right after its prompt.
        prompts.foreground.as_mut().unwrap().since = 59_997;
        assert_eq!(known(&prompts), is(Doing::Working, "process:xonsh"));
        // The session's own program was there before, whenever it was seen first.
        prompts.foreground.as_mut().unwrap().own = true;
        assert_eq!(known(&prompts), is(Doing::Idle, "terminal:prompt"));
    }

    fn ask(at: TimeMs) -> Option<Ask> {
        Some(Ask {
            message: Some("Go on? [y/N]".to_owned()),
            since: at,
            at,
        })
    }

    #[test]
    fn a_program_that_reads_a_line_waits_until_it_is_answered() {
        let mut asks = Signs {
            foreground: Some(program("deploy")),
            output: Some(99_000),
            ask: ask(99_200),
            ..signs(99_300)
        };
        let (activity, again) = asks.read();
        let activity = activity.unwrap();
        assert_eq!(
            (activity.doing, activity.source.as_str(), activity.since, again),
            (Doing::Waiting, "process:deploy", 99_200, None)
        );
        assert_eq!(activity.message.as_deref(), Some("Go on? [y/N]"));
        // A shell that marks its commands knows only that it runs.
        asks.mark = Some((Mark::Command, 98_000));
        assert_eq!(known(&asks), is(Doing::Waiting, "process:deploy"));
        assert!(asks.speaks(), "the shell will say that it has ended");
        asks.answered = Some(99_200);
        assert_eq!(known(&asks), is(Doing::Working, "terminal:prompt"));
        asks.mark = None;
        assert_eq!(known(&asks), is(Doing::Working, "process:deploy"));
        asks.ask = ask(99_201);
        assert_eq!(known(&asks), is(Doing::Waiting, "process:deploy"));
        // The session's own program, of which its being there says nothing.
        asks.foreground.as_mut().unwrap().own = true;
        assert_eq!(known(&asks), is(Doing::Waiting, "process:deploy"));
        asks.report = report(Doing::Working, 99_250);
        assert_eq!(known(&asks), is(Doing::Working, "report"));
        asks.report = None;
        asks.progress = Some((Progress::On, 99_250));
        assert_eq!(known(&asks), is(Doing::Working, "terminal:progress"));
        asks.progress = None;
        asks.foreground = None;
        assert_eq!(known(&asks), None, "nobody is known to read it");
    }

    #[test]
    fn what_the_screen_says_of_a_program_that_reads_a_line_counts_more() {
        let mut asks = Signs {
            foreground: Some(Foreground {
                read: true,
                ..program("tool")
            }),
            ask: ask(99_000),
            screen: screen(Doing::Idle, 98_000),
            ..signs(100_000)
        };
        assert_eq!(known(&asks), is(Doing::Idle, "screen:tool/asks"));
        asks.screen = None;
        assert_eq!(known(&asks), is(Doing::Waiting, "process:tool"));
    }

    #[test]
    fn a_program_that_prints_on_after_its_notification_does_not_wait() {
        let mut noticed = Signs {
            notice: Some(("done".to_owned(), 10_000)),
            output: Some(10_100),
            ..signs(10_200)
        };
        let (activity, again) = noticed.read();
        assert_eq!(activity.unwrap().message.as_deref(), Some("done"));
        assert_eq!(again, Some(Duration::from_millis(2_800)));
        noticed.now = 60_000;
        assert_eq!(known(&noticed), is(Doing::Waiting, "terminal:notification"));
        noticed.output = Some(59_000);
        assert_eq!(known(&noticed), is(Doing::Working, "output"));
    }

    #[test]
    fn a_bell_counts_for_programs_whose_bell_does() {
        let mut rung = Signs {
            bell: Some(50_000),
            foreground: Some(Foreground {
                read: true,
                own: true,
                ..program("tool")
            }),
            ..signs(100_000)
        };
        assert_eq!(known(&rung), None);
        rung.foreground.as_mut().unwrap().bell_waits = true;
        assert_eq!(known(&rung), is(Doing::Waiting, "terminal:bell"));
    }

    #[test]
    fn progress_ages_and_goes_with_its_program() {
        let mut busy = Signs {
            progress: Some((Progress::On, 10_000)),
            output: Some(20_000),
            ..signs(70_000)
        };
        assert_eq!(known(&busy), is(Doing::Working, "terminal:progress"));
        assert_eq!(busy.read().1, Some(Duration::from_millis(10_001)));
        busy.now = 80_001;
        assert_eq!(known(&busy), None);
        busy.now = 70_000;
        busy.foreground = Some(Foreground {
            since: 10_001,
            ..program("bash")
        });
        assert_eq!(known(&busy), is(Doing::Idle, "process:bash"));
    }

    #[test]
    fn output_counts_for_a_while_and_an_echo_does_not() {
        let mut prints = Signs {
            output: Some(10_000),
            ..signs(20_000)
        };
        assert_eq!(known(&prints), is(Doing::Working, "output"));
        assert_eq!(prints.read().1, Some(Duration::from_millis(1)));
        prints.now = 20_001;
        assert_eq!(known(&prints), None);
        prints.now = 10_100;
        prints.answered = Some(9_900);
        assert_eq!(known(&prints), None);
    }

    #[test]
    fn a_program_without_a_sign_is_starting_for_a_moment() {
        let mut new = Signs {
            started: 1_000,
            ..signs(2_000)
        };
        assert_eq!(known(&new), is(Doing::Starting, "process"));
        assert_eq!(new.read().1, Some(Duration::from_millis(2_001)));
        new.now = 4_001;
        assert_eq!(new.read(), (None, None));
    }

    fn some<T: Clone + fmt::Debug + 'static>(
        of: impl Strategy<Value = T> + 'static,
    ) -> impl Strategy<Value = Option<T>> {
        proptest::option::of(of)
    }

    prop_compose! {
        fn any_signs()(
            now in any::<i32>(),
            reported in some((0..5_usize, any::<i32>(), any::<bool>())),
            mark in some((any::<bool>(), any::<i32>())),
            progress in some((0..3_usize, any::<i32>())),
            notice in some(any::<i32>()),
            bell in some(any::<i32>()),
            foreground in some((any::<[bool; 4]>(), any::<i32>())),
            asked in some(any::<i32>()),
            seen in some((0..5_usize, any::<i32>())),
            output in some(any::<i32>()),
            answered in some(any::<i32>()),
        ) -> Signs {
            Signs {
                now: now.into(),
                started: 0,
                report: reported.map(|(doing, at, orphaned)| Report {
                    doing: Doing::ALL[doing],
                    message: None,
                    since: at.into(),
                    at: at.into(),
                    orphaned,
                }),
                mark: mark.map(|(prompt, at)| (if prompt { Mark::Prompt } else { Mark::Command }, at.into())),
                progress: progress.map(|(which, at)| {
                    ([Progress::On, Progress::Failed, Progress::Paused][which], at.into())
                }),
                notice: notice.map(|at| (String::new(), at.into())),
                bell: bell.map(Into::into),
                foreground: foreground.map(|([own, shell, read, bell_waits], since)| Foreground {
                    program: "p".to_owned(),
                    own,
                    shell,
                    read,
                    bell_waits,
                    since: since.into(),
                }),
                ask: asked.and_then(|at| ask(at.into())),
                screen: seen.and_then(|(doing, at)| screen(Doing::ALL[doing], at.into())),
                output: output.map(Into::into),
                answered: answered.map(Into::into),
            }
        }
    }

    proptest! {
        #[test]
        fn a_live_report_is_never_overruled_and_waiting_is_never_answered(signs in any_signs()) {
            let (activity, _) = signs.read();
            if let Some(report) = signs.report.as_ref().filter(|report| !report.orphaned)
                && signs.answered.is_none_or(|at| at <= report.at)
            {
                prop_assert_eq!(activity.as_ref().map(|activity| activity.doing), Some(report.doing));
            }
            if let Some(activity) = activity
                && activity.doing == Doing::Waiting
                && let Some(answered) = signs.answered
            {
                prop_assert!(activity.since >= answered || activity.source.starts_with("screen") || activity.source == "report");
            }
        }
    }
}
