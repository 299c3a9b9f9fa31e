ALTER TABLE buckets ADD COLUMN trash_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE buckets ADD COLUMN trash_bytes INTEGER NOT NULL DEFAULT 0;

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

INSERT INTO trash (object_key, bucket_key, size, sync_key, source_id, version, deleted_at_ms, by_sync)
SELECT o.object_key, o.bucket_key, o.size, e.sync_key, e.source_id, e.version, o.updated_at_ms, 0
FROM objects o
LEFT JOIN entries e ON e.entry_key = o.entry_key AND e.object_key = o.object_key
WHERE o.state IS NOT NULL;
UPDATE entries SET object_key = -1
WHERE is_duplicate = 0 AND object_key IN (SELECT object_key FROM trash);

-- The uploads that objects of a sync wait for.
CREATE INDEX uploads_by_object ON uploads (object_key) WHERE object_key IS NOT NULL;
