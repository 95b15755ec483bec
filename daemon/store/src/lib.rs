//! The state of outlastd in one SQLite database, `state.db`: jobs, sessions, syncs, the event log and request outcomes.
//!
//! ```text
//!   writes ──► one thread, group commit ──► state.db (write-ahead log) ◄── two reading connections ◄── reads
//!                     └─ publishes the newest event number
//! ```
//!
//! - A change of a noun and the event that tells of it are one transaction. An answer means committed; a *durable*
//!   answer means flushed to the disk.
//! - The store decides nothing about hosts, programs or files, and calls nobody. It refuses what would break a rule
//!   of its own: a taken name, a repeated id, a state going back, a request id used twice.
//! - Opening it never begins anew over what it cannot read: a newer database is left untouched, a damaged one is set
//!   aside and the last good backup takes its place, and the caller is told ([`Notice`]).
//! - The environment of programs is never in it, nor any secret.

mod backup;
mod boot;
mod damage;
mod database;
mod error;
mod event;
mod files;
mod host;
mod job;
mod meta;
mod notice;
mod open;
mod provider;
mod readers;
mod request;
mod resolve;
mod rows;
mod session;
mod sync;
mod told;
mod wal;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

pub use self::{
    error::StoreError,
    event::{EventPage, host_link_event, job_event, session_event},
    host::{Forgotten, RemovedHost},
    job::{JobFilter, Page},
    notice::Notice,
    request::{Created, Recorded, Request},
    resolve::Resolved,
    session::SessionFilter,
    sync::Naming,
    told::ToldTo,
};
use self::{readers::Readers, writer::Writer};

/// The open store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    readers: Readers,
    epoch: String,
    path: PathBuf,
}

/// An opened store, and what its user should hear about the opening.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What was out of the ordinary.
    pub notice: Option<Notice>,
}

impl Store {
    /// Opens the database in a state directory, or makes it; brings it to the present schema after a backup, and sets
    /// a damaged one aside. Blocks on the disk: call it before serving. Only one process may have it open, which is
    /// for the caller to see to (the daemon's lock).
    ///
    /// It fails with [`StoreError::Newer`] when the database is of a later schema (it is left byte for byte as it
    /// was), and with [`StoreError::ReadOnly`], [`StoreError::Full`], [`StoreError::Busy`] or [`StoreError::Io`] when
    /// the files cannot be used now; none of these is taken for damage.
    pub fn open(dir: &Path) -> Result<Opened, StoreError> {
        Self::open_with(dir, database::STEPS)
    }

    /// As [`Self::open`] with another list of schema steps.
    fn open_with(dir: &Path, steps: &'static [&'static str]) -> Result<Opened, StoreError> {
        let open::OpenedFile {
            connection,
            path,
            epoch,
            newest,
            notice,
        } = open::open(dir, steps)?;
        let writer = Writer::start(connection, &path, newest)?;
        let readers = Readers::open(&path)?;
        Ok(Opened {
            store: Self {
                inner: Arc::new(Inner {
                    writer,
                    readers,
                    epoch,
                    path,
                }),
            },
            notice,
        })
    }

    /// Which numbering the events belong to. A database that was rebuilt, restored, or that a power failure may have
    /// taken events from, has another one than before.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.inner.epoch
    }

    /// The newest committed event number. It changes after each commit that holds events, and never goes back.
    #[must_use]
    pub fn position(&self) -> watch::Receiver<u64> {
        self.inner.writer.position()
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Checks the whole database for damage; reads all of it. [`StoreError::Damaged`] says what was found.
    pub async fn check(&self) -> Result<(), StoreError> {
        let path = self.inner.path.clone();
        self.readers()
            .read("checking", move |connection| {
                match damage::quick_check(connection)? {
                    None => Ok(()),
                    Some(detail) => Err(StoreError::Damaged {
                        path,
                        action: "checking",
                        detail,
                    }
                    .into()),
                }
            })
            .await
    }

    /// Writes a checked copy of the database to `backups/` and removes all but the newest 3 of its kind; the path of
    /// the copy. To be called on a clean stop and now and then: it is what a damaged database is restored from.
    pub async fn backup(&self) -> Result<PathBuf, StoreError> {
        let path = self.inner.path.clone();
        let work = move || backup::routine(&path);
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    /// Brings to the disk whatever was answered without being durable: it survives a power failure once this returns.
    /// Commits go on meanwhile.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let log = files::with_suffix(&self.inner.path, "-wal");
        let work = move || match File::open(&log).and_then(|log| log.sync_data()) {
            // Nothing was written since the log was emptied, which is done when all of it is in the database.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map_err(|source| StoreError::io("flushing", &log, source)),
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    /// Ends the store: what is queued is written, reads in flight are waited for, the write-ahead log is emptied.
    /// Everything later is refused with [`StoreError::Closed`]. Without it (a kill) nothing acknowledged is lost
    /// either; the next open only has more to do.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.readers.close().await;
        self.inner.writer.close().await
    }

    fn writer(&self) -> &Writer {
        &self.inner.writer
    }

    fn readers(&self) -> &Readers {
        &self.inner.readers
    }
}
