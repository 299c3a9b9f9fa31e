//! Collections: found, made, changed, listed, counted, ended; and how they hang together.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::documents;
use crate::{
    model::{CollectionId, CollectionSettings, Disabled},
    store::{Result, json, time},
};

/// A collection as the database knows it.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: CollectionId,
    /// Internal key of its namespace.
    pub namespace_key: i64,
    /// Its name, unique in its namespace.
    pub name: String,
    /// How it is set up.
    pub settings: CollectionSettings,
    /// Whether it takes anything.
    pub is_enabled: bool,
    /// Why it does not, where nobody said so.
    pub disabled: Option<Disabled>,
    /// How many documents it has.
    pub document_count: u64,
    /// When it is triggered next by itself.
    pub next_run_at: Option<Timestamp>,
    /// Whether it is deleted and only what is in it is still to go.
    pub is_deleting: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its settings were changed last.
    pub updated_at: Timestamp,
}

/// What a collection takes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upstream {
    /// The objects of a bucket: its internal key.
    Bucket(i64),
    /// The documents of another collection: its internal key.
    Collection(i64),
}

const COLUMNS: &str = "collection_key, id, namespace_key, name, settings, is_enabled, disabled,
     document_count, next_run_at_ms, is_deleting, created_at_ms, updated_at_ms";

fn read(row: &Row<'_>) -> Result<Collection> {
    let (settings, disabled): (String, Option<String>) = (row.get(4)?, row.get(6)?);
    Ok(Collection {
        key: row.get(0)?,
        id: CollectionId::from_stored(row.get(1)?),
        namespace_key: row.get(2)?,
        name: row.get(3)?,
        settings: json::read("collection", &settings)?,
        is_enabled: row.get(5)?,
        disabled: disabled.map(|text| json::read("collection", &text)).transpose()?,
        document_count: row.get(7)?,
        next_run_at: row.get::<_, Option<i64>>(8)?.map(time::from_ms),
        is_deleting: row.get(9)?,
        created_at: time::from_ms(row.get(10)?),
        updated_at: time::from_ms(row.get(11)?),
    })
}

fn several(
    connection: &Connection,
    rest: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Collection>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM collections {rest}"))?;
    let mut rows = statement.query(values)?;
    let mut collections = Vec::new();
    while let Some(row) = rows.next()? {
        collections.push(read(row)?);
    }
    Ok(collections)
}

/// The collection of that id or, failing that, of that name in a namespace.
///
/// # Errors
/// SQLite's.
pub fn named(
    connection: &Connection,
    namespace_key: i64,
    id_or_name: &str,
) -> Result<Option<Collection>> {
    let rest = "WHERE namespace_key = ?1 AND (id = ?2 OR name = ?2) AND is_deleting = 0
                ORDER BY id = ?2 DESC LIMIT 1";
    Ok(several(connection, rest, params![namespace_key, id_or_name])?.pop())
}

/// The collection with that key, unless it is gone.
///
/// # Errors
/// SQLite's.
pub fn by_key(connection: &Connection, key: i64) -> Result<Option<Collection>> {
    Ok(several(connection, "WHERE collection_key = ?1", [key])?.pop())
}

/// The collections of a namespace, the newest first.
///
/// # Errors
/// SQLite's.
pub fn of_namespace(connection: &Connection, namespace_key: i64) -> Result<Vec<Collection>> {
    let rest = "WHERE namespace_key = ?1 AND is_deleting = 0 ORDER BY collection_key DESC";
    several(connection, rest, [namespace_key])
}

/// Every collection that is there.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Collection>> {
    several(connection, "WHERE is_deleting = 0 ORDER BY collection_key", [])
}

/// Collections of which only the end is left.
///
/// # Errors
/// SQLite's.
pub fn going(connection: &Connection) -> Result<Vec<Collection>> {
    several(connection, "WHERE is_deleting = 1", [])
}

/// Collections that are due by their schedule.
///
/// # Errors
/// SQLite's.
pub fn due(connection: &Connection, now: Timestamp) -> Result<Vec<Collection>> {
    let rest = "WHERE next_run_at_ms <= ?1 AND is_enabled AND is_deleting = 0";
    several(connection, rest, [now.as_millisecond()])
}

/// What a collection takes from.
///
/// # Errors
/// SQLite's.
pub fn sources(connection: &Connection, key: i64) -> Result<Vec<Upstream>> {
    let mut statement = connection.prepare_cached(
        "SELECT bucket_key, upstream_key FROM collection_sources WHERE collection_key = ?1",
    )?;
    let sources = statement
        .query_map([key], |row| {
            let (bucket, upstream): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(if upstream == 0 {
                Upstream::Bucket(bucket)
            } else {
                Upstream::Collection(upstream)
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(sources)
}

/// Makes a collection, unless its name is taken.
///
/// # Errors
/// SQLite's.
pub fn insert(
    tx: &Transaction<'_>,
    namespace_key: i64,
    name: &str,
    settings: &CollectionSettings,
    is_enabled: bool,
    sources: &[Upstream],
    now: Timestamp,
) -> Result<Option<Collection>> {
    let made: Option<i64> = tx
        .prepare_cached(
            "INSERT INTO collections (id, namespace_key, name, settings, is_enabled,
                                      next_run_at_ms, created_at_ms, updated_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
             ON CONFLICT DO NOTHING RETURNING collection_key",
        )?
        .query_row(
            params![
                CollectionId::generate().as_str(),
                namespace_key,
                name,
                json::write("collection", settings)?,
                is_enabled,
                first_run(settings, now),
                now.as_millisecond(),
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(key) = made else { return Ok(None) };
    for source in sources {
        let (bucket, upstream) = match *source {
            Upstream::Bucket(key) => (key, 0),
            Upstream::Collection(key) => (0, key),
        };
        tx.prepare_cached("INSERT OR IGNORE INTO collection_sources VALUES (?1, ?2, ?3)")?
            .execute([key, bucket, upstream])?;
    }
    by_key(tx, key)
}

fn first_run(settings: &CollectionSettings, now: Timestamp) -> Option<i64> {
    let schedule = settings.schedule.as_ref()?;
    let wait = if schedule.start_immediately { 0 } else { i64::from(schedule.interval_seconds) };
    Some(now.as_millisecond() + wait * 1000)
}

/// Changes a collection. Returns whether its new name was free; nothing is changed otherwise.
///
/// # Errors
/// SQLite's.
pub fn update(
    tx: &Transaction<'_>,
    collection: &Collection,
    name: &str,
    settings: &CollectionSettings,
    is_enabled: bool,
    now: Timestamp,
) -> Result<bool> {
    let taken = tx
        .prepare_cached(
            "SELECT 1 FROM collections
             WHERE namespace_key = ?1 AND name = ?2 AND collection_key <> ?3 AND is_deleting = 0",
        )?
        .exists(params![collection.namespace_key, name, collection.key])?;
    if taken {
        return Ok(false);
    }
    let next = match settings.schedule == collection.settings.schedule {
        true => collection.next_run_at.map(Timestamp::as_millisecond),
        false => first_run(settings, now),
    };
    tx.prepare_cached(
        "UPDATE collections SET name = ?2, settings = ?3, is_enabled = ?4, next_run_at_ms = ?5,
                disabled = CASE WHEN ?4 THEN NULL ELSE disabled END, updated_at_ms = ?6
         WHERE collection_key = ?1",
    )?
    .execute(params![
        collection.key,
        name,
        json::write("collection", settings)?,
        is_enabled,
        next,
        now.as_millisecond(),
    ])?;
    Ok(true)
}

/// Says when a collection is due next.
///
/// # Errors
/// SQLite's.
pub fn set_next_run(tx: &Transaction<'_>, key: i64, next: Option<Timestamp>) -> Result<()> {
    tx.prepare_cached("UPDATE collections SET next_run_at_ms = ?2 WHERE collection_key = ?1")?
        .execute(params![key, next.map(Timestamp::as_millisecond)])?;
    Ok(())
}

/// Switches off what takes from a source that is gone.
fn disable(tx: &Transaction<'_>, key: i64, why: &Disabled, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE collections SET is_enabled = 0, disabled = ?2, updated_at_ms = ?3
         WHERE collection_key = ?1",
    )?
    .execute(params![key, json::write("collection", why)?, now.as_millisecond()])?;
    Ok(())
}

/// The enabled collections that take from a bucket.
///
/// # Errors
/// SQLite's.
pub fn of_bucket(connection: &Connection, bucket_key: i64) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT collection_key FROM collection_sources JOIN collections USING (collection_key)
         WHERE bucket_key = ?1 AND bucket_key <> 0 AND is_enabled AND is_deleting = 0
         ORDER BY collection_key",
    )?;
    let keys = statement
        .query_map([bucket_key], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(keys)
}

/// The public id of a bucket, unless it is gone.
///
/// # Errors
/// SQLite's.
pub fn bucket_id(connection: &Connection, bucket_key: i64) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached("SELECT id FROM buckets WHERE bucket_key = ?1")?
        .query_row([bucket_key], |row| row.get(0))
        .optional()?)
}

/// The enabled collections that take from another.
///
/// # Errors
/// SQLite's.
pub fn downstream(connection: &Connection, key: i64) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT collection_key FROM collection_sources JOIN collections USING (collection_key)
         WHERE upstream_key = ?1 AND upstream_key <> 0 AND is_enabled AND is_deleting = 0
         ORDER BY collection_key",
    )?;
    let keys =
        statement.query_map([key], |row| row.get(0))?.collect::<std::result::Result<_, _>>()?;
    Ok(keys)
}

/// The collections that take, one way or another, from these, these among them, in an order in
/// which each comes after all that it takes from.
///
/// # Errors
/// SQLite's.
pub fn tiers(connection: &Connection, first: &[i64]) -> Result<Vec<Vec<i64>>> {
    let mut tier_of: BTreeMap<i64, usize> = first.iter().map(|key| (*key, 0)).collect();
    let mut next: BTreeSet<i64> = first.iter().copied().collect();
    // No collection takes from itself, however indirectly: this ends.
    while let Some(key) = next.pop_first() {
        let below = tier_of.get(&key).copied().unwrap_or_default() + 1;
        for other in downstream(connection, key)? {
            if tier_of.get(&other).is_none_or(|tier| *tier < below) {
                tier_of.insert(other, below);
                next.insert(other);
            }
        }
    }
    let count = tier_of.values().max().map_or(0, |last| last + 1);
    let mut tiers = vec![Vec::new(); count];
    for (key, tier) in tier_of {
        tiers[tier].push(key);
    }
    Ok(tiers)
}

/// Whether a collection takes, one way or another, from another.
///
/// # Errors
/// SQLite's.
pub fn takes_from(connection: &Connection, key: i64, other: i64) -> Result<bool> {
    let mut next = vec![key];
    let mut seen = BTreeSet::new();
    while let Some(key) = next.pop() {
        if key == other {
            return Ok(true);
        }
        if seen.insert(key) {
            next.extend(sources(connection, key)?.into_iter().filter_map(|from| match from {
                Upstream::Collection(key) => Some(key),
                Upstream::Bucket(_) => None,
            }));
        }
    }
    Ok(false)
}

/// The buckets whose objects reach a collection, one way or another.
///
/// # Errors
/// SQLite's.
pub fn root_buckets(connection: &Connection, key: i64) -> Result<Vec<i64>> {
    let (mut next, mut seen, mut buckets) = (vec![key], BTreeSet::new(), BTreeSet::new());
    while let Some(key) = next.pop() {
        if !seen.insert(key) {
            continue;
        }
        for from in sources(connection, key)? {
            match from {
                Upstream::Bucket(bucket) => {
                    buckets.insert(bucket);
                }
                Upstream::Collection(upstream) => next.push(upstream),
            }
        }
    }
    Ok(buckets.into_iter().collect())
}

/// The ledger's counts of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Objects that are being tried, or will be again.
    pub waiting: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Objects that were extracted by another recipe.
    pub outdated: u64,
}

/// How the objects of a collection stand, beside the recipe that it has now.
///
/// # Errors
/// SQLite's.
pub fn backlog(connection: &Connection, key: i64, recipe: &[u8]) -> Result<Backlog> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE state IN ('trying', 'waiting')),
                    count(*) FILTER (WHERE state = 'failed'),
                    count(*) FILTER (WHERE state = 'done' AND recipe <> ?2)
             FROM outcomes WHERE collection_key = ?1",
        )?
        .query_row(params![key, recipe], |row| {
            Ok(Backlog { waiting: row.get(0)?, failed: row.get(1)?, outdated: row.get(2)? })
        })?)
}

/// How many objects failed in a collection.
///
/// # Errors
/// SQLite's.
pub fn failed(connection: &Connection, key: i64) -> Result<u64> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM outcomes WHERE collection_key = ?1 AND state = 'failed'",
        )?
        .query_row([key], |row| row.get(0))?)
}

/// Marks a collection as deleted, frees its name, and switches off what takes from it.
///
/// # Errors
/// SQLite's.
pub fn begin_removal(tx: &Transaction<'_>, collection: &Collection, now: Timestamp) -> Result<()> {
    for key in downstream(tx, collection.key)? {
        let why = Disabled {
            code: "source_collection_deleted".to_owned(),
            message: format!(
                "the collection {:?}, which it takes from, is deleted",
                collection.name
            ),
            source_collection_id: Some(collection.id.to_string()),
            source_collection_name: Some(collection.name.clone()),
            disabled_at: now.to_string(),
        };
        disable(tx, key, &why, now)?;
    }
    tx.prepare_cached(
        "UPDATE collections SET is_deleting = 1, is_enabled = 0, next_run_at_ms = NULL,
                                updated_at_ms = ?2 WHERE collection_key = ?1",
    )?
    .execute(params![collection.key, now.as_millisecond()])?;
    Ok(())
}

/// Whether a collection is there and is not being deleted.
///
/// # Errors
/// SQLite's.
pub fn is_kept(connection: &Connection, key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM collections WHERE collection_key = ?1 AND is_deleting = 0")?
        .exists([key])?)
}

/// Takes a bucket that goes away from the collections that take from it; those that have nothing
/// else are switched off.
pub(crate) fn lose_bucket(tx: &Transaction<'_>, bucket_key: i64, now: Timestamp) -> Result<()> {
    let keys = of_bucket(tx, bucket_key)?;
    tx.prepare_cached("DELETE FROM collection_sources WHERE bucket_key = ?1 AND bucket_key <> 0")?
        .execute([bucket_key])?;
    for key in keys {
        if sources(tx, key)?.is_empty() {
            let why = Disabled {
                code: "source_bucket_deleted".to_owned(),
                message: "the bucket that it takes from is deleted".to_owned(),
                source_collection_id: None,
                source_collection_name: None,
                disabled_at: now.to_string(),
            };
            disable(tx, key, &why, now)?;
        }
    }
    Ok(())
}

/// Removes the next part of what a deleted collection has, and the collection after the last one.
/// Returns whether that is done.
///
/// # Errors
/// SQLite's.
pub fn remove_step(tx: &Transaction<'_>, key: i64) -> Result<bool> {
    const STEP: u32 = 500;
    if documents::remove_some(tx, key, STEP)? > 0 {
        return Ok(false);
    }
    let outcomes = tx
        .prepare_cached(
            "DELETE FROM outcomes WHERE collection_key = ?1 AND object_key IN
                 (SELECT object_key FROM outcomes WHERE collection_key = ?1 LIMIT ?2)",
        )?
        .execute(params![key, STEP * 10])?;
    if outcomes > 0 {
        return Ok(false);
    }
    tx.execute(
        "DELETE FROM collection_sources WHERE collection_key = ?1 OR upstream_key = ?1",
        [key],
    )?;
    tx.execute("DELETE FROM collections WHERE collection_key = ?1", [key])?;
    Ok(true)
}
