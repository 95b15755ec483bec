-- What the present run of a session does, as it was seen last; the number is that of the event that said so.
ALTER TABLE sessions ADD COLUMN activity TEXT CHECK (activity IN ('starting', 'working', 'waiting', 'idle', 'error'));
ALTER TABLE sessions ADD COLUMN activity_source TEXT;
ALTER TABLE sessions ADD COLUMN activity_message TEXT;
ALTER TABLE sessions ADD COLUMN activity_since INTEGER;
ALTER TABLE sessions ADD COLUMN activity_seq INTEGER NOT NULL DEFAULT 0;
