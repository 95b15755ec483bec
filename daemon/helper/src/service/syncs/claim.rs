//! Who of this process has a target. The newest one gets it: those before are told to end, and waited for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::refuse::taken_over;
use crate::service::locks::Locks;

/// Claims on targets, by the id of their sync.
#[derive(Debug, Default)]
pub(in crate::service) struct Targets {
    newest: Mutex<HashMap<String, Newest>>,
    locks: Locks,
}

#[derive(Debug)]
struct Newest {
    superseded: CancellationToken,
    alive: Weak<()>,
}

/// A target is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    superseded: CancellationToken,
    _alive: Arc<()>,
    _guard: OwnedMutexGuard<()>,
}

impl Targets {
    /// Has whoever claimed it before end, and waits for that.
    ///
    /// # Errors
    /// When a newer claim is made meanwhile.
    pub(super) async fn claim(&self, id: &str) -> Result<Claim, Status> {
        let superseded = CancellationToken::new();
        let alive = Arc::new(());
        let before = {
            // A map is whole after every single operation on it.
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.retain(|_, claim| claim.alive.strong_count() > 0);
            let this = Newest {
                superseded: superseded.clone(),
                alive: Arc::downgrade(&alive),
            };
            newest.insert(id.to_owned(), this)
        };
        if let Some(before) = before {
            before.superseded.cancel();
        }
        let guard = self.locks.lock(id).await;
        if superseded.is_cancelled() {
            return Err(taken_over());
        }
        Ok(Claim {
            superseded,
            _alive: alive,
            _guard: guard,
        })
    }
}

impl Claim {
    /// Cancelled when a newer claim is made.
    pub(super) fn superseded(&self) -> CancellationToken {
        self.superseded.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_claim_wins_and_the_others_hear_of_it() {
        let targets = Targets::default();
        let first = targets.claim("a").await.unwrap();
        let other = targets.claim("b").await.unwrap();
        let mut second = Box::pin(targets.claim("a"));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(first.superseded().is_cancelled());
        let mut third = Box::pin(targets.claim("a"));
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert_eq!(second.await.unwrap_err().code(), tonic::Code::Aborted);
        let third = third.await.unwrap();
        assert!(!third.superseded().is_cancelled());
        assert!(!other.superseded().is_cancelled());
        drop((third, other));
        drop(targets.claim("c").await.unwrap());
        assert_eq!(targets.newest.lock().unwrap().len(), 1);
    }
}
