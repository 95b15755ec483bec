//! Whether the program that has the terminal waits for a line of it, and what it asks: looked at when output pauses, and
//! then ever less often while it neither asks nor writes. While it asks it is looked at now and then whether it still does:
//! some give up waiting without a word.
//!
//! A program of which nothing goes on before it has its line is believed at once. Where something else of it could go on,
//! as in a server that also takes commands, it has to be silent for longer, use no CPU and have left the cursor behind a
//! text. Where hardly anything can be seen of it, it has to sleep on.

mod blocked;
mod line;

use std::{pin::Pin, time::Duration};

use outlast_client::helper_v1::{AskSign, CaptureSessionRequest};
use tokio::time::{Instant, timeout};

use self::{
    blocked::{Blocked, Group, How, Read},
    line::Asked,
};
use super::{
    super::{Core, modes::modes, screen},
    foreground::{Holds, TICK_MS},
};

/// How long a program that is blocked must not have written or been answered to count as one that asks.
const QUIET_MS: i64 = 150;

/// The same where something else of it could go on.
const QUIET_BESIDE_MS: i64 = 1_000;

/// How long such a one must have used no CPU.
const STILL_BESIDE_MS: i64 = 850;

/// How long one of which nothing can be seen must not have run.
const STILL_UNSEEN_MS: i64 = 100;

/// How long after an answer a program counts as not having got it yet that reads on as if there were none.
const ON_ITS_WAY_MS: i64 = 1_000;

/// Time until a program that does not ask is looked at again that writes nothing; it doubles.
const AGAIN_MS: i64 = 1_000;

/// The same of one that runs: it may be just about to ask, on a machine that is busy.
const RUNS_MS: i64 = 100;

/// How often that is done. Nothing tells when a silent program begins to read, but it is not to be looked at for ever.
const LOOKS: u32 = 7;

/// How often one that runs counts as just about to ask.
const ABOUT_TO_ASK: u32 = 4;

/// Time until what asks is looked at again while nothing happens; it doubles up to the longest.
const STILL_ASKS_MS: i64 = 1_000;
const STILL_ASKS_MAX_MS: i64 = 60_000;

/// Time until the screen is looked at again that could not be; it doubles up to the same.
const UNREAD_MS: i64 = 100;

/// Which part of the time something has to use the CPU to work beside what asks.
const WORKS_SHARE: i64 = 10;

/// How long the rest may have to wait for what stands on the screen.
const READS_WITHIN: Duration = Duration::from_millis(300);

/// What happened when, in milliseconds since 1970; 0: never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Now.
    pub(super) now: i64,
    /// The last output, or the start of the run.
    pub(super) output: i64,
    /// The last answer.
    pub(super) answered: i64,
}

/// What there is to look at.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// The process that has the terminal as its standard input.
    pub(super) pane: u32,
    /// Who has the terminal.
    pub(super) holds: Option<&'a Holds>,
    /// The shell said that it runs a command.
    pub(super) command_runs: bool,
    /// When what happened.
    pub(super) times: Times,
    /// Something happened that may mean another thing.
    pub(super) news: bool,
}

/// Remembers what one terminal's program asks.
#[derive(Default)]
pub(super) struct Asking<'a> {
    memory: Memory,
    /// When to look again.
    again_at: Option<Instant>,
    /// A shell that was seen reading keys at its prompt, so that where it reads a line it asks for it: its number and start
    /// time. Of those whose names tell that it need not be seen.
    edits: Option<(u32, u64)>,
    /// Whoever has the terminal reads keys and not lines.
    keys: bool,
    looking: Option<Looking<'a>>,
}

type Looking<'a> = Pin<Box<dyn Future<Output = (Look, Option<Asked>)> + Send + 'a>>;

/// A look at the line that the cursor is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    blocked: Blocked,
    at_ms: i64,
}

impl<'a> Asking<'a> {
    /// What is asked.
    pub(super) fn sign(&self) -> Option<&AskSign> {
        self.memory.told.as_ref().map(|told| &told.sign)
    }

    /// Whether whoever had the terminal at the last look read keys and not lines.
    pub(super) const fn reads_keys(&self) -> bool {
        self.keys
    }

    /// When to look again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.again_at
    }

    /// There was output. Who could go on did.
    pub(super) fn heard(&mut self) {
        if self
            .memory
            .told
            .as_ref()
            .is_some_and(|told| told.blocked.how != How::Whole)
        {
            self.again_at = Some(Instant::now());
        }
    }

    /// Whether it may be told soon that something is asked which is not told now.
    pub(super) fn is_open(&self) -> bool {
        self.looking.is_some() || self.memory.open
    }

    /// Looks at the program that has the terminal of a session.
    pub(super) fn look(&mut self, core: &'a Core, id: &'a str, scene: &Scene<'_>) {
        self.again_at = None;
        let Some(group) = self.find(scene) else {
            self.memory = Memory::default();
            self.looking = None;
            return;
        };
        let (step, again_ms) = self.memory.weigh(group, scene.times, scene.news);
        self.again_at = again_ms.map(after);
        match step {
            Step::Read(look) => {
                self.looking = Some(Box::pin(async move { (look, asked(core, id).await) }));
            }
            Step::Drop => self.looking = None,
            Step::Keep => {}
        }
    }

    /// Waits for what is being looked at. Dropping the future loses nothing.
    pub(super) async fn looked(&mut self) {
        let Some(looking) = &mut self.looking else {
            return std::future::pending().await;
        };
        let (look, asked) = looking.await;
        self.looking = None;
        if let Some(again_ms) = self.memory.tell(look, asked) {
            self.again_at = Some(after(again_ms));
        }
    }

    /// Waits for it as well, if anything is, but not for long: so that it is told with what it was seen with.
    pub(super) async fn settle(&mut self) {
        if self.looking.is_some() {
            // What is late comes later.
            let _late = timeout(READS_WITHIN, self.looked()).await;
        }
    }

    /// Looks at the modes of the terminal of this pane alone.
    pub(super) fn look_at_modes(&mut self, pane: u32) {
        self.keys = modes(pane).is_some_and(|modes| !modes.lines);
    }

    /// What it does. None: it is none to be looked at.
    fn find(&mut self, scene: &Scene<'_>) -> Option<Group> {
        let modes = scene.holds.and_then(|_holds| modes(scene.pane));
        self.keys = modes.as_ref().is_some_and(|modes| !modes.lines);
        let (holds, modes) = (scene.holds?, modes?);
        if !modes.lines {
            if holds.name.shell {
                self.edits = Some(holds.process());
            }
            return None;
        }
        // The mark is of the shell that the session was made for: one that this started makes none, as a rule.
        let command_runs = scene.command_runs && holds.own;
        let edits = holds.name.edits || self.edits == Some(holds.process());
        if holds.name.shell && !command_runs && !edits {
            // It is at its prompt, for all that can be told.
            return None;
        }
        Some(blocked::look(holds, scene.pane, &modes.terminal))
    }
}

/// So many milliseconds from now, and not at once.
fn after(ms: i64) -> Instant {
    Instant::now() + Duration::from_millis(ms.max(1).cast_unsigned())
}

/// The line that the cursor is in. None: there is no screen.
async fn asked(core: &Core, id: &str) -> Option<Asked> {
    let request = CaptureSessionRequest {
        id: id.to_owned(),
        ..CaptureSessionRequest::default()
    };
    let shown = screen::capture(core, &request).await.ok()?;
    let columns = shown.size.map_or(0, |size| size.columns);
    let row = shown.cursor?.y;
    let screen = String::from_utf8_lossy(&shown.screen);
    Some(line::asked(
        &screen,
        usize::try_from(columns).ok()?,
        usize::try_from(row).ok()?,
    ))
}

/// What follows from a look at the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is as it was.
    Keep,
    /// It does not ask.
    Drop,
    /// It asks: what, has to be read.
    Read(Look),
}

/// What is remembered between looks. Knows no clock.
#[derive(Debug, Default)]
struct Memory {
    /// What was seen at the last look, and since when it is so.
    seen: Option<(Blocked, i64)>,
    told: Option<Told>,
    /// What was told last.
    last: Option<Last>,
    /// The last look did not show whether it asks.
    open: bool,
    /// How often it was looked at since anything happened.
    looks: u32,
    /// How often it was looked at since then while it asked, or what it asks could not be read.
    checks: u32,
}

/// What was told of a read.
#[derive(Debug)]
struct Last {
    read: Read,
    /// The line that it asked on.
    line: String,
    /// The words it was told with.
    message: String,
}

/// What is told.
#[derive(Debug)]
struct Told {
    blocked: Blocked,
    /// When the CPU time was counted.
    counted_ms: i64,
    /// Something of it ran at the last look.
    ran: bool,
    sign: AskSign,
}

impl Told {
    /// Whether nothing happened since it was seen.
    const fn stands(&self, times: Times) -> bool {
        times.output < self.sign.at_ms && times.answered < self.sign.at_ms
    }

    /// Whether something beside it has begun to work.
    fn works(&mut self, blocked: &Blocked, now: i64) -> bool {
        let passed_ms = now.saturating_sub(self.counted_ms);
        // Less says nothing: a tick is much of it.
        if blocked.how != How::Beside || passed_ms < STILL_ASKS_MS / 2 {
            return false;
        }
        let ticks = blocked.cpu_ticks.saturating_sub(self.blocked.cpu_ticks);
        (self.blocked.cpu_ticks, self.counted_ms) = (blocked.cpu_ticks, now);
        let used_ms = i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(TICK_MS);
        used_ms.saturating_mul(WORKS_SHARE) >= passed_ms
    }
}

impl Memory {
    /// What a look means, and after how many milliseconds to look again.
    fn weigh(&mut self, group: Group, times: Times, news: bool) -> (Step, Option<i64>) {
        if news {
            self.checks = 0;
        }
        if news || self.told.is_some() {
            self.looks = 0;
        }
        if group == Group::Runs
            && let Some(told) = self.told.as_mut().filter(|told| told.stands(times) && !told.ran)
        {
            // Whoever waits for what asks may wake up just now, and sleep again.
            told.ran = true;
            self.open = false;
            return (Step::Keep, Some(RUNS_MS));
        }
        let again_ms = match group {
            Group::Blocked(blocked) => {
                let (step, again_ms) = self.weigh_blocked(blocked, times);
                self.open = self.told.is_none() && again_ms.is_some();
                return (step, again_ms);
            }
            Group::Runs => self.doubled(RUNS_MS),
            Group::Sleeps => self.doubled(AGAIN_MS),
        };
        (self.seen, self.told) = (None, None);
        self.open = group == Group::Runs && self.looks < ABOUT_TO_ASK;
        (Step::Drop, self.again(again_ms))
    }

    fn weigh_blocked(&mut self, blocked: Blocked, times: Times) -> (Step, Option<i64>) {
        let same = self.seen.filter(|(before, _)| *before == blocked);
        let since_ms = same.map_or(times.now, |(_, since_ms)| since_ms);
        self.seen = Some((blocked, since_ms));
        let told = self.told.take();
        let mut told = told.filter(|told| {
            let Blocked { how, read, .. } = told.blocked;
            (how, read) == (blocked.how, blocked.read) && times.answered < told.sign.at_ms
        });
        if let Some(asks) = told.as_mut().filter(|told| told.stands(times)) {
            asks.ran = false;
            if !asks.works(&blocked, times.now) {
                self.told = told;
                return (Step::Keep, Some(self.check(STILL_ASKS_MS)));
            }
        }
        // It did not write that itself.
        self.told = told.filter(|told| told.blocked.how == How::Whole);
        let missing_ms = self.missing_ms(&blocked, since_ms, times);
        if missing_ms <= 0 {
            let look = Look {
                blocked,
                at_ms: times.now,
            };
            return (Step::Read(look), None);
        }
        let goes_on = same.is_some() || self.looks == 0;
        let again_ms = if goes_on {
            missing_ms
        } else {
            missing_ms.max(self.doubled(AGAIN_MS))
        };
        let step = if self.told.is_some() {
            Step::Keep
        } else {
            Step::Drop
        };
        (step, self.again(again_ms))
    }

    /// How long it still has to be as it is until it counts as one that asks.
    fn missing_ms(&self, blocked: &Blocked, since_ms: i64, times: Times) -> i64 {
        // What a clock that was set back makes of the past is now.
        let ago = |at: i64| times.now.saturating_sub(at).max(0);
        let (quiet_ms, still_ms) = match blocked.how {
            How::Whole => (QUIET_MS, 0),
            How::Beside => (QUIET_BESIDE_MS, STILL_BESIDE_MS),
            How::Unseen => (QUIET_MS, STILL_UNSEEN_MS),
        };
        let was_told = self.last.as_ref().is_some_and(|last| last.read == blocked.read);
        let on_its_way_ms = if was_told { ON_ITS_WAY_MS } else { 0 };
        let quiet = quiet_ms - ago(times.output.max(times.answered));
        quiet
            .max(still_ms - ago(since_ms))
            .max(on_its_way_ms - ago(times.answered))
    }

    /// This, doubled with each look since anything happened.
    const fn doubled(&self, after_ms: i64) -> i64 {
        after_ms << if self.looks < LOOKS { self.looks } else { LOOKS }
    }

    fn again(&mut self, after_ms: i64) -> Option<i64> {
        self.looks += 1;
        (self.looks <= LOOKS).then_some(after_ms)
    }

    /// When to look again at what asks or may ask: this, doubled with each time since anything happened.
    fn check(&mut self, first_ms: i64) -> i64 {
        let after_ms = (first_ms << self.checks.min(u16::BITS)).min(STILL_ASKS_MAX_MS);
        self.checks = self.checks.saturating_add(1);
        after_ms
    }

    /// Takes in what stands on the screen, and says after how many milliseconds to look again. None: it could not be read,
    /// so that it is not known what is asked, and whether anything is.
    fn tell(&mut self, look: Look, asked: Option<Asked>) -> Option<i64> {
        let Blocked { how, read, .. } = look.blocked;
        if self.seen.is_none_or(|(blocked, _)| blocked.read != read) {
            return None;
        }
        self.open = asked.is_none();
        let Some(asked) = asked else {
            return Some(self.check(UNREAD_MS));
        };
        if how != How::Whole && !asked.at_cursor {
            self.told = None;
            return None;
        }
        // What is being typed behind it is no part of it.
        let before = self.last.take().filter(|last| last.read == read);
        let last = match before {
            Some(before) if asked.line.starts_with(&before.line) => before,
            _ => Last {
                read,
                message: asked.question.unwrap_or_else(|| asked.line.clone()),
                line: asked.line,
            },
        };
        let message = last.message.clone();
        self.last = Some(last);
        let before = self.told.take().filter(|told| told.blocked.read == read);
        let sign = AskSign {
            message,
            since_ms: before.map_or(look.at_ms, |told| told.sign.since_ms),
            at_ms: look.at_ms,
        };
        self.told = Some(Told {
            blocked: look.blocked,
            counted_ms: look.at_ms,
            ran: false,
            sign,
        });
        Some(self.check(STILL_ASKS_MS))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::panic,
        reason = "a test that cannot go on has failed, and a panic is how it says so"
    )]

    use proptest::prelude::*;

    use super::*;

    fn blocked(how: How, switches: u64, cpu_ticks: u64) -> Group {
        let read = Read {
            pid: 10,
            start_time: 1,
            thread: 10,
            switches: Some(switches),
        };
        Group::Blocked(Blocked { how, read, cpu_ticks })
    }

    fn times(now: i64, output: i64, answered: i64) -> Times {
        Times {
            now,
            output,
            answered,
        }
    }

    fn line(line: &str) -> Asked {
        Asked {
            line: line.to_owned(),
            question: (line == "#?").then(|| "Which?".to_owned()),
            at_cursor: !line.is_empty(),
        }
    }

    impl Memory {
        /// Looks, and reads the line if that is to be done. What is told then, and when to look again.
        fn look(&mut self, found: Group, times: Times, shown: &str) -> (Option<AskSign>, Option<i64>) {
            let news = times.now == times.output || times.now == times.answered;
            let (step, mut again) = self.weigh(found, times, news);
            if let Step::Read(look) = step {
                again = self.tell(look, Some(line(shown)));
            }
            (self.told.as_ref().map(|told| told.sign.clone()), again)
        }
    }

    fn sign(message: &str, since_ms: i64, at_ms: i64) -> Option<AskSign> {
        Some(AskSign {
            message: message.to_owned(),
            since_ms,
            at_ms,
        })
    }

    #[test]
    fn what_is_blocked_as_a_whole_asks_once_its_output_paused() {
        let mut memory = Memory::default();
        let reads = blocked(How::Whole, 1, 0);
        assert_eq!(memory.look(reads, times(1_000, 900, 0), "Go?"), (None, Some(50)));
        let asks = sign("Go?", 1_050, 1_050);
        assert_eq!(
            memory.look(reads, times(1_050, 900, 0), "Go?"),
            (asks.clone(), Some(1_000))
        );
        assert_eq!(
            memory.look(reads, times(9_000, 900, 0), "x"),
            (asks.clone(), Some(2_000))
        );
        // Something is typed.
        assert_eq!(memory.look(reads, times(9_000, 8_950, 0), ""), (asks, Some(100)));
        let typed = memory.look(reads, times(9_100, 8_950, 0), "Go? ye");
        assert_eq!(typed, (sign("Go?", 1_050, 9_100), Some(4_000)));
        // Answered, and not there yet.
        assert_eq!(
            memory.look(reads, times(9_200, 9_200, 9_200), ""),
            (None, Some(1_000))
        );
        assert_eq!(
            memory.look(reads, times(9_900, 9_200, 9_200), ""),
            (None, Some(300))
        );
        // It asks the next.
        let next = blocked(How::Whole, 2, 0);
        assert_eq!(
            memory.look(next, times(9_910, 9_210, 9_200), "And now?"),
            (sign("And now?", 9_910, 9_910), Some(1_000))
        );
        assert_eq!(memory.look(Group::Sleeps, times(9_950, 9_910, 9_200), "").0, None);
    }

    #[test]
    fn what_is_typed_behind_a_sign_is_no_part_of_the_question() {
        let mut memory = Memory::default();
        let reads = blocked(How::Whole, 1, 0);
        let asks = |at_ms| sign("Which?", 1_000, at_ms);
        assert_eq!(memory.look(reads, times(1_000, 0, 0), "#?").0, asks(1_000));
        assert_eq!(memory.look(reads, times(2_000, 1_900, 0), "").0, asks(1_000));
        assert_eq!(memory.look(reads, times(2_050, 1_900, 0), "#? 2").0, asks(2_050));
    }

    #[test]
    fn what_got_no_answer_after_a_while_asks_still() {
        let mut memory = Memory::default();
        let reads = blocked(How::Whole, 1, 0);
        assert_eq!(
            memory.look(reads, times(1_000, 0, 0), "Go?").0,
            sign("Go?", 1_000, 1_000)
        );
        assert_eq!(memory.look(reads, times(2_000, 2_000, 2_000), "").0, None);
        assert_eq!(
            memory.look(reads, times(3_000, 2_000, 2_000), "Go? y").0,
            sign("Go?", 3_000, 3_000)
        );
    }

    #[test]
    fn what_could_go_on_asks_when_it_does_not_and_left_the_cursor_behind_a_text() {
        let mut memory = Memory::default();
        let reads = |ticks| blocked(How::Beside, 1, ticks);
        assert_eq!(
            memory.look(reads(5), times(1_150, 1_000, 0), "Go?"),
            (None, Some(850))
        );
        // It used the CPU meanwhile, and again.
        let (told, again) = memory.look(reads(6), times(2_000, 1_000, 0), "Go?");
        assert_eq!(told, None);
        let at = 2_000 + again.unwrap();
        assert_eq!(
            memory.look(reads(6), times(at, 1_000, 0), "Go?").0,
            sign("Go?", at, at)
        );
        // It goes on.
        assert_eq!(memory.look(reads(6), times(at + 10, at + 10, 0), "").0, None);
        assert_eq!(memory.look(reads(7), times(at + 3_000, at + 10, 0), "").0, None);
        assert_eq!(
            memory.look(reads(7), times(at + 6_000, at + 10, 0), "").0,
            None,
            "nothing is asked"
        );
    }

    #[test]
    fn what_cannot_be_seen_asks_when_it_sleeps_on() {
        let mut memory = Memory::default();
        let sleeps = |switches| blocked(How::Unseen, switches, 0);
        assert_eq!(
            memory.look(sleeps(1), times(1_150, 1_000, 0), "Password:"),
            (None, Some(100))
        );
        assert_eq!(
            memory.look(sleeps(1), times(1_250, 1_000, 0), "Password:").0,
            sign("Password:", 1_250, 1_250)
        );
        assert_eq!(
            memory.look(sleeps(9), times(1_300, 1_000, 0), "Password:").0,
            None
        );
    }

    #[test]
    fn what_asks_is_looked_at_ever_less_often_whether_it_still_does() {
        let mut memory = Memory::default();
        let reads = blocked(How::Whole, 1, 0);
        let mut now = 1_000;
        let asks = sign("Go?", now, now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let (told, again) = memory.look(reads, times(now, 0, 0), "Go?");
            assert_eq!(told, asks);
            now += again.unwrap();
            waits.push(again.unwrap() / 1_000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        // It gave up without a word, and may ask the next.
        assert_eq!(
            memory.look(Group::Sleeps, times(now, 0, 0), ""),
            (None, Some(AGAIN_MS))
        );
    }

    #[test]
    fn what_wakes_for_a_moment_asks_still_and_what_works_does_not() {
        let mut memory = Memory::default();
        let reads = |ticks| blocked(How::Beside, 1, ticks);
        let asks = sign("> ", 2_000, 2_000);
        memory.look(reads(0), times(1_000, 0, 0), "> ");
        assert_eq!(memory.look(reads(0), times(2_000, 0, 0), "> ").0, asks);
        let woken = memory.look(Group::Runs, times(3_000, 0, 0), "");
        assert_eq!(woken, (asks.clone(), Some(RUNS_MS)));
        assert_eq!(memory.look(reads(1), times(3_100, 0, 0), "").0, asks);
        // What it does now and then is no work.
        assert_eq!(memory.look(reads(5), times(5_100, 0, 0), "").0, asks);
        assert_eq!(memory.look(reads(5 + 60), times(9_100, 0, 0), "").0, None);
        // It has done it.
        assert_eq!(
            memory.look(reads(65), times(10_000, 0, 0), "> ").0,
            sign("> ", 10_000, 10_000)
        );
        // This takes longer than a moment.
        assert!(memory.look(Group::Runs, times(11_000, 0, 0), "").0.is_some());
        assert_eq!(memory.look(Group::Runs, times(11_100, 0, 0), "").0, None);
    }

    #[test]
    fn what_cannot_be_read_is_told_once_it_can() {
        let mut memory = Memory::default();
        let reads = blocked(How::Whole, 1, 0);
        let mut now = 1_000;
        for again in [100, 200, 400] {
            let (Step::Read(look), None) = memory.weigh(reads, times(now, 0, 0), false) else {
                panic!("it asks");
            };
            assert_eq!(memory.tell(look, None), Some(again));
            assert!(memory.told.is_none());
            now += again;
        }
        assert_eq!(
            memory.look(reads, times(now, 0, 0), "Go?").0,
            sign("Go?", now, now)
        );
    }

    #[test]
    fn a_program_that_never_asks_is_not_looked_at_for_ever() {
        let mut memory = Memory::default();
        let mut now = 1_000;
        let mut looks = 0;
        while let (None, Some(again)) = memory.look(Group::Sleeps, times(now, 0, 0), "") {
            (now, looks) = (now + again, looks + 1);
        }
        assert!(looks <= LOOKS && now > 60_000, "{looks} in {now} ms");
        // One that uses the CPU is seen sooner, and no more often.
        let mut memory = Memory::default();
        let mut waits = Vec::new();
        while let (None, Some(again)) = memory.look(Group::Runs, times(now, 0, 0), "") {
            waits.push(again);
        }
        assert_eq!(waits.first(), Some(&RUNS_MS));
        assert_eq!(waits.len(), LOOKS as usize);
        // Until it writes.
        assert_eq!(
            memory.look(Group::Sleeps, times(now, now, 0), "").1,
            Some(AGAIN_MS)
        );
        // The same of one that could go on and does a little all the time.
        let mut memory = Memory::default();
        let (mut ticks, mut looks) = (0, 0);
        while let (None, Some(again)) = memory.look(blocked(How::Beside, 1, ticks), times(now, 0, 0), "x") {
            (now, ticks, looks) = (now + again, ticks + 1, looks + 1);
        }
        assert!(looks <= LOOKS, "{looks}");
    }

    proptest! {
        #[test]
        fn nothing_is_told_that_was_seen_before_an_answer(
            looks in proptest::collection::vec((0..2_000_i64, 0..3_u8, 0..3_u8, 0..3_u64, any::<bool>()), 1..30),
        ) {
            let mut memory = Memory::default();
            let mut at = times(10_000, 0, 0);
            for (passed, happened, how, switches, found) in looks {
                at.now += passed;
                match happened {
                    1 => at.output = at.now,
                    2 => at.answered = at.now,
                    _ => {}
                }
                let how = [How::Whole, How::Beside, How::Unseen][usize::from(how)];
                let group = if found { blocked(how, switches, 0) } else { Group::Sleeps };
                let (told, again) = memory.look(group, at, "text");
                prop_assert!(again.is_none_or(|again| again > 0));
                if let Some(told) = told {
                    prop_assert!(found && told.at_ms > at.answered && told.since_ms <= told.at_ms);
                    prop_assert!(told.at_ms >= at.answered + QUIET_MS);
                }
            }
        }
    }
}
