//! What is told, and when: the memory between changes and notices.
//!
//! A change is not told at once: what comes within [`GATHERS`] becomes one notice, and what is over again by then is told
//! to nobody. What was told is not told again before somebody answered it, or it was something else for longer than
//! [`SETTLES`], so that whatever flickers is told once; and of one thing only so much is told, so that a program that finds new words every second
//! annoys nobody. What is told after others were held back says for how many it stands.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Change, Channel, Notice, Noun, Rules, Said, Thing, Told};

/// What comes within so long becomes one notice.
pub const GATHERS: Duration = Duration::from_secs(1);

/// How long something that nobody answered has to be something else before it is told again.
pub const SETTLES: Duration = Duration::from_secs(2);

/// So much is told of one thing at once; after that one more in each [`PAUSE`].
const AT_ONCE: u32 = 5;

/// Time after which one more may be told of a thing.
const PAUSE: Duration = Duration::from_secs(20);

/// What is known of all that may be told.
#[derive(Debug)]
pub struct Desk {
    rules: Rules,
    subjects: HashMap<String, Subject>,
    /// Ids of what waits to be told, in the order it came.
    waiting: Vec<String>,
    /// When to tell it.
    due: Option<Instant>,
    /// Some of what waits was not asked for yet.
    gathers: bool,
    /// Something came that may be told, since this was last asked for.
    news: bool,
}

/// What is known of one thing.
#[derive(Debug)]
struct Subject {
    thing: Thing,
    /// How it stands.
    stands: Option<Said>,
    /// What it does. How it stands outranks that.
    does: Option<Said>,
    /// What was told of it, and when it was last so.
    told: Vec<(Said, Instant)>,
    /// How much more may be told, and since when that counts.
    left: (u32, Instant),
    /// The last thing that was held back since something was told, and how many there were.
    held: Option<(Said, u32)>,
}

impl Subject {
    fn new(thing: Thing, now: Instant) -> Self {
        Self {
            thing,
            stands: None,
            does: None,
            told: Vec::new(),
            left: (AT_ONCE, now),
            held: None,
        }
    }

    fn now(&self) -> Option<&Said> {
        self.stands.as_ref().or(self.does.as_ref())
    }

    /// Changes it. What was so until now was so until now.
    fn change(&mut self, now: Instant, change: impl FnOnce(&mut Self)) {
        let before = self.now().cloned();
        for (said, last) in &mut self.told {
            if before.as_ref() == Some(&*said) {
                *last = now;
            }
        }
        change(self);
        self.told
            .retain(|(_, last)| now.saturating_duration_since(*last) <= SETTLES);
    }

    fn was_told(&self, said: &Said) -> bool {
        self.told.iter().any(|(told, _)| told == said)
    }

    fn tell(&mut self, said: Said, now: Instant) {
        if !self.was_told(&said) {
            self.told.push((said, now));
        }
    }

    /// Holds this back, which may have been so before.
    fn hold(&mut self, said: &Said) {
        self.held = match self.held.take() {
            Some((last, count)) if last == *said => Some((last, count)),
            earlier => Some((
                said.clone(),
                earlier.map_or(1, |(_, count)| count.saturating_add(1)),
            )),
        };
    }

    /// For how many this stands, when it is told now.
    fn release(&mut self, said: &Said) -> u32 {
        self.hold(said);
        self.held.take().map_or(1, |(_, count)| count)
    }

    /// Takes one of what may be told, or says when there is one again.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let (left, since) = &mut self.left;
        while *left < AT_ONCE && now.saturating_duration_since(*since) >= PAUSE {
            *left += 1;
            *since += PAUSE;
        }
        if *left == AT_ONCE {
            *since = now;
        }
        match left.checked_sub(1) {
            Some(less) => {
                *left = less;
                Ok(())
            }
            None => Err(*since + PAUSE),
        }
    }
}

impl Desk {
    /// One that knows of nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            subjects: HashMap::new(),
            waiting: Vec::new(),
            due: None,
            gathers: false,
            news: false,
        }
    }

    /// Takes in what is so from the start, and was told by whoever was here before.
    pub fn known(&mut self, change: Change, now: Instant) {
        let Some(id) = self.apply(change, now) else { return };
        if let Some(subject) = self.subjects.get_mut(&id)
            && let Some(said) = subject.now().cloned()
        {
            subject.tell(said, now);
        }
    }

    /// Takes in a change.
    pub fn take(&mut self, change: Change, now: Instant) {
        let Some(id) = self.apply(change, now) else { return };
        let Some(subject) = self.subjects.get(&id) else {
            return;
        };
        let may_be_told = |said: &&Said| !self.rules.channels(said.state, &subject.thing).is_empty();
        let said = subject.now().filter(may_be_told);
        self.news |= said.is_some();
        if said.is_some_and(|said| !subject.was_told(said)) {
            self.gathers = true;
            if !self.waiting.contains(&id) {
                self.waiting.push(id);
            }
            let due = now + GATHERS;
            // What waits for more than a moment only waits for its turn.
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        } else if subject.thing.noun == Noun::Job && !self.waiting.contains(&id) {
            // A job has one end, and then nothing more.
            self.subjects.remove(&id);
        }
    }

    /// Writes a change down; the id of what it is about, if that is still there.
    fn apply(&mut self, change: Change, now: Instant) -> Option<String> {
        let thing = match &change {
            Change::Does { thing, .. } | Change::Stands { thing, .. } => thing.clone(),
            Change::Gone(id) => {
                self.subjects.remove(id);
                self.waiting.retain(|waits| waits != id);
                return None;
            }
        };
        let id = thing.id.clone();
        let subject = self
            .subjects
            .entry(id.clone())
            .or_insert_with(|| Subject::new(thing.clone(), now));
        subject.thing = thing;
        if matches!(change, Change::Does { answered: true, .. }) {
            subject.told.clear();
        }
        subject.change(now, |subject| match change {
            Change::Does { now: does, .. } => subject.does = does,
            Change::Stands {
                now: stands, over, ..
            } => {
                subject.stands = stands;
                if over {
                    (subject.does, subject.held) = (None, None);
                }
            }
            Change::Gone(_) => {}
        });
        Some(id)
    }

    /// When to ask for what is to be told. None: nothing is.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What waits to be told waits its time from now on.
    pub fn gather_anew(&mut self, now: Instant) {
        self.due = self.due.map(|_due| now + GATHERS);
    }

    /// Whether, since this was last so, something came that may be told, and all that came was told or need not be, but for
    /// what waits for its turn ([`Self::held`]).
    pub const fn is_done(&mut self) -> bool {
        let done = self.news && !self.gathers;
        if done {
            self.news = false;
        }
        done
    }

    /// Ids of what was held back, and waits for its turn.
    pub fn held(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(String::as_str)
    }

    /// What is to be told now. `looked_at` says whether somebody looks at a session, by its id: that one is told of to
    /// nobody.
    pub fn tell(&mut self, now: Instant, looked_at: impl Fn(&str) -> bool) -> Vec<(Channel, Notice)> {
        (self.due, self.gathers, self.news) = (None, false, true);
        let mut told: Vec<Told> = Vec::new();
        for id in std::mem::take(&mut self.waiting) {
            let Some(subject) = self.subjects.get_mut(&id) else {
                continue;
            };
            let wanted = subject.now().filter(|said| {
                !subject.was_told(said) && !self.rules.channels(said.state, &subject.thing).is_empty()
            });
            if let Some(said) = wanted.cloned() {
                if looked_at(&id) {
                    // Seen, which is better than told.
                    subject.held = None;
                    subject.tell(said, now);
                } else if let Err(later) = subject.take(now) {
                    subject.hold(&said);
                    self.due = Some(self.due.map_or(later, |due| due.min(later)));
                    self.waiting.push(id);
                    continue;
                } else {
                    subject.tell(said.clone(), now);
                    told.push(Told {
                        count: subject.release(&said),
                        thing: subject.thing.clone(),
                        said,
                    });
                }
            } else {
                // What was held back is over.
                subject.held = None;
            }
            if subject.thing.noun == Noun::Job {
                self.subjects.remove(&id);
            }
        }
        let by = |channel: Channel| {
            let told = told.iter().filter(|told| {
                self.rules
                    .channels(told.said.state, &told.thing)
                    .contains(&channel)
            });
            Notice::of(told.cloned().collect()).map(|notice| (channel, notice))
        };
        Channel::ALL.into_iter().filter_map(by).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::State, *};

    const MOMENT: Duration = Duration::from_millis(100);

    /// A desk with a clock.
    struct At {
        desk: Desk,
        now: Instant,
        looked_at: bool,
    }

    fn session(name: &str) -> Thing {
        Thing {
            noun: Noun::Session,
            id: format!("id of {name}"),
            name: name.to_owned(),
            host: "build1".to_owned(),
        }
    }

    fn said(state: State, text: &str) -> Said {
        Said {
            state,
            text: text.to_owned(),
        }
    }

    impl At {
        fn new() -> Self {
            Self {
                desk: Desk::new(Rules {
                    to: [Channel::Command].into(),
                    ..Rules::default()
                }),
                now: Instant::now(),
                looked_at: false,
            }
        }

        fn does(&mut self, name: &str, said: Option<Said>) -> &mut Self {
            self.does_then(name, said, false)
        }

        fn does_then(&mut self, name: &str, now: Option<Said>, answered: bool) -> &mut Self {
            let change = Change::Does {
                thing: session(name),
                now,
                answered,
            };
            self.desk.take(change, self.now);
            self
        }

        /// Somebody answers, and it works.
        fn is_answered(&mut self, name: &str) -> &mut Self {
            self.does_then(name, None, true)
        }

        fn waits(&mut self, name: &str, text: &str) -> &mut Self {
            self.does(name, Some(said(State::Waiting, text)))
        }

        fn works(&mut self, name: &str) -> &mut Self {
            self.does(name, None)
        }

        /// Lets time go by; what is told meanwhile.
        fn hear(&mut self, time: Duration) -> Vec<Notice> {
            let end = self.now + time;
            let mut notices = Vec::new();
            while let Some(due) = self.desk.due().filter(|due| *due <= end) {
                let looked_at = self.looked_at;
                let told = self.desk.tell(due, |_| looked_at);
                notices.extend(told.into_iter().map(|(_, notice)| notice));
            }
            self.now = end;
            notices
        }

        /// Lets time go by; the titles of what is told meanwhile.
        fn pass(&mut self, time: Duration) -> Vec<String> {
            self.hear(time).into_iter().map(|notice| notice.title).collect()
        }
    }

    #[test]
    fn what_waits_is_told_once() {
        let mut at = At::new();
        assert_eq!(at.waits("a", "Go on?").pass(GATHERS), ["a waits on build1"]);
        assert!(at.waits("a", "Go on?").pass(10 * GATHERS).is_empty());
        // Another question is another change.
        assert_eq!(at.waits("a", "Sure?").pass(GATHERS), ["a waits on build1"]);
    }

    #[test]
    fn what_was_answered_in_time_is_not_told() {
        let mut at = At::new();
        assert!(at.waits("a", "Go on?").pass(MOMENT).is_empty());
        assert!(at.works("a").pass(10 * GATHERS).is_empty());
    }

    #[test]
    fn what_flickers_is_told_once_and_what_comes_back_again() {
        let mut at = At::new();
        assert_eq!(at.waits("a", "Go on?").pass(GATHERS).len(), 1);
        for _ in 0..100 {
            assert!(at.works("a").pass(MOMENT).is_empty());
            assert!(at.waits("a", "Go on?").pass(GATHERS * 2).is_empty());
        }
        assert!(at.works("a").pass(SETTLES + MOMENT).is_empty());
        assert_eq!(at.waits("a", "Go on?").pass(GATHERS).len(), 1);
    }

    #[test]
    fn what_is_asked_again_after_an_answer_is_told_again() {
        let mut at = At::new();
        assert_eq!(at.waits("a", "Bash").pass(GATHERS).len(), 1);
        assert!(at.is_answered("a").pass(MOMENT).is_empty());
        assert_eq!(at.waits("a", "Bash").pass(GATHERS).len(), 1);
        // At once, and then it flickers.
        let asks = Some(said(State::Waiting, "Bash"));
        assert_eq!(at.does_then("a", asks, true).pass(GATHERS).len(), 1);
        assert!(at.works("a").pass(MOMENT).is_empty());
        assert!(at.waits("a", "Bash").pass(10 * GATHERS).is_empty());
        // The answer of one is none of another.
        assert_eq!(at.waits("b", "Bash").pass(GATHERS).len(), 1);
        at.is_answered("a").works("b").pass(MOMENT);
        assert!(at.waits("b", "Bash").pass(10 * GATHERS).is_empty());
    }

    #[test]
    fn it_says_when_all_that_came_is_done_with() {
        let mut at = At::new();
        assert!(!at.desk.is_done());
        // What nobody is told of is no news.
        at.works("a").pass(GATHERS);
        at.does("a", Some(said(State::Idle, ""))).pass(GATHERS);
        assert!(!at.desk.is_done());
        at.waits("a", "Go on?").pass(MOMENT);
        assert!(!at.desk.is_done(), "it waits to be told");
        at.pass(GATHERS);
        assert!(at.desk.is_done() && at.desk.held().next().is_none());
        assert!(!at.desk.is_done(), "nothing came since");
        // What flickers came, and need not be told.
        at.works("a").pass(MOMENT);
        at.waits("a", "Go on?");
        assert!(at.desk.is_done());
        // What has to wait for its turn is told apart.
        for second in 0..=AT_ONCE {
            at.waits("a", &second.to_string()).pass(GATHERS);
        }
        assert_eq!(at.desk.held().collect::<Vec<_>>(), ["id of a"]);
        assert!(at.desk.is_done());
        at.pass(PAUSE);
        assert_eq!(at.desk.held().next(), None);
        // What is read late waits its time all the same.
        at.waits("b", "Go on?");
        at.now += 10 * GATHERS;
        at.desk.gather_anew(at.now);
        assert!(at.pass(MOMENT).is_empty());
        assert_eq!(at.pass(GATHERS).len(), 1);
    }

    #[test]
    fn what_comes_together_is_one_notice() {
        let mut at = At::new();
        at.waits("b", "1").pass(MOMENT);
        at.waits("c", "2").waits("a", "3");
        assert_eq!(at.pass(GATHERS), ["3 sessions wait on build1: a, b, c"]);
    }

    #[test]
    fn who_looks_is_not_told() {
        let mut at = At::new();
        at.looked_at = true;
        assert!(at.waits("a", "Go on?").pass(10 * GATHERS).is_empty());
        at.looked_at = false;
        // They have seen it.
        assert!(at.waits("a", "Go on?").pass(10 * GATHERS).is_empty());
    }

    #[test]
    fn a_program_with_ever_new_words_is_told_seldom() {
        let mut at = At::new();
        let mut told = 0;
        for second in 0..600 {
            told += at.waits("a", &second.to_string()).pass(GATHERS).len();
        }
        assert!((30..=36).contains(&told), "{told}");
        // And then again as before.
        at.works("a").pass(20 * PAUSE);
        for second in 0..AT_ONCE {
            let words = format!("again {second}");
            assert_eq!(at.waits("a", &words).pass(GATHERS).len(), 1, "{second}");
        }
    }

    #[test]
    fn what_stands_for_many_says_for_how_many() {
        let mut at = At::new();
        // More than may be told, and one of them twice.
        for second in 0..AT_ONCE {
            let told = at.waits("a", &second.to_string()).hear(GATHERS);
            assert_eq!((told[0].title.as_str(), told[0].count), ("a waits on build1", 1));
        }
        for words in ["x", "y", "y", "z"] {
            assert!(at.waits("a", words).pass(GATHERS).is_empty());
        }
        let told = at.hear(PAUSE);
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].title.as_str(), told[0].body.as_str(), told[0].count),
            ("a waits on build1 (the last of 3)", "z", 3)
        );
        // It is counted anew.
        for words in ["u", "v"] {
            assert!(at.waits("a", words).pass(GATHERS).is_empty());
        }
        let told = at.hear(PAUSE);
        assert_eq!(told[0].title, "a waits on build1 (the last of 2)");
        // Who sees the last of them needs no count.
        for words in ["1", "2"] {
            assert!(at.waits("a", words).pass(GATHERS).is_empty());
        }
        at.looked_at = true;
        assert!(at.hear(PAUSE).is_empty());
        at.looked_at = false;
        let told = at.waits("a", "again").hear(PAUSE);
        assert_eq!(told[0].count, 1);
        // What was answered before its turn came is over.
        at.waits("a", "and again").pass(GATHERS);
        assert!(at.waits("a", "soon answered").pass(GATHERS).is_empty());
        assert!(at.works("a").hear(PAUSE).is_empty());
        let told = at.waits("a", "later").hear(PAUSE);
        assert_eq!(told[0].count, 1);
    }

    #[test]
    fn an_end_outranks_what_went_before_and_a_new_run_begins_anew() {
        let mut at = At::new();
        at.waits("a", "Go on?");
        let stands = |now, over| Change::Stands {
            thing: session("a"),
            now,
            over,
        };
        at.desk
            .take(stands(Some(said(State::Lost, "host rebooted")), true), at.now);
        assert_eq!(at.pass(GATHERS), ["a was lost on build1"]);
        at.desk.take(stands(None, false), at.now);
        assert!(at.pass(10 * GATHERS).is_empty());
    }

    #[test]
    fn what_was_so_before_is_not_told() {
        let mut at = At::new();
        let waits = Change::Does {
            thing: session("a"),
            now: Some(said(State::Waiting, "Go on?")),
            answered: false,
        };
        at.desk.known(waits, at.now);
        assert!(at.waits("a", "Go on?").pass(10 * GATHERS).is_empty());
        assert_eq!(at.waits("a", "Sure?").pass(GATHERS).len(), 1);
    }

    #[test]
    fn nothing_is_kept_of_jobs_and_of_what_was_removed() {
        let mut at = At::new();
        let job = |state| Change::Stands {
            thing: Thing {
                noun: Noun::Job,
                ..session("j")
            },
            now: Some(said(state, "exit code 1")),
            over: true,
        };
        at.desk.take(job(State::Failed), at.now);
        assert!(at.desk.subjects.is_empty());
        at.desk.take(job(State::Lost), at.now);
        assert_eq!(at.pass(GATHERS), ["job j was lost on build1"]);
        at.waits("a", "Go on?");
        at.desk.take(Change::Gone("id of a".to_owned()), at.now);
        assert!(at.pass(10 * GATHERS).is_empty());
        assert!(at.desk.subjects.is_empty() && at.desk.waiting.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_told_twice_in_a_row_and_what_stays_is_told(
            steps in proptest::collection::vec((0..3_usize, proptest::option::of(0..2_usize), 0..3_000_u64), 0..40),
        ) {
            let mut at = At::new();
            let mut last: [Option<String>; 3] = Default::default();
            for (name, text, pause) in steps {
                let names = ["a", "b", "c"];
                let now = text.map(|text| said(State::Waiting, &text.to_string()));
                at.does(names[name], now);
                last[name] = text.map(|text| text.to_string());
                at.pass(Duration::from_millis(pause));
            }
            // Whatever it asks in the end was told by then, or is told when its turn comes.
            at.pass(10 * PAUSE);
            prop_assert!(at.desk.waiting.is_empty() && at.desk.due().is_none());
            for (name, asks) in ["a", "b", "c"].into_iter().zip(last) {
                let subject = at.desk.subjects.get(&session(name).id);
                if let (Some(subject), Some(asks)) = (subject, asks) {
                    prop_assert!(subject.was_told(&said(State::Waiting, &asks)));
                }
            }
        }
    }
}
