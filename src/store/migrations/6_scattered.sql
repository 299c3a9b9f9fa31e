-- What has a hash or an identity is found by an index in two levels.

DROP INDEX entries_by_identity;

CREATE TABLE new_blobs (
    blob_key INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL CHECK (length(hash) = 32), -- no two have the same: store::blobs::ensure
    size     INTEGER NOT NULL,
    inline   INTEGER NOT NULL                  -- 1: in blob_bytes; 0: a file named by the hash
) STRICT;
INSERT INTO new_blobs SELECT blob_key, hash, size, inline FROM blobs;
DROP TABLE blobs;
ALTER TABLE new_blobs RENAME TO blobs;

-- Hashes and identities come in no order. In an index of many, each new one would be on a page of its
-- own, and every commit would write hundreds of pages for its thousand rows. So what is new is kept in
-- small tables, `fresh_…`, and moves on into the large ones, `settled_…`, a stretch of neighbours at a
-- time (store::scattered). Who adds a row adds it there, too: a trigger would have SQLite keep a journal
-- of each such statement. Triggers see to the rest.
CREATE TABLE fresh_hashes (
    prefix   BLOB NOT NULL,                    -- the hash's first eight bytes; `blobs` has all of it
    blob_key INTEGER NOT NULL,
    PRIMARY KEY (prefix, blob_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE settled_hashes (
    prefix   BLOB NOT NULL,
    blob_key INTEGER NOT NULL,
    PRIMARY KEY (prefix, blob_key)
) STRICT, WITHOUT ROWID;
CREATE VIEW blobs_by_hash AS
    SELECT prefix, blob_key FROM fresh_hashes UNION ALL SELECT prefix, blob_key FROM settled_hashes;

CREATE TABLE fresh_identities (
    identity  INTEGER NOT NULL,
    entry_key INTEGER NOT NULL,
    PRIMARY KEY (identity, entry_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE settled_identities (
    identity  INTEGER NOT NULL,
    entry_key INTEGER NOT NULL,
    PRIMARY KEY (identity, entry_key)
) STRICT, WITHOUT ROWID;
CREATE VIEW entries_by_identity AS
    SELECT identity, entry_key FROM fresh_identities
    UNION ALL SELECT identity, entry_key FROM settled_identities;

-- Where in their order the last of them settled.
CREATE TABLE settling (
    hash     BLOB NOT NULL,
    identity INTEGER NOT NULL
) STRICT;
INSERT INTO settling VALUES (x'', -9223372036854775808);

INSERT INTO settled_hashes SELECT substr(hash, 1, 8), blob_key FROM blobs ORDER BY 1, 2;
INSERT INTO settled_identities
    SELECT identity, entry_key FROM entries WHERE identity IS NOT NULL ORDER BY 1, 2;

CREATE TRIGGER blobs_go AFTER DELETE ON blobs BEGIN
    DELETE FROM fresh_hashes WHERE prefix = substr(old.hash, 1, 8) AND blob_key = old.blob_key;
    DELETE FROM settled_hashes WHERE prefix = substr(old.hash, 1, 8) AND blob_key = old.blob_key;
END;
CREATE TRIGGER entries_turn AFTER UPDATE OF identity ON entries
WHEN new.identity IS NOT old.identity BEGIN
    DELETE FROM fresh_identities WHERE identity = old.identity AND entry_key = old.entry_key;
    DELETE FROM settled_identities WHERE identity = old.identity AND entry_key = old.entry_key;
    INSERT INTO fresh_identities SELECT new.identity, new.entry_key WHERE new.identity IS NOT NULL;
END;
CREATE TRIGGER entries_go AFTER DELETE ON entries WHEN old.identity IS NOT NULL BEGIN
    DELETE FROM fresh_identities WHERE identity = old.identity AND entry_key = old.entry_key;
    DELETE FROM settled_identities WHERE identity = old.identity AND entry_key = old.entry_key;
END;
