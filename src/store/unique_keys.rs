//! The unique key of a bucket, as far as it is a sync's to keep: which object has a value, and
//! which entries wait for it. Objects that are made by hand are refused at once, in
//! `objects::write`.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Result;
use crate::model::{ErrorType, UniqueValue};

/// The error of an object that cannot have that unique key, since another one has it.
///
/// # Errors
/// SQLite's.
pub fn taken(
    connection: &Connection,
    object_key: i64,
    wanted: &UniqueValue,
) -> Result<Option<String>> {
    let holder = connection
        .prepare_cached(
            "SELECT other.id FROM objects o JOIN objects other USING (bucket_key)
             WHERE o.object_key = ?1 AND o.state IS NULL AND other.unique_key = ?2
               AND other.object_key <> ?1",
        )?
        .query_row(params![object_key, wanted.values], |row| row.get(0))
        .optional()?;
    Ok(holder.map(|holder| refusal(holder, wanted)))
}

/// The same for an object that is yet to be made.
pub(super) fn taken_in(
    tx: &Transaction<'_>,
    bucket_key: i64,
    wanted: &UniqueValue,
) -> Result<Option<String>> {
    let holder = tx
        .prepare_cached("SELECT id FROM objects WHERE bucket_key = ?1 AND unique_key = ?2")?
        .query_row(params![bucket_key, wanted.values], |row| row.get(0))
        .optional()?;
    Ok(holder.map(|holder| refusal(holder, wanted)))
}

/// Names the values as the column has them: that is how [`freed`] finds who waits for them.
fn refusal(holder: String, UniqueValue { fields, values }: &UniqueValue) -> String {
    format!(
        "the bucket's unique key ({fields}) would be {values}, which the object {holder} has: give \
         one of the two another value, or remove that object"
    )
}

/// Gives an object the unique key of its shape, which no other one has.
pub(super) fn set(
    tx: &Transaction<'_>,
    object_key: i64,
    wanted: Option<&UniqueValue>,
) -> Result<()> {
    replace(tx, object_key, wanted.map(|wanted| wanted.values.as_str()))
}

/// Gives an object other values of the unique key, or none. A hidden one has none.
pub(super) fn replace(tx: &Transaction<'_>, object_key: i64, values: Option<&str>) -> Result<()> {
    let (bucket_key, is_hidden, old): (i64, bool, Option<String>) = tx
        .prepare_cached(
            "SELECT bucket_key, state IS NOT NULL, unique_key FROM objects WHERE object_key = ?1",
        )?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let new = values.filter(|_| !is_hidden);
    if old.as_deref() == new {
        return Ok(());
    }
    tx.prepare_cached("UPDATE objects SET unique_key = ?2 WHERE object_key = ?1")?
        .execute(params![object_key, new])?;
    match old {
        Some(old) => freed(tx, bucket_key, &old),
        None => Ok(()),
    }
}

/// After an object has let go of a unique key: the entries that wait for it are tried with the next
/// run. They are known by what their dead letters say; one too many is tried for nothing.
pub(super) fn freed(tx: &Transaction<'_>, bucket_key: i64, values: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE dead_letters SET retry_at_ms = NULL
         WHERE resolved_at_ms IS NULL AND disposed IS NULL AND error_type = ?3
           AND instr(error_message, ?2) > 0
           AND sync_key IN (SELECT sync_key FROM syncs WHERE bucket_key = ?1)",
    )?
    .execute(params![bucket_key, values, ErrorType::ValidationError.as_str()])?;
    Ok(())
}
