-- Jobs, sessions, the event log and request outcomes. Never edited once released; a change is a new file.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `row` is the order of acceptance and the cursor of pages; AUTOINCREMENT, so that a cursor never means another row.
-- `changed` is the number of the last event about the row. The columns from `ended_at` on are the outcome: there is
-- one when `ended_at` is set.
CREATE TABLE jobs (
    row             INTEGER PRIMARY KEY AUTOINCREMENT,
    changed         INTEGER NOT NULL,
    id              TEXT NOT NULL UNIQUE CHECK (length(id) = 36),
    name            TEXT,
    host            TEXT NOT NULL,
    cwd             TEXT,
    command         TEXT NOT NULL,
    state           TEXT NOT NULL
                    CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    reason          TEXT,
    timeout_ms      INTEGER,
    cancel_grace_ms INTEGER,
    ended_at        INTEGER,
    exit_code       INTEGER,
    signal          INTEGER,
    cpu_us          INTEGER,
    max_rss_bytes   INTEGER,
    end_reason      TEXT,
    log_bytes       INTEGER,
    dropped_bytes   INTEGER
) STRICT;

CREATE UNIQUE INDEX jobs_live_name ON jobs (name) WHERE name IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX jobs_name ON jobs (name, row) WHERE name IS NOT NULL;
CREATE INDEX jobs_live ON jobs (row) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_changed ON jobs (changed);

CREATE TABLE sessions (
    row             INTEGER PRIMARY KEY AUTOINCREMENT,
    changed         INTEGER NOT NULL,
    id              TEXT NOT NULL UNIQUE CHECK (length(id) = 36),
    name            TEXT NOT NULL UNIQUE,
    host            TEXT NOT NULL,
    cwd             TEXT,
    command         TEXT NOT NULL,
    restart_command TEXT,
    state           TEXT NOT NULL
                    CHECK (state IN ('creating', 'running', 'exited', 'stopped', 'broken', 'lost', 'unknown')),
    run             INTEGER NOT NULL CHECK (run >= 1),
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    pid             INTEGER,
    reason          TEXT,
    size_columns    INTEGER NOT NULL,
    size_rows       INTEGER NOT NULL,
    stop_grace_ms   INTEGER,
    deleting        INTEGER NOT NULL CHECK (deleting IN (0, 1)),
    ended_at        INTEGER,
    exit_code       INTEGER,
    signal          INTEGER,
    cpu_us          INTEGER,
    max_rss_bytes   INTEGER,
    end_reason      TEXT,
    log_bytes       INTEGER,
    dropped_bytes   INTEGER
) STRICT;

-- AUTOINCREMENT: a number is never given twice, not even when everything was pruned.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    data    TEXT NOT NULL
) STRICT;

CREATE TABLE requests (
    id          TEXT NOT NULL PRIMARY KEY,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    subject     TEXT NOT NULL,
    outcome     TEXT,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_created_at ON requests (created_at);
