-- What a session was started from, and the provider whose program it runs.
ALTER TABLE sessions ADD COLUMN template TEXT;
ALTER TABLE sessions ADD COLUMN provider TEXT;

-- The last look at a provider on a host, and how long its tests took that went well.
CREATE TABLE provider_checks (
    provider TEXT NOT NULL,
    host TEXT NOT NULL,
    at INTEGER NOT NULL,
    ok INTEGER NOT NULL CHECK (ok IN (0, 1)),
    path TEXT,
    version TEXT,
    problem TEXT,
    took_ms INTEGER,
    last_ok_at INTEGER,
    tests INTEGER NOT NULL,
    tests_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, host)
) STRICT, WITHOUT ROWID;
