-- Names that say what they name. No row changes.

ALTER TABLE buckets RENAME COLUMN is_going TO is_deleting;

DROP VIEW blobs_by_hash;
DROP VIEW entries_by_identity;
DROP TRIGGER jobs_come;
DROP TRIGGER jobs_turn;
DROP TRIGGER jobs_go;
DROP TRIGGER blobs_go;
DROP TRIGGER entries_turn;
DROP TRIGGER entries_go;
DROP TRIGGER objects_reword;
DROP TRIGGER objects_go;

ALTER TABLE fresh_hashes RENAME TO recent_hashes;
ALTER TABLE settled_hashes RENAME TO main_hashes;
ALTER TABLE fresh_identities RENAME TO recent_identities;
ALTER TABLE settled_identities RENAME TO main_identities;
ALTER TABLE settling RENAME TO merge_positions;

CREATE VIEW blobs_by_hash AS
    SELECT prefix, blob_key FROM recent_hashes UNION ALL SELECT prefix, blob_key FROM main_hashes;
CREATE VIEW entries_by_identity AS
    SELECT identity, entry_key FROM recent_identities
    UNION ALL SELECT identity, entry_key FROM main_identities;

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
