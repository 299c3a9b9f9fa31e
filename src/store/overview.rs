//! The state of things at a glance, across buckets, syncs and connections: what the first page of
//! the browser shows. Reads only.

use rusqlite::{Connection, params};

use super::{
    Result, blobs,
    connections::{self, StoredConnection},
    dead_letters,
    jobs::{self, Job},
    syncs::{self, Sync},
};

/// How many runs of a sync are returned.
pub const RUNS: u32 = 30;

/// What a namespace contains, and the states of its syncs.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Buckets of the namespace.
    pub buckets: u64,
    /// Their objects.
    pub objects: u64,
    /// Bytes of those objects, shared bytes counted for each.
    pub bytes: u64,
    /// Bytes of every blob of the installation, each counted once.
    pub stored_bytes: u64,
    /// Bytes of the objects of all namespaces, those in the trash too, shared bytes counted for
    /// each.
    pub bytes_of_all: u64,
    /// Syncs that are not archived, oldest first.
    pub syncs: Vec<SyncAtAGlance>,
    /// Connections that are suspended, or failed when they were last used.
    pub failing: Vec<StoredConnection>,
}

/// A sync with what surrounds it.
#[derive(Clone, Debug)]
pub struct SyncAtAGlance {
    /// The sync.
    pub sync: Sync,
    /// What its connection is called.
    pub connection_name: String,
    /// Entries that could not be stored and are not given up.
    pub dead_letters: u64,
    /// The last [`RUNS`] runs, oldest first.
    pub runs: Vec<Job>,
}

/// Looks at everything in the namespace.
///
/// # Errors
/// SQLite's.
pub fn overview(db: &Connection, namespace_key: i64) -> Result<Overview> {
    let (buckets, objects, bytes) = db
        .prepare_cached(
            "SELECT count(*), coalesce(sum(object_count), 0), coalesce(sum(object_bytes), 0)
             FROM buckets WHERE namespace_key = ?1 AND is_deleting = 0",
        )?
        .query_row([namespace_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let bytes_of_all = db
        .prepare_cached("SELECT coalesce(sum(object_bytes + trash_bytes), 0) FROM buckets")?
        .query_row([], |row| row.get(0))?;
    let syncs = standing(db, namespace_key)?
        .into_iter()
        .map(|sync| at_a_glance(db, sync))
        .collect::<Result<Vec<_>>>()?;
    Ok(Overview {
        buckets,
        objects,
        bytes,
        stored_bytes: blobs::totals(db)?.bytes,
        bytes_of_all,
        syncs,
        failing: failing(db)?,
    })
}

fn standing(db: &Connection, namespace_key: i64) -> Result<Vec<Sync>> {
    let mut statement = db.prepare_cached(&format!(
        "{} WHERE b.namespace_key = ?1 AND s.status <> 'ARCHIVED' ORDER BY s.sync_key",
        syncs::SELECT
    ))?;
    let rows = statement.query_map([namespace_key], |row| Ok(syncs::read(row)))?;
    rows.map(|row| row?).collect()
}

fn at_a_glance(db: &Connection, sync: Sync) -> Result<SyncAtAGlance> {
    let mut runs = jobs::latest(db, sync.key, RUNS)?;
    runs.reverse();
    Ok(SyncAtAGlance {
        connection_name: connections::by_key(db, sync.connection_key)?.name,
        dead_letters: dead_letters::open_count(db, sync.key)?,
        runs,
        sync,
    })
}

fn failing(db: &Connection) -> Result<Vec<StoredConnection>> {
    let mut statement = db.prepare_cached(
        "SELECT connection_key FROM connections
         WHERE status = 'SUSPENDED' OR (status <> 'ARCHIVED' AND consecutive_failures > 0)
         ORDER BY connection_key",
    )?;
    let keys = statement.query_map(params![], |row| row.get(0))?;
    keys.map(|key| connections::by_key(db, key?)).collect()
}
