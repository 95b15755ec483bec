//! How far it was told, which is written down so that a daemon that is killed leaves nothing untold.
//!
//! It is written after the channels have told it, so that a kill between the two has it told twice, and never not at all.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use outlast_store::{Store, ToldTo};
use tokio::sync::Notify as Bell;

/// It is written no more often than this.
const EVERY: Duration = Duration::from_secs(1);

/// What is told at once. Every notice of it holds it until its channel has told it.
#[derive(Debug)]
pub(super) struct Telling(Arc<Bell>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// How far it was told.
#[derive(Debug)]
pub(super) struct Progress {
    store: Store,
    bell: Arc<Bell>,
    /// What is being told, and is in none of those that follow.
    open: Vec<Weak<Telling>>,
    /// How far it was told when this was told, and all before it.
    under_way: VecDeque<(ToldTo, Vec<Weak<Telling>>)>,
    /// What may be written.
    told: Option<ToldTo>,
    /// When it was written last.
    wrote: Option<Instant>,
}

impl Progress {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            bell: Arc::default(),
            open: Vec::new(),
            under_way: VecDeque::new(),
            told: None,
            wrote: None,
        }
    }

    /// Begins to tell something.
    pub(super) fn begin(&mut self) -> Arc<Telling> {
        let telling = Arc::new(Telling(Arc::clone(&self.bell)));
        self.open.push(Arc::downgrade(&telling));
        telling
    }

    /// It is told so far, as soon as all is told that was begun.
    pub(super) fn so_far(&mut self, told: ToldTo) {
        let open = std::mem::take(&mut self.open);
        match self.under_way.back_mut() {
            Some((last, _)) if open.is_empty() => *last = told,
            _ => self.under_way.push_back((told, open)),
        }
        self.settle();
    }

    /// Takes note of what was told by now.
    fn settle(&mut self) {
        let is_told = |tellings: &[Weak<Telling>]| tellings.iter().all(|telling| telling.strong_count() == 0);
        while let Some((_, tellings)) = self.under_way.front()
            && is_told(tellings)
        {
            self.told = self.under_way.pop_front().map(|(told, _)| told);
        }
    }

    /// Waits until something else was told. Cancel safe.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// When to write. None: there is nothing to write.
    pub(super) fn due(&self) -> Option<Instant> {
        self.told.as_ref()?;
        Some(self.wrote.map_or_else(Instant::now, |wrote| wrote + EVERY))
    }

    /// Writes how far it was told, if it is time for that.
    pub(super) async fn keep(&mut self) {
        self.settle();
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.write().await;
        }
    }

    /// Writes all that is told in the end.
    pub(super) async fn finish(mut self) {
        loop {
            self.settle();
            self.write().await;
            if self.under_way.is_empty() {
                return;
            }
            self.changed().await;
        }
    }

    async fn write(&mut self) {
        let Some(told) = self.told.take() else { return };
        self.wrote = Some(Instant::now());
        if let Err(error) = self.store.set_told_to(&told).await {
            tracing::warn!(%error, "writing how far it was told");
            self.told = Some(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(seq: u64) -> ToldTo {
        ToldTo {
            seq,
            ..ToldTo::default()
        }
    }

    #[tokio::test]
    async fn it_is_written_when_all_of_it_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let mut progress = Progress::new(&store);
        let first = progress.begin();
        let slow = Arc::clone(&first);
        progress.so_far(up_to(3));
        let second = progress.begin();
        progress.so_far(up_to(5));
        // What needs no telling comes after what is being told.
        progress.so_far(up_to(6));
        drop((first, second));
        progress.changed().await;
        progress.keep().await;
        assert_eq!((progress.due(), store.told_to().await.unwrap()), (None, None));
        drop(slow);
        progress.changed().await;
        progress.keep().await;
        assert_eq!(store.told_to().await.unwrap(), Some(up_to(6)));
        // Not at once again, but in the end.
        progress.so_far(up_to(8));
        progress.keep().await;
        assert_eq!(store.told_to().await.unwrap(), Some(up_to(6)));
        assert!(progress.due().is_some());
        progress.finish().await;
        assert_eq!(store.told_to().await.unwrap(), Some(up_to(8)));
    }
}
