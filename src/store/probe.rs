//! Whether the database works, asked with the least that shows it.

use rusqlite::{Connection, Transaction};

use super::Result;

/// Reads something that is always there.
///
/// # Errors
/// SQLite's.
pub fn read(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached("SELECT value FROM installation WHERE name = 'organization_id'")?
        .query_row([], |_| Ok(()))?;
    Ok(())
}

/// Writes what is there already.
///
/// # Errors
/// SQLite's.
pub fn write(tx: &Transaction<'_>) -> Result<()> {
    tx.prepare_cached("UPDATE installation SET value = value WHERE name = 'organization_id'")?
        .execute([])?;
    Ok(())
}
