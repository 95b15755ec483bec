//! Syncs in the store.

use outlast_model::{
    host::{Removal, RemovalKind},
    id::Id,
    name::Name,
    sync::{Sync, overlap},
};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::{
    Store,
    error::{Fail, StoreError},
    event::{self, sync_event, sync_removed},
    host,
    request::{self, Created, Request},
    resolve::{self, Resolved},
    rows,
};

/// Numbers that are tried for a name that is taken, the last for a sync that has to be given another name by hand.
const NUMBERS: u32 = 1000;

/// What happens when a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Somebody chose it: it is refused.
    Chosen,
    /// Nobody did: a number is put after it.
    Numbered,
}

impl Store {
    /// Accepts a sync: its row, a `sync.state` event and the request, durably. A repeated request gives the sync it made.
    /// Refused with [`StoreError::NameTaken`] when another sync has the name, with [`StoreError::TargetTaken`] when one
    /// writes to the same place of the host, above it or below it, [`StoreError::RequestConflict`] when the request id
    /// was used for something else, [`StoreError::Gone`] when its sync was removed, and [`StoreError::Exists`] when the
    /// id is there.
    pub async fn create_sync(
        &self,
        sync: &Sync,
        naming: Naming,
        request: Option<&Request>,
    ) -> Result<Created<Sync>, StoreError> {
        let (sync, request) = (sync.clone(), request.cloned());
        self.writer()
            .write("accepting a sync", true, move |connection| {
                create(connection, sync, naming, request.as_ref())
            })
            .await
    }

    /// Writes what was seen of a sync and what somebody wants of it; what it is (name, source, host, target, rules) does
    /// not change. A change of its state or the cause of it makes a `sync.state` event. With `durable` it survives a
    /// power failure once this returns. Refused with [`StoreError::Missing`].
    pub async fn update_sync(&self, sync: &Sync, durable: bool) -> Result<(), StoreError> {
        let sync = sync.clone();
        self.writer()
            .write("updating a sync", durable, move |connection| {
                update(connection, &sync)
            })
            .await
    }

    /// Writes an intent somebody asked for (pause, resume, reset), durably: as [`Self::update_sync`], with the request in
    /// the same transaction. A repeated request writes nothing and gives the sync as it is now, or [`StoreError::Gone`].
    pub async fn request_sync(&self, sync: &Sync, request: &Request) -> Result<Created<Sync>, StoreError> {
        let (sync, request) = (sync.clone(), request.clone());
        self.writer()
            .write("updating a sync", true, move |connection| {
                if let Some(sync) = request::repeated(connection, &request, by_id)? {
                    return Ok(Created::Repeat(sync));
                }
                update(connection, &sync)?;
                request::record(connection, &request, &sync.id.to_string(), None)?;
                Ok(Created::New(sync))
            })
            .await
    }

    /// Removes a sync with a `sync.removed` event, durably, and notes that the record of it on its host is to be
    /// forgotten. The result is what was removed; absent when there was none. A request is recorded in the same
    /// transaction.
    pub async fn delete_sync(&self, id: Id, request: Option<&Request>) -> Result<Option<Sync>, StoreError> {
        let request = request.cloned();
        self.writer()
            .write("removing a sync", true, move |connection| {
                delete(connection, id, request.as_ref())
            })
            .await
    }

    /// One sync by its id.
    pub async fn sync(&self, id: Id) -> Result<Option<Sync>, StoreError> {
        self.readers()
            .read("reading a sync", move |connection| Ok(by_id(connection, id)?))
            .await
    }

    /// The sync a user's word means: the one of that name, else the exact id, else the only id with that prefix.
    pub async fn resolve_sync(&self, text: &str) -> Result<Resolved<Sync>, StoreError> {
        let text = text.to_owned();
        self.readers()
            .read("looking for a sync", move |connection| resolve(connection, &text))
            .await
    }

    /// All syncs, by name.
    pub async fn list_syncs(&self) -> Result<Vec<Sync>, StoreError> {
        self.readers()
            .read("listing syncs", |connection| {
                let sql = format!("SELECT {} FROM syncs ORDER BY name", rows::SYNC);
                let mut statement = connection.prepare_cached(&sql)?;
                let syncs = statement.query_map([], rows::sync)?;
                Ok(syncs.collect::<rusqlite::Result<Vec<_>>>()?)
            })
            .await
    }
}

fn one(connection: &Connection, column: &str, key: &str) -> rusqlite::Result<Option<Sync>> {
    let sql = format!("SELECT {} FROM syncs WHERE {column} = ?1", rows::SYNC);
    connection
        .prepare_cached(&sql)?
        .query_row([key], rows::sync)
        .optional()
}

fn by_id(connection: &Connection, id: Id) -> rusqlite::Result<Option<Sync>> {
    one(connection, "id", &id.to_string())
}

fn with_name(connection: &Connection, name: &Name) -> rusqlite::Result<Option<Sync>> {
    one(connection, "name", name.as_str())
}

fn create(
    connection: &Connection,
    mut sync: Sync,
    naming: Naming,
    request: Option<&Request>,
) -> Result<Created<Sync>, Fail> {
    if let Some(request) = request
        && let Some(sync) = request::repeated(connection, request, by_id)?
    {
        return Ok(Created::Repeat(sync));
    }
    if by_id(connection, sync.id)?.is_some() {
        return Err(StoreError::Exists {
            noun: "sync",
            id: sync.id,
        }
        .into());
    }
    free_target(connection, &sync)?;
    sync.name = free_name(connection, &sync.name, naming)?;
    event::append(connection, &sync_event(&sync))?;
    connection
        .prepare_cached(
            "INSERT INTO syncs (id, name, source, host, target, mode, exclude, no_gitignore, git_dir, limit_bytes, \
             created_at, paused, occupied, resetting, state, reason, message, files, bytes, pending_files, \
             pending_bytes, problem_count, synced_at, found_target) \
             VALUES (:id, :name, :source, :host, :target, :mode, :exclude, :no_gitignore, :git_dir, :limit_bytes, \
             :created_at, :paused, :occupied, :resetting, :state, :reason, :message, :files, :bytes, \
             :pending_files, :pending_bytes, :problem_count, :synced_at, :found_target)",
        )?
        .execute(named_params! {
            ":id": sync.id.to_string(),
            ":name": sync.name.as_str(),
            ":source": sync.source,
            ":host": sync.host,
            ":target": sync.target,
            ":mode": sync.mode.as_str(),
            ":exclude": rows::command_text(&sync.exclude),
            ":no_gitignore": sync.no_gitignore,
            ":git_dir": sync.git_dir,
            ":limit_bytes": sync.limit_bytes.map(rows::number),
            ":created_at": sync.created_at,
            ":paused": sync.paused,
            ":occupied": sync.occupied,
            ":resetting": sync.resetting.map(|reset| reset.as_str()),
            ":state": sync.seen.state.as_str(),
            ":reason": sync.seen.reason,
            ":message": sync.seen.message,
            ":files": rows::number(sync.seen.files),
            ":bytes": rows::number(sync.seen.bytes),
            ":pending_files": rows::number(sync.seen.pending_files),
            ":pending_bytes": rows::number(sync.seen.pending_bytes),
            ":problem_count": rows::number(sync.seen.problem_count),
            ":synced_at": sync.seen.synced_at,
            ":found_target": sync.seen.target,
        })?;
    if let Some(request) = request {
        request::record(connection, request, &sync.id.to_string(), None)?;
    }
    Ok(Created::New(sync))
}

/// Two syncs that write to one place would undo each other's work.
fn free_target(connection: &Connection, sync: &Sync) -> Result<(), Fail> {
    let sql = format!("SELECT {} FROM syncs WHERE host = ?1 ORDER BY name", rows::SYNC);
    let mut statement = connection.prepare_cached(&sql)?;
    for other in statement.query_map([&sync.host], rows::sync)? {
        let other = other?;
        let known = [Some(other.target.as_str()), other.seen.target.as_deref()];
        if known
            .into_iter()
            .flatten()
            .any(|theirs| overlap(&sync.target, theirs))
        {
            return Err(StoreError::TargetTaken {
                host: sync.host.clone(),
                target: sync.target.clone(),
                holder: other.name.to_string(),
                theirs: other.place().to_owned(),
            }
            .into());
        }
    }
    Ok(())
}

fn free_name(connection: &Connection, name: &Name, naming: Naming) -> Result<Name, Fail> {
    let Some(holder) = with_name(connection, name)? else {
        return Ok(name.clone());
    };
    if naming == Naming::Numbered {
        for number in 2..=NUMBERS {
            let numbered = name.numbered(number);
            if with_name(connection, &numbered)?.is_none() {
                return Ok(numbered);
            }
        }
    }
    Err(StoreError::NameTaken {
        noun: "sync",
        name: name.to_string(),
        holder: holder.id,
    }
    .into())
}

fn update(connection: &Connection, sync: &Sync) -> Result<(), Fail> {
    let missing = StoreError::Missing {
        noun: "sync",
        id: sync.id,
    };
    let stored = by_id(connection, sync.id)?.ok_or(missing)?;
    if sync.seen.is_news(&stored.seen) {
        event::append(connection, &sync_event(sync))?;
    }
    connection
        .prepare_cached(
            "UPDATE syncs SET paused = :paused, occupied = :occupied, resetting = :resetting, state = :state, \
             reason = :reason, message = :message, files = :files, bytes = :bytes, pending_files = :pending_files, \
             pending_bytes = :pending_bytes, problem_count = :problem_count, synced_at = :synced_at, \
             found_target = :found_target WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": sync.id.to_string(),
            ":paused": sync.paused,
            ":occupied": sync.occupied,
            ":resetting": sync.resetting.map(|reset| reset.as_str()),
            ":state": sync.seen.state.as_str(),
            ":reason": sync.seen.reason,
            ":message": sync.seen.message,
            ":files": rows::number(sync.seen.files),
            ":bytes": rows::number(sync.seen.bytes),
            ":pending_files": rows::number(sync.seen.pending_files),
            ":pending_bytes": rows::number(sync.seen.pending_bytes),
            ":problem_count": rows::number(sync.seen.problem_count),
            ":synced_at": sync.seen.synced_at,
            ":found_target": sync.seen.target,
        })?;
    Ok(())
}

fn delete(connection: &Connection, id: Id, request: Option<&Request>) -> Result<Option<Sync>, Fail> {
    let Some(sync) = by_id(connection, id)? else {
        return Ok(None);
    };
    event::append(connection, &sync_removed(&sync))?;
    connection
        .prepare_cached("DELETE FROM syncs WHERE id = ?1")?
        .execute([id.to_string()])?;
    let kind = RemovalKind::Sync;
    host::add_removal(connection, &sync.host, Removal { kind, id })?;
    if let Some(request) = request
        && request::earlier(connection, request)?.is_none()
    {
        request::record(connection, request, &id.to_string(), None)?;
    }
    Ok(Some(sync))
}

fn resolve(connection: &Connection, text: &str) -> Result<Resolved<Sync>, Fail> {
    if let Some(sync) = one(connection, "name", text)? {
        return Ok(Resolved::One(sync));
    }
    let sql = "SELECT id FROM syncs WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 5";
    match resolve::ids_with_prefix(connection, sql, text)?.as_slice() {
        [] => Ok(Resolved::None),
        [id] => Ok(by_id(connection, *id)?.map_or(Resolved::None, Resolved::One)),
        several => Ok(Resolved::Many(several.to_vec())),
    }
}
