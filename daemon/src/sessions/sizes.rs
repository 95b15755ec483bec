//! How wide the terminal of a session is, for its history: as wide as the one attached to it that was used last, which its screen
//! follows. Who only looks does not change it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use outlast_client::helper_v1::{AttachStart, Size};
use outlast_model::{id::Id, session::Session};

use tokio::runtime::Handle;

use super::{Sessions, history::widths};
use crate::logs;

/// Who is attached to each session.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<HashMap<Id, Arc<Screen>>>);

#[derive(Debug, Default)]
struct Screen {
    users: Mutex<Users>,
    /// Held by who writes down how wide it is.
    writing: Mutex<()>,
}

/// Terminals that are attached.
#[derive(Debug, Default)]
struct Users {
    /// Their numbers and columns; the one that was used last at the end.
    all: Vec<(u64, u16)>,
    made: u64,
    /// Offset of the log from which on it is so wide.
    since: u64,
}

impl Users {
    fn columns(&self) -> Option<u16> {
        self.all.last().map(|(_, columns)| *columns)
    }

    /// This one is used, and so wide. True: the screen becomes another.
    fn used(&mut self, number: u64, columns: u16) -> bool {
        let before = self.columns();
        if self.all.last() != Some(&(number, columns)) {
            self.all.retain(|(other, _)| *other != number);
            self.all.push((number, columns));
        }
        self.columns() != before
    }

    /// This one is gone. True: the screen becomes another.
    fn left(&mut self, number: u64) -> bool {
        let before = self.columns();
        self.all.retain(|(other, _)| *other != number);
        // Where nobody is left it stays as it was.
        self.columns().is_some_and(|now| Some(now) != before)
    }
}

/// A terminal that is attached, until it is dropped.
pub(super) struct User {
    sessions: Sessions,
    session: Session,
    screen: Arc<Screen>,
    number: u64,
    columns: u16,
}

impl Sessions {
    /// Counts this terminal among those that make the session's so wide. Absent: it only looks.
    pub(super) fn user(&self, session: &Session, attached: &AttachStart) -> Option<User> {
        let columns = columns(attached.size.filter(|_| !attached.read_only)?);
        let mut all = lock(&self.inner.sizes.0);
        let screen = Arc::clone(all.entry(session.id).or_default());
        let number = {
            let mut users = lock(&screen.users);
            users.made += 1;
            users.made
        };
        let user = User {
            sessions: self.clone(),
            session: session.clone(),
            screen,
            number,
            columns,
        };
        user.used();
        Some(user)
    }
}

impl User {
    /// Somebody types there.
    pub(super) fn used(&self) {
        let mut users = lock(&self.screen.users);
        if users.used(self.number, self.columns) {
            self.write_down(&mut users);
        }
    }

    /// It has another size.
    pub(super) fn resized(&mut self, size: Size) {
        self.columns = columns(size);
        self.used();
    }

    /// Nobody who types waits for it.
    fn write_down(&self, users: &mut Users) {
        let Ok(dir) = self.sessions.spool_dir(&self.session) else {
            return;
        };
        users.since = dir.log_len();
        let (screen, session) = (Arc::clone(&self.screen), self.session.clone());
        // Who is let go of while the daemon ends needs no more.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let first = session.size.0;
            let noted = logs::blocking(move || {
                // Whichever comes first writes what is true then.
                let _writing = lock(&screen.writing);
                let (columns, since) = {
                    let users = lock(&screen.users);
                    (users.columns(), users.since)
                };
                columns.map_or(Ok(()), |columns| widths::add(&dir, first, since, columns))
            });
            if let Err(error) = noted.await {
                tracing::debug!(session = %session.name, %error, "writing down how wide its terminal is");
            }
        });
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut all = lock(&self.sessions.inner.sizes.0);
        let mut users = lock(&self.screen.users);
        if users.left(self.number) {
            self.write_down(&mut users);
        }
        if users.all.is_empty() {
            all.remove(&self.session.id);
        }
    }
}

fn columns(size: Size) -> u16 {
    u16::try_from(size.columns).unwrap_or(u16::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_is_as_wide_as_who_used_it_last() {
        let mut users = Users::default();
        assert!(users.used(1, 80));
        assert!(users.used(2, 200));
        assert!(!users.used(2, 200));
        assert!(users.used(1, 80));
        assert!(!users.used(1, 80));
        // The other way round, and the one that is left counts.
        assert!(users.used(2, 190));
        assert!(users.left(2));
        assert_eq!(users.columns(), Some(80));
        assert!(users.used(3, 90));
        assert!(!users.left(1));
        assert!(!users.left(3));
        assert_eq!(users.columns(), None);
    }
}
