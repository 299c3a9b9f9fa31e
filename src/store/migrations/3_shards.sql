-- A pass goes through the shards of its source one by one, each with its own checkpoint; one that was
-- made of another root, or under other settings, is not gone on with.

ALTER TABLE checkpoints ADD COLUMN is_done INTEGER NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN root TEXT;
ALTER TABLE checkpoints ADD COLUMN judged_by INTEGER;
