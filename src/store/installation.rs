//! What identifies this installation: created once, with the database.

use rusqlite::Connection;

use super::Result;

/// The one organization and the one user of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Public id of the organization (`internal_id` on the wire).
    pub organization_id: String,
    /// Public id of the user.
    pub user_id: String,
}

/// Reads them.
///
/// # Errors
/// SQLite's.
pub fn read(connection: &Connection) -> Result<Installation> {
    let value = |name: &str| -> Result<String> {
        Ok(connection
            .prepare_cached("SELECT value FROM installation WHERE name = ?1")?
            .query_row([name], |row| row.get(0))?)
    };
    Ok(Installation { organization_id: value("organization_id")?, user_id: value("user_id")? })
}
