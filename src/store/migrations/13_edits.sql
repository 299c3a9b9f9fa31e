-- What people wrote to objects of syncs, kept apart from what the sync gives.
ALTER TABLE objects ADD COLUMN edits TEXT;
ALTER TABLE objects ADD COLUMN given TEXT;

-- The fields of an object whose sync maps none are those that people wrote.
UPDATE objects SET edits = fields
WHERE fields IS NOT NULL AND entry_key IN (
    SELECT entry_key FROM entries JOIN syncs USING (sync_key)
    WHERE options ->> '$.mapping' IS NULL
);
