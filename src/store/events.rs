//! What happened, in order: written with the change that it reports, read by the event stream and
//! the activity log.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use serde_json::{Value, json};

use super::{Result, StoreError, time};

/// How many are kept.
const KEPT: i64 = 20_000;

/// What kind of thing happened, in the wire's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A job took its lease and began.
    JobStarted,
    /// A job came to an end, good or bad.
    JobFinished,
    /// Objects came into a bucket.
    ObjectsAdded,
    /// Objects changed.
    ObjectsUpdated,
    /// Objects went.
    ObjectsRemoved,
    /// A sync was made, changed, paused, resumed, held, deleted.
    SyncChanged,
    /// A connection was made, changed, suspended, archived.
    ConnectionChanged,
    /// A bucket was made, changed, deleted.
    BucketChanged,
    /// A batch came to an end.
    BatchFinished,
    /// Documents were written, changed or removed.
    DocumentsWritten,
    /// A collection was made, changed, deleted.
    CollectionChanged,
    /// An extractor was paused, or works again.
    ExtractorPaused,
    /// Something that a person should know, such as a folder that cannot be watched.
    Notice,
}

impl EventKind {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobStarted => "job.started",
            Self::JobFinished => "job.finished",
            Self::ObjectsAdded => "objects.added",
            Self::ObjectsUpdated => "objects.updated",
            Self::ObjectsRemoved => "objects.removed",
            Self::SyncChanged => "sync.changed",
            Self::ConnectionChanged => "connection.changed",
            Self::BucketChanged => "bucket.changed",
            Self::BatchFinished => "batch.finished",
            Self::DocumentsWritten => "documents.written",
            Self::CollectionChanged => "collection.changed",
            Self::ExtractorPaused => "extractor.paused",
            Self::Notice => "notice",
        }
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Internal key of a bucket.
    pub bucket: Option<i64>,
    /// Internal key of a sync; its bucket need not be named besides.
    pub sync: Option<i64>,
    /// Internal key of a job.
    pub job: Option<i64>,
}

impl About {
    /// About a sync.
    #[must_use]
    pub const fn sync(sync_key: i64) -> Self {
        Self { bucket: None, sync: Some(sync_key), job: None }
    }

    /// About a job of a sync.
    #[must_use]
    pub const fn job(sync_key: i64, job_key: i64) -> Self {
        Self { bucket: None, sync: Some(sync_key), job: Some(job_key) }
    }

    /// About a bucket.
    #[must_use]
    pub const fn bucket(bucket_key: i64) -> Self {
        Self { bucket: Some(bucket_key), sync: None, job: None }
    }
}

/// Appends an event, and drops the oldest beyond those that are kept. `detail` is a JSON object.
///
/// # Errors
/// SQLite's.
pub fn append(
    tx: &Transaction<'_>,
    kind: EventKind,
    about: About,
    detail: &Value,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO events (at_ms, kind, bucket_key, sync_key, job_key, detail)
         VALUES (?1, ?2, coalesce(?3, (SELECT bucket_key FROM syncs WHERE sync_key = ?4)), ?4, ?5,
                 ?6)",
    )?
    .execute(params![
        now.as_millisecond(),
        kind.as_str(),
        about.bucket,
        about.sync,
        about.job,
        detail.to_string(),
    ])?;
    tx.prepare_cached("DELETE FROM events WHERE event_key <= ?1")?
        .execute([tx.last_insert_rowid() - KEPT])?;
    Ok(())
}

/// How many objects one event names.
pub(super) const NAMED: usize = 100;

/// Emits an event about objects of a bucket that were created, changed or removed through the API.
pub(super) fn objects(
    tx: &Transaction<'_>,
    kind: EventKind,
    bucket_key: i64,
    ids: &[String],
    now: Timestamp,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let named = &ids[..ids.len().min(NAMED)];
    let detail = json!({"count": ids.len(), "object_ids": named});
    append(tx, kind, About::bucket(bucket_key), &detail, now)
}

/// An event as it is read.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the order, never given twice.
    pub key: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of thing, see [`EventKind`].
    pub kind: String,
    /// Public id of the bucket that it is about.
    pub bucket_id: Option<String>,
    /// Public id of the sync.
    pub sync_id: Option<String>,
    /// Public id of the job.
    pub job_id: Option<String>,
    /// Public id of the namespace of its bucket or collection, while that is there.
    pub namespace_id: Option<String>,
    /// The rest, a JSON object.
    pub detail: Value,
}

const SELECT: &str = "SELECT event_key, at_ms, kind, b.id, s.id, j.id, detail, n.id
     FROM events e LEFT JOIN buckets b USING (bucket_key)
     LEFT JOIN syncs s ON s.sync_key = e.sync_key LEFT JOIN jobs j ON j.job_key = e.job_key
     LEFT JOIN collections c ON c.id = e.detail ->> 'collection_id'
     LEFT JOIN namespaces n ON n.namespace_key = coalesce(b.namespace_key, c.namespace_key)";

/// At most `limit` events behind `after`, oldest first.
///
/// # Errors
/// SQLite's.
pub fn behind(connection: &Connection, after: i64, limit: u32) -> Result<Vec<Event>> {
    query(connection, "WHERE event_key > ?1 ORDER BY event_key LIMIT ?2", after, limit)
}

/// At most `limit` events before `before`, newest first: the activity log backwards.
///
/// # Errors
/// SQLite's.
pub fn before(connection: &Connection, before: i64, limit: u32) -> Result<Vec<Event>> {
    query(connection, "WHERE event_key < ?1 ORDER BY event_key DESC LIMIT ?2", before, limit)
}

fn query(connection: &Connection, rest: &str, key: i64, limit: u32) -> Result<Vec<Event>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} {rest}"))?;
    let mut rows = statement.query(params![key, limit])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let detail: String = row.get(6)?;
        events.push(Event {
            key: row.get(0)?,
            at: time::from_ms(row.get(1)?),
            kind: row.get(2)?,
            bucket_id: row.get(3)?,
            sync_id: row.get(4)?,
            job_id: row.get(5)?,
            namespace_id: row.get(7)?,
            detail: serde_json::from_str(&detail)
                .map_err(|error| StoreError::nonsense("event", error))?,
        });
    }
    Ok(events)
}

/// The key of the newest event; 0 before the first.
///
/// # Errors
/// SQLite's.
pub fn newest(connection: &Connection) -> Result<i64> {
    Ok(connection
        .prepare_cached("SELECT coalesce(max(event_key), 0) FROM events")?
        .query_row([], |row| row.get(0))?)
}

/// The key of the oldest event that is kept; 0 before the first.
///
/// # Errors
/// SQLite's.
pub fn oldest(connection: &Connection) -> Result<i64> {
    Ok(connection
        .prepare_cached("SELECT coalesce(min(event_key), 0) FROM events")?
        .query_row([], |row| row.get(0))?)
}
