//! The shape of an object: its fields, and which blobs it is made of.
//!
//! A sync writes the blobs that it brings without an id of their own (see [`BlobId::derived`]), and
//! replaces only those; what was added to the object through the API stays.
//!
//! [`BlobId::derived`]: crate::model::BlobId::derived

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value};

use super::{Result, blobs, edits, json, stored::Stored, unique_keys};
use crate::model::{BlobHash, CONTENT, UniqueValue};

/// What a mapping makes of an entry.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The object's fields, a JSON object; `None` where it has none.
    pub fields: Option<String>,
    /// What names it in its bucket, where something has to.
    pub unique_key: Option<UniqueValue>,
    /// The property that is the file itself.
    pub content: String,
    /// All blobs that the sync brings, the file itself among them.
    pub blobs: Vec<ShapedBlob>,
}

/// A blob of an object.
#[derive(Clone, Debug)]
pub struct ShapedBlob {
    /// Its property.
    pub property: String,
    /// Its type, where that is not what the MIME type says.
    pub kind: Option<String>,
    /// Its file name, where that is not the object's.
    pub filename: Option<String>,
    /// Its MIME type, where that is not the object's.
    pub mime: Option<String>,
    /// A JSON object: `url`, where it was fetched from one.
    pub metadata: Option<String>,
    /// Its bytes.
    pub bytes: ShapedBytes,
}

/// The bytes of a blob.
#[derive(Clone, Debug)]
pub enum ShapedBytes {
    /// The file's.
    File,
    /// Others.
    Other(Stored),
    /// Those that the property has already.
    Kept,
}

impl Shape {
    /// The shape of an object that nothing is mapped to: the file as `content`, and no more.
    #[must_use]
    pub fn plain() -> Self {
        let file = ShapedBlob {
            property: CONTENT.to_owned(),
            kind: None,
            filename: None,
            mime: None,
            metadata: None,
            bytes: ShapedBytes::File,
        };
        Self { fields: None, unique_key: None, content: CONTENT.to_owned(), blobs: vec![file] }
    }

    /// How many bytes of it are in memory.
    pub(super) fn inline_bytes(&self) -> usize {
        let inline = |blob: &ShapedBlob| match &blob.bytes {
            ShapedBytes::Other(stored) => stored.inline.as_ref().map_or(0, bytes::Bytes::len),
            ShapedBytes::File | ShapedBytes::Kept => 0,
        };
        self.blobs.iter().map(inline).sum()
    }

    /// Bytes that must be in place as files before the object may refer to them.
    pub(super) fn files(&self) -> impl Iterator<Item = &BlobHash> {
        self.blobs.iter().filter_map(|blob| match &blob.bytes {
            ShapedBytes::Other(stored) if stored.inline.is_none() => Some(&stored.hash),
            _ => None,
        })
    }
}

/// What writing a shape has changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Whether anything is another now, as a reader of the bucket sees it.
    pub is_seen: bool,
    /// How many bytes the object has gained.
    pub bytes: i64,
}

/// A row of `object_blobs` without its property.
#[derive(PartialEq)]
struct Row {
    blob_key: i64,
    kind: Option<String>,
    filename: Option<String>,
    mime: Option<String>,
    metadata: Option<String>,
}

impl Row {
    /// The row of a blob. One that is kept stays what it was said to be when it came, as far as
    /// nothing says otherwise.
    fn of(blob: &ShapedBlob, blob_key: i64, before: Option<&Self>) -> Self {
        let ShapedBlob { kind, filename, mime, metadata, bytes, .. } = blob.clone();
        let kept = before.filter(|_| matches!(bytes, ShapedBytes::Kept));
        Self {
            blob_key,
            kind: kind.or_else(|| kept?.kind.clone()),
            filename: filename.or_else(|| kept?.filename.clone()),
            mime: mime.or_else(|| kept?.mime.clone()),
            metadata,
        }
    }
}

/// Gives an object its shape, `content` being the bytes of the file.
pub(super) fn write(
    tx: &Transaction<'_>,
    object_key: i64,
    shape: &Shape,
    content: i64,
) -> Result<Change> {
    let mut old = rows(tx, object_key)?;
    let mut is_seen = false;
    for blob in &shape.blobs {
        let before = old.remove(&blob.property);
        let blob_key = match &blob.bytes {
            ShapedBytes::File => content,
            ShapedBytes::Other(stored) => {
                blobs::ensure(tx, &stored.hash, stored.size, stored.inline.as_deref())?
            }
            ShapedBytes::Kept => match &before {
                Some(row) => row.blob_key,
                None => continue,
            },
        };
        let row = Row::of(blob, blob_key, before.as_ref());
        if before.as_ref() == Some(&row) {
            continue;
        }
        is_seen = true;
        put(tx, object_key, &blob.property, &row)?;
        if let Some(before) = before {
            blobs::maybe_orphaned(tx, before.blob_key)?;
        }
    }
    for (property, row) in old {
        is_seen = true;
        tx.prepare_cached("DELETE FROM object_blobs WHERE object_key = ?1 AND property = ?2")?
            .execute(params![object_key, property])?;
        blobs::maybe_orphaned(tx, row.blob_key)?;
    }
    is_seen |= write_fields(tx, object_key, shape)?;
    Ok(Change { is_seen, bytes: update_size(tx, object_key)? })
}

/// Gives an object the fields of its shape, those that people wrote merged over them. Returns
/// whether any of them is another now.
fn write_fields(tx: &Transaction<'_>, object_key: i64, shape: &Shape) -> Result<bool> {
    let Some(edits) = edits::over(tx, object_key, shape.fields.as_deref())? else {
        let is_seen = put_fields(tx, object_key, shape.fields.as_deref(), &shape.content)?;
        unique_keys::set(tx, object_key, shape.unique_key.as_ref())?;
        return Ok(is_seen);
    };
    let fields = edits::column(&edits.merged())?;
    edits::save(tx, object_key, &edits)?;
    let is_seen = put_fields(tx, object_key, fields.as_deref(), &shape.content)?;
    let wanted = edits::unique_key(tx, object_key, &edits)?;
    // What blocks a write is the key of the shape; a part that somebody edited may clash all the
    // same, and then the object that had the key first keeps it.
    let is_free = match &wanted {
        Some(wanted) => unique_keys::taken(tx, object_key, wanted)?.is_none(),
        None => true,
    };
    unique_keys::set(tx, object_key, wanted.as_ref().filter(|_| is_free))?;
    Ok(is_seen)
}

fn put_fields(
    tx: &Transaction<'_>,
    object_key: i64,
    fields: Option<&str>,
    content: &str,
) -> Result<bool> {
    let changed = tx
        .prepare_cached(
            "UPDATE objects SET fields = ?2, content = ?3
             WHERE object_key = ?1 AND (fields, content) IS NOT (?2, ?3)",
        )?
        .execute(params![object_key, fields, content])?;
    Ok(changed > 0)
}

/// The value of the bucket's unique key that an object would have with that shape.
pub(super) fn unique_key(
    connection: &Connection,
    object_key: i64,
    shape: &Shape,
) -> Result<Option<UniqueValue>> {
    match edits::over(connection, object_key, shape.fields.as_deref())? {
        Some(edits) => edits::unique_key(connection, object_key, &edits),
        None => Ok(shape.unique_key.clone()),
    }
}

/// The names of the fields and blobs of an object that would be others if it had that shape.
///
/// # Errors
/// SQLite's, or when its fields are no JSON.
pub fn changes(connection: &Connection, object_key: i64, shape: &Shape) -> Result<Vec<String>> {
    let (fields, content, content_key): (Option<String>, String, Option<i64>) = connection
        .prepare_cached(
            "SELECT fields, content, (SELECT blob_key FROM object_blobs b
                 WHERE b.object_key = objects.object_key AND property = content)
             FROM objects WHERE object_key = ?1",
        )?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let merged = match edits::over(connection, object_key, shape.fields.as_deref())? {
        Some(edits) => edits::column(&edits.merged())?,
        None => shape.fields.clone(),
    };
    let mut changed = other_fields(fields.as_deref(), merged.as_deref())?;
    if content != shape.content {
        changed.push(shape.content.clone());
    }
    let mut old = rows(connection, object_key)?;
    for blob in &shape.blobs {
        let before = old.remove(&blob.property);
        let blob_key = match &blob.bytes {
            ShapedBytes::File => content_key,
            ShapedBytes::Other(stored) => blobs::key_of(connection, &stored.hash)?,
            ShapedBytes::Kept => before.as_ref().map(|row| row.blob_key),
        };
        let now = blob_key.map(|key| Row::of(blob, key, before.as_ref()));
        if now.is_none() || now != before {
            changed.push(blob.property.clone());
        }
    }
    changed.extend(old.into_keys());
    Ok(changed)
}

/// The names of fields that are not the same in both.
fn other_fields(old: Option<&str>, new: Option<&str>) -> Result<Vec<String>> {
    let fields = |text: Option<&str>| -> Result<Map<String, Value>> {
        text.map_or_else(|| Ok(Map::new()), |text| json::read("object", text))
    };
    let (old, new) = (fields(old)?, fields(new)?);
    let mut names: Vec<String> = old.keys().chain(new.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| old.get(name) != new.get(name));
    Ok(names)
}

/// The blobs of an object that a sync has brought, by property.
fn rows(connection: &Connection, object_key: i64) -> Result<BTreeMap<String, Row>> {
    Ok(connection
        .prepare_cached(
            "SELECT property, blob_key, type, filename, mime, metadata FROM object_blobs
             WHERE object_key = ?1 AND id = ''",
        )?
        .query_map([object_key], |row| {
            let blob = Row {
                blob_key: row.get(1)?,
                kind: row.get(2)?,
                filename: row.get(3)?,
                mime: row.get(4)?,
                metadata: row.get(5)?,
            };
            Ok((row.get(0)?, blob))
        })?
        .collect::<Result<_, _>>()?)
}

fn put(tx: &Transaction<'_>, object_key: i64, property: &str, row: &Row) -> Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO object_blobs
             (object_key, property, blob_key, type, filename, mime, metadata)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        object_key,
        property,
        row.blob_key,
        row.kind,
        row.filename,
        row.mime,
        row.metadata,
    ])?;
    Ok(())
}

/// Brings an object's size up to date: that of its blobs, each set of bytes counted once. Returns
/// by how much it grew.
fn update_size(tx: &Transaction<'_>, object_key: i64) -> Result<i64> {
    // What is hidden is not counted.
    let (is_counted, old, new): (bool, i64, i64) = tx
        .prepare_cached(
            "SELECT state IS NULL, size, (SELECT coalesce(sum(size), 0) FROM blobs WHERE blob_key IN
                           (SELECT blob_key FROM object_blobs WHERE object_key = ?1))
             FROM objects WHERE object_key = ?1",
        )?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if old != new {
        tx.prepare_cached("UPDATE objects SET size = ?2 WHERE object_key = ?1")?
            .execute([object_key, new])?;
    }
    Ok(if is_counted { new - old } else { 0 })
}

/// What is kept of an entry that was taken before, for deciding about it again without its bytes.
#[derive(Clone, Debug)]
pub struct StoredShape {
    /// Internal key of its object; `None` where that is another entry's, or was deleted through the
    /// API.
    pub object: Option<i64>,
    /// Whether it shares another entry's object.
    pub shares: bool,
    /// The settings that it was judged by.
    pub judged_by: Option<i64>,
    /// User metadata as the source gave it, a JSON object.
    pub metadata: Option<String>,
    /// The MIME type.
    pub mime: Option<String>,
    /// Where its blobs were fetched from, by property.
    pub urls: BTreeMap<String, String>,
}

/// Reads what is kept of an entry; `None` when its row is gone.
///
/// # Errors
/// SQLite's.
pub fn kept(connection: &Connection, entry_key: i64) -> Result<Option<StoredShape>> {
    let found = connection
        .prepare_cached(
            "SELECT judged_by, metadata, mime, objects.object_key, is_duplicate
             FROM entries LEFT JOIN objects
                 ON objects.object_key = entries.object_key AND is_duplicate = 0
             WHERE entries.entry_key = ?1",
        )?
        .query_row([entry_key], |row| {
            Ok(StoredShape {
                judged_by: row.get(0)?,
                metadata: row.get(1)?,
                mime: row.get(2)?,
                object: row.get(3)?,
                shares: row.get(4)?,
                urls: BTreeMap::new(),
            })
        })
        .optional()?;
    let Some(mut kept) = found else { return Ok(None) };
    kept.urls = connection
        .prepare_cached(
            "SELECT property, metadata ->> '$.url' FROM object_blobs
             WHERE object_key = ?1 AND id = '' AND metadata ->> '$.url' IS NOT NULL",
        )?
        .query_map([kept.object], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Some(kept))
}
