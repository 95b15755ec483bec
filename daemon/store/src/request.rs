//! Requests and their first outcomes, so that a repeated request is not done twice.

use outlast_model::{id::Id, job::TimeMs};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    Store,
    error::{Fail, StoreError},
    event,
};

/// A request that must be done only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Made by the client.
    pub id: String,
    /// Hash over everything the request asks for; a repeat has the same.
    pub fingerprint: [u8; 32],
}

/// What is kept of a request that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Id of what it made or was about.
    pub subject: String,
    /// What was answered, where the subject's row does not say it; the store does not look into it.
    pub outcome: Option<String>,
    /// When it was recorded.
    pub created_at: TimeMs,
}

/// Whether a request was done now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created<T> {
    /// It was done now.
    New(T),
    /// It was done before; this is its subject as it is now.
    Repeat(T),
}

impl<T> Created<T> {
    /// The thing itself.
    pub fn into_inner(self) -> T {
        match self {
            Self::New(thing) | Self::Repeat(thing) => thing,
        }
    }

    /// Whether it was done before.
    pub const fn is_repeat(&self) -> bool {
        matches!(self, Self::Repeat(_))
    }
}

/// What an earlier request with this id was about, found by its id.
///
/// Refused with [`StoreError::Gone`] when that is not there any more.
pub(crate) fn repeated<T>(
    connection: &Connection,
    request: &Request,
    by_id: impl FnOnce(&Connection, Id) -> rusqlite::Result<Option<T>>,
) -> Result<Option<T>, Fail> {
    let Some(recorded) = earlier(connection, request)? else {
        return Ok(None);
    };
    let found = match recorded.subject.parse() {
        Ok(id) => by_id(connection, id)?,
        Err(_about_something_else) => None,
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => Err(StoreError::Gone {
            id: request.id.clone(),
            subject: recorded.subject,
        }
        .into()),
    }
}

/// What an earlier request with this id left, if there was one and it asked for the same.
pub(crate) fn earlier(connection: &Connection, request: &Request) -> Result<Option<Recorded>, Fail> {
    let found = connection
        .prepare_cached("SELECT fingerprint, subject, outcome, created_at FROM requests WHERE id = ?1")?
        .query_row([&request.id], |row| {
            Ok((
                row.get::<_, [u8; 32]>(0)?,
                Recorded {
                    subject: row.get(1)?,
                    outcome: row.get(2)?,
                    created_at: row.get(3)?,
                },
            ))
        })
        .optional()?;
    match found {
        Some((fingerprint, _)) if fingerprint != request.fingerprint => Err(StoreError::RequestConflict {
            id: request.id.clone(),
        }
        .into()),
        found => Ok(found.map(|(_, recorded)| recorded)),
    }
}

/// Records a request within the present transaction.
pub(crate) fn record(
    connection: &Connection,
    request: &Request,
    subject: &str,
    outcome: Option<&str>,
) -> rusqlite::Result<Recorded> {
    let created_at = event::now_ms();
    connection
        .prepare_cached(
            "INSERT INTO requests (id, fingerprint, subject, outcome, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((&request.id, request.fingerprint, subject, outcome, created_at))?;
    Ok(Recorded {
        subject: subject.to_owned(),
        outcome: outcome.map(str::to_owned),
        created_at,
    })
}

impl Store {
    /// Records a request whose effect is in no row (send, interrupt), durably and before the effect, with its outcome
    /// where that is known by then. With `Repeat` the effect has had its chance and must not be tried again. A repeat
    /// with other content is a [`StoreError::RequestConflict`].
    pub async fn record_request(
        &self,
        request: &Request,
        subject: &str,
        outcome: Option<&str>,
    ) -> Result<Created<Recorded>, StoreError> {
        let (request, subject) = (request.clone(), subject.to_owned());
        let outcome = outcome.map(str::to_owned);
        self.writer()
            .write("recording a request", true, move |connection| {
                Ok(match earlier(connection, &request)? {
                    Some(recorded) => Created::Repeat(recorded),
                    None => Created::New(record(connection, &request, &subject, outcome.as_deref())?),
                })
            })
            .await
    }

    /// Adds what was answered to a recorded request, for its repeats. Nothing happens when it is not recorded.
    pub async fn set_request_outcome(&self, id: &str, outcome: &str) -> Result<(), StoreError> {
        let (id, outcome) = (id.to_owned(), outcome.to_owned());
        self.writer()
            .write("recording the outcome of a request", false, move |connection| {
                connection
                    .prepare_cached("UPDATE requests SET outcome = ?2 WHERE id = ?1")?
                    .execute((id, outcome))?;
                Ok(())
            })
            .await
    }

    /// What an earlier request with this id and content left. Another content under the id is a
    /// [`StoreError::RequestConflict`].
    pub async fn find_request(&self, request: &Request) -> Result<Option<Recorded>, StoreError> {
        let request = request.clone();
        self.readers()
            .read("looking for a request", move |connection| {
                earlier(connection, &request)
            })
            .await
    }

    /// Forgets requests recorded before `older_than_ms` (wall clock); how many.
    pub async fn prune_requests(&self, older_than_ms: TimeMs) -> Result<u64, StoreError> {
        self.writer()
            .write("forgetting old requests", false, move |connection| {
                let removed = connection
                    .prepare_cached("DELETE FROM requests WHERE created_at < ?1")?
                    .execute([older_than_ms])?;
                Ok(u64::try_from(removed).unwrap_or(u64::MAX))
            })
            .await
    }
}
