//! What the store refuses or fails with: path, action and cause, and what helps.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use outlast_model::id::Id;
use rusqlite::ErrorCode;

/// A failure of the store. It can be cloned because one failed commit answers everyone whose work was in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database was written by a later outlast. It was not touched.
    #[error("{} was written by a newer outlast (schema {found}, this one knows {known})", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema of this build.
        known: u32,
    },
    /// The file or its directory cannot be written.
    #[error("{} cannot be written ({action})", path.display())]
    ReadOnly {
        /// What cannot be written.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
    },
    /// The disk is full.
    #[error("no space is left for {} ({action})", path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
    },
    /// Another program holds the database.
    #[error("another program holds {} ({action})", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
    },
    /// The database turned out to be damaged while in use. The next start sets it aside and brings back what it can.
    #[error("{} is damaged: {detail} ({action})", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A file operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// SQLite failed otherwise.
    #[error("{action} in {}: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Arc<rusqlite::Error>,
    },
    /// The database could not be brought to the present schema. It is as it was.
    #[error("bringing {} from schema {from} to {to}: {detail}", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// The schema it has.
        from: u32,
        /// The schema it should have.
        to: u32,
        /// Why it failed.
        detail: String,
    },
    /// The request id was used before for something else.
    #[error("request {id} was made before with other content")]
    RequestConflict {
        /// The request.
        id: String,
    },
    /// The request was done before, and what it made was removed since.
    #[error("what request {id} made ({subject}) was removed since")]
    Gone {
        /// The request.
        id: String,
        /// Id of what it made.
        subject: String,
    },
    /// The name is in use.
    #[error("the name {name} is taken by {noun} {holder}")]
    NameTaken {
        /// "job", "session" or "sync".
        noun: &'static str,
        /// The name.
        name: String,
        /// Who has it.
        holder: Id,
    },
    /// Another sync writes to the same place, above it or below it.
    #[error("the target {target} on host {host} overlaps that of sync {holder} ({theirs})")]
    TargetTaken {
        /// The host.
        host: String,
        /// The target that was asked for.
        target: String,
        /// Name of the other sync.
        holder: String,
        /// Its target.
        theirs: String,
    },
    /// A host has this name.
    #[error("there is a host {name} already")]
    HostTaken {
        /// The name.
        name: String,
    },
    /// A row with this id is there already.
    #[error("there is a {noun} {id} already")]
    Exists {
        /// "job", "session" or "sync".
        noun: &'static str,
        /// Its id.
        id: Id,
    },
    /// There is no such row.
    #[error("there is no {noun} {id}")]
    Missing {
        /// "job", "session" or "sync".
        noun: &'static str,
        /// The id.
        id: Id,
    },
    /// The row has gone on since it was read: what was to be written is no legal next state. Nothing was written.
    #[error("{noun} {id} is {stored} and cannot become {wanted}")]
    Stale {
        /// "job", "session" or "sync".
        noun: &'static str,
        /// Its id.
        id: Id,
        /// The state it is in.
        stored: &'static str,
        /// The state it was to get.
        wanted: &'static str,
    },
    /// The queue of the writer stayed full. Nothing was written.
    #[error("the store has had more to write than it could for {waited_s} s")]
    Overloaded {
        /// How long was waited for room, seconds.
        waited_s: u64,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// What helps, where there is something to advise.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Newer { .. } => {
                Some("install that version again, or move the file away to begin anew".to_owned())
            }
            Self::ReadOnly { path, .. } => Some(format!(
                "make it writable for you: chmod u+rwX {}",
                path.display()
            )),
            Self::Full { path, .. } => Some(format!(
                "free some space; df -h {} shows how much there is",
                path.parent().unwrap_or(path).display()
            )),
            Self::Busy { path, .. } => Some(format!("fuser {} names the other program", path.display())),
            Self::Damaged { .. } => {
                Some("outlast daemon restart sets it aside and brings back what it can".to_owned())
            }
            Self::NameTaken { noun, holder, .. } => Some(format!(
                "choose another name; outlast {noun} show {holder} shows who has it"
            )),
            Self::TargetTaken { holder, .. } => Some(format!(
                "choose another target; outlast sync show {holder} shows the other one"
            )),
            Self::HostTaken { name } => {
                Some(format!("choose another name, or see: outlast host show {name}"))
            }
            Self::RequestConflict { .. } => Some("make a new request id for a new request".to_owned()),
            _ => None,
        }
    }

    /// An error of the file system, sorted by its cause.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { path, action }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, action },
            _ => Self::Io {
                path,
                action,
                source: Arc::new(source),
            },
        }
    }

    /// An error of SQLite, sorted by its cause.
    pub(crate) fn sqlite(action: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path, action },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path, action },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path, action },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                path,
                action,
                detail: source.to_string(),
            },
            _ => match source {
                // A column that holds what no build ever wrote there.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..) => Self::Damaged {
                    path,
                    action,
                    detail: source.to_string(),
                },
                source => Self::Sqlite {
                    path,
                    action,
                    source: Arc::new(source),
                },
            },
        }
    }
}

/// Why an operation inside a transaction failed, before path and action are known.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The store refuses.
    Store(StoreError),
    /// SQLite failed.
    Sql(rusqlite::Error),
}

impl Fail {
    pub(crate) fn into_error(self, action: &'static str, path: &Path) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sql(source) => StoreError::sqlite(action, path, source),
        }
    }
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}
