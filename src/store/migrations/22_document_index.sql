-- Fields of documents that a namespace has indexed. One that is no longer wanted goes in steps.
CREATE TABLE indexed_fields (
    field_key     INTEGER PRIMARY KEY,
    namespace_key INTEGER NOT NULL,
    field         TEXT NOT NULL,               -- dotted, as requests name it
    path          TEXT NOT NULL,               -- the same for SQLite's JSON functions
    built_to      INTEGER,                     -- the last document_key in it; NULL: all are
    is_dropped    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX indexed_fields_by_name ON indexed_fields (namespace_key, field)
    WHERE is_dropped = 0;

-- The values of those fields. Item 0 is the field as a whole, by which documents are ordered; the
-- items of a list follow.
CREATE TABLE document_index (
    document_key   INTEGER NOT NULL REFERENCES documents,
    field_key      INTEGER NOT NULL,
    item           INTEGER NOT NULL,
    collection_key INTEGER NOT NULL,
    type           TEXT NOT NULL,              -- JSON's, as SQLite names it
    value          ANY,
    folded         ANY,                        -- what filters compare; NULL: nothing that they could
    PRIMARY KEY (document_key, field_key, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_index_by_value
    ON document_index (field_key, collection_key, value, type, item, document_key);
CREATE INDEX document_index_by_folded
    ON document_index (field_key, collection_key, folded, type, document_key)
    WHERE folded IS NOT NULL;

-- What namespaces have declared so far becomes real.
INSERT OR IGNORE INTO indexed_fields (namespace_key, field, path, built_to)
SELECT namespace_key, declared.value ->> '$.field_name',
       '$."' || replace(declared.value ->> '$.field_name', '.', '"."') || '"', 0
FROM namespaces, json_each(settings, '$.payload_indexes') AS declared
WHERE declared.type = 'object'
  AND coalesce(declared.value ->> '$.type', '') NOT IN ('text', 'geo')
  AND declared.value ->> '$.field_name' GLOB '?*'
  AND declared.value ->> '$.field_name' NOT GLOB '*["\]*'
  AND declared.value ->> '$.field_name' NOT GLOB '*..*';
