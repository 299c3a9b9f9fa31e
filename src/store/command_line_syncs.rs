//! The syncs that the command line names by their place and bucket: found, or made. What there is
//! to know of a sync once it is found is in `syncs`.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Result, buckets, connections,
    syncs::{self, MadeBy, NewSync, Sync},
};
use crate::model::{BucketName, Location, SyncOptions};

/// Where a sync reads, as the command line says it.
#[derive(Clone, Copy, Debug)]
pub enum SyncSource<'a> {
    /// At an address, which needs no credentials of ours: its connection is made with the sync.
    Address(&'a Location),
    /// Through a stored connection.
    Connected {
        /// The connection's internal key.
        connection_key: i64,
        /// Where it reads.
        source_path: &'a [u8],
    },
}

/// Which bucket a sync is for.
#[derive(Clone, Debug)]
pub enum BucketChoice {
    /// The bucket of that name.
    Named(BucketName),
    /// The one named after the source: this name, or a numbered one where other sources have it.
    AfterSource(BucketName),
}

impl BucketChoice {
    const fn name(&self) -> &BucketName {
        let (Self::Named(name) | Self::AfterSource(name)) = self;
        name
    }

    const fn is_named(&self) -> bool {
        matches!(self, Self::Named(_))
    }

    /// The name of the bucket of a new sync.
    fn for_new(&self, tx: &Transaction<'_>) -> Result<BucketName> {
        match self {
            Self::Named(name) => Ok(name.clone()),
            Self::AfterSource(name) => free_name(tx, name),
        }
    }
}

/// Finds the sync from a place into the chosen bucket without changing anything: the command
/// line's, else the oldest that was made through the API.
///
/// # Errors
/// SQLite's.
pub fn find(
    connection: &Connection,
    place: SyncSource<'_>,
    bucket: &BucketChoice,
) -> Result<Option<Sync>> {
    match place {
        SyncSource::Address(location) => match find_own(connection, location, bucket)? {
            Some(found) => Ok(Some(found)),
            None => find_of_api(connection, location, bucket),
        },
        SyncSource::Connected { connection_key, source_path } => {
            find_connected(connection, connection_key, source_path, bucket)
        }
    }
}

/// The command line's, whose connection is known by its identity.
fn find_own(
    connection: &Connection,
    location: &Location,
    bucket: &BucketChoice,
) -> Result<Option<Sync>> {
    connection
        .prepare_cached(&format!(
            "{} WHERE c.identity = ?1 AND s.source_path = ?2 AND s.status <> 'ARCHIVED'
                AND s.made_by = 'command_line' AND b.namespace_key = {}
                AND iif(?4, b.name = ?3, s.named_bucket = 0)",
            syncs::SELECT,
            buckets::DEFAULT_NAMESPACE
        ))?
        .query_row(
            params![
                location.connection.identity(),
                location.source_path,
                bucket.name().as_str(),
                bucket.is_named(),
            ],
            |row| Ok(syncs::read(row)),
        )
        .optional()?
        .transpose()
}

/// The oldest that was made through the API. Its connection has a name in place of an identity, and
/// is known by what it says.
fn find_of_api(
    connection: &Connection,
    location: &Location,
    bucket: &BucketChoice,
) -> Result<Option<Sync>> {
    let mut statement = connection.prepare_cached(&format!(
        "{} WHERE b.name = ?1 AND b.namespace_key = {} AND s.source_path = ?2
            AND s.made_by = 'api' AND s.status <> 'ARCHIVED'
         ORDER BY s.sync_key",
        syncs::SELECT,
        buckets::DEFAULT_NAMESPACE
    ))?;
    let mut rows = statement.query(params![bucket.name().as_str(), location.source_path])?;
    while let Some(row) = rows.next()? {
        let sync = syncs::read(row)?;
        if sync.location.connection.identity() == location.connection.identity() {
            return Ok(Some(sync));
        }
    }
    Ok(None)
}

fn find_connected(
    connection: &Connection,
    connection_key: i64,
    source_path: &[u8],
    bucket: &BucketChoice,
) -> Result<Option<Sync>> {
    connection
        .prepare_cached(&format!(
            "{} WHERE s.connection_key = ?1 AND s.source_path = ?2 AND s.status <> 'ARCHIVED'
                 AND b.namespace_key = {}
                 AND iif(s.made_by = 'command_line' AND NOT ?4, s.named_bucket = 0, b.name = ?3)
             ORDER BY s.made_by = 'command_line' DESC, s.sync_key LIMIT 1",
            syncs::SELECT,
            buckets::DEFAULT_NAMESPACE
        ))?
        .query_row(
            params![connection_key, source_path, bucket.name().as_str(), bucket.is_named()],
            |row| Ok(syncs::read(row)),
        )
        .optional()?
        .transpose()
}

/// Finds the sync from a place into the chosen bucket, or makes the command line's, the bucket and,
/// for an address, the connection along with it. Keeps `options` and the address as its newest
/// ones, unless it was made through the API, whose settings are changed there.
///
/// # Errors
/// SQLite's.
pub fn ensure(
    tx: &Transaction<'_>,
    place: SyncSource<'_>,
    bucket: &BucketChoice,
    options: &SyncOptions,
    now: Timestamp,
) -> Result<Sync> {
    match find(tx, place, bucket)? {
        Some(found) if found.made_by == MadeBy::Api => Ok(found),
        Some(found) => {
            keep(tx, &found, place, options, now)?;
            syncs::by_key(tx, found.key)
        }
        None => make(tx, place, bucket, options, now),
    }
}

/// Keeps the newest settings of a sync of the command line's, and of its connection.
fn keep(
    tx: &Transaction<'_>,
    found: &Sync,
    place: SyncSource<'_>,
    options: &SyncOptions,
    now: Timestamp,
) -> Result<()> {
    if let SyncSource::Address(location) = place
        && found.location != *location
    {
        connections::ensure(tx, &location.connection, now)?;
    }
    syncs::set_options(tx, found, options, now)
}

fn make(
    tx: &Transaction<'_>,
    place: SyncSource<'_>,
    bucket: &BucketChoice,
    options: &SyncOptions,
    now: Timestamp,
) -> Result<Sync> {
    let (connection_key, source_path) = match place {
        SyncSource::Address(location) => {
            (connections::ensure(tx, &location.connection, now)?, location.source_path.as_slice())
        }
        SyncSource::Connected { connection_key, source_path } => (connection_key, source_path),
    };
    let new = NewSync {
        bucket_key: buckets::ensure(tx, &bucket.for_new(tx)?, now)?,
        connection_key,
        source_path,
        options,
        made_by: MadeBy::CommandLine,
        named_bucket: bucket.is_named(),
        next_sync_at: None,
    };
    syncs::insert(tx, &new, now)
}

/// `name`, or the first numbered one that no bucket has.
fn free_name(tx: &Transaction<'_>, name: &BucketName) -> Result<BucketName> {
    let mut candidate = name.clone();
    let mut number = 1;
    while buckets::by_name(tx, candidate.as_str())?.is_some() {
        number += 1;
        candidate = name.numbered(number);
    }
    Ok(candidate)
}
