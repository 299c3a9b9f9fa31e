-- A run of a sync can be asked to stop at its next checkpoint.

ALTER TABLE leases ADD COLUMN is_to_stop INTEGER NOT NULL DEFAULT 0;
