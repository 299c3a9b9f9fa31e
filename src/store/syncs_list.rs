//! Syncs as people look at them: listed by page, each with its lease, its jobs and its progress.

use rusqlite::{Connection, params};

use super::{
    Result,
    checkpoints::{self, Progress},
    dead_letters, jobs,
    jobs::Job,
    leases::{self, Holder},
    processing::batches::{self, OfSync},
    reconcile,
    syncs::{self, Sync},
};
use crate::model::SyncStatus;

/// A filter on the syncs of a bucket.
#[derive(Clone, Debug, Default)]
pub struct SyncFilter {
    /// Internal key of their bucket.
    pub bucket_key: i64,
    /// Internal key of their connection.
    pub connection_key: Option<i64>,
    /// Their state. Without it, all but the deleted ones.
    pub status: Option<SyncStatus>,
    /// Whether they may run at all.
    pub is_active: Option<bool>,
}

const CONDITION: &str = "s.bucket_key = ?1 AND (?2 IS NULL OR s.connection_key = ?2)
     AND iif(?3 IS NULL, s.status <> 'ARCHIVED', s.status = ?3)
     AND (?4 IS NULL OR s.is_active = ?4)";

/// A page of them, newest first: those made before the one with the internal key `before`, without
/// the first `skip`.
///
/// # Errors
/// SQLite's.
pub fn page(
    connection: &Connection,
    wanted: &SyncFilter,
    before: Option<i64>,
    skip: u64,
    limit: u64,
) -> Result<Vec<Sync>> {
    let mut statement = connection.prepare_cached(&format!(
        "{} WHERE {CONDITION} AND (?5 IS NULL OR s.sync_key < ?5)
         ORDER BY s.sync_key DESC LIMIT ?6 OFFSET ?7",
        syncs::SELECT
    ))?;
    let mut rows = statement.query(params![
        wanted.bucket_key,
        wanted.connection_key,
        wanted.status.map(SyncStatus::as_str),
        wanted.is_active,
        before,
        limit,
        skip,
    ])?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        page.push(syncs::read(row)?);
    }
    Ok(page)
}

/// How many there are in all.
///
/// # Errors
/// SQLite's.
pub fn total(connection: &Connection, wanted: &SyncFilter) -> Result<u64> {
    Ok(connection
        .prepare_cached(&format!("SELECT count(*) FROM syncs s WHERE {CONDITION}"))?
        .query_row(
            params![
                wanted.bucket_key,
                wanted.connection_key,
                wanted.status.map(SyncStatus::as_str),
                wanted.is_active,
            ],
            |row| row.get(0),
        )?)
}

/// A sync with all that belongs to it, at one instant.
#[derive(Clone, Debug)]
pub struct SyncDetails {
    /// The sync.
    pub sync: Sync,
    /// Who holds its lease, alive or not.
    pub lease: Option<Holder>,
    /// The job that runs or waits, else the last one.
    pub job: Option<Job>,
    /// The last job that came to its end, good or bad, after having begun.
    pub last_run: Option<Job>,
    /// How far each shard has come.
    pub shards: Vec<Progress>,
    /// Open dead letters.
    pub dead_letters: u64,
    /// The batches that it made.
    pub batches: OfSync,
    /// Objects whose entries are gone from the source, and that somebody said to keep.
    pub released: u64,
}

/// Gathers what belongs to a sync.
///
/// # Errors
/// SQLite's.
pub fn details(connection: &Connection, sync: Sync) -> Result<SyncDetails> {
    let job = match jobs::under_way(connection, sync.key)? {
        Some(job) => Some(job),
        None => jobs::latest(connection, sync.key, 1)?.pop(),
    };
    Ok(SyncDetails {
        lease: leases::holder(connection, sync.key)?,
        last_run: jobs::last_run(connection, sync.key)?,
        shards: checkpoints::progress(connection, sync.key)?,
        dead_letters: dead_letters::open_count(connection, sync.key)?,
        batches: batches::of_sync(connection, sync.key)?,
        released: reconcile::released(connection, sync.key)?,
        job,
        sync,
    })
}
