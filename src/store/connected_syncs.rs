//! Syncs that the command line makes or finds through a stored connection.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Result, buckets,
    syncs::{self, BucketChoice, MadeBy, NewSync, Sync},
};
use crate::model::{BucketName, SyncOptions};

/// The sync from a place of that connection into the chosen bucket: the command line's, else one
/// that was made through the API.
///
/// # Errors
/// SQLite's.
pub fn find(
    connection: &Connection,
    connection_key: i64,
    source_path: &[u8],
    bucket: &BucketChoice,
) -> Result<Option<Sync>> {
    let (name, is_named) = match bucket {
        BucketChoice::Named(name) => (name, true),
        BucketChoice::AfterSource(name) => (name, false),
    };
    connection
        .prepare_cached(&format!(
            "{} WHERE s.connection_key = ?1 AND s.source_path = ?2 AND s.status <> 'ARCHIVED'
                 AND b.namespace_key = {}
                 AND iif(s.made_by = 'command_line' AND NOT ?4, s.named_bucket = 0, b.name = ?3)
             ORDER BY s.made_by = 'command_line' DESC, s.sync_key LIMIT 1",
            syncs::SELECT,
            buckets::DEFAULT_NAMESPACE
        ))?
        .query_row(params![connection_key, source_path, name.as_str(), is_named], |row| {
            Ok(syncs::read(row))
        })
        .optional()?
        .transpose()
}

/// Finds that sync or makes the command line's, its bucket along with it. Keeps `options` as its
/// newest ones, unless it was made through the API, whose settings are changed there.
///
/// # Errors
/// SQLite's.
pub fn ensure(
    tx: &Transaction<'_>,
    connection_key: i64,
    source_path: &[u8],
    bucket: &BucketChoice,
    options: &SyncOptions,
    now: Timestamp,
) -> Result<Sync> {
    if let Some(found) = find(tx, connection_key, source_path, bucket)? {
        if found.made_by == MadeBy::CommandLine {
            syncs::set_options(tx, &found, options, now)?;
        }
        return syncs::by_key(tx, found.key);
    }
    let (name, named_bucket) = match bucket {
        BucketChoice::Named(name) => (name.clone(), true),
        BucketChoice::AfterSource(name) => (free_name(tx, name)?, false),
    };
    let new = NewSync {
        bucket_key: buckets::ensure(tx, &name, now)?,
        connection_key,
        source_path,
        options,
        made_by: MadeBy::CommandLine,
        named_bucket,
        next_sync_at: None,
    };
    syncs::insert(tx, &new, now)
}

/// `name`, or the first numbered one that no bucket has.
fn free_name(tx: &Transaction<'_>, name: &BucketName) -> Result<BucketName> {
    let numbered = (2..).map(|number| name.numbered(number));
    for candidate in std::iter::once(name.clone()).chain(numbered) {
        if buckets::by_name(tx, candidate.as_str())?.is_none() {
            return Ok(candidate);
        }
    }
    Ok(name.clone())
}
