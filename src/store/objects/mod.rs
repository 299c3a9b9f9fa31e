//! Objects: found and listed as the command line does it here; as the API does it in [`query`] and
//! [`record`], counted in groups by [`rows`], found by their [`text`], made and changed by hand in
//! [`mod@write`]. What a sync does to them is in `commit` and `reconcile`, deleting and restoring
//! them in `trash`.

pub mod chosen;
pub(super) mod fields;
#[cfg(test)]
mod filter_tests;
pub mod query;
pub mod record;
pub mod rows;
pub mod text;
#[cfg(test)]
mod text_tests;
pub mod write;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Result, prefix::end_of, syncs, time};
use crate::model::{BlobHash, EntryPath, ObjectId};

/// The status of an object that no batch has been through.
pub const UNPROCESSED: &str = "PENDING";

/// An object as the database knows it.
#[derive(Clone, Debug)]
pub struct Object {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: ObjectId,
    /// Its path from its sync's root.
    pub path: EntryPath,
    /// Bytes of its content.
    pub size: u64,
    /// When the source says that it was last modified.
    pub modified: Option<Timestamp>,
    /// Its MIME type.
    pub mime: Option<String>,
    /// User metadata, a JSON object.
    pub metadata: Option<String>,
    /// What its content hashes to.
    pub hash: BlobHash,
    /// Its fields, a JSON object.
    pub fields: Option<String>,
}

const SELECT: &str = "SELECT o.object_key, o.id, o.path, b.size, o.modified_ns, o.mime, o.metadata,
     b.hash, o.fields
     FROM objects o
     JOIN object_blobs ob ON ob.object_key = o.object_key AND ob.property = o.content
     JOIN blobs b USING (blob_key)";

fn read(row: &Row<'_>) -> rusqlite::Result<Object> {
    Ok(Object {
        key: row.get(0)?,
        id: ObjectId::from_stored(row.get(1)?),
        path: syncs::path(row.get(2)?),
        size: row.get(3)?,
        modified: row.get::<_, Option<i64>>(4)?.map(time::from_ns),
        mime: row.get(5)?,
        metadata: row.get(6)?,
        hash: BlobHash::from_bytes(row.get(7)?),
        fields: row.get(8)?,
    })
}

/// A place in a bucket's listing: behind this path, and behind this key among equal paths.
#[derive(Clone, Debug, Default)]
pub struct After {
    /// The path of the last object that was read.
    pub path: Vec<u8>,
    /// Its key.
    pub key: i64,
}

impl After {
    /// The place behind `object`.
    #[must_use]
    pub fn object(object: &Object) -> Self {
        Self { path: object.path.as_bytes().to_vec(), key: object.key }
    }
}

/// The next `limit` objects of a bucket whose path begins with `prefix`, in bytewise order of
/// their paths.
///
/// # Errors
/// SQLite's.
pub fn page(
    connection: &Connection,
    bucket_key: i64,
    prefix: &[u8],
    after: &After,
    limit: u32,
) -> Result<Vec<Object>> {
    // From the later of the two places; up to the first path that the prefix does not begin.
    let from = if after.path.as_slice() < prefix { prefix } else { &after.path };
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE o.bucket_key = ?1 AND o.state IS NULL
           AND (o.path, o.object_key) > (?2, ?3)
           AND (?4 IS NULL OR o.path < ?4)
         ORDER BY o.path, o.object_key LIMIT ?5"
    ))?;
    let key = if from == after.path { after.key } else { 0 };
    let objects = statement
        .query_map(params![bucket_key, from, key, end_of(prefix), limit], read)?
        .collect::<Result<_, _>>()?;
    Ok(objects)
}

/// The object of exactly that path; the newest where several syncs brought one.
///
/// # Errors
/// SQLite's.
pub fn by_path(
    connection: &Connection,
    bucket_key: i64,
    path: &EntryPath,
) -> Result<Option<Object>> {
    Ok(connection
        .prepare_cached(&format!(
            "{SELECT} WHERE o.bucket_key = ?1 AND o.state IS NULL AND o.path = ?2
             ORDER BY o.object_key DESC LIMIT 1"
        ))?
        .query_row(params![bucket_key, path.as_bytes()], read)
        .optional()?)
}

/// An object that is made of a blob, with what is needed to fetch it again.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Name of the object's bucket.
    pub bucket: String,
    /// The object's path.
    pub path: EntryPath,
    /// Its public id.
    pub id: ObjectId,
    /// Internal key of the sync whose entry it stands for, if that still is there.
    pub sync_key: Option<i64>,
    /// That entry's id at its source.
    pub source_id: Option<EntryPath>,
}

/// The objects that are made of a blob.
///
/// # Errors
/// SQLite's.
pub fn made_of(connection: &Connection, blob_key: i64) -> Result<Vec<Holder>> {
    let mut statement = connection.prepare_cached(
        "SELECT b.name, o.path, o.id, e.sync_key, e.source_id
         FROM object_blobs ob JOIN objects o USING (object_key) JOIN buckets b USING (bucket_key)
         LEFT JOIN entries e ON e.entry_key = o.entry_key
         WHERE ob.blob_key = ?1 ORDER BY b.name, o.path",
    )?;
    let holders = statement
        .query_map([blob_key], |row| {
            Ok(Holder {
                bucket: row.get(0)?,
                path: syncs::path(row.get(1)?),
                id: ObjectId::from_stored(row.get(2)?),
                sync_key: row.get(3)?,
                source_id: row.get::<_, Option<Vec<u8>>>(4)?.map(syncs::path),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(holders)
}
