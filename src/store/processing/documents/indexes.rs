//! The fields of documents that a namespace has indexed. Their values are kept beside the
//! documents, in the same write, so that filters, orders and groups need not read every document.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value};

use crate::{
    model::FieldPath,
    store::{Result, filter::json_path},
};

/// Documents that one step of building an index reads, and rows that one step of dropping it
/// removes.
const STEP: u32 = 1000;

/// The value of each field as a whole, of some documents.
const WHOLE: &str = "
    INSERT OR IGNORE INTO document_index
    SELECT document_key, field_key, 0, collection_key, type, value,
           CASE type WHEN 'text' THEN folded(value)
                     WHEN 'array' THEN NULL WHEN 'object' THEN NULL ELSE value END
    FROM (SELECT d.document_key, f.field_key, d.collection_key,
                 coalesce(json_type(d.body, f.path), 'null') AS type,
                 json_extract(d.body, f.path) AS value
          FROM documents d
          JOIN collections c ON c.collection_key = d.collection_key
          JOIN indexed_fields f ON f.namespace_key = c.namespace_key AND f.is_dropped = 0";
/// The items of those that are lists.
const ITEMS: &str = "
    INSERT OR IGNORE INTO document_index
    SELECT x.document_key, x.field_key, j.key + 1, x.collection_key, j.type, j.value,
           CASE j.type WHEN 'text' THEN folded(j.value)
                       WHEN 'array' THEN NULL WHEN 'object' THEN NULL ELSE j.value END
    FROM document_index x, json_each(x.value) j
    WHERE x.item = 0 AND x.type = 'array' AND x.document_key";

/// The indexes of a collection that are complete: fields as requests name them, and their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes(HashMap<String, i64>);

impl Indexes {
    /// The key of a field's index.
    pub(super) fn of(&self, field: &FieldPath) -> Option<i64> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&field.dotted()).copied()
    }
}

/// The indexes that a collection's documents can be looked up in.
pub(super) fn of_collection(connection: &Connection, collection_key: i64) -> Result<Indexes> {
    let mut statement = connection.prepare_cached(
        "SELECT field, field_key FROM indexed_fields
         JOIN collections USING (namespace_key)
         WHERE collection_key = ?1 AND is_dropped = 0 AND built_to IS NULL",
    )?;
    let fields = statement
        .query_map([collection_key], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(Indexes(fields))
}

/// Makes the `payload_indexes` of a namespace's settings its indexes. Those that are new are built
/// in steps, and used once they are complete; those that are not in there any more are dropped.
/// Words are found without an index (`text`), and places are compared by nothing here (`geo`).
///
/// # Errors
/// SQLite's.
pub fn declare(
    tx: &Transaction<'_>,
    namespace_key: i64,
    settings: &Map<String, Value>,
) -> Result<()> {
    let declared = settings.get("payload_indexes").and_then(Value::as_array);
    let fields: Vec<FieldPath> = declared
        .into_iter()
        .flatten()
        .filter(|index| !matches!(index["type"].as_str(), Some("text" | "geo")))
        .filter_map(|index| FieldPath::parse(index["field_name"].as_str()?).ok())
        .collect();
    let names: Vec<String> = fields.iter().map(FieldPath::dotted).collect();
    tx.prepare_cached(
        "UPDATE indexed_fields SET is_dropped = 1
         WHERE namespace_key = ?1 AND is_dropped = 0
           AND field NOT IN (SELECT value FROM json_each(?2))",
    )?
    .execute(params![namespace_key, Value::from(names).to_string()])?;
    for field in &fields {
        tx.prepare_cached(
            "INSERT INTO indexed_fields (namespace_key, field, path, built_to)
             VALUES (?1, ?2, ?3, (SELECT min(0) FROM collections
                                  WHERE namespace_key = ?1 AND document_count > 0))
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![namespace_key, field.dotted(), json_path(field.parts())])?;
    }
    Ok(())
}

/// Drops all indexes of a namespace that goes.
///
/// # Errors
/// SQLite's.
pub fn drop_all(tx: &Transaction<'_>, namespace_key: i64) -> Result<()> {
    declare(tx, namespace_key, &Map::new())
}

/// Writes the values of a document, which has none there.
pub(super) fn write(tx: &Transaction<'_>, document_key: i64) -> Result<()> {
    let whole = tx
        .prepare_cached(&format!("{WHOLE} WHERE d.document_key = ?1)"))?
        .execute([document_key])?;
    if whole > 0 {
        tx.prepare_cached(&format!("{ITEMS} = ?1"))?.execute([document_key])?;
    }
    Ok(())
}

/// Removes the values of a document.
pub(super) fn clear(tx: &Transaction<'_>, document_key: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM document_index WHERE document_key = ?1")?
        .execute([document_key])?;
    Ok(())
}

/// Whether an index is to be built or dropped.
///
/// # Errors
/// SQLite's.
pub fn is_unfinished(connection: &Connection) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM indexed_fields WHERE is_dropped OR built_to IS NOT NULL")?
        .exists([])?)
}

/// One step of building or dropping an index. Returns whether there was one to take.
///
/// # Errors
/// SQLite's.
pub fn step(tx: &Transaction<'_>) -> Result<bool> {
    let next: Option<(i64, bool, i64)> = tx
        .prepare_cached(
            "SELECT field_key, is_dropped, coalesce(built_to, 0) FROM indexed_fields
             WHERE is_dropped OR built_to IS NOT NULL ORDER BY is_dropped DESC LIMIT 1",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match next {
        None => return Ok(false),
        Some((field_key, true, _)) => drop_some(tx, field_key)?,
        Some((field_key, false, built_to)) => build_some(tx, field_key, built_to)?,
    }
    Ok(true)
}

fn build_some(tx: &Transaction<'_>, field_key: i64, built_to: i64) -> Result<()> {
    let last: Option<i64> = tx
        .prepare_cached(
            "SELECT max(document_key) FROM (SELECT document_key FROM documents
             WHERE document_key > ?1 ORDER BY document_key LIMIT ?2)",
        )?
        .query_row([built_to, i64::from(STEP)], |row| row.get(0))?;
    if let Some(last) = last {
        let range = params![field_key, built_to, last];
        tx.prepare_cached(&format!(
            "{WHOLE} WHERE f.field_key = ?1 AND d.document_key > ?2 AND d.document_key <= ?3)"
        ))?
        .execute(range)?;
        tx.prepare_cached(&format!("{ITEMS} > ?2 AND x.document_key <= ?3 AND x.field_key = ?1"))?
            .execute(range)?;
    }
    tx.prepare_cached("UPDATE indexed_fields SET built_to = ?2 WHERE field_key = ?1")?
        .execute(params![field_key, last])?;
    Ok(())
}

fn drop_some(tx: &Transaction<'_>, field_key: i64) -> Result<()> {
    let dropped = tx
        .prepare_cached(
            "DELETE FROM document_index WHERE field_key = ?1 AND document_key IN
                 (SELECT document_key FROM document_index WHERE field_key = ?1 LIMIT ?2)",
        )?
        .execute([field_key, i64::from(STEP)])?;
    if dropped == 0 {
        tx.prepare_cached("DELETE FROM indexed_fields WHERE field_key = ?1")?
            .execute([field_key])?;
    }
    Ok(())
}
