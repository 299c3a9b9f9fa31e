-- Folders and entries that are in several folders.

CREATE TABLE several_parents (
    sync_key INTEGER NOT NULL REFERENCES syncs,
    child    BLOB NOT NULL,                    -- a folder_id or a source_id
    position INTEGER NOT NULL,                 -- from 0 on: the first that is below a root counts
    parent   BLOB NOT NULL,                    -- a folder_id
    PRIMARY KEY (sync_key, child, position)
) STRICT;
