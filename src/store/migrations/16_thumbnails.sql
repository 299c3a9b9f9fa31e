-- Small pictures of blobs, drawn on demand and kept within a bound (store::thumbnails); or why there
-- is none. They go with their blob, and otherwise those that were used longest ago.
CREATE TABLE thumbnails (
    thumbnail_key INTEGER PRIMARY KEY,
    blob_key      INTEGER NOT NULL REFERENCES blobs,
    size          INTEGER NOT NULL,            -- longest edge asked for, in pixels
    webp          BLOB,                        -- NULL: there is no picture to be drawn
    reason        TEXT,                        -- why not
    version       TEXT NOT NULL,               -- of the program that made it
    bytes         INTEGER NOT NULL,            -- what it takes, about
    used_at_ms    INTEGER NOT NULL             -- within a day
) STRICT;
CREATE UNIQUE INDEX thumbnails_by_blob ON thumbnails (blob_key, size);
CREATE INDEX thumbnails_by_use ON thumbnails (used_at_ms, bytes);
