//! Those who wait until everything is on the host.

use std::time::Instant;

use tokio::sync::oneshot;

use super::Refused;

/// Somebody who waits.
#[derive(Debug)]
struct Flush {
    reply: oneshot::Sender<Result<(), Refused>>,
    stage: Stage,
    /// It was asked before the target was opened, which looks at everything there.
    before_opening: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Everything has to be looked at.
    Asked,
    /// It is being looked at, or what was found is being sent.
    Looking,
    /// Everything that was found was sent, but for large files that came up to this one.
    Large(u64),
    /// Everything that was found was sent, up to this batch.
    Sent(u64),
    /// The host was asked to settle at this time.
    Settling(Instant),
}

impl Flush {
    /// Whether the host looked at everything after it was asked, and nothing was sent since.
    fn is_over(&self) -> bool {
        self.before_opening && self.stage == Stage::Sent(0)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Flushes(Vec<Flush>);

impl Flushes {
    pub(crate) fn add(&mut self, reply: oneshot::Sender<Result<(), Refused>>) {
        self.0.push(Flush {
            reply,
            stage: Stage::Asked,
            before_opening: false,
        });
    }

    /// The target is going to be opened.
    pub(crate) fn opening(&mut self) {
        for flush in &mut self.0 {
            flush.before_opening = true;
        }
    }

    /// Whether anybody waits for everything to be looked at.
    pub(crate) fn are_asked(&mut self) -> bool {
        self.0.retain(|flush| !flush.reply.is_closed());
        self.0.iter().any(|flush| flush.stage == Stage::Asked)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything is being looked at from now on.
    pub(crate) fn looking(&mut self) {
        self.advance(|stage| stage == Stage::Asked, Stage::Looking);
    }

    /// What was found by that is not to be sent.
    pub(crate) fn not_looked(&mut self) {
        self.advance(|stage| stage == Stage::Looking, Stage::Asked);
    }

    /// What was found is sent, up to this batch, but for large files that came up to `large`.
    pub(crate) fn sent(&mut self, upto: u64, large: Option<u64>) {
        self.advance(|stage| matches!(stage, Stage::Sent(_)), Stage::Sent(upto));
        let stage = large.map_or(Stage::Sent(upto), Stage::Large);
        self.advance(|stage| stage == Stage::Looking, stage);
    }

    /// Of large files those that came before `first` are sent (None: all), up to this batch.
    pub(crate) fn large_sent(&mut self, first: Option<u64>, upto: u64) {
        let is_sent = |large: u64| first.is_none_or(|first| large < first);
        self.advance(
            |stage| matches!(stage, Stage::Large(large) if is_sent(large)),
            Stage::Sent(upto),
        );
    }

    /// Whether somebody waits for nothing but the host to settle, when so many batches were answered.
    pub(crate) fn are_to_settle(&self, answered: u64) -> bool {
        self.0
            .iter()
            .any(|flush| !flush.is_over() && matches!(flush.stage, Stage::Sent(upto) if upto <= answered))
    }

    /// Tells those that nothing is left to be done for: what the opening found there is what is here.
    pub(crate) fn nothing_to_do(&mut self) {
        self.answer(Flush::is_over, &Ok(()));
    }

    /// The host was asked to settle.
    pub(crate) fn settling(&mut self, answered: u64, at: Instant) {
        let is_due = |stage| matches!(stage, Stage::Sent(upto) if upto <= answered);
        self.advance(is_due, Stage::Settling(at));
    }

    /// The host has settled what it was asked to at this time. What it found `altered` has to be sent again.
    pub(crate) fn settled(&mut self, at: Instant, altered: bool) {
        if altered {
            self.advance(|stage| stage == Stage::Settling(at), Stage::Asked);
            return;
        }
        self.answer(|flush| flush.stage == Stage::Settling(at), &Ok(()));
    }

    /// Whatever was under way has to be done again.
    pub(crate) fn again(&mut self) {
        self.advance(|_| true, Stage::Asked);
        for flush in &mut self.0 {
            flush.before_opening = false;
        }
    }

    /// Tells all of them that it comes to nothing.
    pub(crate) fn refuse(&mut self, refused: &Refused) {
        self.answer(|_| true, &Err(refused.clone()));
    }

    fn advance(&mut self, which: impl Fn(Stage) -> bool, to: Stage) {
        for flush in self.0.iter_mut().filter(|flush| which(flush.stage)) {
            flush.stage = to;
        }
    }

    fn answer(&mut self, which: impl Fn(&Flush) -> bool, answer: &Result<(), Refused>) {
        let all = std::mem::take(&mut self.0);
        for flush in all {
            if which(&flush) {
                // Who does not wait any more does not mind.
                let _gone = flush.reply.send(answer.clone());
            } else {
                self.0.push(flush);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_waits_for_the_large_files_that_were_there_and_no_others() {
        let mut flushes = Flushes::default();
        let (reply, mut answer) = oneshot::channel();
        flushes.add(reply);
        flushes.looking();
        flushes.sent(3, Some(7));
        flushes.large_sent(Some(6), 4);
        flushes.large_sent(Some(7), 5);
        assert!(!flushes.are_to_settle(u64::MAX));
        flushes.large_sent(Some(8), 6);
        assert!(!flushes.are_to_settle(5) && flushes.are_to_settle(6));
        let at = Instant::now();
        flushes.settling(6, at);
        flushes.settled(at, false);
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }

    fn asked(flushes: &mut Flushes) -> oneshot::Receiver<Result<(), Refused>> {
        let (reply, answer) = oneshot::channel();
        flushes.add(reply);
        answer
    }

    #[test]
    fn only_an_opening_that_came_after_it_with_nothing_to_send_is_the_end_of_a_flush() {
        let mut flushes = Flushes::default();
        let mut first = asked(&mut flushes);
        flushes.opening();
        let mut late = asked(&mut flushes);
        flushes.looking();
        flushes.nothing_to_do();
        assert!(first.try_recv().is_err(), "it is being looked at");
        flushes.sent(0, None);
        assert!(flushes.are_to_settle(0), "for the one that came late");
        flushes.nothing_to_do();
        assert_eq!(first.try_recv(), Ok(Ok(())));
        assert!(late.try_recv().is_err());
        let at = Instant::now();
        flushes.settling(0, at);
        flushes.settled(at, false);
        assert_eq!(late.try_recv(), Ok(Ok(())));
        assert!(flushes.is_empty());
    }

    #[test]
    fn what_was_sent_since_the_opening_is_to_settle() {
        let mut flushes = Flushes::default();
        let mut answer = asked(&mut flushes);
        flushes.opening();
        flushes.looking();
        flushes.sent(1, None);
        flushes.nothing_to_do();
        assert!(answer.try_recv().is_err() && flushes.are_to_settle(1));
        // Of another opening nobody knows yet.
        flushes.again();
        flushes.looking();
        flushes.sent(0, None);
        flushes.nothing_to_do();
        assert!(answer.try_recv().is_err() && flushes.are_to_settle(0));
    }

    #[test]
    fn what_was_looked_at_in_vain_is_looked_at_again() {
        let mut flushes = Flushes::default();
        let _answer = asked(&mut flushes);
        flushes.looking();
        assert!(!flushes.are_asked());
        flushes.not_looked();
        assert!(flushes.are_asked());
    }
}
