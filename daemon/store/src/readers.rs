//! Reading: a few read-only connections, used on blocking threads. A reader sees the last commit and never waits for
//! the writer, nor the writer for it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{
    database,
    error::{Fail, StoreError},
};

/// Connections. Reads take well under a millisecond, and each connection costs memory for good.
const CONNECTIONS: u32 = 2;

/// The reading connections.
#[derive(Debug)]
pub(crate) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
    path: PathBuf,
}

impl Readers {
    /// Opens the connections. The writer must be open, or the files of the write-ahead log may be missing.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let idle = (0..CONNECTIONS)
            .map(|_| database::open_reader(path))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(idle.len())),
            idle: Arc::new(Mutex::new(idle)),
            path: path.to_owned(),
        })
    }

    /// Runs a read. Everything in it sees the same commit.
    pub(crate) async fn read<T, F>(&self, action: &'static str, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fail> + Send + 'static,
    {
        // No deadline of its own: reads ahead of this one are short and wait for nobody.
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_closed| StoreError::Closed)?;
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        let work = move || {
            let connection = {
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.pop()
            };
            // One is missing only if a read before panicked with it.
            let connection = connection.map_or_else(|| database::open_reader(&path), Ok)?;
            let result = in_snapshot(&connection, run).map_err(|fail| fail.into_error(action, &path));
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
            drop(turn);
            result
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            // The runtime is going down, or the read panicked.
            Err(_not_run) => Err(StoreError::Closed),
        }
    }

    /// Waits for reads in flight and closes the connections. Later reads are refused.
    pub(crate) async fn close(&self) {
        // Only fails when it was closed before.
        let all = self.turns.acquire_many(CONNECTIONS).await;
        self.turns.close();
        drop(all);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    run: impl FnOnce(&Connection) -> Result<T, Fail>,
) -> Result<T, Fail> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = run(connection);
    connection.prepare_cached("COMMIT")?.execute([])?;
    result
}
