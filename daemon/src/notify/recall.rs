//! What an older daemon told, and what it did not come to tell.
//!
//! Rows say how everything stands, and the log what changed since it was told last. What changed since is told now, if it is
//! still so; how it stood before is looked up, so that what was told is not told again.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use outlast_model::{
    event::{Event, Kind},
    job::TimeMs,
    notice::{Change, Desk},
    session::Session,
};
use outlast_store::{Store, StoreError, ToldTo};

use super::{PAGE, change};

/// Events that are looked through at most on either side of what was told last. How far it was told is written about a
/// second after something came that may be told, so that seldom more than a few are behind it.
const LOOKS_THROUGH: u64 = 10_000;

/// What is said of a subject by an event: how it stands, or what it does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct About {
    subject: String,
    does: bool,
}

/// Has a desk know what was told `to` there, and wait to tell what came after, up to the event `position`. `sessions` are as they
/// are now.
///
/// # Errors
/// When the log cannot be read.
pub(super) async fn recall(
    store: &Store,
    desk: &mut Desk,
    to: &ToldTo,
    position: u64,
    sessions: &[Session],
    clock: TimeMs,
) -> Result<(), StoreError> {
    let now = Instant::now();
    let mut later = Vec::new();
    let mut changed = HashSet::new();
    let from = to.seq.max(position.saturating_sub(LOOKS_THROUGH));
    look(store, from, position, |event, change| {
        changed.insert(about(event));
        later.push((event.time, change));
    })
    .await?;
    let mut before = HashMap::new();
    if !changed.is_empty() {
        look(
            store,
            to.seq.saturating_sub(LOOKS_THROUGH),
            to.seq,
            |event, change| {
                before.insert(about(event), change);
            },
        )
        .await?;
    }
    for session in sessions {
        let id = session.id.to_string();
        let left = to.left.contains(&id);
        let [stands, does] = change::of_row(session);
        // An event may have been pruned; that there was one is known all the same.
        let unseen = session.activity_seq > to.seq;
        for (row, does, untold) in [(stands, false, left), (does, true, left || unseen)] {
            let about = About {
                subject: id.clone(),
                does,
            };
            if changed.contains(&about) {
                if let Some(before) = before.remove(&about) {
                    desk.known(before, now);
                }
            } else if untold {
                desk.take(row, now);
            } else {
                desk.known(row, now);
            }
        }
    }
    for (time, change) in later {
        let ago = u64::try_from(clock.saturating_sub(time)).unwrap_or_default();
        let then = now.checked_sub(Duration::from_millis(ago)).unwrap_or(now);
        desk.take(change, then);
    }
    // Whoever drives it may find first that it is over.
    desk.gather_anew(now);
    Ok(())
}

/// Gives out what the events behind `from`, up to `to`, mean for those who are told.
async fn look(
    store: &Store,
    from: u64,
    to: u64,
    mut give: impl FnMut(&Event, Change),
) -> Result<(), StoreError> {
    let mut cursor = from;
    while cursor < to {
        let page = store.events_after(cursor, PAGE).await?;
        let Some(last) = page.events.last() else { break };
        cursor = last.seq;
        for event in page.events.iter().filter(|event| event.seq <= to) {
            if let Some(change) = change::of_event(event) {
                give(event, change);
            }
        }
    }
    Ok(())
}

fn about(event: &Event) -> About {
    About {
        subject: event.subject.clone(),
        does: event.kind == Kind::SessionActivity.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use outlast_model::{
        activity::{Activity, Doing},
        event::NewEvent,
        job::Outcome,
        notice::{Channel, Rules},
        session::SessionState,
    };
    use outlast_store::{SessionFilter, session_event};

    use super::*;
    use crate::notify::fixture::session;

    /// A store, and what a daemon is told that begins with it.
    struct Begun {
        _dir: tempfile::TempDir,
        store: Store,
        session: Session,
        told: ToldTo,
    }

    fn doing(doing: Doing, message: &str) -> Activity {
        Activity {
            doing,
            source: "report".to_owned(),
            message: Some(message.to_owned()),
            since: 1,
        }
    }

    impl Begun {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path()).unwrap().store;
            let session = session();
            store.create_session(&session, None).await.unwrap();
            Self {
                _dir: dir,
                store,
                session,
                told: ToldTo::default(),
            }
        }

        async fn waits(&self, question: &str) {
            self.does(Some(doing(Doing::Waiting, question)), false).await;
        }

        async fn works(&self, answered: bool) {
            self.does(None, answered).await;
        }

        async fn does(&self, does: Option<Activity>, answered: bool) {
            let (id, run) = (self.session.id, self.session.run);
            self.store.set_activity(id, run, does, answered).await.unwrap();
        }

        async fn stands(&mut self, state: SessionState, deleting: bool) {
            self.session.state = state;
            self.session.deleting = deleting;
            self.session.outcome = state.is_ended().then(Outcome::default);
            let event = session_event(&self.session);
            self.store
                .update_session(&self.session, event, false)
                .await
                .unwrap();
        }

        /// Whatever there is by now was told.
        fn is_told(&mut self) {
            self.told.seq = *self.store.position().borrow();
        }

        /// What a daemon tells that begins so much later, with its titles and bodies.
        async fn tells(&self, later: Duration) -> Vec<String> {
            let mut desk = Desk::new(Rules {
                on: outlast_model::notice::State::ALL.into(),
                to: [Channel::Command].into(),
                ..Rules::default()
            });
            let sessions = self.store.list_sessions(SessionFilter::default()).await.unwrap();
            let position = *self.store.position().borrow();
            let clock = crate::app::now_ms() + i64::try_from(later.as_millis()).unwrap();
            recall(&self.store, &mut desk, &self.told, position, &sessions, clock)
                .await
                .unwrap();
            let told = desk.due().map(|due| {
                assert!(due > Instant::now(), "it waits its time");
                desk.tell(due, |_| false)
            });
            let notices = told.into_iter().flatten();
            notices
                .map(|(_, notice)| format!("{}: {}", notice.title, notice.body))
                .collect()
        }
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn what_nobody_came_to_tell_is_told_if_it_is_still_so() {
        let mut begun = Begun::new().await;
        begun.is_told();
        assert!(begun.tells(HOUR).await.is_empty());
        begun.waits("Go on?").await;
        for later in [Duration::ZERO, HOUR] {
            assert_eq!(begun.tells(later).await, ["a waits on h: Go on?"]);
        }
        begun.works(true).await;
        assert!(begun.tells(HOUR).await.is_empty());
        begun.stands(SessionState::Lost, false).await;
        assert_eq!(begun.tells(HOUR).await, ["a was lost on h: "]);
    }

    #[tokio::test]
    async fn what_was_told_is_not_told_again_whatever_came_since() {
        let mut begun = Begun::new().await;
        begun.waits("Go on?").await;
        begun.is_told();
        assert!(begun.tells(HOUR).await.is_empty());
        // Nothing of this is another question.
        begun.stands(SessionState::Running, false).await;
        assert!(begun.tells(HOUR).await.is_empty());
        begun.works(false).await;
        begun.waits("Go on?").await;
        assert!(begun.tells(HOUR).await.is_empty());
        // This is.
        begun.works(true).await;
        begun.waits("Go on?").await;
        assert_eq!(begun.tells(HOUR).await, ["a waits on h: Go on?"]);
        begun.stands(SessionState::Lost, false).await;
        begun.is_told();
        begun.stands(SessionState::Lost, true).await;
        assert!(begun.tells(HOUR).await.is_empty());
    }

    #[tokio::test]
    async fn what_was_held_back_and_what_was_pruned_is_told() {
        let mut begun = Begun::new().await;
        begun.waits("Go on?").await;
        begun.is_told();
        begun.told.left = vec![begun.session.id.to_string()];
        assert_eq!(begun.tells(HOUR).await, ["a waits on h: Go on?"]);
        begun.told.left.clear();
        begun.waits("Sure?").await;
        let other = NewEvent {
            kind: Kind::HostLink,
            subject: "h".to_owned(),
            data: "{}".to_owned(),
        };
        begun.store.append_event(other).await.unwrap();
        begun.store.prune_events(1, 0).await.unwrap();
        assert_eq!(begun.tells(HOUR).await, ["a waits on h: Sure?"]);
        begun.is_told();
        assert!(begun.tells(HOUR).await.is_empty());
    }
}
