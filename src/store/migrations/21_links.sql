-- Links to files and folders of sources that know them by id.

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
