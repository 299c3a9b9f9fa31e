//! Objects whose bytes are read all at once: their names and sizes.

use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::{
    query::{Index, Query},
    record::{self, Record},
};
use crate::{
    model::{EntryPath, ObjectId},
    store::{
        Result, StoreError,
        blobs::{self, BlobLocation},
        clause::Clause,
        syncs,
    },
};

/// One of them.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Public id.
    pub id: ObjectId,
    /// Its path in the bucket.
    pub path: EntryPath,
    /// Bytes of its blobs together.
    pub size: u64,
}

const COLUMNS: &str = "SELECT o.id, o.path, o.size";

fn read(row: &Row<'_>) -> rusqlite::Result<Chosen> {
    Ok(Chosen {
        id: ObjectId::from_stored(row.get(0)?),
        path: syncs::path(row.get(1)?),
        size: row.get(2)?,
    })
}

/// The first `limit` that a query wants, in bytewise order of their paths from the last one down.
///
/// # Errors
/// SQLite's.
pub fn matching(connection: &Connection, query: &Query, limit: u32) -> Result<Vec<Chosen>> {
    let index = query.fewest(connection)?.unwrap_or(Index::Path);
    let clause = Clause::default()
        .sql(COLUMNS)
        .then(query.from(index, ""))
        .sql(" ORDER BY o.path DESC, o.object_key LIMIT ")
        .bind(limit);
    let mut statement = connection.prepare_cached(&clause.sql)?;
    let chosen = statement.query_map(params_from_iter(&clause.values), read)?;
    Ok(chosen.collect::<std::result::Result<_, _>>()?)
}

/// The one of that id in a bucket, unless it is hidden.
///
/// # Errors
/// SQLite's.
pub fn named(connection: &Connection, bucket_key: i64, id: &str) -> Result<Option<Chosen>> {
    let statement = format!(
        "{COLUMNS} FROM objects o WHERE o.id = ?1 AND o.bucket_key = ?2 AND o.state IS NULL"
    );
    Ok(connection
        .prepare_cached(&statement)?
        .query_row(params![id, bucket_key], read)
        .optional()?)
}

/// An object, and where the bytes of each of its blobs are; `None` for one that has gone.
#[derive(Clone, Debug)]
pub struct ChosenObject {
    /// The object.
    pub object: Record,
    /// Of its blobs, in their order.
    pub places: Vec<Option<BlobLocation>>,
}

/// Looks for objects by their ids, and returns the first of them: as many, but at least one, as
/// have `enough` bytes in the database. `None` is one that is not there any more.
///
/// # Errors
/// SQLite's.
pub fn with_bytes(
    connection: &Connection,
    bucket_key: i64,
    ids: Vec<ObjectId>,
    enough: usize,
) -> Result<Vec<Option<ChosenObject>>> {
    let (mut all, mut bytes) = (Vec::with_capacity(ids.len()), 0);
    for id in ids {
        let found = record::by_id(connection, bucket_key, id.as_str())?
            .map(|object| {
                let places = object.blobs.iter().map(|blob| blobs::locate(connection, &blob.hash));
                Ok::<_, StoreError>(ChosenObject { places: places.collect::<Result<_>>()?, object })
            })
            .transpose()?;
        let places = found.iter().flat_map(|found| found.places.iter().flatten());
        bytes += places.map(BlobLocation::held).sum::<usize>();
        all.push(found);
        if bytes >= enough {
            break;
        }
    }
    Ok(all)
}
