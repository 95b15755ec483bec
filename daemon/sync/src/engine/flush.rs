//! Those who wait until everything is on the host.

use std::time::Instant;

use tokio::sync::oneshot;

use super::Refused;

/// Somebody who waits.
#[derive(Debug)]
struct Flush {
    reply: oneshot::Sender<Result<(), Refused>>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Everything has to be looked at.
    Asked,
    /// It is being looked at, or what was found is being sent.
    Looking,
    /// Everything that was found was sent, up to this batch.
    Sent(u64),
    /// The host was asked to settle at this time.
    Settling(Instant),
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Flushes(Vec<Flush>);

impl Flushes {
    pub(crate) fn add(&mut self, reply: oneshot::Sender<Result<(), Refused>>) {
        self.0.push(Flush {
            reply,
            stage: Stage::Asked,
        });
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

    /// What was found is sent, up to this batch.
    pub(crate) fn sent(&mut self, upto: u64) {
        self.advance(
            |stage| matches!(stage, Stage::Looking | Stage::Sent(_)),
            Stage::Sent(upto),
        );
    }

    /// Whether somebody waits for nothing but the host to settle, when so many batches were answered.
    pub(crate) fn are_to_settle(&self, answered: u64) -> bool {
        self.0
            .iter()
            .any(|flush| matches!(flush.stage, Stage::Sent(upto) if upto <= answered))
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
        self.answer(|stage| stage == Stage::Settling(at), &Ok(()));
    }

    /// Whatever was under way has to be done again.
    pub(crate) fn again(&mut self) {
        self.advance(|_| true, Stage::Asked);
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

    fn answer(&mut self, which: impl Fn(Stage) -> bool, answer: &Result<(), Refused>) {
        let all = std::mem::take(&mut self.0);
        for flush in all {
            if which(flush.stage) {
                // Who does not wait any more does not mind.
                let _gone = flush.reply.send(answer.clone());
            } else {
                self.0.push(flush);
            }
        }
    }
}
