//! How many jobs run on a host at once, and who is next.
//!
//! [`Queue`] is the pure rule for one host; [`Slots`] holds one for each host and wakes whose turn has come. Order is
//! the order of entering, which is the order of acceptance: drivers enter before anybody is told of the job, and after
//! a restart in the order of the rows. What runs already is counted even beyond the limit, and never refused.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use outlast_model::id::Id;
use tokio::sync::oneshot;

/// Who runs and who waits on one host.
#[derive(Debug, Default)]
struct Queue {
    holders: HashSet<Id>,
    waiting: VecDeque<Id>,
}

impl Queue {
    /// Someone new wants to run.
    fn enter(&mut self, id: Id) {
        self.waiting.push_back(id);
    }

    /// Someone runs already.
    fn hold(&mut self, id: Id) {
        self.holders.insert(id);
    }

    /// Someone ended, or does not want to run any more.
    fn leave(&mut self, id: Id) {
        if !self.holders.remove(&id) {
            self.waiting.retain(|waiting| *waiting != id);
        }
    }

    /// The next one that may run now, if there is room. 0 means no limit.
    fn admit(&mut self, limit: usize) -> Option<Id> {
        if limit != 0 && self.holders.len() >= limit {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.holders.insert(next);
        Some(next)
    }

    fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.waiting.is_empty()
    }
}

/// The queues of all hosts.
#[derive(Debug, Clone)]
pub struct Slots {
    limit: usize,
    hosts: Arc<Mutex<HashMap<String, Host>>>,
}

#[derive(Debug, Default)]
struct Host {
    queue: Queue,
    wakers: HashMap<Id, oneshot::Sender<()>>,
}

impl Slots {
    /// Queues that let `limit` jobs run on each host at once; 0 means no limit.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            hosts: Arc::default(),
        }
    }

    /// Takes a place at the end of a host's queue.
    #[must_use]
    pub fn enter(&self, host: &str, id: Id) -> Ticket {
        let (waker, turn) = oneshot::channel();
        let mut hosts = self.lock();
        let entry = hosts.entry(host.to_owned()).or_default();
        entry.queue.enter(id);
        entry.wakers.insert(id, waker);
        Self::wake(entry, self.limit);
        drop(hosts);
        self.ticket(host, id, turn)
    }

    /// Takes a slot for what runs already.
    #[must_use]
    pub fn hold(&self, host: &str, id: Id) -> Ticket {
        let (waker, turn) = oneshot::channel();
        let mut hosts = self.lock();
        hosts.entry(host.to_owned()).or_default().queue.hold(id);
        drop(hosts);
        // The receiver is at hand, so nobody can have gone.
        let _ = waker.send(());
        self.ticket(host, id, turn)
    }

    fn ticket(&self, host: &str, id: Id, turn: oneshot::Receiver<()>) -> Ticket {
        Ticket {
            slots: self.clone(),
            host: host.to_owned(),
            id,
            turn: Some(turn),
        }
    }

    fn leave(&self, host: &str, id: Id) {
        let mut hosts = self.lock();
        if let Some(entry) = hosts.get_mut(host) {
            entry.wakers.remove(&id);
            entry.queue.leave(id);
            Self::wake(entry, self.limit);
            if entry.queue.is_empty() {
                hosts.remove(host);
            }
        }
    }

    fn wake(entry: &mut Host, limit: usize) {
        while let Some(id) = entry.queue.admit(limit) {
            if let Some(waker) = entry.wakers.remove(&id) {
                // Whoever dropped the ticket leaves the queue in its drop, which comes after this.
                let _ = waker.send(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        // No code under this lock can panic half way through a change.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue or a slot. Dropping it gives it up.
#[derive(Debug)]
pub struct Ticket {
    slots: Slots,
    host: String,
    id: Id,
    turn: Option<oneshot::Receiver<()>>,
}

impl Ticket {
    /// Waits until there is a slot; at once when there is one already. Cancel safe.
    pub async fn granted(&mut self) {
        if let Some(turn) = &mut self.turn {
            // The sender lives in the queue until it has sent or this ticket is gone.
            let _ = turn.await;
            self.turn = None;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slots.leave(&self.host, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use proptest::prelude::*;

    fn has_turn(ticket: &mut Ticket) -> bool {
        ticket.granted().now_or_never().is_some()
    }

    #[test]
    fn the_first_to_enter_is_the_first_to_run() {
        let slots = Slots::new(1);
        let mut first = slots.enter("local", Id::random());
        let mut second = slots.enter("local", Id::random());
        let mut third = slots.enter("local", Id::random());
        assert!(has_turn(&mut first));
        assert!(!has_turn(&mut second));
        drop(first);
        assert!(!has_turn(&mut third));
        assert!(has_turn(&mut second));
        drop(second);
        assert!(has_turn(&mut third));
    }

    #[test]
    fn hosts_do_not_wait_for_each_other() {
        let slots = Slots::new(1);
        let mut here = slots.enter("local", Id::random());
        let mut there = slots.enter("build1", Id::random());
        assert!(has_turn(&mut here));
        assert!(has_turn(&mut there));
    }

    #[test]
    fn what_runs_already_is_counted_beyond_the_limit() {
        let slots = Slots::new(1);
        let mut one = slots.hold("local", Id::random());
        let mut two = slots.hold("local", Id::random());
        let mut waiting = slots.enter("local", Id::random());
        assert!(has_turn(&mut one) && has_turn(&mut two));
        drop(one);
        assert!(!has_turn(&mut waiting));
        drop(two);
        assert!(has_turn(&mut waiting));
    }

    #[test]
    fn empty_queues_are_forgotten() {
        let slots = Slots::new(1);
        let ticket = slots.enter("local", Id::random());
        let waiting = slots.enter("local", Id::random());
        drop(ticket);
        drop(waiting);
        assert!(slots.lock().is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter,
        Hold,
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Enter),
            1 => Just(Step::Hold),
            4 => (0..32_usize).prop_map(Step::Leave),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        /// Whatever happens: never more run than the limit lets in, no free slot beside one who waits, and those who
        /// wait are the last to have entered.
        #[test]
        fn the_rule_holds(steps in steps(), limit in 0..4_usize) {
            let slots = Slots::new(limit);
            let mut tickets: Vec<(Ticket, bool)> = Vec::new();
            for step in steps {
                match step {
                    Step::Enter => tickets.push((slots.enter("local", Id::random()), false)),
                    Step::Hold => tickets.push((slots.hold("local", Id::random()), true)),
                    Step::Leave(at) => if !tickets.is_empty() {
                        let at = at % tickets.len();
                        tickets.remove(at);
                    },
                }
                let running = tickets.iter_mut().filter_map(|(ticket, held)| has_turn(ticket).then_some(*held));
                let (held, let_in): (Vec<_>, Vec<_>) = running.partition(|held| *held);
                let running = held.len() + let_in.len();
                let queued: Vec<bool> = tickets
                    .iter_mut()
                    .filter(|(_, held)| !held)
                    .map(|(ticket, _)| has_turn(ticket))
                    .collect();
                prop_assert!(limit == 0 || let_in.len() <= limit);
                prop_assert!(queued.is_sorted_by(|a, b| a >= b), "somebody overtook: {queued:?}");
                if running < tickets.len() {
                    prop_assert!(limit != 0 && running >= limit, "a slot is free beside one who waits");
                }
            }
        }
    }
}
