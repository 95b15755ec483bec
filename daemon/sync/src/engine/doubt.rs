//! A halt that is being looked at again, because somebody wants to go on without having confirmed it. Until that is done it
//! stands, for everybody who looks and for whoever starts next.

use tokio::sync::oneshot;

use super::{Halt, Refused, State, work::Engine};

/// What is looked at again.
#[derive(Debug)]
pub(crate) struct Doubt {
    halt: Halt,
    reply: oneshot::Sender<Result<(), Refused>>,
}

impl Engine {
    /// Begins to look whether what it is halted for still is so. Gives whether it is.
    pub(super) fn look_again(&mut self, reply: oneshot::Sender<Result<(), Refused>>) -> bool {
        let Some(halt) = self.halted.take() else {
            let answer = match &self.doubted {
                Some(Doubt { halt, .. }) => {
                    let message = format!("{} (which is being looked at again already)", halt.message);
                    Err(refused(&halt.reason, &message))
                }
                None => Ok(()),
            };
            let _gone = reply.send(answer);
            return false;
        };
        if let Some(source) = &mut self.source {
            if halt.reason.starts_with("target_") {
                source.watch_again();
            } else {
                source.doubt();
            }
        }
        self.everything = true;
        self.doubted = Some(Doubt { halt, reply });
        true
    }

    /// What it is halted for, also while that is looked at again.
    pub(super) fn halt_that_stands(&self) -> Option<&Halt> {
        let doubted = self.doubted.as_ref().map(|doubt| &doubt.halt);
        self.halted.as_ref().or(doubted)
    }

    /// What it was halted for is not so any more.
    pub(super) fn cleared(&mut self) {
        if let Some(doubt) = self.doubted.take() {
            // Before that is said: who hears it looks.
            self.set(State::Scanning, None, None);
            // Who asked may have gone; it goes on all the same.
            let _gone = doubt.reply.send(Ok(()));
        }
    }

    /// It is still so, for this reason by now.
    pub(super) fn stands(&mut self, halt: &Halt) {
        if let Some(doubt) = self.doubted.take() {
            let _gone = doubt.reply.send(Err(refused(&halt.reason, &halt.message)));
        }
    }

    /// It cannot be seen whether it is still so, because of this: it stays halted.
    pub(super) fn unseen(&mut self, why: &str) {
        if let Some(Doubt { halt, reply }) = self.doubted.take() {
            let message = format!(
                "{} (whether that still is so cannot be seen: {why})",
                halt.message
            );
            let _gone = reply.send(Err(refused(&halt.reason, &message)));
            self.halted = Some(halt);
        }
    }

    /// Somebody says what is to become of it: that ends the looking.
    pub(super) fn take_halt(&mut self) -> Option<Halt> {
        let halt = self.halted.take();
        halt.or_else(|| {
            let Doubt { halt, reply } = self.doubted.take()?;
            let _gone = reply.send(Ok(()));
            // What was begun does not know of it.
            self.anew = true;
            Some(halt)
        })
    }
}

fn refused(reason: &str, message: &str) -> Refused {
    Refused {
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
