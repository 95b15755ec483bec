//! Hosts in the store, and what is still to be removed on them.

use outlast_model::{
    event::{Kind, NewEvent},
    host::{Host, Removal, Route, Seen, SshRoute},
    id::Id,
};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde_json::json;

use crate::{
    Store,
    error::{Fail, StoreError},
    event,
    request::{self, Created, Request},
    rows,
};

/// The columns of a host, in the order of [`host`].
const HOST: &str = "name, destination, user, port, identities, jump, carrier, command, created_at, machine_id, seen_at, seen_os, \
     seen_arch, seen_user, seen_helper_version, seen_tmux_version, seen_boot_id";

/// What was forgotten together with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Jobs that were live.
    pub live_jobs: u32,
    /// All jobs.
    pub jobs: u32,
    /// Sessions that were live.
    pub live_sessions: u32,
    /// All sessions.
    pub sessions: u32,
    /// All syncs. None of them is live in the sense that something there would go on.
    pub syncs: u32,
}

impl Forgotten {
    /// Whether anything of it was live.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.live_jobs > 0 || self.live_sessions > 0
    }

    /// As it is kept with the request that removed it.
    fn text(self) -> String {
        format!(
            "{} {} {} {} {}",
            self.live_jobs, self.jobs, self.live_sessions, self.sessions, self.syncs
        )
    }

    /// What was kept; nothing where that cannot be read.
    fn from_text(text: &str) -> Self {
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            live_jobs: next(),
            jobs: next(),
            live_sessions: next(),
            sessions: next(),
            syncs: next(),
        }
    }
}

/// What came of removing a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedHost {
    /// It was removed now.
    Now {
        /// What went with it.
        forgotten: Forgotten,
        /// The ids of all of that but the syncs.
        ids: Vec<Id>,
    },
    /// The same request removed it before, with this. Whoever has the name by now is another.
    Before(Forgotten),
    /// It is still there, because it has live work and was not to be removed by force.
    InUse(Forgotten),
    /// There is none.
    Absent,
}

impl Store {
    /// Adds a host with a `host.added` event and the request, durably. A repeated request gives the host as it is
    /// now. Refused with [`StoreError::HostTaken`], [`StoreError::RequestConflict`], and [`StoreError::Gone`] when the
    /// host of a repeated request was removed.
    pub async fn add_host(
        &self,
        host: &Host,
        request: Option<&Request>,
    ) -> Result<Created<Host>, StoreError> {
        let (host, request) = (host.clone(), request.cloned());
        self.writer()
            .write("adding a host", true, move |connection| {
                add(connection, host, request.as_ref())
            })
            .await
    }

    /// Remembers which machine answers under a host's name.
    pub async fn set_host_machine(&self, name: &str, machine_id: &str) -> Result<(), StoreError> {
        let (name, machine_id) = (name.to_owned(), machine_id.to_owned());
        self.writer()
            .write("updating a host", false, move |connection| {
                connection
                    .prepare_cached("UPDATE hosts SET machine_id = ?2 WHERE name = ?1")?
                    .execute((name, machine_id))?;
                Ok(())
            })
            .await
    }

    /// Remembers what was seen of a host.
    pub async fn set_host_seen(&self, name: &str, seen: &Seen) -> Result<(), StoreError> {
        let (name, seen) = (name.to_owned(), seen.clone());
        self.writer()
            .write("updating a host", false, move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE hosts SET seen_at = :at, seen_os = :os, seen_arch = :arch, seen_user = :user, \
                         seen_helper_version = :helper, seen_tmux_version = :tmux, seen_boot_id = :boot \
                         WHERE name = :name",
                    )?
                    .execute(named_params! {
                        ":name": name,
                        ":at": seen.at,
                        ":os": seen.os,
                        ":arch": seen.arch,
                        ":user": seen.user,
                        ":helper": seen.helper_version,
                        ":tmux": seen.tmux_version,
                        ":boot": seen.boot_id,
                    })?;
                Ok(())
            })
            .await
    }

    /// All hosts but `local`, by name.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        self.readers()
            .read("listing hosts", |connection| {
                let sql = format!("SELECT {HOST} FROM hosts ORDER BY name");
                let mut statement = connection.prepare_cached(&sql)?;
                let hosts = statement.query_map([], host)?;
                Ok(hosts.collect::<rusqlite::Result<Vec<_>>>()?)
            })
            .await
    }

    /// What goes when a host is removed.
    pub async fn count_on_host(&self, name: &str) -> Result<Forgotten, StoreError> {
        let name = name.to_owned();
        self.readers()
            .read("counting what a host has", move |connection| {
                Ok(count(connection, &name)?)
            })
            .await
    }

    /// Removes a host with all rows of its jobs, sessions and syncs and a `host.removed` event, durably. One with live
    /// work only by `force`. A repeated request removes nothing. That records of its syncs are to be forgotten stays
    /// noted, for a host that is added again under the name: they would be in the way of new ones.
    pub async fn remove_host(
        &self,
        name: &str,
        force: bool,
        request: Option<&Request>,
    ) -> Result<RemovedHost, StoreError> {
        let (name, request) = (name.to_owned(), request.cloned());
        self.writer()
            .write("removing a host", true, move |connection| {
                remove(connection, &name, force, request.as_ref())
            })
            .await
    }

    /// Remembers what is to be removed on a host when it is there, durably.
    pub async fn add_removals(&self, host: &str, removals: &[Removal]) -> Result<(), StoreError> {
        let (host, removals) = (host.to_owned(), removals.to_vec());
        self.writer()
            .write("noting what is to be removed", true, move |connection| {
                for removal in removals {
                    add_removal(connection, &host, removal)?;
                }
                Ok(())
            })
            .await
    }

    /// What is to be removed on a host.
    pub async fn removals(&self, host: &str) -> Result<Vec<Removal>, StoreError> {
        let host = host.to_owned();
        self.readers()
            .read("listing what is to be removed", move |connection| {
                let removals = connection
                    .prepare_cached("SELECT kind, id FROM removals WHERE host = ?1")?
                    .query_map([host], |row| {
                        Ok(Removal {
                            kind: rows::word(row, 0)?,
                            id: rows::word(row, 1)?,
                        })
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                Ok(removals)
            })
            .await
    }

    /// Forgets a removal that was done.
    pub async fn removal_done(&self, host: &str, id: Id) -> Result<(), StoreError> {
        let host = host.to_owned();
        self.writer()
            .write("noting a removal", false, move |connection| {
                connection
                    .prepare_cached("DELETE FROM removals WHERE host = ?1 AND id = ?2")?
                    .execute((host, id.to_string()))?;
                Ok(())
            })
            .await
    }
}

fn add(connection: &Connection, host: Host, request: Option<&Request>) -> Result<Created<Host>, Fail> {
    if let Some(request) = request
        && let Some(recorded) = request::earlier(connection, request)?
    {
        return match by_name(connection, &recorded.subject)? {
            Some(host) => Ok(Created::Repeat(host)),
            None => Err(StoreError::Gone {
                id: request.id.clone(),
                subject: recorded.subject,
            }
            .into()),
        };
    }
    if by_name(connection, host.name.as_str())?.is_some() {
        return Err(StoreError::HostTaken {
            name: host.name.to_string(),
        }
        .into());
    }
    let (kind, ssh, command) = match &host.route {
        Route::Ssh(ssh) => ("ssh", Some(ssh), None),
        Route::Command(command) => ("command", None, Some(rows::command_text(command))),
    };
    connection
        .prepare_cached(
            "INSERT INTO hosts (name, kind, destination, user, port, identities, jump, carrier, command, created_at, \
             machine_id) VALUES (:name, :kind, :destination, :user, :port, :identities, :jump, :carrier, :command, \
             :created_at, :machine_id)",
        )?
        .execute(named_params! {
            ":name": host.name.as_str(),
            ":kind": kind,
            ":destination": ssh.map(|ssh| ssh.destination.as_str()),
            ":user": ssh.and_then(|ssh| ssh.user.as_deref()),
            ":port": ssh.and_then(|ssh| ssh.port),
            ":identities": rows::command_text(ssh.map_or(&[], |ssh| ssh.identities.as_slice())),
            ":jump": ssh.and_then(|ssh| ssh.jump.as_deref()),
            ":carrier": ssh.and_then(|ssh| ssh.carrier).map(|carrier| carrier.as_str()),
            ":command": command,
            ":created_at": host.created_at,
            ":machine_id": host.machine_id.as_deref(),
        })?;
    let address = match &host.route {
        Route::Ssh(ssh) => ssh.destination.clone(),
        Route::Command(words) => words.join(" "),
    };
    let added = NewEvent {
        kind: Kind::HostAdded,
        subject: host.name.to_string(),
        data: json!({"kind": kind, "address": address}).to_string(),
    };
    event::append(connection, &added)?;
    if let Some(request) = request {
        request::record(connection, request, host.name.as_str(), None)?;
    }
    Ok(Created::New(host))
}

fn by_name(connection: &Connection, name: &str) -> rusqlite::Result<Option<Host>> {
    let sql = format!("SELECT {HOST} FROM hosts WHERE name = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([name], host)
        .optional()
}

fn count(connection: &Connection, name: &str) -> rusqlite::Result<Forgotten> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM jobs WHERE host = ?1 AND state IN ('queued', 'running')),
                    (SELECT count(*) FROM jobs WHERE host = ?1),
                    (SELECT count(*) FROM sessions WHERE host = ?1 AND state NOT IN ('exited', 'stopped', 'lost')),
                    (SELECT count(*) FROM sessions WHERE host = ?1),
                    (SELECT count(*) FROM syncs WHERE host = ?1)",
        )?
        .query_row([name], |row| {
            Ok(Forgotten {
                live_jobs: row.get(0)?,
                jobs: row.get(1)?,
                live_sessions: row.get(2)?,
                sessions: row.get(3)?,
                syncs: row.get(4)?,
            })
        })
}

/// Notes one removal within the present transaction.
pub(crate) fn add_removal(connection: &Connection, host: &str, removal: Removal) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO removals (host, kind, id) VALUES (?1, ?2, ?3)")?
        .execute((host, removal.kind.as_str(), removal.id.to_string()))?;
    Ok(())
}

fn remove(
    connection: &Connection,
    name: &str,
    force: bool,
    request: Option<&Request>,
) -> Result<RemovedHost, Fail> {
    if let Some(request) = request
        && let Some(recorded) = request::earlier(connection, request)?
    {
        let forgotten = recorded.outcome.as_deref().map(Forgotten::from_text);
        return Ok(RemovedHost::Before(forgotten.unwrap_or_default()));
    }
    if by_name(connection, name)?.is_none() {
        return Ok(RemovedHost::Absent);
    }
    let forgotten = count(connection, name)?;
    if forgotten.is_live() && !force {
        return Ok(RemovedHost::InUse(forgotten));
    }
    let ids = connection
        .prepare_cached(
            "SELECT id FROM jobs WHERE host = ?1 UNION ALL SELECT id FROM sessions WHERE host = ?1",
        )?
        .query_map([name], |row| rows::word(row, 0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for sql in [
        "DELETE FROM jobs WHERE host = ?1",
        "DELETE FROM sessions WHERE host = ?1",
        "DELETE FROM removals WHERE host = ?1 AND kind <> 'sync'",
        "DELETE FROM provider_checks WHERE host = ?1",
        "INSERT INTO removals (host, kind, id) SELECT host, 'sync', id FROM syncs WHERE host = ?1",
        "DELETE FROM syncs WHERE host = ?1",
        "DELETE FROM hosts WHERE name = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([name])?;
    }
    let removed = NewEvent {
        kind: Kind::HostRemoved,
        subject: name.to_owned(),
        data: "{}".to_owned(),
    };
    event::append(connection, &removed)?;
    if let Some(request) = request {
        request::record(connection, request, name, Some(&forgotten.text()))?;
    }
    Ok(RemovedHost::Now { forgotten, ids })
}

fn host(row: &Row<'_>) -> rusqlite::Result<Host> {
    let route = match row.get::<_, Option<String>>(1)? {
        Some(destination) => Route::Ssh(SshRoute {
            destination,
            user: row.get(2)?,
            port: row.get(3)?,
            identities: rows::command(row, 4)?,
            jump: row.get(5)?,
            carrier: rows::optional_word(row, 6)?,
        }),
        None => Route::Command(rows::command(row, 7)?),
    };
    Ok(Host {
        name: rows::word(row, 0)?,
        route,
        created_at: row.get(8)?,
        machine_id: row.get(9)?,
        seen: seen(row)?,
    })
}

/// The columns from 10 on.
fn seen(row: &Row<'_>) -> rusqlite::Result<Option<Seen>> {
    let Some(at) = row.get(10)? else {
        return Ok(None);
    };
    let text = |column: usize| -> rusqlite::Result<String> {
        Ok(row.get::<_, Option<String>>(column)?.unwrap_or_default())
    };
    Ok(Some(Seen {
        at,
        os: text(11)?,
        arch: text(12)?,
        user: text(13)?,
        helper_version: text(14)?,
        tmux_version: row.get(15)?,
        boot_id: text(16)?,
    }))
}
