//! Objects whose bytes somebody wants, all at once: what they are called and how much they are.

use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::query::Query;
use crate::{
    model::{EntryPath, ObjectId},
    store::{Result, clause::Clause, syncs},
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
    let index = query.fewest(connection)?.unwrap_or("objects_by_path");
    let clause = Clause::default()
        .sql(COLUMNS)
        .then(query.from(index))
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
    let statement =
        format!("{COLUMNS} FROM objects o WHERE o.id = ?1 AND o.bucket_key = ?2 AND o.state IS NULL");
    Ok(connection
        .prepare_cached(&statement)?
        .query_row(params![id, bucket_key], read)
        .optional()?)
}
