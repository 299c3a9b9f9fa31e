-- What looks renamed waits in the database for the end of the walk, not in memory.

-- Entries that look renamed, of the run under way, which decides about them once it knows whether
-- their old names are gone.
CREATE TABLE held_back (
    held_back_key INTEGER PRIMARY KEY,
    sync_key      INTEGER NOT NULL REFERENCES syncs,
    shard         INTEGER NOT NULL,            -- with `page`: where in the run's walk
    page          INTEGER NOT NULL,
    entry_key     INTEGER NOT NULL,            -- of entries: the row that it may be
    source_id     BLOB NOT NULL,
    path          BLOB,                        -- NULL: the same as source_id
    size          INTEGER NOT NULL,
    version       BLOB NOT NULL,
    modified_ns   INTEGER,
    etag          TEXT,
    mime          TEXT
) STRICT;
CREATE INDEX held_back_by_sync ON held_back (sync_key);
