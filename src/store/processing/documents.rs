//! Documents: written a whole object at a time, changed by people, removed with what they are of.
//! Which documents somebody wants is in [`query`], the fields that it need not read them for in
//! [`indexes`].

pub mod indexes;
pub mod query;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::{Map, Value};

use super::Digest;
use crate::{
    model::{BatchId, BlobHash, CollectionId, DocumentId, Filter, ObjectId},
    store::{Result, StoreError, blobs, json, stored::Stored, time},
};

/// A document with all that is shown of it.
#[derive(Clone, Debug)]
pub struct Document {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: DocumentId,
    /// Internal key of its collection.
    pub collection_key: i64,
    /// Public id of its collection.
    pub collection_id: CollectionId,
    /// Internal key of the object that it is of.
    pub object_key: Option<i64>,
    /// Public id of the object that it is of.
    pub object_id: Option<ObjectId>,
    /// Public id of that object's bucket.
    pub bucket_id: Option<String>,
    /// Which of the object's documents.
    pub part: u32,
    /// Its fields.
    pub body: Map<String, Value>,
    /// What people changed of it.
    pub edits: Option<Map<String, Value>>,
    /// Where it comes from besides its object.
    pub origin: Option<Value>,
    /// Public id of the batch that wrote it.
    pub batch_id: Option<BatchId>,
    /// What it went through.
    pub recipe: Option<Digest>,
    /// Hash of the bytes that it was made of.
    pub content_hash: Option<String>,
    /// Files that belong to it.
    pub blobs: Vec<DocumentBlob>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A file that belongs to a document.
#[derive(Clone, Debug)]
pub struct DocumentBlob {
    /// Which of the document's.
    pub ordinal: u32,
    /// The document's field that it is.
    pub field: String,
    /// What it is for.
    pub role: Option<String>,
    /// MIME type.
    pub mime: Option<String>,
    /// What its bytes hash to.
    pub hash: BlobHash,
    /// How many they are.
    pub size: u64,
}

/// A document to be written.
#[derive(Clone, Debug, Default)]
pub struct New {
    /// Its fields, without what people changed.
    pub body: Map<String, Value>,
    /// Files that belong to it; durable already where they are not inline.
    pub blobs: Vec<NewBlob>,
    /// Its vectors.
    pub vectors: Vec<(String, Vec<f32>)>,
    /// The document upstream.
    pub origin: Option<Value>,
    /// Hash of the bytes that it was made of.
    pub content_hash: Option<String>,
}

/// A file of a document to be written.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// The document's field that it is.
    pub field: String,
    /// What it is for.
    pub role: Option<String>,
    /// MIME type.
    pub mime: Option<String>,
    /// Its bytes.
    pub stored: Stored,
}

/// What writing an object's documents did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Documents that are there now.
    pub written: u64,
    /// Of those, over earlier ones.
    pub replaced: u64,
}

const COLUMNS: &str = "d.document_key, d.id, d.collection_key, c.id, d.object_key, o.id, d.part,
     d.body, d.edits, d.origin, b.id, d.recipe, d.content_hash, d.created_at_ms, d.updated_at_ms,
     k.id";
const FROM: &str = "documents d JOIN collections c ON c.collection_key = d.collection_key
     LEFT JOIN objects o ON o.object_key = d.object_key
     LEFT JOIN buckets k ON k.bucket_key = o.bucket_key
     LEFT JOIN batches b ON b.batch_key = d.batch_key";

fn read(row: &Row<'_>) -> Result<Document> {
    let text = |index: usize| row.get::<_, Option<String>>(index);
    let body: String = row.get(7)?;
    Ok(Document {
        key: row.get(0)?,
        id: DocumentId::from_stored(row.get(1)?),
        collection_key: row.get(2)?,
        collection_id: CollectionId::from_stored(row.get(3)?),
        object_key: row.get(4)?,
        object_id: text(5)?.map(ObjectId::from_stored),
        part: row.get(6)?,
        body: json::read("document", &body)?,
        edits: text(8)?.map(|text| json::read("document", &text)).transpose()?,
        origin: text(9)?.map(|text| json::read("document", &text)).transpose()?,
        batch_id: text(10)?.map(BatchId::from_stored),
        recipe: row.get(11)?,
        content_hash: row.get(12)?,
        blobs: Vec::new(),
        created_at: time::from_ms(row.get(13)?),
        updated_at: time::from_ms(row.get(14)?),
        bucket_id: row.get(15)?,
    })
}

fn several(
    connection: &Connection,
    rest: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Document>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} {rest}"))?;
    let mut rows = statement.query(values)?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        documents.push(read(row)?);
    }
    for document in &mut documents {
        document.blobs = blobs_of(connection, document.key)?;
    }
    Ok(documents)
}

fn blobs_of(connection: &Connection, key: i64) -> Result<Vec<DocumentBlob>> {
    let mut statement = connection.prepare_cached(
        "SELECT ordinal, field, role, mime, hash, size
         FROM document_blobs JOIN blobs USING (blob_key) WHERE document_key = ?1 ORDER BY ordinal",
    )?;
    let found = statement
        .query_map([key], |row| {
            Ok(DocumentBlob {
                ordinal: row.get(0)?,
                field: row.get(1)?,
                role: row.get(2)?,
                mime: row.get(3)?,
                hash: BlobHash::from_bytes(row.get(4)?),
                size: row.get(5)?,
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(found)
}

/// The document of that id in a collection.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, collection_key: i64, id: &str) -> Result<Option<Document>> {
    let rest = "WHERE d.id = ?1 AND d.collection_key = ?2";
    Ok(several(connection, rest, params![id, collection_key])?.pop())
}

/// The document of that id, wherever it is.
///
/// # Errors
/// SQLite's.
pub fn anywhere(connection: &Connection, id: &str) -> Result<Option<Document>> {
    Ok(several(connection, "WHERE d.id = ?1", [id])?.pop())
}

/// The public id of a document.
///
/// # Errors
/// SQLite's.
pub fn id_of(connection: &Connection, key: i64) -> Result<String> {
    Ok(connection
        .prepare_cached("SELECT id FROM documents WHERE document_key = ?1")?
        .query_row([key], |row| row.get(0))?)
}

/// The documents with these keys, in their order; those that are gone are left out.
///
/// # Errors
/// SQLite's.
pub fn by_keys(
    connection: &Connection,
    keys: impl IntoIterator<Item = i64>,
) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for key in keys {
        documents.extend(several(connection, "WHERE d.document_key = ?1", [key])?);
    }
    Ok(documents)
}

/// The documents of an object in a collection, by part.
///
/// # Errors
/// SQLite's.
pub fn of_object(
    connection: &Connection,
    collection_key: i64,
    object_key: i64,
) -> Result<Vec<Document>> {
    let rest = "WHERE d.object_key = ?2 AND d.collection_key = ?1 ORDER BY d.part";
    several(connection, rest, [collection_key, object_key])
}

/// All documents of an object, by collection and part.
///
/// # Errors
/// SQLite's.
pub fn all_of_object(connection: &Connection, object_key: i64) -> Result<Vec<Document>> {
    let rest = "WHERE d.object_key = ?1 ORDER BY d.collection_key, d.part";
    several(connection, rest, [object_key])
}

/// The vectors of a document.
///
/// # Errors
/// SQLite's.
pub fn vectors(connection: &Connection, key: i64) -> Result<Vec<(String, Vec<f32>)>> {
    let mut statement = connection
        .prepare_cached("SELECT name, vector FROM document_vectors WHERE document_key = ?1")?;
    let vectors = statement
        .query_map([key], |row| {
            let bytes: Vec<u8> = row.get(1)?;
            let values = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
            Ok((row.get(0)?, values.collect()))
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(vectors)
}

/// The names of the vectors of a collection, with how many dimensions they have.
///
/// # Errors
/// SQLite's.
pub fn vector_names(connection: &Connection, collection_key: i64) -> Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT v.name, length(v.vector) / 4 FROM document_vectors v
         WHERE v.document_key IN (SELECT document_key FROM documents WHERE collection_key = ?1
                                  ORDER BY document_key DESC LIMIT 100)
         GROUP BY v.name",
    )?;
    let names = statement
        .query_map([collection_key], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(names)
}

/// What documents are written as.
#[derive(Clone, Copy, Debug)]
pub struct Provenance {
    /// The collection.
    pub collection_key: i64,
    /// The object.
    pub object_key: i64,
    /// The batch.
    pub batch_key: i64,
    /// What they went through.
    pub recipe: Digest,
}

/// Makes these the documents of an object in a collection, all of them: those of parts that are
/// there already keep their ids and what people changed, those of further parts go.
///
/// # Errors
/// SQLite's.
pub fn replace(
    tx: &Transaction<'_>,
    place: &Provenance,
    documents: &[New],
    now: Timestamp,
) -> Result<Written> {
    let before: Vec<(i64, u32, Option<String>)> = tx
        .prepare_cached(
            "SELECT document_key, part, edits FROM documents
             WHERE object_key = ?2 AND collection_key = ?1 ORDER BY part",
        )?
        .query_map([place.collection_key, place.object_key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<std::result::Result<_, _>>()?;
    let mut written = Written::default();
    for (part, new) in (0_u32..).zip(documents) {
        let old = before.iter().find(|(_, other, _)| *other == part);
        let key = match old {
            None => insert(tx, place, part, new, now)?,
            Some((key, _, edits)) => {
                written.replaced += 1;
                update(tx, place, *key, edits.as_deref(), new, now)?;
                *key
            }
        };
        written.written += 1;
        put_blobs(tx, key, &new.blobs)?;
        put_vectors(tx, key, &new.vectors)?;
    }
    let left = u32::try_from(documents.len()).unwrap_or(u32::MAX);
    for (key, part, _) in &before {
        if *part >= left {
            remove(tx, *key)?;
        }
    }
    let fresh = written.written - written.replaced;
    adjust(tx, place.collection_key, i64::try_from(fresh).unwrap_or_default())?;
    Ok(written)
}

fn insert(
    tx: &Transaction<'_>,
    place: &Provenance,
    part: u32,
    new: &New,
    now: Timestamp,
) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO documents (id, collection_key, object_key, part, body, origin, batch_key,
                                recipe, content_hash, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
    )?
    .execute(params![
        DocumentId::generate().as_str(),
        place.collection_key,
        place.object_key,
        part,
        json::write("document", &new.body)?,
        new.origin.as_ref().map(Value::to_string),
        place.batch_key,
        place.recipe,
        new.content_hash,
        now.as_millisecond(),
    ])?;
    let key = tx.last_insert_rowid();
    index(tx, key, &new.body)?;
    Ok(key)
}

fn update(
    tx: &Transaction<'_>,
    place: &Provenance,
    key: i64,
    edits: Option<&str>,
    new: &New,
    now: Timestamp,
) -> Result<()> {
    let mut body = new.body.clone();
    if let Some(edits) = edits {
        merge(&mut body, json::read("document", edits)?);
    }
    tx.prepare_cached(
        "UPDATE documents SET body = ?2, origin = ?3, batch_key = ?4, recipe = ?5,
                content_hash = ?6, updated_at_ms = ?7 WHERE document_key = ?1",
    )?
    .execute(params![
        key,
        json::write("document", &body)?,
        new.origin.as_ref().map(Value::to_string),
        place.batch_key,
        place.recipe,
        new.content_hash,
        now.as_millisecond(),
    ])?;
    index_again(tx, key, &body)
}

/// A document that somebody writes by hand.
#[derive(Clone, Debug)]
pub struct ByHand {
    /// Its fields.
    pub body: Map<String, Value>,
    /// Its vectors.
    pub vectors: Vec<(String, Vec<f32>)>,
    /// What its maker says of where it comes from.
    pub origin: Option<Value>,
    /// Hash of what it was made of.
    pub content_hash: Option<String>,
}

/// Makes a document that belongs to no batch and no object. Returns its key.
///
/// # Errors
/// SQLite's.
pub fn create(
    tx: &Transaction<'_>,
    collection_key: i64,
    document: &ByHand,
    now: Timestamp,
) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO documents (id, collection_key, body, origin, content_hash, created_at_ms,
                                updated_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![
        DocumentId::generate().as_str(),
        collection_key,
        json::write("document", &document.body)?,
        document.origin.as_ref().map(Value::to_string),
        document.content_hash,
        now.as_millisecond(),
    ])?;
    let key = tx.last_insert_rowid();
    index(tx, key, &document.body)?;
    put_vectors(tx, key, &document.vectors)?;
    adjust(tx, collection_key, 1)?;
    Ok(key)
}

/// Changes a document by hand: `patch` is merged into it (RFC 7396), and again whenever its object
/// is extracted anew.
///
/// # Errors
/// SQLite's.
pub fn edit(
    tx: &Transaction<'_>,
    key: i64,
    patch: &Map<String, Value>,
    now: Timestamp,
) -> Result<()> {
    let (body, edits): (String, Option<String>) = tx
        .prepare_cached("SELECT body, edits FROM documents WHERE document_key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut body: Map<String, Value> = json::read("document", &body)?;
    let mut edits: Map<String, Value> =
        edits.map(|text| json::read("document", &text)).transpose()?.unwrap_or_default();
    merge(&mut body, patch.clone());
    remember(&mut edits, patch.clone());
    tx.prepare_cached(
        "UPDATE documents SET body = ?2, edits = ?3, updated_at_ms = ?4 WHERE document_key = ?1",
    )?
    .execute(params![
        key,
        json::write("document", &body)?,
        json::write("document", &edits)?,
        now.as_millisecond(),
    ])?;
    index_again(tx, key, &body)
}

/// Merges a patch into an object: null removes a key, objects are merged, all else replaces.
pub fn merge(into: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (value, into.get_mut(&name)) {
            (Value::Null, _) => {
                into.remove(&name);
            }
            (Value::Object(inner), Some(Value::Object(old))) => merge(old, inner),
            (Value::Object(inner), _) => {
                let mut fresh = Map::new();
                merge(&mut fresh, inner);
                into.insert(name, Value::Object(fresh));
            }
            (value, _) => {
                into.insert(name, value);
            }
        }
    }
}

/// Puts a patch behind another: what both together do.
fn remember(edits: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (value, edits.get_mut(&name)) {
            (Value::Object(inner), Some(Value::Object(old))) => remember(old, inner),
            (value, _) => {
                edits.insert(name, value);
            }
        }
    }
}

/// Gives the documents of an object other fields that were passed through, without extracting it.
/// What people changed stays.
///
/// # Errors
/// SQLite's.
pub fn carry(
    tx: &Transaction<'_>,
    collection_key: i64,
    object_key: i64,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    now: Timestamp,
) -> Result<u64> {
    let documents = of_object(tx, collection_key, object_key)?;
    for document in &documents {
        let mut body = document.body.clone();
        // What the extractor itself says under the same name stays.
        body.retain(|name, value| old.get(name).is_none_or(|carried| carried != value));
        for (name, value) in new {
            body.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if let Some(edits) = &document.edits {
            merge(&mut body, edits.clone());
        }
        tx.prepare_cached(
            "UPDATE documents SET body = ?2, updated_at_ms = ?3 WHERE document_key = ?1",
        )?
        .execute(params![
            document.key,
            json::write("document", &body)?,
            now.as_millisecond()
        ])?;
        index_again(tx, document.key, &body)?;
    }
    Ok(documents.len() as u64)
}

fn put_blobs(tx: &Transaction<'_>, key: i64, new: &[NewBlob]) -> Result<()> {
    drop_blobs(tx, key)?;
    for (ordinal, blob) in (0_u32..).zip(new) {
        let stored = &blob.stored;
        let blob_key = blobs::ensure(tx, &stored.hash, stored.size, stored.inline.as_deref())?;
        tx.prepare_cached("INSERT INTO document_blobs VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![key, ordinal, blob.field, blob.role, blob_key, blob.mime])?;
    }
    if !new.is_empty() {
        blobs::tally(tx)?;
    }
    Ok(())
}

fn drop_blobs(tx: &Transaction<'_>, key: i64) -> Result<()> {
    let old: Vec<i64> = tx
        .prepare_cached("SELECT blob_key FROM document_blobs WHERE document_key = ?1")?
        .query_map([key], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    if old.is_empty() {
        return Ok(());
    }
    tx.prepare_cached("DELETE FROM document_blobs WHERE document_key = ?1")?.execute([key])?;
    for blob_key in old {
        blobs::maybe_orphaned(tx, blob_key)?;
    }
    Ok(())
}

fn put_vectors(tx: &Transaction<'_>, key: i64, vectors: &[(String, Vec<f32>)]) -> Result<()> {
    tx.prepare_cached("DELETE FROM document_vectors WHERE document_key = ?1")?.execute([key])?;
    for (name, values) in vectors {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tx.prepare_cached("INSERT OR REPLACE INTO document_vectors VALUES (?1, ?2, ?3)")?
            .execute(params![key, name, bytes])?;
    }
    Ok(())
}

/// Makes a document findable by its words, and by the fields that are indexed.
fn index(tx: &Transaction<'_>, key: i64, body: &Map<String, Value>) -> Result<()> {
    let mut text = String::new();
    body.values().for_each(|value| words(value, &mut text));
    if !text.is_empty() {
        tx.prepare_cached("INSERT INTO document_text (rowid, text) VALUES (?1, ?2)")?
            .execute(params![key, text])?;
    }
    indexes::write(tx, key)
}

fn index_again(tx: &Transaction<'_>, key: i64, body: &Map<String, Value>) -> Result<()> {
    forget(tx, key)?;
    index(tx, key, body)
}

fn forget(tx: &Transaction<'_>, key: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM document_text WHERE rowid = ?1")?.execute([key])?;
    indexes::clear(tx, key)
}

fn words(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Number(number) => {
            into.push_str(&number.to_string());
            into.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| words(item, into)),
        Value::Object(map) => map.values().for_each(|value| words(value, into)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Keys of up to `limit` documents of a collection that pass a filter, behind a key and up to
/// another, ascending.
///
/// # Errors
/// SQLite's; a filter that documents cannot be asked finds none.
pub fn behind(
    connection: &Connection,
    collection_key: i64,
    collection_id: &str,
    filter: Option<&Filter>,
    after: i64,
    last: i64,
    limit: u32,
) -> Result<Vec<i64>> {
    match query::Query::new(collection_key, collection_id, filter, None, None) {
        Ok(query) => query
            .between(after, last)
            .oldest_first()
            .keys(connection, None, 0, limit)
            .map(|places| places.iter().map(crate::store::RowPosition::key).collect()),
        Err(_) => Ok(Vec::new()),
    }
}

/// The key of the newest document of all; 0 where there is none.
///
/// # Errors
/// SQLite's.
pub fn newest(connection: &Connection) -> Result<i64> {
    Ok(connection
        .prepare_cached("SELECT coalesce(max(document_key), 0) FROM documents")?
        .query_row([], |row| row.get(0))?)
}

/// Removes a document. Its object stays settled: it comes back when that is extracted anew.
///
/// # Errors
/// SQLite's.
pub fn remove(tx: &Transaction<'_>, key: i64) -> Result<()> {
    drop_blobs(tx, key)?;
    tx.prepare_cached("DELETE FROM document_vectors WHERE document_key = ?1")?.execute([key])?;
    forget(tx, key)?;
    let collection_key: Option<i64> = tx
        .prepare_cached("DELETE FROM documents WHERE document_key = ?1 RETURNING collection_key")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    match collection_key {
        Some(collection_key) => adjust(tx, collection_key, -1),
        None => Ok(()),
    }
}

/// Changes the count of a collection's documents.
fn adjust(tx: &Transaction<'_>, collection_key: i64, documents: i64) -> Result<()> {
    if documents != 0 {
        tx.prepare_cached(
            "UPDATE collections SET document_count = document_count + ?2 WHERE collection_key = ?1",
        )?
        .execute([collection_key, documents])?;
    }
    Ok(())
}

/// Removes all documents of an object, in every collection.
pub(super) fn remove_of_object(tx: &Transaction<'_>, object_key: i64) -> Result<()> {
    remove_all(tx, "SELECT document_key FROM documents WHERE object_key = ?1", object_key)?;
    Ok(())
}

/// Removes all documents that a batch wrote. Returns how many.
pub(super) fn remove_of_batch(tx: &Transaction<'_>, batch_key: i64) -> Result<u64> {
    remove_all(tx, "SELECT document_key FROM documents WHERE batch_key = ?1", batch_key)
}

/// Removes some documents of a collection. Returns how many.
pub(super) fn remove_some(tx: &Transaction<'_>, collection_key: i64, most: u32) -> Result<u64> {
    let select =
        format!("SELECT document_key FROM documents WHERE collection_key = ?1 LIMIT {most}");
    remove_all(tx, &select, collection_key)
}

fn remove_all(tx: &Transaction<'_>, select: &str, of: i64) -> Result<u64> {
    let keys: Vec<i64> = tx
        .prepare_cached(select)?
        .query_map([of], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    for key in &keys {
        remove(tx, *key)?;
    }
    u64::try_from(keys.len()).map_err(|error| StoreError::nonsense("count", error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn two_patches_kept_as_one_do_what_both_did() {
        let first = object(json!({"a": {"b": 1, "c": null}, "d": 2}));
        let second = object(json!({"a": {"b": null}, "d": {"e": 3}}));
        let start = object(json!({"a": {"b": 0, "c": 0, "x": 0}, "d": 0}));
        let mut one_by_one = start.clone();
        merge(&mut one_by_one, first.clone());
        merge(&mut one_by_one, second.clone());
        let mut both = first;
        remember(&mut both, second);
        let mut at_once = start;
        merge(&mut at_once, both);
        assert_eq!(one_by_one, at_once);
        assert_eq!(Value::Object(at_once), json!({"a": {"x": 0}, "d": {"e": 3}}));
    }
}
