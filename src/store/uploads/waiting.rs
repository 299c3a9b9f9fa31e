//! Uploads that a sync makes in place of objects (`create_object_on_confirm: false`): the object is
//! there, with fields and blobs, and follows its entry as any other, but it is hidden until
//! somebody confirms its upload.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value, json};

use super::REMEMBERED;
use crate::{
    model::{BlobHash, EntryPath, FieldType, UploadId, UploadSettings, UploadStatus},
    store::{
        Result, StoreError,
        buckets::{self, Bucket},
        changed_objects,
        events::{self, EventKind},
        json, syncs, unique_keys,
    },
};

/// The state of an object whose upload is not confirmed.
pub const UNCONFIRMED: &str = "unconfirmed";

/// Makes the upload of an object of a sync that was just written, and is hidden.
pub(in crate::store) fn announce(
    tx: &Transaction<'_>,
    object_key: i64,
    now: Timestamp,
) -> Result<()> {
    let Some(bytes) = bytes_of(tx, object_key)? else { return Ok(()) };
    tx.prepare_cached(
        "INSERT INTO uploads (id, bucket_key, status, settings, blob_key, object_key, created_at_ms,
                              updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
    )?
    .execute(params![
        UploadId::generate().as_str(),
        bytes.bucket_key,
        UploadStatus::Completed.as_str(),
        json::write("upload", &bytes.settings(now))?,
        bytes.blob_key,
        object_key,
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Brings the upload of a hidden object up to date with it; nothing for any other object.
pub(in crate::store) fn follow(
    tx: &Transaction<'_>,
    object_key: i64,
    now: Timestamp,
) -> Result<()> {
    let Some(upload_key) = of_object(tx, object_key)? else { return Ok(()) };
    let Some(bytes) = bytes_of(tx, object_key)? else { return Ok(()) };
    tx.prepare_cached(
        "UPDATE uploads SET blob_key = ?2, settings = ?3, updated_at_ms = ?4 WHERE upload_key = ?1",
    )?
    .execute(params![
        upload_key,
        bytes.blob_key,
        json::write("upload", &bytes.settings(now))?,
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Forgets the upload of a hidden object that goes.
pub(in crate::store) fn forget(tx: &Transaction<'_>, object_key: i64) -> Result<()> {
    if let Some(upload_key) = of_object(tx, object_key)? {
        super::delete(tx, upload_key)?;
    }
    Ok(())
}

/// Shows the object that waits for an upload. Returns its id, or why it cannot be shown.
///
/// # Errors
/// SQLite's.
pub fn confirm(
    tx: &Transaction<'_>,
    bucket: &Bucket,
    upload_key: i64,
    object_key: i64,
    now: Timestamp,
) -> Result<std::result::Result<String, String>> {
    let (id, size, fields): (String, i64, Option<String>) = tx
        .prepare_cached("SELECT id, size, fields FROM objects WHERE object_key = ?1")?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let fields: Map<String, Value> =
        fields.map(|text| json::read("object", &text)).transpose()?.unwrap_or_default();
    let unique_key = bucket.settings.unique_key.as_ref();
    let unique_key = unique_key.and_then(|key| key.value_of(&fields).unwrap_or_default());
    if let Some(wanted) = &unique_key
        && let Some(why) = unique_keys::taken_in(tx, bucket.key, wanted)?
    {
        return Ok(Err(why));
    }
    tx.prepare_cached("UPDATE objects SET state = NULL, updated_at_ms = ?2 WHERE object_key = ?1")?
        .execute([object_key, now.as_millisecond()])?;
    unique_keys::set(tx, object_key, unique_key.as_ref())?;
    tx.prepare_cached(
        "UPDATE uploads SET settings = json_set(settings, '$.object_id', ?2),
                            updated_at_ms = ?3, expires_at_ms = ?4
         WHERE upload_key = ?1",
    )?
    .execute(params![
        upload_key,
        id,
        now.as_millisecond(),
        (now + REMEMBERED).as_millisecond(),
    ])?;
    buckets::adjust(tx, bucket.key, 1, size)?;
    events::objects(tx, EventKind::ObjectsAdded, bucket.key, std::slice::from_ref(&id), now)?;
    if let Some(sync_key) = sync_of(tx, object_key)?
        && changed_objects::is_wanted(tx, bucket.key)?
    {
        changed_objects::note(tx, sync_key, object_key)?;
    }
    Ok(Ok(id))
}

fn of_object(connection: &Connection, object_key: i64) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached(
            "SELECT u.upload_key FROM uploads u JOIN objects o USING (object_key)
             WHERE u.object_key = ?1 AND o.state = ?2",
        )?
        .query_row(params![object_key, UNCONFIRMED], |row| row.get(0))
        .optional()?)
}

fn sync_of(connection: &Connection, object_key: i64) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached(
            "SELECT e.sync_key FROM objects o JOIN entries e USING (entry_key)
             WHERE o.object_key = ?1",
        )?
        .query_row([object_key], |row| row.get(0))
        .optional()?)
}

/// The bytes of a hidden object, and what is known of them.
struct Bytes {
    bucket_key: i64,
    blob_key: i64,
    path: EntryPath,
    property: String,
    mime: Option<String>,
    kind: Option<String>,
    fields: Option<Map<String, Value>>,
    hash: BlobHash,
    size: u64,
    sync_id: Option<String>,
}

fn bytes_of(connection: &Connection, object_key: i64) -> Result<Option<Bytes>> {
    connection
        .prepare_cached(
            "SELECT o.bucket_key, ob.blob_key, o.path, o.content, coalesce(ob.mime, o.mime), ob.type,
                    o.fields, b.hash, b.size,
                    (SELECT s.id FROM entries e JOIN syncs s USING (sync_key)
                     WHERE e.entry_key = o.entry_key)
             FROM objects o
             JOIN object_blobs ob ON ob.object_key = o.object_key AND ob.property = o.content
             JOIN blobs b USING (blob_key)
             WHERE o.object_key = ?1",
        )?
        .query_row([object_key], |row| {
            let fields: Option<String> = row.get(6)?;
            let bytes = Bytes {
                bucket_key: row.get(0)?,
                blob_key: row.get(1)?,
                path: syncs::path(row.get(2)?),
                property: row.get(3)?,
                mime: row.get(4)?,
                kind: row.get(5)?,
                fields: None,
                hash: BlobHash::from_bytes(row.get(7)?),
                size: row.get(8)?,
                sync_id: row.get(9)?,
            };
            Ok((bytes, fields))
        })
        .optional()?
        .map(|(bytes, fields)| {
            let fields = fields.map(|text| json::read("object", &text)).transpose()?;
            Ok::<_, StoreError>(Bytes { fields, ..bytes })
        })
        .transpose()
}

impl Bytes {
    fn settings(&self, now: Timestamp) -> UploadSettings {
        let mime = self.mime.as_deref();
        let kind = self.kind.clone();
        let metadata = json!({
            "path": self.path.to_json_text(),
            "sync_config_id": self.sync_id,
        });
        UploadSettings {
            filename: EntryPath::new(self.path.file_name()).to_json_text(),
            content_type: mime.unwrap_or("application/octet-stream").to_owned(),
            file_size_bytes: Some(self.size),
            metadata: metadata.as_object().cloned(),
            create_object_on_confirm: true,
            object_metadata: self.fields.clone(),
            blob_property: Some(self.property.clone()),
            blob_type: Some(kind.unwrap_or_else(|| FieldType::of_mime(mime).as_str().to_owned())),
            etag: Some(self.hash.to_hex()),
            verified_at: Some(now),
            completed_at: Some(now),
            ..UploadSettings::default()
        }
    }
}
