-- How far the rates of connections are used up, and until when their providers want no requests: for
-- every process on this data directory.
CREATE TABLE budgets (
    connection_key INTEGER PRIMARY KEY REFERENCES connections ON DELETE CASCADE,
    used_until_us  INTEGER NOT NULL,
    held_until_us  INTEGER NOT NULL
) STRICT;

-- What a run has asked of its provider, as JSON.
ALTER TABLE jobs ADD COLUMN details TEXT;
