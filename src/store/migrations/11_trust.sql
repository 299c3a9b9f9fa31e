-- Blobs whose bytes were found to be damaged; a run of a sync that has them fetches them again.
CREATE TABLE damaged_blobs (
    blob_key INTEGER PRIMARY KEY REFERENCES blobs ON DELETE CASCADE,
    problem  TEXT NOT NULL                     -- what is wrong with them
) STRICT;

-- How many processes in a row died during a run of the sync.
ALTER TABLE syncs ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
