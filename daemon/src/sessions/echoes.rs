//! Looks for what was sent where the terminal shows it, so that its history can tell it later. The text is kept in memory until it is
//! found, or for [`WITHIN`], and nowhere else.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use outlast_helper::{spool::Dir, watch::Watch};
use outlast_model::{id::Id, session::Session};
use outlast_transport::ask::Secret;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Sessions,
    history::{
        bytes, echo,
        sends::{self, Send},
        widths::Widths,
    },
};
use crate::logs;

/// How long a terminal may take to show what it was sent. Most do at once.
const WITHIN: Duration = Duration::from_secs(10);

/// How far before where something was sent its line begins at most, bytes.
const LINE_MAX: u64 = 4 << 10;

/// How far it is looked for, bytes; for each byte of it four more, as editors draw again what they have drawn.
const LOOK_MAX: u64 = 64 << 10;

/// Texts that are looked for in one session at once, and their bytes. Of more the oldest are given up.
const TEXTS_MAX: usize = 100;
const BYTES_MAX: usize = 4 << 20;

/// Pause between two looks at a log that grows, at least; ten times as long as a look takes, to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a history waits for what can be found now to be found.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is looked for in each session.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    waiting: Mutex<HashMap<Id, Arc<Waiting>>>,
}

impl Echoes {
    fn all(&self) -> MutexGuard<'_, HashMap<Id, Arc<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is looked for in a session. Whoever is here has somebody who looks.
#[derive(Debug, Default)]
struct Waiting {
    texts: Mutex<VecDeque<Sought>>,
    /// Behind the last one that was found. Held by who looks.
    found: Arc<AsyncMutex<u64>>,
    more: Notify,
}

#[derive(Debug, Clone)]
struct Sought {
    send: Send,
    text: Arc<Secret>,
    until: Instant,
}

/// A time that nothing else that is sent has.
fn own_time(now_ms: i64) -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(i64::MIN);
    let own = |last: i64| now_ms.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(own(last)));
    last.map_or(now_ms, own)
}

impl Sessions {
    /// Writes down where and when text was sent, and sees to it that it is found out where it is shown.
    pub(super) async fn note_for_history(&self, session: &Session, log_offset: u64, at_ms: i64, text: &str) {
        let send = Send {
            at: log_offset,
            at_ms: own_time(at_ms),
            echo: None,
        };
        let noted = match self.spool_dir(session) {
            Ok(dir) => logs::blocking(move || sends::add(&dir, &[send])).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(session = %session.name, %error, "writing down where text was sent");
            return;
        }
        let sought = Sought {
            send,
            text: Arc::new(Secret::new(text.to_owned())),
            until: Instant::now() + WITHIN,
        };
        // At once: what nobody looks for would stay here for good.
        let mut all = self.inner.echoes.all();
        if let Some(waiting) = all.get(&session.id) {
            waiting.add(sought);
            waiting.more.notify_one();
        } else {
            let waiting = Arc::new(Waiting::default());
            waiting.add(sought);
            all.insert(session.id, Arc::clone(&waiting));
            tokio::spawn(self.clone().look(session.clone(), waiting));
        }
    }

    /// Looks until everything is found or has had its time.
    async fn look(self, session: Session, waiting: Arc<Waiting>) {
        // Before the first look at the log, so that nothing is written unseen.
        let mut watch = self.watch_spool(&session).ok();
        loop {
            let began = Instant::now();
            let settled = self.settle(&session, &waiting).await;
            let pause = match settled {
                Ok(()) => PAUSE.max(9 * began.elapsed()).min(PAUSE_MAX),
                Err(error) => {
                    tracing::warn!(session = %session.name, %error, "looking for what was sent");
                    waiting.forget_late();
                    PAUSE_MAX
                }
            };
            let Some((next, watch)) = self.next_look(&session, &waiting, &mut watch) else {
                return;
            };
            sleep(pause).await;
            tokio::select! {
                () = watch.changed() => {}
                () = waiting.more.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// When at the latest the next look is to be. Absent: never again, and nothing is looked for any more.
    fn next_look<'a>(
        &self,
        session: &Session,
        waiting: &Waiting,
        watch: &'a mut Option<Watch>,
    ) -> Option<(Instant, &'a mut Watch)> {
        let mut all = self.inner.echoes.all();
        let next = waiting.texts().iter().map(|sought| sought.until).min();
        let next = next.zip(watch.as_mut());
        if next.is_none() {
            all.remove(&session.id);
        }
        next
    }

    /// Finds what there is to be found now of what was sent, if that takes no longer than who asks for a history can wait.
    pub(super) async fn settle_echoes(&self, session: &Session) {
        let waiting = self.inner.echoes.all().get(&session.id).cloned();
        let Some(waiting) = waiting else { return };
        if let Ok(Err(error)) = timeout(PATIENCE, self.settle(session, &waiting)).await {
            tracing::debug!(session = %session.name, %error, "looking for what was sent");
        }
    }

    /// Nothing is lost where this is given up, or fails: a text is there until it is written down where it is shown.
    async fn settle(&self, session: &Session, waiting: &Arc<Waiting>) -> io::Result<()> {
        let dir = self.spool_dir(session)?;
        let (columns, waiting) = (session.size.0, Arc::clone(waiting));
        let mut found = Arc::clone(&waiting.found).lock_owned().await;
        logs::blocking(move || waiting.settle(&dir, columns, &mut found)).await
    }
}

impl Waiting {
    fn texts(&self) -> MutexGuard<'_, VecDeque<Sought>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, sought: Sought) {
        let mut texts = self.texts();
        texts.push_back(sought);
        let bytes = |texts: &VecDeque<Sought>| texts.iter().map(Sought::length).sum::<usize>();
        while texts.len() > TEXTS_MAX || bytes(&texts) > BYTES_MAX {
            texts.pop_front();
        }
    }

    fn forget_late(&self) {
        let now = Instant::now();
        self.texts().retain(|sought| sought.until > now);
    }

    /// Looks for each of them behind the one before, and writes down what is found. Blocks.
    fn settle(&self, dir: &Dir, columns: u16, found: &mut u64) -> io::Result<()> {
        let texts = self.texts().clone();
        if texts.is_empty() {
            return Ok(());
        }
        let widths = Widths::read(dir, columns)?;
        for sought in texts {
            let Some(sends) = sought.find(dir, &widths, *found)? else {
                continue;
            };
            if !sends.is_empty() {
                sends::add(dir, &sends)?;
            }
            let ends = sends.iter().filter_map(|send| send.echo).map(|echo| echo.to);
            *found = ends.fold(*found, u64::max);
            self.texts().retain(|other| other.send.at_ms != sought.send.at_ms);
        }
        Ok(())
    }
}

impl Sought {
    fn length(&self) -> usize {
        self.text.expose().len()
    }

    /// Where it is shown, behind where another one ends. Absent: that is not known yet.
    fn find(&self, dir: &Dir, widths: &Widths, found: u64) -> io::Result<Option<Vec<Send>>> {
        let is_late = self.until <= Instant::now();
        let sent = self.send.at.max(found);
        let line = begin_of_line(dir, sent)?;
        let most = LOOK_MAX + 4 * self.length() as u64;
        let log = bytes(dir, line, sent.saturating_add(most))?;
        let shown = echo::find(widths.at(sent), &log, line, sent, self.text.expose());
        let is_all = log.len() as u64 >= sent - line + most;
        if !(shown.whole || shown.given_up || is_late || is_all) {
            return Ok(None);
        }
        let sends = shown.echoes.into_iter().enumerate().map(|(number, echo)| Send {
            at_ms: match number {
                0 => self.send.at_ms,
                _ => own_time(self.send.at_ms),
            },
            echo: Some(echo),
            ..self.send
        });
        Ok(Some(sends.collect()))
    }
}

/// Where the line begins in which this offset stands.
fn begin_of_line(dir: &Dir, at: u64) -> io::Result<u64> {
    let from = at.saturating_sub(LINE_MAX);
    let before = bytes(dir, from, at)?;
    let line = memchr::memrchr(b'\n', &before).map_or(0, |line| line as u64 + 1);
    Ok(from + line)
}

#[cfg(test)]
mod tests {
    use outlast_helper::spool::{Chunk, LogCopy, Stream};

    use super::*;

    fn sought(at: u64, text: &str) -> Sought {
        Sought {
            send: Send {
                at,
                at_ms: own_time(0),
                echo: None,
            },
            text: Arc::new(Secret::new(text.to_owned())),
            until: Instant::now() + WITHIN,
        }
    }

    fn texts(waiting: &Waiting) -> Vec<String> {
        let texts = waiting.texts();
        let texts = texts.iter().map(|sought| sought.text.expose().to_owned());
        texts.collect()
    }

    #[test]
    fn a_failure_loses_nothing_and_what_is_found_is_looked_for_no_more() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        let mut copy = LogCopy::open(&dir).unwrap();
        let data = b"$ echo a\r\na\r\n$ ".to_vec().into();
        let (offset, stream, time_ms) = (0, Stream::Stdout, 1);
        copy.append(&Chunk {
            offset,
            stream,
            time_ms,
            data,
        })
        .unwrap();
        let waiting = Waiting::default();
        waiting.add(sought(2, "echo a"));
        waiting.add(sought(2, "hunter2"));
        let mut found = 0;
        // Where it is to be written down is no file.
        let sent = dir.path().join("sent");
        std::fs::create_dir(&sent).unwrap();
        waiting.settle(&dir, 80, &mut found).unwrap_err();
        assert_eq!((texts(&waiting).len(), found), (2, 0));
        std::fs::remove_dir(&sent).unwrap();
        waiting.settle(&dir, 80, &mut found).unwrap();
        assert_eq!((texts(&waiting), found), (vec!["hunter2".to_owned()], 10));
        // What has had its time goes, also where nothing can be read.
        waiting.texts()[0].until = Instant::now();
        waiting.forget_late();
        assert!(texts(&waiting).is_empty());
    }

    #[test]
    fn of_too_many_the_oldest_are_given_up() {
        let waiting = Waiting::default();
        for number in 0..TEXTS_MAX + 5 {
            waiting.add(sought(0, &number.to_string()));
        }
        assert_eq!(texts(&waiting).len(), TEXTS_MAX);
        assert_eq!(texts(&waiting)[0], "5");
        let large = "x".repeat(1 << 20);
        for _ in 0..10 {
            waiting.add(sought(0, &large));
        }
        assert_eq!(texts(&waiting), vec![large; 4]);
    }

    #[test]
    fn what_is_looked_for_is_not_printed() {
        let waiting = Waiting::default();
        waiting.add(sought(0, "hunter2"));
        assert!(!format!("{waiting:?}").contains("hunter2"));
    }
}
