//! Uploads: bytes on their way to an object.
//!
//! An upload keeps its bytes until it ends, or until the object that they became part of is
//! deleted.

pub mod waiting;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{
    Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter, types::Value,
};

use super::{
    Result, StoreError, blobs,
    clause::Clause,
    filter::{self, Fields, Operand},
    functions, json,
    row_position::RowPosition,
    stored::Stored,
    time,
};
use crate::model::{
    BlobHash, FieldPath, FieldProblem, Filter, Sort, UploadId, UploadSettings, UploadStatus,
};

/// An upload as the database knows it.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: UploadId,
    /// Internal key of its bucket.
    pub bucket_key: i64,
    /// Its state.
    pub status: UploadStatus,
    /// What else there is to say of it.
    pub settings: UploadSettings,
    /// Its bytes, if they are here: hash and how many.
    pub bytes: Option<(BlobHash, u64)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends: unconfirmed ones fail then, others are forgotten.
    pub expires_at: Option<Timestamp>,
    /// Internal key of the object of a sync that is shown once this is confirmed.
    pub waiting: Option<i64>,
}

/// How long an upload that was confirmed, or failed, is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

const SELECT: &str =
    "SELECT u.upload_key, u.id, u.bucket_key, u.status, u.settings, b.hash, b.size,
     u.created_at_ms, u.expires_at_ms,
     (SELECT o.object_key FROM objects o WHERE o.object_key = u.object_key AND o.state = 'unconfirmed')
     FROM uploads u LEFT JOIN blobs b USING (blob_key)";

fn read(row: &Row<'_>) -> Result<Upload> {
    let (status, settings): (String, String) = (row.get(3)?, row.get(4)?);
    let hash: Option<[u8; 32]> = row.get(5)?;
    let size: Option<u64> = row.get(6)?;
    Ok(Upload {
        key: row.get(0)?,
        id: UploadId::from_stored(row.get(1)?),
        bucket_key: row.get(2)?,
        status: match status.as_str() {
            "PENDING" => UploadStatus::Pending,
            "IN_PROGRESS" => UploadStatus::InProgress,
            "COMPLETED" => UploadStatus::Completed,
            "FAILED" => UploadStatus::Failed,
            other => return Err(StoreError::nonsense("upload", other)),
        },
        settings: json::read("upload", &settings)?,
        bytes: hash.map(BlobHash::from_bytes).zip(size),
        created_at: time::from_ms(row.get(7)?),
        expires_at: row.get::<_, Option<i64>>(8)?.map(time::from_ms),
        waiting: row.get(9)?,
    })
}

/// Makes an upload that waits for bytes until `expires_at`.
///
/// # Errors
/// SQLite's.
pub fn insert(
    tx: &Transaction<'_>,
    bucket_key: i64,
    settings: &UploadSettings,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<Upload> {
    tx.prepare_cached(
        "INSERT INTO uploads (id, bucket_key, status, settings, created_at_ms, updated_at_ms,
                              expires_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
    )?
    .execute(params![
        UploadId::generate().as_str(),
        bucket_key,
        UploadStatus::Pending.as_str(),
        json::write("upload", settings)?,
        now.as_millisecond(),
        expires_at.as_millisecond(),
    ])?;
    by_key(tx, tx.last_insert_rowid())
}

/// The upload with that internal key.
///
/// # Errors
/// SQLite's, or when there is none.
pub fn by_key(connection: &Connection, key: i64) -> Result<Upload> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE u.upload_key = ?1"))?
        .query_row([key], |row| Ok(read(row)))?
}

/// The upload of that id in a bucket.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, bucket_key: i64, id: &str) -> Result<Option<Upload>> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE u.bucket_key = ?1 AND u.id = ?2"))?
        .query_row(params![bucket_key, id], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

/// The oldest confirmed upload of a bucket whose bytes have that SHA-256 and are here.
///
/// # Errors
/// SQLite's.
pub fn with_hash(connection: &Connection, bucket_key: i64, sha256: &str) -> Result<Option<Upload>> {
    connection
        .prepare_cached(&format!(
            "{SELECT} WHERE u.bucket_key = ?1 AND u.status = 'COMPLETED' AND u.blob_key IS NOT NULL
               AND u.settings ->> '$.file_hash' = ?2 ORDER BY u.upload_key LIMIT 1"
        ))?
        .query_row(params![bucket_key, sha256], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

/// Records the bytes that came for an upload; those that came before go. Returns whether they were
/// still waited for.
///
/// # Errors
/// SQLite's; [`StoreError::BlobVanished`] when their file was collected meanwhile.
pub fn receive(
    tx: &Transaction<'_>,
    key: i64,
    stored: &Stored,
    settings: &UploadSettings,
    file_exists: impl Fn(&BlobHash) -> bool,
    now: Timestamp,
) -> Result<bool> {
    let state: Option<(Option<i64>, bool)> = tx
        .prepare_cached(
            "SELECT blob_key, status IN ('PENDING', 'IN_PROGRESS') FROM uploads WHERE upload_key = ?1",
        )?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((old, true)) = state else { return Ok(false) };
    if stored.inline.is_none() && !file_exists(&stored.hash) {
        return Err(StoreError::BlobVanished);
    }
    let blob_key = blobs::ensure(tx, &stored.hash, stored.size, stored.inline.as_deref())?;
    tx.prepare_cached(
        "UPDATE uploads SET blob_key = ?2, status = ?3, settings = ?4, updated_at_ms = ?5
         WHERE upload_key = ?1",
    )?
    .execute(params![
        key,
        blob_key,
        UploadStatus::InProgress.as_str(),
        json::write("upload", settings)?,
        now.as_millisecond(),
    ])?;
    if let Some(old) = old.filter(|old| *old != blob_key) {
        blobs::maybe_orphaned(tx, old)?;
    }
    Ok(true)
}

/// Confirms an upload, with what is known of it by now.
///
/// # Errors
/// SQLite's.
pub fn complete(
    tx: &Transaction<'_>,
    key: i64,
    settings: &UploadSettings,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE uploads SET status = ?2, settings = ?3, updated_at_ms = ?4, expires_at_ms = ?5
         WHERE upload_key = ?1",
    )?
    .execute(params![
        key,
        UploadStatus::Completed.as_str(),
        json::write("upload", settings)?,
        now.as_millisecond(),
        (now + REMEMBERED).as_millisecond(),
    ])?;
    Ok(())
}

/// The row of the bytes of an upload that was confirmed.
pub(super) fn bytes_of(connection: &Connection, key: i64) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached(
            "SELECT blob_key FROM uploads WHERE upload_key = ?1 AND status = 'COMPLETED'",
        )?
        .query_row([key], |row| row.get(0))
        .optional()?
        .flatten())
}

/// Notes the object that an upload became part of; one that an object of a sync waits for stays
/// that object's.
pub(super) fn used(tx: &Transaction<'_>, key: i64, object_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE uploads SET object_key = ?2
         WHERE upload_key = ?1 AND NOT EXISTS (
             SELECT 1 FROM objects o
             WHERE o.object_key = uploads.object_key AND o.state = 'unconfirmed')",
    )?
    .execute([key, object_key])?;
    Ok(())
}

/// An object is deleted: the upload that it was made from no longer keeps its bytes.
pub(super) fn let_go(tx: &Transaction<'_>, blob_key: i64, object_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE uploads SET blob_key = NULL, object_key = NULL
         WHERE blob_key = ?1 AND object_key = ?2",
    )?
    .execute([blob_key, object_key])?;
    Ok(())
}

/// Forgets an upload; its bytes go if nothing else needs them.
///
/// # Errors
/// SQLite's.
pub fn delete(tx: &Transaction<'_>, key: i64) -> Result<()> {
    let blob_key: Option<Option<i64>> = tx
        .prepare_cached("DELETE FROM uploads WHERE upload_key = ?1 RETURNING blob_key")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    if let Some(Some(blob_key)) = blob_key {
        blobs::maybe_orphaned(tx, blob_key)?;
    }
    Ok(())
}

/// Whether there are uploads whose time is up.
///
/// # Errors
/// SQLite's.
pub fn any_ended(connection: &Connection, now: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM uploads WHERE expires_at_ms <= ?1 LIMIT 1")?
        .exists([now.as_millisecond()])?)
}

/// Ends the uploads whose time is up: unconfirmed ones fail and lose their bytes, the others are
/// forgotten.
///
/// # Errors
/// SQLite's.
pub fn end_due(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    let due: Vec<(i64, Option<i64>, bool)> = tx
        .prepare_cached(
            "SELECT upload_key, blob_key, status IN ('PENDING', 'IN_PROGRESS') FROM uploads
             WHERE expires_at_ms <= ?1",
        )?
        .query_map([now.as_millisecond()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<std::result::Result<_, _>>()?;
    for (key, blob_key, is_open) in due {
        if !is_open {
            delete(tx, key)?;
            continue;
        }
        tx.prepare_cached(
            "UPDATE uploads SET status = ?2, blob_key = NULL, updated_at_ms = ?3, expires_at_ms = ?4,
                 settings = json_set(settings, '$.message', 'it was not confirmed in time')
             WHERE upload_key = ?1",
        )?
        .execute(params![
            key,
            UploadStatus::Failed.as_str(),
            now.as_millisecond(),
            (now + REMEMBERED).as_millisecond(),
        ])?;
        if let Some(blob_key) = blob_key {
            blobs::maybe_orphaned(tx, blob_key)?;
        }
    }
    Ok(())
}

/// The fields of an upload, as filters name them.
struct UploadFields;

impl Fields for UploadFields {
    fn operand(&self, field: &FieldPath) -> Operand {
        match field.parts() {
            [one] if one == "upload_id" => Operand::Exact("u.id"),
            [one] if one == "status" => Operand::Text("u.status"),
            [one] if one == "created_at" => Operand::Milliseconds("u.created_at_ms"),
            [one] if one == "expires_at" => Operand::Milliseconds("u.expires_at_ms"),
            parts => Operand::json("u.settings", parts),
        }
    }
}

/// A query for a bucket's uploads, the newest first unless `sort` says otherwise.
#[derive(Clone, Debug)]
pub struct Query {
    condition: Clause,
    column: Clause,
    descending: bool,
}

impl Query {
    /// Builds a query for a bucket's uploads. `search` is looked for in the file's name
    /// and in the values of the metadata.
    ///
    /// # Errors
    /// A condition that its field cannot be asked.
    pub fn new(
        bucket_key: i64,
        filter: Option<&Filter>,
        search: Option<&str>,
        sort: Option<&Sort>,
    ) -> std::result::Result<Self, FieldProblem> {
        let mut conditions = vec![Clause::default().sql("u.bucket_key = ").bind(bucket_key)];
        if let Some(filter) = filter {
            conditions.push(filter::compile(filter, &UploadFields)?);
        }
        if let Some(text) = search.filter(|text| !text.is_empty()) {
            let text = Value::from(functions::fold(text));
            let name = Clause::default()
                .sql("instr(folded(u.settings ->> '$.filename'), ")
                .bind(text.clone())
                .sql(") > 0");
            let metadata = Clause::default()
                .sql(
                    "EXISTS (SELECT 1 FROM json_tree(u.settings, '$.metadata') j
                      WHERE j.atom IS NOT NULL AND instr(folded(j.atom), ",
                )
                .bind(text)
                .sql(") > 0)");
            conditions.push(Clause::joined(vec![name, metadata], false));
        }
        Ok(Self {
            condition: Clause::joined(conditions, true),
            column: match sort {
                Some(sort) => UploadFields.operand(&sort.field).scalar(),
                None => Clause::default().sql("u.upload_key"),
            },
            descending: sort.is_none_or(|sort| sort.descending),
        })
    }

    /// Up to `limit` uploads behind `after`, `skip` left out first, each with its place.
    ///
    /// # Errors
    /// SQLite's.
    pub fn page(
        &self,
        connection: &Connection,
        after: Option<&RowPosition>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<(RowPosition, Upload)>> {
        let mut clause = Clause::default()
            .sql("SELECT u.upload_key, ")
            .then(self.column.clone())
            .sql(" FROM uploads u WHERE ")
            .then(self.condition.clone());
        if let Some(place) = after {
            let behind = place.behind(&self.column, "u.upload_key", self.descending);
            clause = clause.sql(" AND ").then(behind);
        }
        let direction = if self.descending { "DESC" } else { "ASC" };
        let clause = clause
            .sql(&format!(" ORDER BY 2 {direction}, u.upload_key {direction} LIMIT "))
            .bind(limit)
            .sql(" OFFSET ")
            .bind(i64::try_from(skip).unwrap_or(i64::MAX));
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let mut rows = statement.query(params_from_iter(&clause.values))?;
        let mut uploads = Vec::new();
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            uploads.push((RowPosition::new(key, row.get(1)?), by_key(connection, key)?));
        }
        Ok(uploads)
    }

    /// The sums over all that match: how many there are by state, and their bytes.
    ///
    /// # Errors
    /// SQLite's.
    pub fn sums(&self, connection: &Connection) -> Result<(BTreeMap<String, u64>, u64)> {
        let clause = Clause::default()
            .sql(
                "SELECT u.status, count(*), coalesce(sum(u.settings ->> '$.file_size_bytes'), 0)
                 FROM uploads u WHERE ",
            )
            .then(self.condition.clone())
            .sql(" GROUP BY u.status");
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let mut rows = statement.query(params_from_iter(&clause.values))?;
        let (mut by_status, mut bytes) = (BTreeMap::new(), 0);
        while let Some(row) = rows.next()? {
            by_status.insert(row.get(0)?, row.get(1)?);
            bytes += row.get::<_, u64>(2)?;
        }
        Ok((by_status, bytes))
    }
}
