-- Processing: collections, batches, tasks, outcomes, documents.
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
