-- Directories that are kept equal to one on a host.

-- The columns from `state` on are what was seen last. `target` is as it was asked for, `found_target` as the host
-- knows it.
CREATE TABLE syncs (
    id            TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    name          TEXT NOT NULL UNIQUE,
    source        TEXT NOT NULL,
    host          TEXT NOT NULL,
    target        TEXT NOT NULL,
    mode          TEXT NOT NULL CHECK (mode IN ('mirror', 'update')),
    exclude       TEXT NOT NULL,
    no_gitignore  INTEGER NOT NULL CHECK (no_gitignore IN (0, 1)),
    git_dir       INTEGER NOT NULL CHECK (git_dir IN (0, 1)),
    limit_bytes   INTEGER,
    created_at    INTEGER NOT NULL,
    paused        INTEGER NOT NULL CHECK (paused IN (0, 1)),
    occupied      INTEGER NOT NULL CHECK (occupied IN (0, 1)),
    resetting     TEXT CHECK (resetting IN ('compare', 'adopt')),
    state         TEXT NOT NULL CHECK (state IN ('starting', 'scanning', 'watching', 'pushing', 'paused', 'halted',
                  'disconnected', 'error')),
    reason        TEXT,
    message       TEXT,
    files         INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    pending_files INTEGER NOT NULL,
    pending_bytes INTEGER NOT NULL,
    problem_count INTEGER NOT NULL,
    synced_at     INTEGER,
    found_target  TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX syncs_host ON syncs (host);

-- What can be removed on a machine has one kind more, and a rule cannot be changed in place.
CREATE TABLE removals_of_three_kinds (
    host TEXT NOT NULL,
    id   TEXT NOT NULL CHECK (length(id) = 36),
    kind TEXT NOT NULL CHECK (kind IN ('job', 'session', 'sync')),
    PRIMARY KEY (host, id)
) STRICT, WITHOUT ROWID;
INSERT INTO removals_of_three_kinds (host, id, kind) SELECT host, id, kind FROM removals;
DROP TABLE removals;
ALTER TABLE removals_of_three_kinds RENAME TO removals;
