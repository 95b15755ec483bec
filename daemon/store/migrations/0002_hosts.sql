-- Other machines, and what is still to be removed there.

-- The columns from `destination` to `carrier` are those of kind ssh, `command` is that of kind command.
CREATE TABLE hosts (
    name        TEXT NOT NULL PRIMARY KEY CHECK (name <> 'local'),
    kind        TEXT NOT NULL CHECK (kind IN ('ssh', 'command')),
    destination TEXT CHECK ((destination IS NOT NULL) = (kind = 'ssh')),
    user        TEXT,
    port        INTEGER CHECK (port BETWEEN 1 AND 65535),
    identities  TEXT NOT NULL,
    jump        TEXT,
    carrier     TEXT CHECK (carrier IN ('ssh2', 'ssh')),
    command     TEXT CHECK ((command IS NOT NULL) = (kind = 'command')),
    created_at  INTEGER NOT NULL,
    machine_id  TEXT
) STRICT, WITHOUT ROWID;

-- Directories of removed jobs that wait for their host to be there. Without a row here a directory without a job's
-- row is one to adopt.
CREATE TABLE removals (
    host TEXT NOT NULL,
    id   TEXT NOT NULL CHECK (length(id) = 36),
    PRIMARY KEY (host, id)
) STRICT, WITHOUT ROWID;
