-- Machines that are away: what was seen of them last, and which sessions are to be removed there as well.

-- There is something of it all when `seen_at` is set.
ALTER TABLE hosts ADD COLUMN seen_at INTEGER;
ALTER TABLE hosts ADD COLUMN seen_os TEXT;
ALTER TABLE hosts ADD COLUMN seen_arch TEXT;
ALTER TABLE hosts ADD COLUMN seen_user TEXT;
ALTER TABLE hosts ADD COLUMN seen_helper_version TEXT;
ALTER TABLE hosts ADD COLUMN seen_tmux_version TEXT;
ALTER TABLE hosts ADD COLUMN seen_boot_id TEXT;

ALTER TABLE removals ADD COLUMN kind TEXT NOT NULL DEFAULT 'job' CHECK (kind IN ('job', 'session'));
