-- From version 1 to 2: the control plane. Foreign keys are off while this runs, and checked after.
-- Large tables only gain columns at their end.

CREATE TABLE installation (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE namespaces (
    namespace_key INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL UNIQUE,
    settings      TEXT NOT NULL,               -- JSON, model::NamespaceSettings
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;

INSERT INTO installation VALUES
    ('organization_id', 'org_' || upper(hex(randomblob(13)))),
    ('user_id', 'usr_' || upper(hex(randomblob(13))));
INSERT INTO namespaces (id, name, settings, created_at_ms, updated_at_ms) VALUES
    ('ns_' || upper(hex(randomblob(13))), 'default', '{}',
     CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER));

CREATE TABLE new_connections (
    connection_key INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    identity       TEXT UNIQUE,
    name           TEXT NOT NULL,
    provider       TEXT NOT NULL,
    settings       TEXT NOT NULL,              -- JSON, model::Connection
    description    TEXT,
    metadata       TEXT NOT NULL DEFAULT '{}', -- JSON object
    write_enabled  INTEGER NOT NULL DEFAULT 0,
    status         TEXT NOT NULL,              -- ACTIVE, SUSPENDED, FAILED, ARCHIVED
    last_used_at_ms INTEGER,
    last_error     TEXT,
    consecutive_failures INTEGER NOT NULL DEFAULT 0,
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL
) STRICT;
INSERT INTO new_connections
    (connection_key, id, identity, name, provider, settings, status, created_at_ms, updated_at_ms)
SELECT connection_key, iif(identity = 'local', 'conn_local', id), identity,
       iif(identity = 'local', 'This computer', identity), settings ->> '$.provider', settings,
       'ACTIVE', created_at_ms, created_at_ms
FROM connections;
DROP TABLE connections;
ALTER TABLE new_connections RENAME TO connections;
CREATE UNIQUE INDEX connections_by_name ON connections (name) WHERE status <> 'ARCHIVED';
-- This computer is always there.
INSERT OR IGNORE INTO connections
    (id, identity, name, provider, settings, status, created_at_ms, updated_at_ms)
VALUES ('conn_local', 'local', 'This computer', 'local', '{"provider":"local"}', 'ACTIVE',
        CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER));

CREATE TABLE secrets (
    connection_key INTEGER PRIMARY KEY REFERENCES connections,
    key_id         TEXT NOT NULL,
    sealed         BLOB NOT NULL
) STRICT;

CREATE TABLE new_buckets (
    bucket_key    INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    namespace_key INTEGER NOT NULL REFERENCES namespaces,
    name          TEXT NOT NULL,
    settings      TEXT NOT NULL DEFAULT '{}',  -- JSON, model::BucketSettings
    object_count  INTEGER NOT NULL DEFAULT 0,
    object_bytes  INTEGER NOT NULL DEFAULT 0,  -- sum of sizes, shared bytes counted each time
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    UNIQUE (namespace_key, name)
) STRICT;
INSERT INTO new_buckets
    (bucket_key, id, namespace_key, name, object_count, object_bytes, created_at_ms, updated_at_ms)
SELECT bucket_key, id, (SELECT min(namespace_key) FROM namespaces), name, object_count,
       object_bytes, created_at_ms, created_at_ms
FROM buckets;
DROP TABLE buckets;
ALTER TABLE new_buckets RENAME TO buckets;

CREATE TABLE new_syncs (
    sync_key       INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    bucket_key     INTEGER NOT NULL REFERENCES buckets,
    connection_key INTEGER NOT NULL REFERENCES connections,
    source_path    BLOB NOT NULL,
    options        TEXT NOT NULL,              -- JSON, model::SyncOptions
    made_by        TEXT NOT NULL,              -- command_line, api
    named_bucket   INTEGER NOT NULL,           -- 0: the bucket was named after the source
    status         TEXT NOT NULL,              -- model::SyncStatus
    is_active      INTEGER NOT NULL DEFAULT 1,
    pause          TEXT,                       -- JSON, model::Pause; NULL: not paused
    next_sync_at_ms INTEGER,                   -- NULL: not scheduled
    pending_full_sync INTEGER NOT NULL DEFAULT 0,
    root_identity  TEXT,                       -- of the last root that had content
    last_fence     INTEGER NOT NULL DEFAULT 0, -- the newest fencing token given out
    last_pass      INTEGER NOT NULL DEFAULT 0, -- the newest pass begun
    last_sync_at_ms INTEGER,                   -- end of the last complete pass
    last_error     TEXT,
    consecutive_failures INTEGER NOT NULL DEFAULT 0,
    run_counter    INTEGER NOT NULL DEFAULT 0,
    runs_completed INTEGER NOT NULL DEFAULT 0,
    runs_failed    INTEGER NOT NULL DEFAULT 0,
    run_ms         INTEGER NOT NULL DEFAULT 0, -- time spent running
    synced         INTEGER NOT NULL DEFAULT 0,
    updated        INTEGER NOT NULL DEFAULT 0,
    unchanged      INTEGER NOT NULL DEFAULT 0,
    duplicates     INTEGER NOT NULL DEFAULT 0,
    filtered       INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    removed        INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0,
    held_removals  TEXT,                       -- JSON, store::syncs::HeldRemovals
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL,
    peak_per_minute REAL NOT NULL DEFAULT 0,   -- objects, in the fastest of its jobs
    held_entries   BLOB                        -- roaring bitmap: the entries of held_removals
) STRICT;
INSERT INTO new_syncs
    (sync_key, id, bucket_key, connection_key, source_path, options, made_by, named_bucket, status,
     root_identity, last_fence, last_pass, last_sync_at_ms, last_error, held_removals, run_counter,
     runs_completed, runs_failed, run_ms, synced, updated, unchanged, duplicates, filtered, failed,
     removed, bytes, created_at_ms, updated_at_ms)
SELECT sync_key, s.id, bucket_key, connection_key, source_path, options, 'command_line',
       named_bucket,
       CASE WHEN last_error IS NOT NULL THEN 'FAILED'
            WHEN EXISTS (SELECT 1 FROM checkpoints WHERE sync_key = s.sync_key) THEN 'INTERRUPTED'
            WHEN last_sync_at_ms IS NULL THEN 'PENDING'
            WHEN EXISTS (SELECT 1 FROM dead_letters
                         WHERE sync_key = s.sync_key AND resolved_at_ms IS NULL)
                THEN 'COMPLETED_WITH_ERRORS'
            ELSE 'COMPLETED' END,
       root_identity, last_fence, last_pass, last_sync_at_ms, last_error, held_removals,
       count(j.id), count(j.id) FILTER (WHERE j.status = 'completed'),
       count(j.id) FILTER (WHERE j.status = 'failed'),
       coalesce(sum(j.completed_at_ms - j.started_at_ms), 0), coalesce(sum(j.synced), 0),
       coalesce(sum(j.updated), 0), coalesce(sum(j.unchanged), 0), coalesce(sum(j.duplicates), 0),
       coalesce(sum(j.filtered), 0), coalesce(sum(j.failed), 0), coalesce(sum(j.removed), 0),
       coalesce(sum(j.bytes), 0), s.created_at_ms, coalesce(last_sync_at_ms, s.created_at_ms)
FROM syncs s LEFT JOIN jobs j USING (sync_key) GROUP BY sync_key;
DROP TABLE syncs;
ALTER TABLE new_syncs RENAME TO syncs;
CREATE INDEX syncs_by_place ON syncs (bucket_key, connection_key, source_path);
CREATE INDEX syncs_by_connection ON syncs (connection_key);
CREATE INDEX syncs_due ON syncs (next_sync_at_ms) WHERE next_sync_at_ms IS NOT NULL;

CREATE TABLE new_jobs (
    job_key         INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    sync_key        INTEGER NOT NULL REFERENCES syncs,
    status          TEXT NOT NULL,             -- running, completed, failed, interrupted, skipped
    phase           TEXT NOT NULL,             -- model::Phase
    cause           TEXT NOT NULL,             -- scheduled, manual, resume
    full            INTEGER NOT NULL DEFAULT 0, -- fetches every entry again
    resumed_via     TEXT,                      -- what it went on from: checkpoint; NULL: nothing
    queued_at_ms    INTEGER NOT NULL,
    started_at_ms   INTEGER,
    updated_at_ms   INTEGER NOT NULL,
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
INSERT INTO new_jobs
    (job_key, id, sync_key, status, phase, cause, queued_at_ms, started_at_ms, updated_at_ms,
     completed_at_ms, synced, updated, unchanged, duplicates, filtered, failed, removed, bytes,
     error)
SELECT job_key, id, sync_key, status, phase, 'manual', started_at_ms, started_at_ms,
       coalesce(completed_at_ms, started_at_ms), completed_at_ms, synced, updated, unchanged,
       duplicates, filtered, failed, removed, bytes, error
FROM jobs;
DROP TABLE jobs;
ALTER TABLE new_jobs RENAME TO jobs;
CREATE INDEX jobs_by_sync ON jobs (sync_key, job_key);
CREATE INDEX jobs_under_way ON jobs (sync_key) WHERE status = 'running';

CREATE TABLE new_checkpoints (
    sync_key      INTEGER NOT NULL REFERENCES syncs,
    shard         TEXT NOT NULL,
    pass          INTEGER NOT NULL,
    cursor        BLOB,                        -- NULL: nothing to go on from
    seen          BLOB NOT NULL,               -- roaring bitmap
    drifted       BLOB NOT NULL,               -- roaring bitmap: listed, but filtered out by now
    unlisted      TEXT NOT NULL,               -- JSON: base64 prefixes that could not be listed
    objects_processed INTEGER NOT NULL DEFAULT 0, -- over all passes
    modified_since_ms INTEGER,                 -- frozen when the pass begins; NULL: all
    completed_at_ms INTEGER,                   -- when a pass was complete last
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (sync_key, shard)
) STRICT, WITHOUT ROWID;
INSERT INTO new_checkpoints
    (sync_key, shard, pass, cursor, seen, drifted, unlisted, updated_at_ms)
SELECT sync_key, '__default__', pass, cursor, seen, drifted, unlisted, updated_at_ms
FROM checkpoints;
DROP TABLE checkpoints;
ALTER TABLE new_checkpoints RENAME TO checkpoints;

-- Rows of version 1 have no identity until they change: a rename of theirs is a new entry.
ALTER TABLE entries ADD COLUMN judged_by INTEGER;
ALTER TABLE entries ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN identity INTEGER;
CREATE INDEX entries_by_identity ON entries (sync_key, identity) WHERE identity IS NOT NULL;
CREATE INDEX entries_released ON entries (sync_key) WHERE released = 1;

CREATE TABLE left_out (
    left_out_key INTEGER PRIMARY KEY,
    sync_key     INTEGER NOT NULL REFERENCES syncs,
    source_id    BLOB NOT NULL,
    version      BLOB NOT NULL,
    judged_by    INTEGER NOT NULL,             -- as in entries
    unmet        INTEGER NOT NULL,             -- the place of the condition that is not met
    pass         INTEGER NOT NULL,             -- the pass in which it was asked
    UNIQUE (sync_key, source_id)
) STRICT;

ALTER TABLE objects ADD COLUMN fields TEXT;
ALTER TABLE objects ADD COLUMN unique_key TEXT;
ALTER TABLE objects ADD COLUMN edges TEXT;
ALTER TABLE objects ADD COLUMN state TEXT;
ALTER TABLE objects ADD COLUMN content TEXT NOT NULL DEFAULT 'content';
CREATE INDEX objects_by_age ON objects (bucket_key);
CREATE UNIQUE INDEX objects_by_unique_key ON objects (bucket_key, unique_key)
    WHERE unique_key IS NOT NULL;

ALTER TABLE object_blobs ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE object_blobs ADD COLUMN type TEXT;
ALTER TABLE object_blobs ADD COLUMN filename TEXT;
ALTER TABLE object_blobs ADD COLUMN mime TEXT;
ALTER TABLE object_blobs ADD COLUMN metadata TEXT;

CREATE TABLE new_dead_letters (
    dead_letter_key  INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    sync_key         INTEGER NOT NULL REFERENCES syncs,
    job_key          INTEGER,                  -- the job in which it failed last
    source_id        BLOB NOT NULL,
    path             BLOB NOT NULL,
    error_type       TEXT NOT NULL,
    error_message    TEXT NOT NULL,
    failures         INTEGER NOT NULL,         -- runs in which it failed, in a row
    retries          INTEGER NOT NULL DEFAULT 0, -- of those, later tries; 3 are the most
    first_failed_ms  INTEGER NOT NULL,
    last_failed_ms   INTEGER NOT NULL,
    retry_at_ms      INTEGER,                  -- not tried again before; NULL: with the next run
    reattempted_ms   INTEGER,                  -- the last try after the first
    requeued_ms      INTEGER,
    pass             INTEGER NOT NULL,         -- the pass in which it failed last
    resolved_at_ms   INTEGER,
    disposed         TEXT,                     -- why it is tried no more; NULL: it is
    version          BLOB,                     -- that failed last; NULL: not known
    UNIQUE (sync_key, source_id)
) STRICT;
INSERT INTO new_dead_letters
    (dead_letter_key, id, sync_key, source_id, path, error_type, error_message, failures, retries,
     first_failed_ms, last_failed_ms, pass, resolved_at_ms)
SELECT dead_letter_key, 'dlq_' || upper(hex(randomblob(13))), sync_key, source_id, path, error_type,
       error_message, failures, min(failures - 1, 3), first_failed_ms, last_failed_ms, pass,
       resolved_at_ms
FROM dead_letters;
DROP TABLE dead_letters;
ALTER TABLE new_dead_letters RENAME TO dead_letters;
CREATE INDEX open_dead_letters ON dead_letters (sync_key) WHERE resolved_at_ms IS NULL;

CREATE TABLE uploads (
    upload_key     INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    bucket_key     INTEGER NOT NULL REFERENCES buckets,
    status         TEXT NOT NULL,
    settings       TEXT NOT NULL,              -- JSON, model::UploadSettings
    blob_key       INTEGER REFERENCES blobs,   -- NULL: no bytes yet
    object_key     INTEGER,                    -- the object that it became part of
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL,
    expires_at_ms  INTEGER
) STRICT;
CREATE INDEX uploads_by_bucket ON uploads (bucket_key);
CREATE INDEX uploads_by_blob ON uploads (blob_key) WHERE blob_key IS NOT NULL;

CREATE TABLE events (
    event_key INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms     INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    bucket_key INTEGER,                        -- of what it is about, as far as that applies
    sync_key  INTEGER,
    job_key   INTEGER,
    detail    TEXT NOT NULL                    -- JSON object
) STRICT;
