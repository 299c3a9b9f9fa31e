-- Folders of sources that know folders by id, those beyond the sync's root too: the paths of entries
-- are made of their names, so that a folder is renamed or moved without asking for what is below it.
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
    facts_mark INTEGER                         -- model::Details::facts_mark
) STRICT;
CREATE INDEX entry_details_by_parent ON entry_details (sync_key, parent) WHERE parent IS NOT NULL;

-- Entries that a change feed has reported as removed, as outside of the root, or as no longer passing
-- the filters: proof that outlives the run, until they are removed or listed again.
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
