-- What opens entries, folders and links to who would not see them otherwise: of any of them, no
-- longer only of the targets of links.

CREATE TABLE access_keys (
    sync_key    INTEGER NOT NULL REFERENCES syncs,
    source_id   BLOB NOT NULL,
    access_key  TEXT NOT NULL,
    PRIMARY KEY (sync_key, source_id)
) STRICT;

INSERT OR IGNORE INTO access_keys (sync_key, source_id, access_key)
SELECT sync_key, target, target_key FROM links WHERE target_key IS NOT NULL;

ALTER TABLE links DROP COLUMN target_key;
