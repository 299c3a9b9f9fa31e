-- How far the pass under way has come, when it last got on, and how many entries failed.
ALTER TABLE syncs ADD COLUMN pass_entries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE syncs ADD COLUMN pass_base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE syncs ADD COLUMN pass_peak INTEGER NOT NULL DEFAULT 0;
ALTER TABLE syncs ADD COLUMN whole_entries INTEGER;
ALTER TABLE syncs ADD COLUMN progressed_at_ms INTEGER;
ALTER TABLE syncs ADD COLUMN failed_entries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE syncs ADD COLUMN notices TEXT NOT NULL DEFAULT '{}';
ALTER TABLE syncs ADD COLUMN pending_refetch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN refetch INTEGER NOT NULL DEFAULT 0;

UPDATE syncs SET pending_refetch = pending_full_sync,
    failed_entries =
        (SELECT count(*) FROM dead_letters d WHERE d.sync_key = syncs.sync_key);
UPDATE jobs SET refetch = full,
    cause = CASE cause WHEN 'scheduled' THEN 'interval' WHEN 'resume' THEN 'resumed' ELSE cause END;
