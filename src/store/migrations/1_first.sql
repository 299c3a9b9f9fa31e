-- The whole state of a Catchment data directory, but for large blobs, which are files named by
-- their hash. This is schema version 1; a change appends a migration to src/store/migrate.rs and
-- never edits what an earlier version shipped.
--
-- Keys named *_key are internal integers; ids (bkt_…, sync_…) are what people and programs see.
-- Times ending in _ms are Unix milliseconds, in _ns Unix nanoseconds. Paths are BLOBs because a
-- source's names are bytes, not text.

-- How to reach a provider. Holds no secret. `identity` is what makes two of them the same.
CREATE TABLE connections (
    connection_key INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    identity       TEXT NOT NULL UNIQUE,
    settings       TEXT NOT NULL,              -- JSON, model::Connection
    created_at_ms  INTEGER NOT NULL
) STRICT;

-- A set of objects. The counters change in the transaction that changes the objects, so they are
-- exact at every commit.
CREATE TABLE buckets (
    bucket_key    INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL UNIQUE,
    object_count  INTEGER NOT NULL DEFAULT 0,
    object_bytes  INTEGER NOT NULL DEFAULT 0,  -- sum of sizes, shared bytes counted each time
    created_at_ms INTEGER NOT NULL
) STRICT;

-- A standing order: this place of that connection into this bucket.
CREATE TABLE syncs (
    sync_key       INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    bucket_key     INTEGER NOT NULL REFERENCES buckets,
    connection_key INTEGER NOT NULL REFERENCES connections,
    source_path    BLOB NOT NULL,
    options        TEXT NOT NULL,              -- JSON, model::SyncOptions
    named_bucket   INTEGER NOT NULL,           -- 0: the bucket was named after the source
    root_identity  TEXT,                       -- of the last root that had content
    last_fence     INTEGER NOT NULL DEFAULT 0, -- the newest fencing token given out
    last_pass      INTEGER NOT NULL DEFAULT 0, -- the newest pass begun
    last_sync_at_ms INTEGER,                   -- end of the last complete pass
    last_error     TEXT,
    held_removals  TEXT,                       -- JSON, store::syncs::HeldRemovals
    created_at_ms  INTEGER NOT NULL,
    UNIQUE (bucket_key, connection_key, source_path)
) STRICT;

-- The right to run a sync. Every write of a run checks that its token is still the one here.
CREATE TABLE leases (
    sync_key       INTEGER PRIMARY KEY REFERENCES syncs,
    token          INTEGER NOT NULL,
    worker         TEXT NOT NULL,              -- names the lock file that its process holds
    host           TEXT NOT NULL,
    pid            INTEGER NOT NULL,
    acquired_at_ms INTEGER NOT NULL,
    expires_at_ms  INTEGER NOT NULL
) STRICT;

-- One run of a sync, with what it did.
CREATE TABLE jobs (
    job_key         INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    sync_key        INTEGER NOT NULL REFERENCES syncs,
    status          TEXT NOT NULL,             -- running, completed, failed, interrupted
    phase           TEXT NOT NULL,             -- queued, downloading, reconciling, held
    started_at_ms   INTEGER NOT NULL,
    completed_at_ms INTEGER,
    synced          INTEGER NOT NULL DEFAULT 0,
    updated         INTEGER NOT NULL DEFAULT 0,
    unchanged       INTEGER NOT NULL DEFAULT 0,
    duplicates      INTEGER NOT NULL DEFAULT 0,
    filtered        INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    removed         INTEGER NOT NULL DEFAULT 0,
    bytes           INTEGER NOT NULL DEFAULT 0,
    error           TEXT
) STRICT;
CREATE INDEX jobs_by_sync ON jobs (sync_key, job_key);

-- How far the pass under way has come. Everything before `cursor` is committed; `seen` holds the
-- entry keys that were found unchanged, which no other row remembers. Gone once the pass is done.
CREATE TABLE checkpoints (
    sync_key      INTEGER PRIMARY KEY REFERENCES syncs,
    pass          INTEGER NOT NULL,
    cursor        BLOB NOT NULL,
    seen          BLOB NOT NULL,               -- roaring bitmap
    drifted       BLOB NOT NULL,               -- roaring bitmap: listed, but filtered out by now
    unlisted      TEXT NOT NULL,               -- JSON: base64 prefixes that could not be listed
    updated_at_ms INTEGER NOT NULL
) STRICT;

-- The index: what each sync took, at which version, and the object that it became. A pass compares
-- a listing with these rows and touches only those that differ.
CREATE TABLE entries (
    entry_key    INTEGER PRIMARY KEY,
    sync_key     INTEGER NOT NULL REFERENCES syncs,
    source_id    BLOB NOT NULL,
    path         BLOB,                         -- NULL: the same as source_id
    version      BLOB NOT NULL,
    modified_ns  INTEGER,
    etag         TEXT,
    object_key   INTEGER NOT NULL,             -- of objects; no REFERENCES: it would need an index
    is_duplicate INTEGER NOT NULL,             -- 1: the object was made by another entry
    pass         INTEGER NOT NULL              -- the pass that last wrote this row
) STRICT;
CREATE UNIQUE INDEX entries_by_source_id ON entries (sync_key, source_id);
CREATE INDEX entries_that_share ON entries (object_key) WHERE is_duplicate = 1;

-- What a bucket holds. Readable means complete: its blobs were durable before this row.
CREATE TABLE objects (
    object_key    INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    bucket_key    INTEGER NOT NULL REFERENCES buckets,
    entry_key     INTEGER NOT NULL,            -- the entry that it stands for
    path          BLOB NOT NULL,
    size          INTEGER NOT NULL,            -- bytes of its content
    modified_ns   INTEGER,                     -- as the source says
    mime          TEXT,
    metadata      TEXT,                        -- JSON object; NULL: none
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX objects_by_path ON objects (bucket_key, path);

-- Bytes by their name. Stored once whatever the number of objects, buckets or syncs that share them.
CREATE TABLE blobs (
    blob_key INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    size     INTEGER NOT NULL,
    inline   INTEGER NOT NULL                  -- 1: in blob_bytes; 0: a file named by the hash
) STRICT;

-- The bytes of small blobs, apart so that scans of `blobs` stay small.
CREATE TABLE blob_bytes (
    blob_key INTEGER PRIMARY KEY REFERENCES blobs,
    bytes    BLOB NOT NULL
) STRICT;

-- Which blobs an object is made of; `content` is the file itself.
CREATE TABLE object_blobs (
    object_key INTEGER NOT NULL REFERENCES objects,
    property   TEXT NOT NULL,
    blob_key   INTEGER NOT NULL REFERENCES blobs,
    PRIMARY KEY (object_key, property)
) STRICT, WITHOUT ROWID;
CREATE INDEX object_blobs_by_blob ON object_blobs (blob_key);

-- Blobs that lost a reference and may have none left: what garbage collection looks at.
CREATE TABLE orphans (
    blob_key INTEGER PRIMARY KEY
) STRICT;

-- Entries that could not be taken. Open while resolved_at_ms is NULL.
CREATE TABLE dead_letters (
    dead_letter_key  INTEGER PRIMARY KEY,
    sync_key         INTEGER NOT NULL REFERENCES syncs,
    source_id        BLOB NOT NULL,
    path             BLOB NOT NULL,
    error_type       TEXT NOT NULL,
    error_message    TEXT NOT NULL,
    failures         INTEGER NOT NULL,         -- runs in which it failed, in a row
    first_failed_ms  INTEGER NOT NULL,
    last_failed_ms   INTEGER NOT NULL,
    pass             INTEGER NOT NULL,         -- the pass in which it failed last
    resolved_at_ms   INTEGER,
    UNIQUE (sync_key, source_id)
) STRICT;
CREATE INDEX open_dead_letters ON dead_letters (sync_key) WHERE resolved_at_ms IS NULL;
