//! An object with all that the API shows of it: fields, blobs, the entry that it stands for.

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value};

use crate::{
    model::{BlobHash, BlobId, CONTENT, ConnectionId, EntryPath, FieldType, ObjectId, SyncId},
    store::{Result, StoreError, edits::Edits, json, syncs, time},
};

/// An object and what belongs to it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: ObjectId,
    /// Its path: of its entry, or as somebody gave it.
    pub path: EntryPath,
    /// Bytes of its blobs together.
    pub size: u64,
    /// When the source says that it was last modified.
    pub modified: Option<Timestamp>,
    /// MIME type of its content.
    pub mime: Option<String>,
    /// User metadata, as the source has it.
    pub metadata: Option<Map<String, Value>>,
    /// Its fields: of an object of a sync, what people wrote merged over what the sync gives.
    pub fields: Map<String, Value>,
    /// What people wrote to an object of a sync; `None`: nothing.
    pub edits: Option<Edits>,
    /// Whether its entry is gone from the source, and somebody said to keep it.
    pub is_released: bool,
    /// Its edges to other objects, a JSON array.
    pub edges: Option<Value>,
    /// Its blobs, by property.
    pub blobs: Vec<BlobRecord>,
    /// Where it comes from; `None`: made by hand.
    pub source: Option<SourceRecord>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// One blob of an object.
#[derive(Clone, Debug)]
pub struct BlobRecord {
    /// Public id.
    pub id: BlobId,
    /// Which property of the object it is.
    pub property: String,
    /// Which kind of field.
    pub kind: String,
    /// A name for its file.
    pub filename: String,
    /// Bytes of it.
    pub size: u64,
    /// MIME type.
    pub mime: Option<String>,
    /// What its bytes hash to.
    pub hash: BlobHash,
    /// What its maker says of it.
    pub metadata: Map<String, Value>,
}

/// The entry that an object stands for.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    /// The provider, as the API spells it.
    pub provider: String,
    /// The connection.
    pub connection_id: ConnectionId,
    /// The sync.
    pub sync_id: SyncId,
    /// What the source calls it.
    pub source_id: EntryPath,
    /// The version that is here.
    pub version: Vec<u8>,
    /// Its etag, where the source has such.
    pub etag: Option<String>,
}

/// The object of that id in a bucket, unless it is hidden.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, bucket_key: i64, id: &str) -> Result<Option<Record>> {
    let key = connection
        .prepare_cached(
            "SELECT object_key FROM objects WHERE id = ?1 AND bucket_key = ?2 AND state IS NULL",
        )?
        .query_row(params![id, bucket_key], |row| row.get(0))
        .optional()?;
    key.map(|key| by_key(connection, key)).transpose()
}

/// The object of that id in a bucket, also one in its trash.
///
/// # Errors
/// SQLite's.
pub fn by_id_with_trash(
    connection: &Connection,
    bucket_key: i64,
    id: &str,
) -> Result<Option<Record>> {
    let key = connection
        .prepare_cached(
            "SELECT object_key FROM objects o WHERE id = ?1 AND bucket_key = ?2
                 AND (state IS NULL OR EXISTS
                      (SELECT 1 FROM trash t WHERE t.object_key = o.object_key))",
        )?
        .query_row(params![id, bucket_key], |row| row.get(0))
        .optional()?;
    key.map(|key| by_key(connection, key)).transpose()
}

/// The object with that key.
///
/// # Errors
/// SQLite's, or when there is none.
pub fn by_key(connection: &Connection, key: i64) -> Result<Record> {
    Reader::new(connection)?.read(key)
}

/// The objects with these keys, in their order.
///
/// # Errors
/// SQLite's, or when one of them is not there.
pub fn by_keys(
    connection: &Connection,
    keys: impl IntoIterator<Item = i64>,
) -> Result<Vec<Record>> {
    let mut reader = Reader::new(connection)?;
    keys.into_iter().map(|key| reader.read(key)).collect()
}

/// The statements that a record takes, prepared once for as many as there are to be read.
struct Reader<'c> {
    object: CachedStatement<'c>,
    blobs: CachedStatement<'c>,
}

impl<'c> Reader<'c> {
    fn new(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            object: connection.prepare_cached(
                "SELECT o.object_key, o.id, o.path, o.size, o.modified_ns, o.mime, o.metadata,
                        o.fields, o.edges, o.created_at_ms, o.updated_at_ms, c.provider, c.id, s.id,
                        e.source_id, e.version, e.etag, o.edits, o.given, coalesce(e.released, 0)
                 FROM objects o LEFT JOIN entries e ON e.entry_key = o.entry_key
                 LEFT JOIN syncs s ON s.sync_key = e.sync_key
                 LEFT JOIN connections c ON c.connection_key = s.connection_key
                 WHERE o.object_key = ?1",
            )?,
            blobs: connection.prepare_cached(
                "SELECT ob.property, ob.id, ob.type, ob.filename, ob.mime, ob.metadata, b.hash,
                        b.size
                 FROM object_blobs ob JOIN blobs b USING (blob_key)
                 WHERE ob.object_key = ?1 ORDER BY ob.property",
            )?,
        })
    }

    fn read(&mut self, key: i64) -> Result<Record> {
        let mut record = self.object.query_row([key], |row| Ok(object(row)))??;
        let mut rows = self.blobs.query([key])?;
        while let Some(row) = rows.next()? {
            let blob = blob(row, &record)?;
            record.blobs.push(blob);
        }
        Ok(record)
    }
}

fn object(row: &Row<'_>) -> Result<Record> {
    let parsed = |index: usize| -> Result<Option<Value>> {
        let text: Option<String> = row.get(index)?;
        text.map(|text| json::read("object", &text)).transpose()
    };
    let map = |index: usize| -> Result<Option<Map<String, Value>>> {
        parsed(index)?
            .map(|value| match value {
                Value::Object(map) => Ok(map),
                other => Err(StoreError::nonsense("object", other)),
            })
            .transpose()
    };
    Ok(Record {
        key: row.get(0)?,
        id: ObjectId::from_stored(row.get(1)?),
        path: syncs::path(row.get(2)?),
        size: row.get(3)?,
        modified: row.get::<_, Option<i64>>(4)?.map(time::from_ns),
        mime: row.get(5)?,
        metadata: map(6)?,
        fields: map(7)?.unwrap_or_default(),
        edits: edits(row)?,
        is_released: row.get(19)?,
        edges: parsed(8)?,
        blobs: Vec::new(),
        source: source(row)?,
        created_at: time::from_ms(row.get(9)?),
        updated_at: time::from_ms(row.get(10)?),
    })
}

fn edits(row: &Row<'_>) -> Result<Option<Edits>> {
    let (edited, given): (Option<String>, Option<String>) = (row.get(17)?, row.get(18)?);
    Edits::read(edited.as_deref(), given.as_deref())
}

fn source(row: &Row<'_>) -> Result<Option<SourceRecord>> {
    let Some(sync_id) = row.get::<_, Option<String>>(13)? else { return Ok(None) };
    Ok(Some(SourceRecord {
        provider: row.get(11)?,
        connection_id: ConnectionId::from_stored(row.get(12)?),
        sync_id: SyncId::from_stored(sync_id),
        source_id: syncs::path(row.get(14)?),
        version: row.get(15)?,
        etag: row.get(16)?,
    }))
}

fn blob(row: &Row<'_>, object: &Record) -> Result<BlobRecord> {
    let (property, id): (String, String) = (row.get(0)?, row.get(1)?);
    let mime: Option<String> = row.get::<_, Option<String>>(4)?.or_else(|| object.mime.clone());
    let kind: Option<String> = row.get(2)?;
    let filename: Option<String> = row.get(3)?;
    let metadata: Option<String> = row.get(5)?;
    Ok(BlobRecord {
        id: match id.is_empty() {
            true => BlobId::derived(&object.id, &property, CONTENT),
            false => BlobId::from_stored(id),
        },
        kind: kind.unwrap_or_else(|| FieldType::of_mime(mime.as_deref()).as_str().to_owned()),
        filename: filename
            .unwrap_or_else(|| EntryPath::new(object.path.file_name()).to_json_text()),
        property,
        size: row.get(7)?,
        mime,
        hash: BlobHash::from_bytes(row.get(6)?),
        metadata: match metadata {
            Some(text) => json::read("blob", &text)?,
            None => Map::new(),
        },
    })
}
