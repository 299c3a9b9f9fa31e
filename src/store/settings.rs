//! Settings that are changed while the server runs, and what the database takes on the disk.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, json};

/// Names by which the server may be called, besides those that it was started with.
///
/// # Errors
/// SQLite's.
pub fn allowed_hosts(db: &Connection) -> Result<Vec<String>> {
    let kept: Option<String> = db
        .prepare_cached("SELECT value FROM installation WHERE name = 'allowed_hosts'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    kept.map_or_else(|| Ok(Vec::new()), |text| json::read("allowed hosts", &text))
}

/// Keeps these instead.
///
/// # Errors
/// SQLite's.
pub fn set_allowed_hosts(tx: &Transaction<'_>, hosts: &[String]) -> Result<()> {
    let text = json::write("allowed hosts", &hosts)?;
    tx.prepare_cached(
        "INSERT INTO installation (name, value) VALUES ('allowed_hosts', ?1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![text])?;
    Ok(())
}
