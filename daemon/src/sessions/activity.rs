//! What a session does: from the signs that its host reports to what is written down of it.
//!
//! The host's clock counts for the signs; that of this machine only tells how much time went by since they came.

use std::{collections::VecDeque, time::Duration};

use outlast_client::helper_v1;
use outlast_model::{
    activity::{Activity, Ask, Doing, Foreground, LATEST, Mark, Progress, Report, Screen, Signs},
    job::TimeMs,
    session::{Session, SessionState},
};
use tokio::time::Instant;

/// Longest message that is kept, bytes: a question, not a page.
const MESSAGE_MAX: usize = 1000;

/// Changes that are written at once; after those there is one in each [`PAUSE`]. A program that flickers fills no log.
const AT_ONCE: u32 = 10;

/// Changes that may be written after an answer however many there were before: that it is known no more what was answered,
/// that there is work, and what comes of it.
const FOR_AN_ANSWER: u32 = 3;

/// Events that are remembered: more than there can be while an answer is under way.
const REMEMBERED: usize = 32;

/// How long what was known before may count on after the first signs of a watch, while not all was looked at.
/// What draws all the time is looked at every two seconds.
const LOOKS_AGAIN: Duration = Duration::from_secs(3);

/// Time after which one more change may be written.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of one session.
#[derive(Debug)]
pub(super) struct Watching {
    signs: Option<(Signs, Instant)>,
    known: Known,
    /// Signs that are not younger are answered, whatever they say of it themselves: they were on their way.
    answered: Option<TimeMs>,
    /// Changes that may be written at once, and since when.
    left: (u32, Instant),
    /// When to read the signs again.
    due: Option<Instant>,
    /// Numbers of the last events, and when the host put together the signs that they come from.
    written: VecDeque<(u64, TimeMs)>,
}

/// What was written down before the first signs that were heard without a break, by this daemon or another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// There are no signs yet.
    Unheard,
    /// It may still be so until then, where the signs leave it open, and, but for what a screen shows, nothing was written since
    /// this time of the host.
    Until(Instant, Option<TimeMs>),
    /// The signs alone count.
    Over,
}

impl Watching {
    pub(super) fn new() -> Self {
        Self {
            signs: None,
            known: Known::Unheard,
            answered: None,
            left: (AT_ONCE, Instant::now()),
            due: None,
            written: VecDeque::new(),
        }
    }

    /// Forgets the signs of a run that is over, or of a host that is away.
    pub(super) fn forget(&mut self) {
        self.signs = None;
        self.known = Known::Unheard;
        self.answered = None;
        self.due = None;
        self.written.clear();
    }

    /// Takes note of an event that says what the session does now.
    pub(super) fn wrote(&mut self, seq: u64) {
        if self.written.len() == REMEMBERED {
            self.written.pop_front();
        }
        let put_together = self.signs.as_ref().map_or(0, |(signs, _)| signs.now);
        self.written.push_back((seq, put_together));
    }

    /// Number of the last event that tells of what was before this time of the host. Absent: of the last at all.
    pub(super) fn last_before(&self, at: TimeMs) -> Option<u64> {
        let (first, _) = self.written.front()?;
        let before = self.written.iter().rev().find(|(_, now)| *now <= at);
        Some(before.map_or_else(|| first.saturating_sub(1), |(seq, _)| *seq))
    }

    /// Takes in what a host reports.
    pub(super) fn report(&mut self, signs: &helper_v1::Signs, session: &Session, last_output: i64) {
        let is_settled = signs.settled;
        let signs = read(signs, session.started_at.unwrap_or_default(), last_output);
        let now = Instant::now();
        // What a screen shows is read while it is drawn.
        let by_screen = session
            .activity
            .as_ref()
            .is_some_and(|before| before.source.starts_with("screen:"));
        self.known = match self.known {
            _ if is_settled => Known::Over,
            Known::Unheard => Known::Until(now + LOOKS_AGAIN, signs.output),
            Known::Until(_, output) if output != signs.output && !by_screen => Known::Over,
            known => known,
        };
        self.signs = Some((signs, now));
    }

    /// Whether what runs says itself what it does. Absent: there are no signs.
    pub(super) fn speaks(&self) -> Option<bool> {
        self.signs.as_ref().map(|(signs, _came)| signs.speaks())
    }

    /// The rule by which the screen asks something that nobody has answered since.
    pub(super) fn asked_by(&self) -> Option<&str> {
        let (signs, _came) = self.signs.as_ref()?;
        let answered = signs.answered.max(self.answered);
        let screen = signs.screen.as_ref()?;
        let asks = screen.doing == Doing::Waiting && answered.is_none_or(|answered| answered < screen.at);
        asks.then_some(screen.rule.as_str())
    }

    /// Somebody answered at this time of the host.
    pub(super) fn answered(&mut self, at: TimeMs) {
        self.answered = self.answered.max(Some(at.clamp(0, LATEST)));
        // Whoever answers waits for what comes of it, and answers no more often than that.
        self.left.0 = self.left.0.max(FOR_AN_ANSWER);
    }

    /// Whether somebody answered what is written down of the session.
    pub(super) fn was_answered(&self, session: &Session) -> bool {
        let told = self.signs.as_ref().and_then(|(signs, _came)| signs.answered);
        let answered = told.max(self.answered);
        let before = session.activity.as_ref();
        before.is_some_and(|before| answered.is_some_and(|answered| answered > before.since))
    }

    /// What it does could not be written down.
    pub(super) fn try_again(&mut self) {
        self.due = Some(Instant::now() + PAUSE);
    }

    /// When to read the signs again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What the session does now. Absent: nothing that is not written down already.
    pub(super) fn news(&mut self, session: &Session) -> Option<Option<Activity>> {
        self.due = None;
        if session.state != SessionState::Running {
            return None;
        }
        let (signs, came) = self.signs.as_mut()?;
        let now = Instant::now();
        let passed = now.saturating_duration_since(*came);
        let passed_ms = TimeMs::try_from(passed.as_millis()).unwrap_or(LATEST);
        let signs = Signs {
            now: signs.now.saturating_add(passed_ms).min(LATEST),
            answered: signs.answered.max(self.answered),
            ..signs.clone()
        };
        let (activity, again) = signs.read();
        let activity = activity.map(|activity| since(activity, session.activity.as_ref()));
        self.due = again.map(|after| now + after);
        let before = session.activity.as_ref();
        if let Known::Until(until, _) = self.known
            && now < until
            && before.is_some_and(|before| signs.leave_open(before, activity.as_ref()))
        {
            self.due = Some(self.due.map_or(until, |due| due.min(until)));
            return None;
        }
        if activity == session.activity {
            return None;
        }
        if !self.may_write(now) {
            let later = self.left.1 + PAUSE;
            self.due = Some(self.due.map_or(later, |due| due.min(later)));
            return None;
        }
        Some(activity)
    }

    fn may_write(&mut self, now: Instant) -> bool {
        let (left, since) = &mut self.left;
        let rounds = now.saturating_duration_since(*since).as_secs() / PAUSE.as_secs().max(1);
        if rounds > 0 {
            *left = left
                .saturating_add(u32::try_from(rounds).unwrap_or(u32::MAX))
                .min(AT_ONCE);
            *since = now;
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

/// What goes on has the beginning it had.
fn since(activity: Activity, before: Option<&Activity>) -> Activity {
    match before {
        Some(before) if before.doing == activity.doing => Activity {
            since: before.since,
            ..activity
        },
        _ => activity,
    }
}

/// The signs of a host, as the model knows them.
fn read(signs: &helper_v1::Signs, started: TimeMs, last_output: TimeMs) -> Signs {
    let terminal = signs.terminal.clone().unwrap_or_default();
    Signs {
        now: signs.now_ms.clamp(0, LATEST),
        started: started.clamp(0, LATEST),
        report: signs.report.as_ref().and_then(report),
        mark: mark(&terminal.prompt).zip(time(terminal.prompt_ms)),
        progress: progress(terminal.progress).zip(time(terminal.progress_ms)),
        notice: time(terminal.notice_ms).map(|at| (message(&terminal.notice).unwrap_or_default(), at)),
        bell: time(terminal.bell_ms),
        foreground: signs.foreground.as_ref().map(foreground),
        ask: signs.ask.as_ref().map(ask),
        screen: signs
            .screen
            .as_ref()
            .and_then(|seen| screen(seen, signs.foreground.as_ref())),
        output: time(last_output),
        answered: time(signs.answered_ms),
    }
}

/// A time of a sign; 0 stands for never.
fn time(at: i64) -> Option<TimeMs> {
    (at > 0).then(|| at.min(LATEST))
}

fn doing(doing: helper_v1::Doing) -> Option<Doing> {
    match doing {
        helper_v1::Doing::Unspecified => None,
        helper_v1::Doing::Working => Some(Doing::Working),
        helper_v1::Doing::Waiting => Some(Doing::Waiting),
        helper_v1::Doing::Idle => Some(Doing::Idle),
        helper_v1::Doing::Error => Some(Doing::Error),
    }
}

fn report(sign: &helper_v1::ReportSign) -> Option<Report> {
    Some(Report {
        doing: doing(sign.doing())?,
        message: message(&sign.message),
        since: sign.since_ms.clamp(0, LATEST),
        at: sign.at_ms.clamp(0, LATEST),
        orphaned: sign.orphaned,
    })
}

fn mark(word: &str) -> Option<Mark> {
    match word {
        "A" | "B" | "D" => Some(Mark::Prompt),
        "C" => Some(Mark::Command),
        _ => None,
    }
}

fn progress(number: u32) -> Option<Progress> {
    match number {
        1 | 3 => Some(Progress::On),
        2 => Some(Progress::Failed),
        4 => Some(Progress::Paused),
        _ => None,
    }
}

fn foreground(sign: &helper_v1::ForegroundSign) -> Foreground {
    Foreground {
        program: message(&sign.program).unwrap_or_default(),
        own: sign.own,
        shell: sign.shell,
        read: !sign.reading.is_empty() || sign.keys,
        bell_waits: sign.bell_waits,
        since: sign.since_ms.clamp(0, LATEST),
    }
}

fn ask(sign: &helper_v1::AskSign) -> Ask {
    Ask {
        message: message(&sign.message),
        since: sign.since_ms.clamp(0, LATEST),
        at: sign.at_ms.clamp(0, LATEST),
    }
}

fn screen(sign: &helper_v1::ScreenSign, foreground: Option<&helper_v1::ForegroundSign>) -> Option<Screen> {
    let reading = foreground.map_or("", |program| program.reading.as_str());
    Some(Screen {
        rule: format!("{reading}/{}", sign.rule),
        doing: doing(sign.doing())?,
        message: message(&sign.message),
        since: sign.since_ms.clamp(0, LATEST),
        at: sign.at_ms.clamp(0, LATEST),
    })
}

/// Text of a program's, in one line and not too much of it. Absent: nothing to show.
fn message(text: &str) -> Option<String> {
    let mut message = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !message.is_empty() {
            message.push(' ');
        }
        for c in word.chars() {
            if message.len() + c.len_utf8() > MESSAGE_MAX {
                return Some(message);
            }
            message.push(c);
        }
    }
    (!message.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(message(" a\n\x1b[1mb\t c "), Some("a [1mb c".to_owned()));
        assert_eq!(message("\n \u{9b}"), None);
        let long = "é".repeat(MESSAGE_MAX);
        assert_eq!(message(&long).map(|text| text.len()), Some(MESSAGE_MAX));
    }

    #[test]
    fn any_times_of_a_host_can_be_read() {
        for at in [i64::MIN, -1, 0, 1, i64::MAX] {
            let signs = helper_v1::Signs {
                now_ms: at,
                report: Some(helper_v1::ReportSign {
                    doing: helper_v1::Doing::Waiting.into(),
                    since_ms: at,
                    at_ms: at,
                    ..helper_v1::ReportSign::default()
                }),
                terminal: Some(helper_v1::TerminalSigns {
                    prompt: "A".to_owned(),
                    prompt_ms: at,
                    progress: 1,
                    progress_ms: at,
                    notice_ms: at,
                    bell_ms: at,
                    ..helper_v1::TerminalSigns::default()
                }),
                foreground: Some(helper_v1::ForegroundSign::default()),
                ask: Some(helper_v1::AskSign {
                    since_ms: at,
                    at_ms: at,
                    ..helper_v1::AskSign::default()
                }),
                answered_ms: at,
                ..helper_v1::Signs::default()
            };
            // Nothing overflows.
            let _activity = read(&signs, at, at).read();
        }
    }

    #[test]
    fn what_came_before_an_answer_is_told_from_what_came_after() {
        let mut watching = Watching::new();
        assert_eq!(watching.last_before(5), None);
        for (seq, now) in [(3, 10), (7, 20), (9, 30)] {
            let signs = Signs {
                now,
                ..Signs::default()
            };
            watching.signs = Some((signs, Instant::now()));
            watching.wrote(seq);
        }
        for (at, seq) in [(5, 2), (10, 3), (29, 7), (30, 9), (99, 9)] {
            assert_eq!(watching.last_before(at), Some(seq), "{at}");
        }
    }

    #[test]
    fn a_session_that_flickers_is_written_about_once_a_second() {
        let mut watching = Watching::new();
        let begun = watching.left.1;
        let mut written = |at: Duration| (0..100).filter(|_| watching.may_write(begun + at)).count();
        assert_eq!(written(Duration::ZERO), AT_ONCE as usize);
        assert_eq!(written(PAUSE), 1);
        assert_eq!(written(100 * PAUSE), AT_ONCE as usize);
        watching.answered(1);
        let begun = watching.left.1;
        let written = (0..100).filter(|_| watching.may_write(begun)).count();
        assert_eq!(written, FOR_AN_ANSWER as usize);
    }
}
