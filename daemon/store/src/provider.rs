//! The last look at each provider on each host.

use outlast_model::provider::Check;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    Store,
    error::{Fail, StoreError},
};

const COLUMNS: &str = "provider, host, at, ok, path, version, problem, took_ms, last_ok_at, tests, tests_ms";

impl Store {
    /// Keeps what was found, in place of what was found before, whose tests count on. The result is what is kept.
    pub async fn keep_check(&self, check: &Check) -> Result<Check, StoreError> {
        let check = check.clone();
        self.writer()
            .write("keeping what was found of a provider", false, move |connection| {
                keep(connection, check)
            })
            .await
    }

    /// What was found last, by provider, then by host.
    pub async fn checks(&self) -> Result<Vec<Check>, StoreError> {
        self.readers()
            .read("listing what was found of providers", move |connection| {
                let checks = connection
                    .prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM provider_checks ORDER BY provider, host"
                    ))?
                    .query_map([], check)?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                Ok(checks)
            })
            .await
    }
}

fn keep(connection: &Connection, found: Check) -> Result<Check, Fail> {
    let before = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM provider_checks WHERE provider = ?1 AND host = ?2"
        ))?
        .query_row([&found.provider, &found.host], check)
        .optional()?;
    let found = found.after(before.as_ref());
    connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO provider_checks ({COLUMNS}) VALUES (:provider, :host, :at, :ok, :path, :version, \
             :problem, :took_ms, :last_ok_at, :tests, :tests_ms)"
        ))?
        .execute(named_params! {
            ":provider": found.provider,
            ":host": found.host,
            ":at": found.at,
            ":ok": found.ok,
            ":path": found.path,
            ":version": found.version,
            ":problem": found.problem,
            ":took_ms": found.took_ms.map(crate::rows::number),
            ":last_ok_at": found.last_ok_at,
            ":tests": crate::rows::number(found.tests),
            ":tests_ms": crate::rows::number(found.tests_ms),
        })?;
    Ok(found)
}

fn check(row: &Row<'_>) -> rusqlite::Result<Check> {
    Ok(Check {
        provider: row.get(0)?,
        host: row.get(1)?,
        at: row.get(2)?,
        ok: row.get(3)?,
        path: row.get(4)?,
        version: row.get(5)?,
        problem: row.get(6)?,
        took_ms: row.get(7)?,
        last_ok_at: row.get(8)?,
        tests: row.get(9)?,
        tests_ms: row.get(10)?,
    })
}
