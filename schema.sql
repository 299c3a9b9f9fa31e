-- The whole state of a Catchment data directory, but for large blobs, which are files named by
-- their hash. New data directories are made from this file; older ones are brought here by the
-- steps in src/store/migrations, which are only ever appended to, and a test checks that both ways
-- lead to the same result.
--
-- Keys named *_key are internal integers; ids (bkt_…, sync_…) are what people and programs see.
-- Times ending in _ms are Unix milliseconds, in _ns Unix nanoseconds. Paths are BLOBs because a
-- source's names are bytes, not text.

-- What this installation is called by: `organization_id`, `user_id`.
CREATE TABLE installation (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Namespaces keep buckets apart. The oldest one is the default.
CREATE TABLE namespaces (
    namespace_key INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL UNIQUE,
    settings      TEXT NOT NULL,               -- JSON, model::NamespaceSettings
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;

-- How to reach a provider. Contains no secret. `identity` is what makes two of those that the
-- command line makes the same one; NULL for those that a user has named.
CREATE TABLE connections (
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
CREATE UNIQUE INDEX connections_by_name ON connections (name) WHERE status <> 'ARCHIVED';

-- The credentials of a connection, sealed with the key that `key_id` names; that key is not here.
-- While a process renews them it holds a short lease, so that no other uses up the same refresh
-- token; likewise where they are tried for the first time. What their server has refused is not
-- sent again before a person wants it.
CREATE TABLE secrets (
    connection_key INTEGER PRIMARY KEY REFERENCES connections,
    key_id         TEXT NOT NULL,
    sealed         BLOB NOT NULL,
    renewer           TEXT,                    -- who renews them now; NULL: nobody
    renewing_until_ms INTEGER,                 -- when that lease ends
    refusal           TEXT                     -- JSON of what their server said; NULL: none
) STRICT;

-- How far the rates of connections are used up, and until when their providers want no requests:
-- for every process on this data directory.
CREATE TABLE budgets (
    connection_key INTEGER PRIMARY KEY REFERENCES connections ON DELETE CASCADE,
    used_until_us  INTEGER NOT NULL,
    held_until_us  INTEGER NOT NULL
) STRICT;

-- A set of objects. The counters change in the transaction that changes the objects, so they are
-- exact at every commit.
CREATE TABLE buckets (
    bucket_key    INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    namespace_key INTEGER NOT NULL REFERENCES namespaces,
    name          TEXT NOT NULL,
    settings      TEXT NOT NULL DEFAULT '{}',  -- JSON, model::BucketSettings
    object_count  INTEGER NOT NULL DEFAULT 0,
    object_bytes  INTEGER NOT NULL DEFAULT 0,  -- sum of sizes, shared bytes counted each time
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    is_deleting      INTEGER NOT NULL DEFAULT 0,  -- 1: deleted; its rows are removed in steps
    trash_count      INTEGER NOT NULL DEFAULT 0,  -- objects in its trash, kept by triggers on that
    trash_bytes      INTEGER NOT NULL DEFAULT 0,  -- sum of their sizes
    UNIQUE (namespace_key, name)
) STRICT;

-- A standing order: this place of that connection into this bucket. The totals change in the
-- transaction that changes a job's counts, so they are the sum over the sync's jobs at every
-- commit.
CREATE TABLE syncs (
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
    held_entries   BLOB,                       -- roaring bitmap: the entries of held_removals
    full_since     INTEGER,                    -- the pass in which a full run began that is not
                                               -- complete; NULL: there is none
    refused_root   TEXT,                       -- identity of another root in place of the source,
                                               -- which somebody does not want; NULL: none
    deaths         INTEGER NOT NULL DEFAULT 0, -- processes in a row that died during a run that got
                                               -- no further
    pass_entries   INTEGER NOT NULL DEFAULT 0, -- entries that the pass under way has dealt with, over
                                               -- all runs that it takes
    pass_base      INTEGER NOT NULL DEFAULT 0, -- objects_processed of its checkpoints, all together,
                                               -- when the pass began
    pass_peak      INTEGER NOT NULL DEFAULT 0, -- the most that pass_entries has been since a pass
                                               -- was complete
    whole_entries  INTEGER,                    -- pass_entries of the last complete pass
    progressed_at_ms INTEGER,                  -- when it got on last: objects changed, or a pass came
                                               -- further than any before it
    failed_entries INTEGER NOT NULL DEFAULT 0, -- entries that failed, each once until it is resolved
    notices        TEXT NOT NULL DEFAULT '{}', -- JSON object: model::Notice and what it says
    pending_refetch INTEGER NOT NULL DEFAULT 0 -- with pending_full_sync: fetches everything again
) STRICT;
CREATE INDEX syncs_by_place ON syncs (bucket_key, connection_key, source_path);
CREATE INDEX syncs_by_connection ON syncs (connection_key);
CREATE INDEX syncs_due ON syncs (next_sync_at_ms) WHERE next_sync_at_ms IS NOT NULL;

-- The right to run a sync. Every write of a run checks that its token is still the one here.
CREATE TABLE leases (
    sync_key       INTEGER PRIMARY KEY REFERENCES syncs,
    token          INTEGER NOT NULL,
    worker         TEXT NOT NULL,              -- names the lock file that its process holds
    host           TEXT NOT NULL,
    pid            INTEGER NOT NULL,
    acquired_at_ms INTEGER NOT NULL,
    expires_at_ms  INTEGER NOT NULL,
    is_to_stop     INTEGER NOT NULL DEFAULT 0  -- 1: at its next checkpoint
) STRICT;

-- One run of a sync, with what it did. A job waits in phase `queued`, without a start, until a
-- worker takes the lease for it.
CREATE TABLE jobs (
    job_key         INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    sync_key        INTEGER NOT NULL REFERENCES syncs,
    status          TEXT NOT NULL,             -- running, completed, failed, interrupted, skipped
    phase           TEXT NOT NULL,             -- model::Phase
    cause           TEXT NOT NULL,             -- model::Cause
    full            INTEGER NOT NULL DEFAULT 0, -- trusts no checkpoint: lists and compares everything
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
    error           TEXT,
    refetch         INTEGER NOT NULL DEFAULT 0, -- with full: fetches every entry again
    details         TEXT                       -- what it has asked of its provider, as JSON
) STRICT;
CREATE INDEX jobs_by_sync ON jobs (sync_key, job_key);
CREATE INDEX jobs_under_way ON jobs (sync_key) WHERE status = 'running';

-- How many jobs there are of each status: they are kept for ever, and not to be counted one by one.
CREATE TABLE job_tallies (
    status TEXT PRIMARY KEY,
    jobs   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_after_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO job_tallies VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_after_status_update AFTER UPDATE OF status ON jobs WHEN new.status <> old.status BEGIN
    UPDATE job_tallies SET jobs = jobs - 1 WHERE status = old.status;
    INSERT INTO job_tallies VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_after_delete AFTER DELETE ON jobs BEGIN
    UPDATE job_tallies SET jobs = jobs - 1 WHERE status = old.status;
END;

-- How far each shard of a sync has come; a source without shards has one, `__default__`. While a
-- pass is under way, everything before `cursor` is committed; `seen` holds the entry keys that were
-- found unchanged, which no other row remembers. A shard that has no row is listed from its
-- beginning.
CREATE TABLE checkpoints (
    sync_key      INTEGER NOT NULL REFERENCES syncs,
    shard         TEXT NOT NULL,
    pass          INTEGER NOT NULL,
    cursor        BLOB,                        -- NULL: nothing to go on from
    seen          BLOB NOT NULL,               -- roaring bitmap
    drifted       BLOB NOT NULL,               -- roaring bitmap: listed, but filtered out by now
    unlisted      TEXT NOT NULL,               -- JSON: base64 prefixes that could not be listed
    objects_processed INTEGER NOT NULL DEFAULT 0, -- over all passes
    modified_since_ms INTEGER,                 -- frozen when the pass begins; NULL: all
    completed_at_ms INTEGER,                   -- when it was listed to its end last
    updated_at_ms INTEGER NOT NULL,
    is_done       INTEGER NOT NULL DEFAULT 0,  -- 1: this pass has listed it to its end
    root          TEXT,                        -- sources::RootIdentity, of what was listed
    judged_by     INTEGER,                     -- model::SyncOptions::judgement
    PRIMARY KEY (sync_key, shard)
) STRICT, WITHOUT ROWID;

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
    object_key   INTEGER NOT NULL,             -- of objects; 0: somebody deleted it by hand; -1: it
                                               -- is in the trash, where somebody put it. No
                                               -- REFERENCES: it would need an index
    is_duplicate INTEGER NOT NULL,             -- 1: the object was made by another entry
    pass         INTEGER NOT NULL,             -- the pass that last wrote this row
    judged_by    INTEGER,                      -- engine::rules::Rules::mark; NULL: by a listing alone
    released     INTEGER NOT NULL DEFAULT 0,   -- 1: gone, and somebody said to keep its object
    identity     INTEGER                       -- hash of what a rename leaves as it is; NULL: none
) STRICT;
CREATE UNIQUE INDEX entries_by_source_id ON entries (sync_key, source_id);
CREATE INDEX entries_released ON entries (sync_key) WHERE released = 1;
CREATE INDEX entries_that_share ON entries (object_key) WHERE is_duplicate = 1;

-- Entries that a sync leaves out for what their source says of them besides listing them: so that
-- it need not be asked again while neither they nor the sync's settings change.
CREATE TABLE left_out (
    left_out_key INTEGER PRIMARY KEY,
    sync_key     INTEGER NOT NULL REFERENCES syncs,
    source_id    BLOB NOT NULL,
    version      BLOB NOT NULL,
    judged_by    INTEGER NOT NULL,             -- as in entries
    unmet        INTEGER NOT NULL,             -- the place of the condition that is not met
    pass         INTEGER NOT NULL,             -- the pass in which it was asked
    facts_mark   INTEGER,                      -- of what was listed; NULL: only the version counts
    further      INTEGER NOT NULL DEFAULT 0,   -- how many of its further files are taken all the same
    UNIQUE (sync_key, source_id)
) STRICT;

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

-- Folders of sources that know folders by id, those beyond the sync's root too: the paths of
-- entries are made of their names, so that a folder is renamed or moved without asking for what is
-- below it.
CREATE TABLE folders (
    folder_key INTEGER PRIMARY KEY,
    sync_key   INTEGER NOT NULL REFERENCES syncs,
    shard      TEXT NOT NULL,                  -- the one in which it was listed
    folder_id  BLOB NOT NULL,                  -- the source's name for it
    parent     BLOB,                           -- a folder_id; NULL: in none that is listed
    name       BLOB NOT NULL,
    pass       INTEGER NOT NULL,               -- the pass that last listed it
    to_list    INTEGER NOT NULL DEFAULT 0,     -- 1: what is in it is still to be listed
    UNIQUE (sync_key, folder_id)
) STRICT;
CREATE INDEX folders_by_parent ON folders (sync_key, parent);
CREATE INDEX folders_to_list ON folders (sync_key) WHERE to_list = 1;

-- What is known of entries of such sources besides their row.
CREATE TABLE entry_details (
    entry_key  INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
    sync_key   INTEGER NOT NULL,
    parent     BLOB,                           -- of folders: folder_id; NULL: the source gives paths
    name       BLOB,                           -- its own name, below the parent
    facts_mark INTEGER,                        -- model::Details::facts_mark
    further    INTEGER NOT NULL DEFAULT 0      -- model::Details::further
) STRICT;
CREATE INDEX entry_details_by_parent ON entry_details (sync_key, parent) WHERE parent IS NOT NULL;

-- Entries that a change feed has reported as removed, as outside of the root, or as no longer
-- passing the filters: proof that outlives the run, until they are removed or listed again.
CREATE TABLE gone_entries (
    entry_key  INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
    sync_key   INTEGER NOT NULL,
    is_drifted INTEGER NOT NULL,               -- 1: it exists, but does not pass the filters
    is_outside INTEGER NOT NULL DEFAULT 0      -- 1: only because its folder is below no root that is
                                               -- known; it is back when its folder is
) STRICT;
CREATE INDEX gone_entries_by_sync ON gone_entries (sync_key);

-- Listed entries whose folder is not known yet, until the pass knows it.
CREATE TABLE unplaced_entries (
    unplaced_key INTEGER PRIMARY KEY,
    sync_key     INTEGER NOT NULL REFERENCES syncs,
    shard        TEXT NOT NULL,
    source_id    BLOB NOT NULL,                -- the source's name for it
    parent       BLOB NOT NULL,                -- a folder_id
    entry        TEXT NOT NULL,                -- JSON: store::unplaced
    bytes        BLOB                          -- its content, where the listing brought it
) STRICT;
CREATE INDEX unplaced_entries_by_sync ON unplaced_entries (sync_key);
CREATE UNIQUE INDEX unplaced_entries_by_id ON unplaced_entries (sync_key, source_id);

-- Folders and entries that are in several folders.
CREATE TABLE several_parents (
    sync_key INTEGER NOT NULL REFERENCES syncs,
    child    BLOB NOT NULL,                    -- a folder_id or a source_id
    position INTEGER NOT NULL,                 -- from 0 on: the first that is below a root counts
    parent   BLOB NOT NULL,                    -- a folder_id
    PRIMARY KEY (sync_key, child, position)
) STRICT;

-- Links to files and folders of such sources. A target that is below no root by its own folder has
-- the place of a link.
CREATE TABLE links (
    link_key    INTEGER PRIMARY KEY,
    sync_key    INTEGER NOT NULL REFERENCES syncs,
    shard       TEXT NOT NULL,                 -- the one in which it was listed
    link_id     BLOB NOT NULL,                 -- the source's name for it
    parent      BLOB NOT NULL,                 -- a folder_id
    name        BLOB NOT NULL,                 -- what the target is called there
    target      BLOB NOT NULL,                 -- the source's name for what it leads to
    pass        INTEGER NOT NULL,              -- the pass that last listed it
    is_resolved INTEGER NOT NULL DEFAULT 0,    -- 0: the source is to be asked for its target
    is_used     INTEGER NOT NULL DEFAULT 0,    -- 1: its target has its place from it
    UNIQUE (sync_key, link_id)
) STRICT;
CREATE INDEX links_by_target ON links (sync_key, target);
CREATE INDEX links_to_resolve ON links (sync_key) WHERE is_resolved = 0;

-- What opens entries, folders and links to who would not see them otherwise, as far as the source
-- has shown it.
CREATE TABLE access_keys (
    sync_key    INTEGER NOT NULL REFERENCES syncs,
    source_id   BLOB NOT NULL,                 -- the source's name for what it opens
    access_key  TEXT NOT NULL,
    PRIMARY KEY (sync_key, source_id)
) STRICT;

-- Where the change feed of each shard continues.
CREATE TABLE feeds (
    feed_key   INTEGER PRIMARY KEY,
    sync_key   INTEGER NOT NULL REFERENCES syncs,
    shard      TEXT NOT NULL,
    token      BLOB,                           -- NULL: a full pass is needed
    pending    BLOB,                           -- of a full pass that is not complete: where its
                                               -- replay of the feed continues
    root       TEXT,                           -- sources::RootIdentity of the last full pass
    judged_by  INTEGER,                        -- model::SyncOptions::rules_hash of it
    full_at_ms INTEGER,                        -- when the last full pass was complete
    needs_full INTEGER NOT NULL DEFAULT 0,     -- 1: entries have moved with their folders, and rules
                                               -- look at paths, so that all are to be listed again
    UNIQUE (sync_key, shard)
) STRICT;

-- What a bucket holds. Readable means complete: its blobs were durable before this row.
CREATE TABLE objects (
    object_key    INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    bucket_key    INTEGER NOT NULL REFERENCES buckets,
    entry_key     INTEGER NOT NULL,            -- the entry that it stands for; 0: made by hand
    path          BLOB NOT NULL,
    size          INTEGER NOT NULL,            -- bytes of its blobs
    modified_ns   INTEGER,                     -- as the source says
    mime          TEXT,
    metadata      TEXT,                        -- JSON object as the source has it; NULL: none
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    fields        TEXT,                        -- JSON object, by the bucket's schema; NULL: none
    unique_key    TEXT,                        -- values of the bucket's unique key, as JSON
    edges         TEXT,                        -- JSON array; NULL: none
    state         TEXT,                        -- NULL: live; else why it is hidden: JSON of a
                                               -- deletion, or `unconfirmed`
    content       TEXT NOT NULL DEFAULT 'content', -- the property that is the file itself
    idempotency_key TEXT,                      -- what its maker calls the request; NULL: nothing
    edits         TEXT,                        -- of a sync's object: JSON object of the fields that
                                               -- people wrote, null to hide one; NULL: none
    given         TEXT                         -- with edits: the fields as the sync gives them, which
                                               -- `fields` has merged; NULL: none
) STRICT;
-- The three orders in which a bucket is listed. Without the hidden objects, so that a listing need
-- not look at a row to know whether to show it.
CREATE INDEX objects_by_path ON objects (bucket_key, path) WHERE state IS NULL;
CREATE INDEX objects_by_age ON objects (bucket_key) WHERE state IS NULL;
CREATE INDEX objects_by_size ON objects (bucket_key, size) WHERE state IS NULL;
CREATE UNIQUE INDEX objects_by_idempotency_key ON objects (bucket_key, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX objects_by_unique_key ON objects (bucket_key, unique_key)
    WHERE unique_key IS NOT NULL;

-- Every piece of three letters of what an object says of itself (store::objects::text), so that a
-- search need not go through all of them. It only ever narrows: what it leaves is looked at.
-- Objects up to `indexed_to` are in it, as they were; those that changed or went since are stale.
-- It is brought up to date in the background, never by a sync.
CREATE VIRTUAL TABLE object_text USING fts5 (
    text, content = '', contentless_delete = 1, detail = 'none', tokenize = 'trigram case_sensitive 1'
);
CREATE TABLE object_text_reach (
    indexed_to INTEGER NOT NULL                -- of objects, the last object_key
) STRICT;
INSERT INTO object_text_reach VALUES (0);
CREATE TABLE object_text_stale (
    object_key INTEGER PRIMARY KEY
) STRICT;
CREATE TRIGGER objects_after_text_update AFTER UPDATE OF path, metadata, fields ON objects
WHEN (new.path IS NOT old.path OR new.metadata IS NOT old.metadata OR new.fields IS NOT old.fields)
    AND old.object_key <= (SELECT indexed_to FROM object_text_reach)
BEGIN
    INSERT OR IGNORE INTO object_text_stale VALUES (old.object_key);
END;
CREATE TRIGGER objects_after_delete AFTER DELETE ON objects BEGIN
    INSERT OR IGNORE INTO object_text_stale
        SELECT old.object_key WHERE old.object_key <= (SELECT indexed_to FROM object_text_reach);
    -- The keys of the last ones are given out again.
    UPDATE object_text_reach SET indexed_to = (SELECT coalesce(max(object_key), 0) FROM objects)
        WHERE indexed_to > (SELECT coalesce(max(object_key), 0) FROM objects);
END;

-- Deleted objects that can still be restored: hidden, with their blobs. Objects that were hidden
-- before there was a trash stay in it until somebody purges them.
CREATE TABLE trash (
    object_key    INTEGER PRIMARY KEY REFERENCES objects ON DELETE CASCADE,
    bucket_key    INTEGER NOT NULL,
    size          INTEGER NOT NULL,            -- of the object, in bytes
    sync_key      INTEGER,                     -- with the next two, the entry that it stands for;
    source_id     BLOB,                        -- NULL: none
    version       BLOB,                        -- as it was when the object was deleted
    deleted_at_ms INTEGER NOT NULL,
    purge_at_ms   INTEGER,                     -- NULL: when somebody does it
    by_sync       INTEGER NOT NULL             -- 1: a sync removed it; 0: a person deleted it
) STRICT;
CREATE INDEX trash_by_bucket ON trash (bucket_key, deleted_at_ms, object_key);
CREATE INDEX trash_by_entry ON trash (sync_key, source_id) WHERE sync_key IS NOT NULL;
CREATE INDEX trash_due ON trash (purge_at_ms) WHERE purge_at_ms IS NOT NULL;
CREATE TRIGGER trash_after_insert AFTER INSERT ON trash BEGIN
    UPDATE buckets SET trash_count = trash_count + 1, trash_bytes = trash_bytes + new.size
        WHERE bucket_key = new.bucket_key;
END;
CREATE TRIGGER trash_after_delete AFTER DELETE ON trash BEGIN
    UPDATE buckets SET trash_count = trash_count - 1, trash_bytes = trash_bytes - old.size
        WHERE bucket_key = old.bucket_key;
END;

-- Bytes by their name. Stored once whatever the number of objects, buckets or syncs that share
-- them.
CREATE TABLE blobs (
    blob_key INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL CHECK (length(hash) = 32), -- no two have the same: store::blobs::ensure
    size     INTEGER NOT NULL,
    inline   INTEGER NOT NULL                  -- 1: in blob_bytes; 0: a file named by the hash
) STRICT;

-- Hashes and identities arrive in random order. In one large index, each new one would change a
-- page of its own, and every commit would write hundreds of pages for its thousand rows. So the
-- index has two levels: new rows go into a small table, `recent_…`, and are merged into the large
-- one, `main_…`, a range of neighbours at a time (store::two_level_index). Code that inserts a row
-- inserts it there, too: a trigger would make SQLite keep a journal of each such statement.
-- Triggers do the rest.
CREATE TABLE recent_hashes (
    prefix   BLOB NOT NULL,                    -- the hash's first eight bytes; `blobs` has all of it
    blob_key INTEGER NOT NULL,
    PRIMARY KEY (prefix, blob_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE main_hashes (
    prefix   BLOB NOT NULL,
    blob_key INTEGER NOT NULL,
    PRIMARY KEY (prefix, blob_key)
) STRICT, WITHOUT ROWID;
CREATE VIEW blobs_by_hash AS
    SELECT prefix, blob_key FROM recent_hashes UNION ALL SELECT prefix, blob_key FROM main_hashes;

CREATE TABLE recent_identities (
    identity  INTEGER NOT NULL,
    entry_key INTEGER NOT NULL,
    PRIMARY KEY (identity, entry_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE main_identities (
    identity  INTEGER NOT NULL,
    entry_key INTEGER NOT NULL,
    PRIMARY KEY (identity, entry_key)
) STRICT, WITHOUT ROWID;
CREATE VIEW entries_by_identity AS
    SELECT identity, entry_key FROM recent_identities
    UNION ALL SELECT identity, entry_key FROM main_identities;

-- How far the last merge came, in the order of each index.
CREATE TABLE merge_positions (
    hash     BLOB NOT NULL,
    identity INTEGER NOT NULL
) STRICT;
INSERT INTO merge_positions VALUES (x'', -9223372036854775808);

CREATE TRIGGER blobs_after_delete AFTER DELETE ON blobs BEGIN
    DELETE FROM recent_hashes WHERE prefix = substr(old.hash, 1, 8) AND blob_key = old.blob_key;
    DELETE FROM main_hashes WHERE prefix = substr(old.hash, 1, 8) AND blob_key = old.blob_key;
END;
CREATE TRIGGER entries_after_identity_update AFTER UPDATE OF identity ON entries
WHEN new.identity IS NOT old.identity BEGIN
    DELETE FROM recent_identities WHERE identity = old.identity AND entry_key = old.entry_key;
    DELETE FROM main_identities WHERE identity = old.identity AND entry_key = old.entry_key;
    INSERT INTO recent_identities SELECT new.identity, new.entry_key WHERE new.identity IS NOT NULL;
END;
CREATE TRIGGER entries_after_delete AFTER DELETE ON entries WHEN old.identity IS NOT NULL BEGIN
    DELETE FROM recent_identities WHERE identity = old.identity AND entry_key = old.entry_key;
    DELETE FROM main_identities WHERE identity = old.identity AND entry_key = old.entry_key;
END;

-- The totals of all blobs, without a scan: those up to `counted_to` are counted
-- here, and the few after it are counted on demand.
CREATE TABLE blob_tally (
    counted_to INTEGER NOT NULL,               -- of blobs, the last blob_key
    blobs      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    file_bytes INTEGER NOT NULL                -- of those that are files
) STRICT;
INSERT INTO blob_tally VALUES (0, 0, 0, 0);

-- The bytes of small blobs, apart so that scans of `blobs` stay small.
CREATE TABLE blob_bytes (
    blob_key INTEGER PRIMARY KEY REFERENCES blobs,
    bytes    BLOB NOT NULL
) STRICT;

-- Which blobs an object is made of; the one that `objects.content` names is the file itself. What
-- is NULL is as the object itself says. Those without an id are a sync's, which replaces them.
CREATE TABLE object_blobs (
    object_key INTEGER NOT NULL REFERENCES objects,
    property   TEXT NOT NULL,
    blob_key   INTEGER NOT NULL REFERENCES blobs,
    id         TEXT NOT NULL DEFAULT '',       -- public id; '': made from the object's
    type       TEXT,                           -- of the bucket's field types
    filename   TEXT,
    mime       TEXT,
    metadata   TEXT,                           -- JSON object
    PRIMARY KEY (object_key, property)
) STRICT, WITHOUT ROWID;
CREATE INDEX object_blobs_by_blob ON object_blobs (blob_key);

-- Blobs that lost a reference and may have none left: what garbage collection looks at.
CREATE TABLE orphans (
    blob_key INTEGER PRIMARY KEY
) STRICT;

-- Blobs whose bytes were found to be damaged; a run of a sync that has them fetches them again.
CREATE TABLE damaged_blobs (
    blob_key INTEGER PRIMARY KEY REFERENCES blobs ON DELETE CASCADE,
    problem  TEXT NOT NULL                     -- what is wrong with them
) STRICT;

-- Entries that could not be stored. Open until resolved; a disposed one is not tried again.
CREATE TABLE dead_letters (
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
CREATE INDEX open_dead_letters ON dead_letters (sync_key) WHERE resolved_at_ms IS NULL;

-- Bytes that are uploaded for a future object, and bytes that a sync brings where objects
-- are only made on confirmation.
CREATE TABLE uploads (
    upload_key     INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    bucket_key     INTEGER NOT NULL REFERENCES buckets,
    status         TEXT NOT NULL,
    settings       TEXT NOT NULL,              -- JSON, model::UploadSettings
    blob_key       INTEGER REFERENCES blobs,   -- NULL: no bytes yet
    object_key     INTEGER,                    -- the object that it became part of; one of state
                                               -- `unconfirmed`: that waits for it
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL,
    expires_at_ms  INTEGER
) STRICT;
CREATE INDEX uploads_by_bucket ON uploads (bucket_key);
CREATE INDEX uploads_by_end ON uploads (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
CREATE INDEX uploads_by_blob ON uploads (blob_key) WHERE blob_key IS NOT NULL;
CREATE INDEX uploads_by_object ON uploads (object_key) WHERE object_key IS NOT NULL;

-- What happened, in order: what the event stream and the activity log show. The oldest are dropped
-- as new ones come.
CREATE TABLE events (
    event_key INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms     INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    bucket_key INTEGER,                        -- of what it is about, as far as that applies
    sync_key  INTEGER,
    job_key   INTEGER,
    detail    TEXT NOT NULL                    -- JSON object
) STRICT;

-- Which objects go through which extractor. The count changes in the transaction that changes the
-- documents.
CREATE TABLE collections (
    collection_key INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    namespace_key  INTEGER NOT NULL REFERENCES namespaces,
    name           TEXT NOT NULL,
    settings       TEXT NOT NULL,              -- JSON, model::CollectionSettings
    is_enabled     INTEGER NOT NULL DEFAULT 1,
    disabled       TEXT,                       -- JSON: why, unless somebody said so; NULL: no why
    document_count INTEGER NOT NULL DEFAULT 0,
    next_run_at_ms INTEGER,                    -- by its schedule; NULL: it has none
    is_deleting       INTEGER NOT NULL DEFAULT 0, -- 1: deleted; what is in it goes in steps
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX collections_by_name ON collections (namespace_key, name) WHERE is_deleting = 0;

-- What a collection takes from: buckets, or other collections. One of both is 0.
CREATE TABLE collection_sources (
    collection_key INTEGER NOT NULL REFERENCES collections,
    bucket_key     INTEGER NOT NULL,
    upstream_key   INTEGER NOT NULL,           -- of collections
    PRIMARY KEY (collection_key, bucket_key, upstream_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX collection_sources_by_bucket ON collection_sources (bucket_key)
    WHERE bucket_key <> 0;
CREATE INDEX collection_sources_by_upstream ON collection_sources (upstream_key)
    WHERE upstream_key <> 0;

-- Objects that syncs brought and no batch has taken yet; only of buckets that have a collection.
CREATE TABLE to_batch (
    sync_key   INTEGER NOT NULL REFERENCES syncs,
    object_key INTEGER NOT NULL,
    PRIMARY KEY (sync_key, object_key)
) STRICT, WITHOUT ROWID;

-- Objects that are processed together.
CREATE TABLE batches (
    batch_key      INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    bucket_key     INTEGER NOT NULL REFERENCES buckets,
    sync_key       INTEGER,                    -- that made it; NULL: none did
    trigger_key    INTEGER,                    -- of tasks: the trigger that made it; NULL: none did
    name           TEXT,
    status         TEXT NOT NULL,              -- model::BatchStatus
    is_backfill    INTEGER NOT NULL DEFAULT 0, -- 1: waits behind what is fresh
    dedup          TEXT NOT NULL,              -- skip, replace, force
    collections    TEXT,                       -- JSON: keys of those asked for; NULL: all there are
    tiers          TEXT,                       -- JSON: keys by tier; NULL: not submitted
    tier           INTEGER NOT NULL DEFAULT 0, -- under way, or to begin with
    object_count   INTEGER NOT NULL DEFAULT 0,
    metadata       TEXT,                       -- JSON object; NULL: none
    webhook_url    TEXT,                       -- told once when it ends
    error          TEXT,
    retries        INTEGER NOT NULL DEFAULT 0, -- times that somebody retried it
    retry_reason   TEXT,
    retried_at_ms  INTEGER,
    restarts       INTEGER NOT NULL DEFAULT 0, -- times that its processor died
    created_at_ms  INTEGER NOT NULL,
    submitted_at_ms INTEGER,
    started_at_ms  INTEGER,
    updated_at_ms  INTEGER NOT NULL,
    completed_at_ms INTEGER
) STRICT;
CREATE INDEX batches_by_bucket ON batches (bucket_key);
CREATE INDEX batches_by_sync ON batches (sync_key) WHERE sync_key IS NOT NULL;
CREATE INDEX batches_by_trigger ON batches (trigger_key) WHERE trigger_key IS NOT NULL;
CREATE INDEX batches_open ON batches (is_backfill) WHERE status IN ('PENDING', 'IN_PROGRESS');

-- The members of a batch. The id besides the key, which may be given out again.
CREATE TABLE batch_objects (
    batch_key  INTEGER NOT NULL REFERENCES batches,
    object_key INTEGER NOT NULL,
    object_id  TEXT NOT NULL,
    PRIMARY KEY (batch_key, object_key)
) STRICT, WITHOUT ROWID;

-- Work that takes a while: a tier of a batch, a trigger, an edit of many documents, a deletion.
CREATE TABLE tasks (
    task_key       INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    kind           TEXT NOT NULL,              -- model::TaskKind
    namespace_key  INTEGER NOT NULL,
    batch_key      INTEGER,
    tier           INTEGER,                    -- of the batch
    collection_key INTEGER,
    status         TEXT NOT NULL,              -- model::BatchStatus
    detail         TEXT NOT NULL DEFAULT '{}', -- JSON: what is to be done, how far it has come
    error          TEXT,
    submitted      INTEGER NOT NULL DEFAULT 0, -- objects x collections
    processed      INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    skipped        INTEGER NOT NULL DEFAULT 0,
    documents      INTEGER NOT NULL DEFAULT 0, -- written
    replaced       INTEGER NOT NULL DEFAULT 0, -- of those, over earlier ones
    created_at_ms  INTEGER NOT NULL,
    started_at_ms  INTEGER,
    updated_at_ms  INTEGER NOT NULL,
    completed_at_ms INTEGER
) STRICT;
CREATE INDEX tasks_by_batch ON tasks (batch_key, tier) WHERE batch_key IS NOT NULL;
CREATE INDEX tasks_open ON tasks (status) WHERE status IN ('PENDING', 'IN_PROGRESS');

-- What became of an object in a collection. Whether something is done is asked here alone.
CREATE TABLE outcomes (
    collection_key INTEGER NOT NULL REFERENCES collections,
    object_key     INTEGER NOT NULL,
    state          TEXT NOT NULL,              -- trying, waiting, done, failed
    input          BLOB NOT NULL,              -- 128 bits of BLAKE3 of what was mapped
    recipe         BLOB NOT NULL,              -- of the extractor, its version and parameters
    carried        TEXT,                       -- JSON object that was passed through; NULL: none
    attempts       INTEGER NOT NULL DEFAULT 0,
    deaths         INTEGER NOT NULL DEFAULT 0, -- of processing, with it at hand
    batch_key      INTEGER,                    -- of the last try
    retry_at_ms    INTEGER,                    -- not before
    class          TEXT,                       -- of the failure
    error          TEXT,
    log            TEXT,                       -- the end of what the extractor said
    left_out       INTEGER NOT NULL DEFAULT 0, -- rows that could not be read
    took_ms        INTEGER NOT NULL DEFAULT 0,
    updated_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (collection_key, object_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX outcomes_by_object ON outcomes (object_key);
CREATE INDEX outcomes_by_batch ON outcomes (batch_key, state) WHERE batch_key IS NOT NULL;
CREATE INDEX outcomes_unsettled ON outcomes (state) WHERE state IN ('trying', 'waiting', 'failed');

-- What extractors made of objects, and what people wrote. The id stays when an object is extracted
-- anew, and so does what people changed.
CREATE TABLE documents (
    document_key   INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    collection_key INTEGER NOT NULL REFERENCES collections,
    object_key     INTEGER,                    -- NULL: made by hand
    part           INTEGER NOT NULL DEFAULT 0, -- which of the object's
    body           TEXT NOT NULL,              -- JSON object, as it is shown
    edits          TEXT,                       -- JSON merge patch of people; NULL: none
    origin         TEXT,                       -- JSON: document upstream, or as its maker says
    batch_key      INTEGER,
    recipe         BLOB,
    content_hash   TEXT,
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX documents_by_collection ON documents (collection_key);
CREATE UNIQUE INDEX documents_by_object ON documents (object_key, collection_key, part)
    WHERE object_key IS NOT NULL;
CREATE INDEX documents_by_batch ON documents (batch_key) WHERE batch_key IS NOT NULL;

-- Files that belong to documents: thumbnails, clips.
CREATE TABLE document_blobs (
    document_key INTEGER NOT NULL REFERENCES documents,
    ordinal      INTEGER NOT NULL,
    field        TEXT NOT NULL,
    role         TEXT,
    blob_key     INTEGER NOT NULL REFERENCES blobs,
    mime         TEXT,
    PRIMARY KEY (document_key, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_blobs_by_blob ON document_blobs (blob_key);

CREATE TABLE document_vectors (
    document_key INTEGER NOT NULL REFERENCES documents,
    name         TEXT NOT NULL,
    vector       BLOB NOT NULL,                -- 32-bit floats, least byte first
    PRIMARY KEY (document_key, name)
) STRICT, WITHOUT ROWID;

-- The words of documents, by document_key.
CREATE VIRTUAL TABLE document_text USING fts5 (
    text, content = '', contentless_delete = 1, detail = 'none',
    tokenize = 'unicode61 remove_diacritics 2'
);

-- Fields of documents that a namespace has indexed. One that is no longer wanted goes in steps.
CREATE TABLE indexed_fields (
    field_key     INTEGER PRIMARY KEY,
    namespace_key INTEGER NOT NULL,
    field         TEXT NOT NULL,               -- dotted, as requests name it
    path          TEXT NOT NULL,               -- the same for SQLite's JSON functions
    built_to      INTEGER,                     -- the last document_key in it; NULL: all are
    is_dropped    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX indexed_fields_by_name ON indexed_fields (namespace_key, field)
    WHERE is_dropped = 0;

-- The values of those fields. Item 0 is the field as a whole, by which documents are ordered; the
-- items of a list follow.
CREATE TABLE document_index (
    document_key   INTEGER NOT NULL REFERENCES documents,
    field_key      INTEGER NOT NULL,
    item           INTEGER NOT NULL,
    collection_key INTEGER NOT NULL,
    type           TEXT NOT NULL,              -- JSON's, as SQLite names it
    value          ANY,
    folded         ANY,                        -- what filters compare; NULL: nothing that they could
    PRIMARY KEY (document_key, field_key, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_index_by_value
    ON document_index (field_key, collection_key, value, type, item, document_key);
CREATE INDEX document_index_by_folded
    ON document_index (field_key, collection_key, folded, type, document_key)
    WHERE folded IS NOT NULL;

-- Small pictures of blobs, drawn on demand and kept within a bound (store::thumbnails); or why
-- there is none. They go with their blob, and otherwise those that were used longest ago.
CREATE TABLE thumbnails (
    thumbnail_key INTEGER PRIMARY KEY,
    blob_key      INTEGER NOT NULL REFERENCES blobs,
    size          INTEGER NOT NULL,            -- longest edge asked for, in pixels
    webp          BLOB,                        -- NULL: there is no picture to be drawn
    reason        TEXT,                        -- why not
    version       TEXT NOT NULL,               -- of the program that made it
    bytes         INTEGER NOT NULL,            -- what it takes, about
    used_at_ms    INTEGER NOT NULL,            -- within a day
    tries         INTEGER NOT NULL DEFAULT 0,  -- in vain, that may have passed; by that version
    retry_at_ms   INTEGER                      -- a reason holds until then; NULL: for that version
) STRICT;
CREATE UNIQUE INDEX thumbnails_by_blob ON thumbnails (blob_key, size);
CREATE INDEX thumbnails_by_use ON thumbnails (used_at_ms, bytes);

-- The right to process, held by one process; its token is checked by everything that one writes.
CREATE TABLE processor (
    only_one      INTEGER PRIMARY KEY CHECK (only_one = 1),
    token         INTEGER NOT NULL,            -- the newest given out
    worker        TEXT,                        -- NULL: nobody has it
    expires_at_ms INTEGER
) STRICT;
INSERT INTO processor VALUES (1, 0, NULL, NULL);

-- Extractors that cannot work for now, whatever they are given.
CREATE TABLE extractor_pauses (
    name        TEXT PRIMARY KEY,
    reason      TEXT NOT NULL,
    since_ms    INTEGER NOT NULL,
    probe_at_ms INTEGER NOT NULL,              -- when one object is tried again
    probes      INTEGER NOT NULL DEFAULT 0     -- that failed
) STRICT, WITHOUT ROWID;

-- How large each bucket was, an hour at a time, for 400 days: what history is shown of.
CREATE TABLE bucket_hours (
    bucket_key INTEGER NOT NULL REFERENCES buckets,
    hour       INTEGER NOT NULL,               -- hours since 1970
    objects    INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    PRIMARY KEY (bucket_key, hour)
) STRICT, WITHOUT ROWID;

-- Whom events are delivered to.
CREATE TABLE webhooks (
    webhook_key    INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    name           TEXT NOT NULL,
    event_types    TEXT NOT NULL,              -- JSON array
    resource_types TEXT,                       -- JSON array; NULL: all
    is_active      INTEGER NOT NULL DEFAULT 1, -- 0: a person switched it off
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL
) STRICT;

-- The addresses that a webhook delivers to, each with its own place in the log of events; and those
-- that are told once that a batch has ended, which belong to no webhook.
CREATE TABLE webhook_channels (
    channel_key    INTEGER PRIMARY KEY,
    webhook_key    INTEGER REFERENCES webhooks,
    body           TEXT,                       -- JSON that is delivered once; NULL: events
    config         TEXT NOT NULL,              -- JSON, model::Channel
    key_id         TEXT,                       -- of the key that opens `sealed`
    sealed         BLOB,                       -- JSON, model::ChannelSecrets; NULL: there are none
    after_key      INTEGER NOT NULL,           -- of events: those up to it are delivered
    sent           INTEGER NOT NULL DEFAULT 0, -- messages that are, of the event behind it
    failures       INTEGER NOT NULL DEFAULT 0, -- in a row
    first_failure_at_ms INTEGER,               -- of those in a row
    last_failure_at_ms INTEGER,
    last_error     TEXT,
    last_success_at_ms INTEGER,
    next_try_at_ms INTEGER,                    -- NULL: as soon as there is something to deliver
    paused_at_ms   INTEGER,                    -- NULL: not paused by failures
    sender         TEXT,                       -- worker that delivers; NULL: none does
    sender_until_ms INTEGER
) STRICT;
CREATE INDEX webhook_channels_by_webhook ON webhook_channels (webhook_key);

-- How browsers sign in: one-time codes and the sessions that they become, by their SHA-256.
CREATE TABLE sessions (
    hash          BLOB PRIMARY KEY,
    kind          TEXT NOT NULL,               -- code, session
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO installation VALUES
    ('organization_id', 'org_' || upper(hex(randomblob(13)))),
    ('user_id', 'usr_' || upper(hex(randomblob(13))));
INSERT INTO namespaces (id, name, settings, created_at_ms, updated_at_ms) VALUES
    ('ns_' || upper(hex(randomblob(13))), 'default', '{}',
     CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER));
-- This computer is always there.
INSERT INTO connections
    (id, identity, name, provider, settings, status, created_at_ms, updated_at_ms)
VALUES ('conn_local', 'local', 'This computer', 'local', '{"provider":"local"}', 'ACTIVE',
        CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER));
