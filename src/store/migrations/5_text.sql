-- Objects are found by a piece of their text without going through all of them.

CREATE VIRTUAL TABLE object_text USING fts5 (
    text, content = '', contentless_delete = 1, detail = 'none', tokenize = 'trigram case_sensitive 1'
);

CREATE TABLE object_text_reach (
    indexed_to INTEGER NOT NULL                -- of objects, the last object_key
) STRICT;
INSERT INTO object_text_reach VALUES (0);

CREATE TABLE object_text_stale (
    object_key INTEGER PRIMARY KEY
) STRICT;
CREATE TRIGGER objects_reword AFTER UPDATE OF path, metadata, fields ON objects
WHEN (new.path IS NOT old.path OR new.metadata IS NOT old.metadata OR new.fields IS NOT old.fields)
    AND old.object_key <= (SELECT indexed_to FROM object_text_reach)
BEGIN
    INSERT OR IGNORE INTO object_text_stale VALUES (old.object_key);
END;
CREATE TRIGGER objects_go AFTER DELETE ON objects BEGIN
    INSERT OR IGNORE INTO object_text_stale
        SELECT old.object_key WHERE old.object_key <= (SELECT indexed_to FROM object_text_reach);
    -- The keys of the last ones are given out again.
    UPDATE object_text_reach SET indexed_to = (SELECT coalesce(max(object_key), 0) FROM objects)
        WHERE indexed_to > (SELECT coalesce(max(object_key), 0) FROM objects);
END;
