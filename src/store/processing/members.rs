//! The members of a batch as a tier goes through them.

use rusqlite::{Connection, params_from_iter};

use crate::{
    model::{FieldProblem, Filter},
    store::{Result, buckets::Bucket, objects::query::Query},
};

/// A member of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Internal key.
    pub object_key: i64,
    /// Public id, which shows whether the object of that key is still the same.
    pub object_id: String,
}

/// Up to `limit` members of a batch behind a key.
///
/// # Errors
/// SQLite's.
pub fn page(
    connection: &Connection,
    batch_key: i64,
    after: i64,
    limit: u32,
) -> Result<Vec<Member>> {
    let mut statement = connection.prepare_cached(
        "SELECT object_key, object_id FROM batch_objects
         WHERE batch_key = ?1 AND object_key > ?2 ORDER BY object_key LIMIT ?3",
    )?;
    let members = statement
        .query_map(rusqlite::params![batch_key, after, limit], |row| {
            Ok(Member { object_key: row.get(0)?, object_id: row.get(1)? })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(members)
}

/// Those of these objects of a bucket that pass a filter.
///
/// # Errors
/// SQLite's; or the condition that its field cannot be asked, inside.
pub fn passing(
    connection: &Connection,
    bucket: &Bucket,
    filter: &Filter,
    object_keys: &[i64],
) -> Result<std::result::Result<Vec<i64>, FieldProblem>> {
    let query = match Query::new(bucket, Some(filter), None, None) {
        Ok(query) => query,
        Err(problem) => return Ok(Err(problem)),
    };
    let clause = query.among(object_keys);
    let keys = connection
        .prepare_cached(&clause.sql)?
        .query_map(params_from_iter(&clause.values), |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(Ok(keys))
}
