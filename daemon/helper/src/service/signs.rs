//! What a session shows of what it does, put together from what its pane, its logger and helpers wrote down, from `/proc`
//! and, for programs with rules for it, from the screen.
//!
//! It says what was seen and judges nothing. It looks when something happened in the directory and once the output has
//! paused, a few times more at programs that may begin to read a line, and then not at all while nothing happens, but once a
//! minute at what asks. Of screens of programs without rules only the line is looked at that such a one asks.

pub(super) mod answered;
mod asking;
mod foreground;
mod held;
mod names;
mod question;
mod readings;

use std::{pin::Pin, sync::Arc, time::Duration};

use outlast_client::helper_v1::{
    self, AskSign, CaptureSessionRequest, ForegroundSign, ReportSign, ScreenSign, Signs, TerminalSigns,
    WatchSessionRequest,
};
use tokio::time::{Instant, sleep_until};

pub(super) use self::readings::Readings;
use self::{
    asking::{Asking, Scene, Times},
    foreground::Foreground,
    held::Held,
    readings::Reading,
};
use super::{Core, screen, sessions::Change};
use crate::{
    proc,
    spool::{Activity, Dir, Doing, Holder, Report, Terminal, now_ms},
};

/// How long output has to rest until what it led to is looked at.
const PAUSE: Duration = Duration::from_millis(150);

/// Time between two looks at who has the terminal, while output goes on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time between two looks at the screen, while output goes on.
const SCREEN_EVERY: Duration = Duration::from_secs(2);

/// How long after an answer the screen is not looked at: it still shows the question, and its echo.
const ANSWER_SETTLES: Duration = Duration::from_millis(500);

/// How long after an answer it is looked at more often, because it is about to show something else; until it does, rest is that
/// of before.
const ANSWER_COUNTS: Duration = Duration::from_secs(4);

/// How often that is, while output goes on.
const ANSWERED_EVERY: Duration = Duration::from_millis(500);

/// Time from the first output after an answer, which as a rule is its echo, to the first look at who has the terminal then, and
/// between that and the next ones.
const ANSWER_BEGINS: Duration = Duration::from_millis(40);

/// How many such looks there are. Then the next pause of the output is soon enough.
const ANSWER_LOOKS: u8 = 10;

/// Time between two looks whether a question that was reported is on the screen.
const DRAWN_EVERY: Duration = Duration::from_millis(50);

/// Whether a shell has the terminal that this pane is in and this program was started in.
pub(super) fn has_shell(pane: u32, program: u32) -> bool {
    let mut foreground = Foreground::default();
    foreground.look(pane, program);
    foreground.holds().is_some_and(|holds| holds.name.shell)
}

/// Puts together the signs of one session.
pub(super) struct Observer<'a> {
    core: &'a Core,
    id: &'a str,
    dir: &'a Dir,
    readings: Arc<[Reading]>,
    /// Name of the reading for the session's own program; empty: as its name says.
    own_reading: String,
    /// Somebody may wait until all was looked at: for the first time, or after an answer.
    awaited: bool,
    /// The run that all below is of.
    run: u32,
    activity: Option<Activity>,
    held: Option<Held<Option<Activity>>>,
    orphaned: bool,
    terminal: Option<Terminal>,
    answered_ms: i64,
    foreground: Foreground,
    asking: Asking<'a>,
    /// When who has the terminal was looked at.
    looked_at: Option<Instant>,
    /// When to look at that because of an answer, and how often still.
    begins: (Option<Instant>, u8),
    /// Length of the log and time of the last output.
    output: (u64, i64),
    /// When the output will have paused.
    pauses_at: Option<Instant>,
    /// Which reading is for who has the terminal.
    reading: Option<usize>,
    screen: Option<ScreenSign>,
    /// It rested by the last screen that a rule fitted, or none did yet.
    rested: bool,
    /// Since when the screen may be another than the one that was looked at.
    unseen: Option<Instant>,
    /// Not looked at before then.
    hold_until: Option<Instant>,
    looking: Option<Pin<Box<dyn Future<Output = Looked> + Send + 'a>>>,
}

/// A look at the screen.
struct Looked {
    /// Milliseconds since 1970 when it began.
    at_ms: i64,
    /// What is there. None: there is no screen.
    screen: Option<String>,
}

impl<'a> Observer<'a> {
    /// Of a session of which nothing was seen yet.
    pub(super) fn new(core: &'a Core, id: &'a str, dir: &'a Dir, request: &WatchSessionRequest) -> Self {
        Self {
            core,
            id,
            dir,
            readings: core.readings.compile(&request.readings),
            own_reading: request.own_reading.clone(),
            awaited: true,
            run: 0,
            activity: None,
            held: None,
            orphaned: false,
            terminal: None,
            answered_ms: 0,
            foreground: Foreground::default(),
            asking: Asking::default(),
            looked_at: None,
            begins: (None, 0),
            output: (0, 0),
            pauses_at: None,
            reading: None,
            screen: None,
            rested: true,
            unseen: None,
            hold_until: None,
            looking: None,
        }
    }

    /// There was output.
    pub(super) fn heard(&mut self) {
        let now = Instant::now();
        self.pauses_at = Some(now + PAUSE);
        self.unseen.get_or_insert(now);
        self.asking.heard();
        self.hold_on(now);
        self.begin(now);
    }

    /// There was output, which may be that something begins that an answer asked for.
    fn begin(&mut self, now: Instant) {
        let (at, looks) = &mut self.begins;
        if *looks > 0 {
            at.get_or_insert(now + ANSWER_BEGINS);
        }
    }

    /// What the run of this report shows. To be called after every wake by more than
    /// output, and at times after that, with how much output there is and when the last of it came. `news`: there may be more
    /// than output.
    pub(super) async fn shows(&mut self, report: &Report, output: (u64, i64), news: bool) -> Signs {
        self.see(report, output, news);
        self.asking.settle().await;
        self.signs(Instant::now())
    }

    fn see(&mut self, report: &Report, output: (u64, i64), news: bool) {
        let now = Instant::now();
        let new_run = report.run != self.run;
        if new_run {
            self.forget();
            self.run = report.run;
        }
        if news || new_run {
            self.read(report);
        }
        if output != self.output {
            self.output = output;
            // What was heard says it better.
            self.pauses_at.get_or_insert(now + PAUSE);
            self.unseen.get_or_insert(now);
            self.hold_on(now);
            self.begin(now);
        }
        if self.begins.0.is_some_and(|at| at <= now) {
            self.look_what_begins(report, now);
        }
        let paused = self.pauses_at.is_some_and(|at| at <= now);
        if paused {
            self.pauses_at = None;
        }
        let looked_lately = self.looked_at.is_some_and(|at| now < at + LOOK_EVERY);
        let asking_due = self.asking.due().is_some_and(|due| due <= now);
        if news || paused || asking_due || !looked_lately {
            self.look(report);
            self.looked_at = Some(now);
            // While output goes on it is only seen whether it still asks.
            if news || paused || asking_due || self.asking.sign().is_some() {
                self.look_for_question(report, news || paused);
            }
            if self.foreground.is_coming() {
                // Nothing tells when it begins.
                self.pauses_at.get_or_insert(now + PAUSE);
            }
        }
        if self.screen_due().is_some_and(|due| due <= now) {
            self.look_at_screen();
        }
    }

    /// Looks who has the terminal after an answer, until it is somebody else than before.
    fn look_what_begins(&mut self, report: &Report, now: Instant) {
        let group = |foreground: &Foreground| foreground.holds().map(|holds| holds.group);
        let before = group(&self.foreground);
        self.look(report);
        self.looked_at = Some(now);
        let left = self.begins.1.saturating_sub(1);
        let is_other = group(&self.foreground).is_some_and(|now| before != Some(now));
        if is_other {
            // It has its own, or those that the shell gives back before it runs anything.
            self.asking.look_at_modes(report.supervisor_pid);
        }
        // What is not a program yet is a shell still.
        let is_shell = self.foreground.holds().is_some_and(|holds| holds.name.shell);
        self.begins = if left == 0 || (is_other && !is_shell) {
            (None, 0)
        } else {
            (Some(now + ANSWER_BEGINS), left)
        };
    }

    /// Forgets what it saw: nothing runs.
    pub(super) fn forget(&mut self) {
        (self.run, self.activity, self.terminal) = (0, None, None);
        (self.held, self.orphaned, self.answered_ms) = (None, false, 0);
        (self.foreground, self.looked_at, self.pauses_at) = (Foreground::default(), None, None);
        self.asking = Asking::default();
        self.begins = (None, 0);
        (self.reading, self.screen, self.unseen) = (None, None, None);
        self.rested = true;
        (self.hold_until, self.looking) = (None, None);
    }

    /// Waits until it is to be called again without anything having happened in the directory. Dropping the future loses
    /// nothing.
    pub(super) async fn due(&mut self) {
        let told = self.held.as_ref().and_then(Held::due);
        let begins = self.begins.0;
        let due = [self.pauses_at, self.screen_due(), self.asking.due(), told, begins];
        let due = due.into_iter().flatten().min();
        let wait = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let looking = &mut self.looking;
        let look = async {
            match looking {
                Some(looking) => looking.await,
                None => std::future::pending().await,
            }
        };
        let looked = tokio::select! {
            looked = look => looked,
            () = self.asking.looked() => return,
            () = wait => return,
        };
        self.looking = None;
        self.judge(looked);
    }

    /// Reads what others wrote down. What cannot be read is as if it were not there.
    fn read(&mut self, report: &Report) {
        let of_run = |run: u32| run == report.run;
        let activity = self.dir.read_activity().ok().flatten();
        let activity = activity.filter(|activity| of_run(activity.run));
        let terminal = self.dir.read_terminal().ok().flatten();
        let terminal = terminal.filter(|terminal| of_run(terminal.run));
        let title = |terminal: &Option<Terminal>| terminal.as_ref().map(|terminal| terminal.title.clone());
        if title(&terminal) != title(&self.terminal) {
            // It may come after the output that it came with.
            self.unseen.get_or_insert_with(Instant::now);
        }
        self.terminal = terminal;
        let answered = self.dir.read_answered().ok().flatten();
        let answered_ms = answered
            .map(|answered| answered.at_ms)
            .filter(|&at| report.started_at_ms.is_some_and(|started| at >= started))
            .unwrap_or_default();
        if answered_ms != self.answered_ms {
            self.answered_ms = answered_ms;
            self.begins = (None, ANSWER_LOOKS);
            self.awaited = true;
            self.hold_until = Some(Instant::now() + left(ANSWER_SETTLES, answered_ms));
            // The question may still stand there, without a word.
            self.unseen.get_or_insert_with(Instant::now);
        }
        self.take_in(activity);
    }

    /// Takes in what was reported last. A question is held back for a moment, unless it was asked already.
    fn take_in(&mut self, activity: Option<Activity>) {
        if self.activity == activity {
            return;
        }
        let before = std::mem::replace(&mut self.activity, activity);
        let asks = |activity: &Option<Activity>| {
            let activity = activity.as_ref().filter(|told| told.state == Doing::Waiting);
            activity.map(|told| told.at_ms)
        };
        let Some(asked_ms) = asks(&self.activity) else {
            self.held = None;
            return;
        };
        let asked_before = asks(&before).is_some_and(|before_ms| before_ms >= self.answered_ms);
        let left = left(held::DRAWS, asked_ms);
        let now = Instant::now();
        if self.holds_back(now).is_none() && !asked_before && !left.is_zero() {
            self.held = Some(Held::new(before, now, left));
            self.unseen.get_or_insert(now);
        }
    }

    /// There was output, which may be that a question is about to be drawn.
    fn hold_on(&mut self, now: Instant) {
        if let Some(held) = &mut self.held {
            held.hold_on(now);
        }
    }

    /// Whether a question is held back: there are rules by which it will be seen.
    fn holds_back(&self, now: Instant) -> Option<&Held<Option<Activity>>> {
        self.held
            .as_ref()
            .filter(|held| held.holds(now) && self.rules().is_some_and(Reading::reads_screen))
    }

    /// Looks which processes there are.
    fn look(&mut self, report: &Report) {
        let holder = self.activity.as_ref().and_then(|activity| activity.holder);
        self.orphaned = holder.is_some_and(is_gone);
        let program = report.pid.unwrap_or_default();
        self.foreground.look(report.supervisor_pid, program);
        let reading = self.find_reading();
        if reading != self.reading {
            self.reading = reading;
            (self.screen, self.looking) = (None, None);
            self.rested = true;
            self.unseen = Some(Instant::now());
        }
    }

    /// Looks whether who has the terminal waits for a line of it.
    fn look_for_question(&mut self, report: &Report, news: bool) {
        let scene = Scene {
            pane: report.supervisor_pid,
            holds: self.foreground.holds(),
            command_runs: self.terminal.as_ref().is_some_and(|told| told.prompt == "C"),
            times: Times {
                now: now_ms(),
                output: self.output.1.max(report.started_at_ms.unwrap_or_default()),
                answered: self.answered_ms,
            },
            news,
        };
        self.asking.look(self.core, self.id, &scene);
    }

    /// The reading for who has the terminal.
    fn find_reading(&self) -> Option<usize> {
        let holds = self.foreground.holds()?;
        let of_own = self.readings.iter().position(|reading| {
            holds.own && !self.own_reading.is_empty() && reading.name == self.own_reading
        });
        let by_name = || {
            self.readings
                .iter()
                .position(|reading| reading.is_for(&holds.name.program))
        };
        of_own.or_else(by_name)
    }

    /// The reading for who has the terminal, if it has rules.
    fn rules(&self) -> Option<&Reading> {
        self.readings
            .get(self.reading?)
            .filter(|reading| reading.has_rules())
    }

    /// When the screen is to be looked at. None: not for what is known now.
    fn screen_due(&self) -> Option<Instant> {
        let unseen = self
            .unseen
            .filter(|_| self.looking.is_none() && self.rules().is_some())?;
        let due = if self
            .holds_back(Instant::now())
            .is_some_and(|held| !held.is_seen())
        {
            unseen + DRAWN_EVERY
        } else {
            self.pauses_at
                .map_or(unseen, |pause| pause.min(unseen + self.look_every()))
        };
        Some(self.hold_until.map_or(due, |hold| due.max(hold)))
    }

    /// Time between two looks at the screen, while output goes on.
    fn look_every(&self) -> Duration {
        if left(ANSWER_COUNTS, self.answered_ms).is_zero() {
            SCREEN_EVERY
        } else {
            ANSWERED_EVERY
        }
    }

    /// Whether somebody may wait to hear that all was looked at: for the first time, or after what an answer brought.
    pub(super) const fn is_awaited(&self) -> bool {
        self.awaited && self.output.1 >= self.answered_ms
    }

    /// It was told that all was looked at.
    pub(super) const fn told_settled(&mut self) {
        self.awaited &= !self.is_awaited();
    }

    /// Whether all was looked at since the last output and the last answer.
    fn is_settled(&self) -> bool {
        let screen = self.rules().is_some() && (self.unseen.is_some() || self.looking.is_some());
        self.pauses_at.is_none() && !screen && !self.asking.is_open()
    }

    /// Begins to look at the screen.
    fn look_at_screen(&mut self) {
        self.unseen = None;
        let wanted = self.rules().is_some_and(Reading::reads_screen);
        let (core, id) = (self.core, self.id);
        self.looking = Some(Box::pin(async move {
            let at_ms = now_ms();
            if !wanted {
                let screen = Some(String::new());
                return Looked { at_ms, screen };
            }
            let request = CaptureSessionRequest {
                id: id.to_owned(),
                ..CaptureSessionRequest::default()
            };
            let screen = screen::capture(core, &request).await.ok();
            let screen = screen.map(|shown| String::from_utf8_lossy(&shown.screen).into_owned());
            Looked { at_ms, screen }
        }));
    }

    /// Reads what a look showed.
    fn judge(&mut self, looked: Looked) {
        let title = self.terminal.as_ref().map_or("", |terminal| &terminal.title);
        let fits = self.rules().zip(looked.screen);
        let fits = fits.and_then(|(reading, screen)| reading.look(&screen, title));
        let before = self.screen.take();
        if let Some(fits) = fits {
            let rests = fits.doing == helper_v1::Doing::Idle as i32;
            // Right after an answer one rest is like the other, and what is drawn between two parts of a screen is nothing.
            // Who was answered without being looked at did rest, as far as is known.
            let begins = !left(ANSWER_COUNTS, self.answered_ms).is_zero();
            let same = before
                .filter(|before| (&before.rule, &before.message) == (&fits.rule, &fits.message))
                .map(|before| before.since_ms);
            let rested = (self.rested && rests && begins).then_some(self.answered_ms);
            let since_ms = same.or(rested).unwrap_or(looked.at_ms);
            self.rested = rests;
            self.screen = Some(ScreenSign {
                since_ms,
                at_ms: looked.at_ms,
                rule: fits.rule,
                doing: fits.doing,
                message: fits.message,
            });
        }
        let asks = self.screen.as_ref().is_some_and(asks);
        let now = Instant::now();
        if let Some(held) = self.held.as_mut().filter(|_| asks) {
            held.see(now);
        }
        if self.holds_back(now).is_some_and(|held| !held.is_seen()) {
            self.unseen.get_or_insert(now);
        }
    }

    fn signs(&mut self, now: Instant) -> Signs {
        let withheld = self.holds_back(now).is_some();
        if let Some(held) = &mut self.held {
            held.withheld(withheld);
        }
        let reading = self.reading.and_then(|reading| self.readings.get(reading));
        // What is held back is not told by the screen either, nor that it reads the answer.
        let (told, screen) = match self.held.as_ref().filter(|_| withheld) {
            Some(held) => (held.before(), self.screen.clone().filter(|seen| !asks(seen))),
            None => (&self.activity, self.screen.clone()),
        };
        let report = told.as_ref().map(|activity| ReportSign {
            doing: doing(activity.state).into(),
            message: activity.message.clone(),
            since_ms: activity.since_ms,
            at_ms: activity.at_ms,
            orphaned: self.orphaned,
        });
        let foreground = self.foreground.holds().map(|holds| ForegroundSign {
            program: holds.name.program.clone(),
            own: holds.own,
            shell: holds.name.shell,
            since_ms: holds.since_ms,
            reading: reading.map(|reading| reading.name.clone()).unwrap_or_default(),
            bell_waits: reading.is_some_and(|reading| reading.bell_waits),
            keys: self.asking.reads_keys() && !holds.name.shell,
        });
        Signs {
            now_ms: now_ms(),
            report,
            terminal: self.terminal.as_ref().map(terminal),
            foreground,
            screen,
            answered_ms: self.answered_ms,
            ask: self.asking.sign().filter(|_| !withheld).cloned(),
            settled: self.is_settled(),
        }
    }
}

fn asks(seen: &ScreenSign) -> bool {
    seen.doing() == helper_v1::Doing::Waiting
}

/// What is left of a span that began at this time, milliseconds since 1970.
fn left(span: Duration, begun_ms: i64) -> Duration {
    let age = u64::try_from(now_ms().saturating_sub(begun_ms)).unwrap_or_default();
    span.saturating_sub(Duration::from_millis(age))
}

/// How signs differ. What is only said again, a title, which some programs animate, and another look at the same screen
/// go with output; but not the first of it after an answer, which says that it is so still.
pub(super) fn change(before: &Signs, now: &Signs) -> Change {
    let Signs {
        now_ms: _,
        report,
        terminal,
        foreground,
        screen,
        answered_ms,
        ask,
        // It goes with how much output there was.
        settled: _,
    } = before;
    if (foreground, answered_ms) != (&now.foreground, &now.answered_ms) {
        return Change::Other;
    }
    let answered_ms = now.answered_ms;
    let report = match (report, &now.report) {
        (before, now) if before == now => Change::None,
        (Some(before), Some(now)) if same_report(before, now, answered_ms) => Change::Output,
        _ => Change::Other,
    };
    let terminal = match (terminal, &now.terminal) {
        (before, now) if before == now => Change::None,
        (Some(before), Some(now)) if same_terminal(before, now, answered_ms) => Change::Output,
        _ => Change::Other,
    };
    let screen = match (screen, &now.screen) {
        (before, now) if before == now => Change::None,
        (Some(before), Some(seen)) if same_screen(before, seen, answered_ms) => Change::Output,
        _ => Change::Other,
    };
    let ask = match (ask, &now.ask) {
        (before, now) if before == now => Change::None,
        (Some(before), Some(seen)) if same_ask(before, seen, answered_ms) => Change::Output,
        _ => Change::Other,
    };
    let all = [report, terminal, screen, ask];
    if all.contains(&Change::Other) {
        Change::Other
    } else if all.contains(&Change::Output) {
        Change::Output
    } else {
        Change::None
    }
}

/// Whether both times are before the answer, or both after it; or never.
fn same_side(before_ms: i64, now_ms: i64, answered_ms: i64) -> bool {
    (before_ms == 0) == (now_ms == 0) && (before_ms >= answered_ms) == (now_ms >= answered_ms)
}

fn same_report(before: &ReportSign, now: &ReportSign, answered_ms: i64) -> bool {
    let ReportSign {
        doing,
        message,
        since_ms,
        at_ms,
        orphaned,
    } = before;
    (doing, message, since_ms, orphaned) == (&now.doing, &now.message, &now.since_ms, &now.orphaned)
        && same_side(*at_ms, now.at_ms, answered_ms)
}

fn same_terminal(before: &TerminalSigns, now: &TerminalSigns, answered_ms: i64) -> bool {
    let TerminalSigns {
        prompt,
        prompt_ms,
        progress,
        progress_ms,
        notice,
        notice_ms,
        bell_ms,
        title: _,
        title_ms: _,
    } = before;
    let times = [
        (*prompt_ms, now.prompt_ms),
        (*progress_ms, now.progress_ms),
        (*notice_ms, now.notice_ms),
        (*bell_ms, now.bell_ms),
    ];
    (prompt, progress, notice) == (&now.prompt, &now.progress, &now.notice)
        && times
            .into_iter()
            .all(|(before_ms, now_ms)| same_side(before_ms, now_ms, answered_ms))
}

/// Whether another look showed the same, both or none of them after the answer.
fn same_screen(before: &ScreenSign, now: &ScreenSign, answered_ms: i64) -> bool {
    let ScreenSign {
        rule,
        doing,
        message,
        since_ms,
        at_ms,
    } = before;
    (rule, doing, message, since_ms) == (&now.rule, &now.doing, &now.message, &now.since_ms)
        && same_side(*at_ms, now.at_ms, answered_ms)
}

/// The same of a question.
fn same_ask(before: &AskSign, now: &AskSign, answered_ms: i64) -> bool {
    let AskSign {
        message,
        since_ms,
        at_ms,
    } = before;
    (message, since_ms) == (&now.message, &now.since_ms) && same_side(*at_ms, now.at_ms, answered_ms)
}

fn doing(doing: Doing) -> helper_v1::Doing {
    match doing {
        Doing::Working => helper_v1::Doing::Working,
        Doing::Waiting => helper_v1::Doing::Waiting,
        Doing::Idle => helper_v1::Doing::Idle,
        Doing::Error => helper_v1::Doing::Error,
    }
}

fn terminal(told: &Terminal) -> TerminalSigns {
    TerminalSigns {
        prompt: told.prompt.clone(),
        prompt_ms: told.prompt_ms,
        progress: told.progress.into(),
        progress_ms: told.progress_ms,
        notice: told.notice.clone(),
        notice_ms: told.notice_ms,
        bell_ms: told.bell_ms,
        title: told.title.clone(),
        title_ms: told.title_ms,
    }
}

fn is_gone(holder: Holder) -> bool {
    let stat = proc::stat(holder.pid);
    stat.is_none_or(|stat| stat.zombie || stat.start_time != holder.start_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_and_looks_go_with_output_and_the_rest_is_told_at_once() {
        let signs = Signs {
            now_ms: 10,
            terminal: Some(TerminalSigns::default()),
            screen: Some(ScreenSign {
                rule: "asks".to_owned(),
                at_ms: 5,
                ..ScreenSign::default()
            }),
            answered_ms: 7,
            ..Signs::default()
        };
        let changed = |edit: &dyn Fn(&mut Signs)| {
            let mut now = signs.clone();
            edit(&mut now);
            change(&signs, &now)
        };
        let title = |now: &mut Signs| now.terminal.as_mut().unwrap().title = "busy".to_owned();
        let looked = |now: &mut Signs, at_ms| now.screen.as_mut().unwrap().at_ms = at_ms;
        assert_eq!(changed(&|now| now.now_ms = 11), Change::None);
        assert_eq!(changed(&title), Change::Output);
        assert_eq!(changed(&|now| looked(now, 6)), Change::Output);
        assert_eq!(
            changed(&|now| looked(now, 8)),
            Change::Other,
            "the question still stands"
        );
        assert_eq!(
            changed(&|now| now.terminal.as_mut().unwrap().bell_ms = 9),
            Change::Other
        );
        assert_eq!(changed(&|now| now.ask = Some(AskSign::default())), Change::Other);
        assert_eq!(changed(&|now| now.screen = None), Change::Other);
        assert_eq!(changed(&|now| now.answered_ms = 8), Change::Other);
        assert_eq!(
            changed(&|now| now.report = Some(ReportSign::default())),
            Change::Other
        );
    }
}
