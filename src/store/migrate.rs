//! From any earlier schema to this one. Migrations are only ever appended.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{Result, StoreError};

/// Each step brings a database from version `index` to `index + 1`.
const STEPS: &[&str] = &[include_str!("../../schema.sql")];

/// The version of a database: 0 for one without any tables.
///
/// # Errors
/// When it is newer than this program, or no database at all.
pub(super) fn version_of(connection: &Connection, path: &Path) -> Result<i64> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found = version(connection)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), error })?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Applies the steps that this database has not seen, each in its own transaction.
///
/// # Errors
/// When the database is from a newer version, which is left as it is.
pub(super) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<()> {
    loop {
        // Another process may be migrating too: look and act in one exclusive transaction.
        let found = version_of(connection, path)?;
        let Some(statements) = usize::try_from(found).ok().and_then(|found| STEPS.get(found))
        else {
            return Ok(());
        };
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version(&step)? == found {
            step.execute_batch(statements)?;
            step.pragma_update(None, "user_version", found + 1)?;
            step.commit()?;
        }
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
