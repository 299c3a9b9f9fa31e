//! What lets a browser in: one-time codes, and the sessions that they are exchanged for. Only
//! hashes of both are kept. Codes are rows so that any process that may read the data directory can
//! make one for a server that runs.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Result;

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be exchanged for a session, once.
    Code,
    /// To be let in, until it ends.
    Session,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Session => "session",
        }
    }
}

/// Keeps a secret by its hash until it ends; those that have ended go.
///
/// # Errors
/// SQLite's.
pub fn add(
    tx: &Transaction<'_>,
    kind: Kind,
    hash: &[u8; 32],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    tx.prepare_cached("DELETE FROM sessions WHERE expires_at_ms <= ?1")?
        .execute([now.as_millisecond()])?;
    tx.prepare_cached(
        "INSERT INTO sessions (hash, kind, created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        hash,
        kind.as_str(),
        now.as_millisecond(),
        expires_at.as_millisecond()
    ])?;
    Ok(())
}

/// Whether that code can be used.
///
/// # Errors
/// SQLite's.
pub fn is_code(connection: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM sessions WHERE hash = ?1 AND kind = 'code' AND expires_at_ms > ?2",
        )?
        .exists(params![hash, now.as_millisecond()])?)
}

/// Uses a code up; `false` if it is none, has been used, or has ended.
///
/// # Errors
/// SQLite's.
pub fn take_code(tx: &Transaction<'_>, hash: &[u8; 32], now: Timestamp) -> Result<bool> {
    let taken = tx
        .prepare_cached(
            "DELETE FROM sessions WHERE hash = ?1 AND kind = 'code' AND expires_at_ms > ?2",
        )?
        .execute(params![hash, now.as_millisecond()])?;
    Ok(taken > 0)
}

/// Whether that session is open.
///
/// # Errors
/// SQLite's.
pub fn is_open(connection: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM sessions WHERE hash = ?1 AND kind = 'session' AND expires_at_ms > ?2",
        )?
        .query_row(params![hash, now.as_millisecond()], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Ends a session.
///
/// # Errors
/// SQLite's.
pub fn end(tx: &Transaction<'_>, hash: &[u8; 32]) -> Result<()> {
    tx.prepare_cached("DELETE FROM sessions WHERE hash = ?1 AND kind = 'session'")?
        .execute([hash])?;
    Ok(())
}

/// Ends all of them, codes too.
///
/// # Errors
/// SQLite's.
pub fn end_all(tx: &Transaction<'_>) -> Result<()> {
    tx.execute("DELETE FROM sessions", [])?;
    Ok(())
}
