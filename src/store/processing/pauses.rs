//! Extractors that are paused: nothing is given to them until a probe succeeds.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use crate::store::{Result, time};

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The extractor.
    pub name: String,
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When one object is tried again.
    pub probe_at: Timestamp,
    /// Tries that failed meanwhile.
    pub probes: u32,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pause> {
    Ok(Pause {
        name: row.get(0)?,
        reason: row.get(1)?,
        since: time::from_ms(row.get(2)?),
        probe_at: time::from_ms(row.get(3)?),
        probes: row.get(4)?,
    })
}

/// All of them.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Pause>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, reason, since_ms, probe_at_ms, probes FROM extractor_pauses",
    )?;
    let pauses = statement.query_map([], read)?.collect::<std::result::Result<_, _>>()?;
    Ok(pauses)
}

/// Pauses an extractor, or continues pausing it: the next probe is at `probe_at`.
///
/// # Errors
/// SQLite's.
pub fn pause(
    tx: &Transaction<'_>,
    name: &str,
    reason: &str,
    probe_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO extractor_pauses (name, reason, since_ms, probe_at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET reason = ?2, probe_at_ms = ?4, probes = probes + 1",
    )?
    .execute(params![name, reason, now.as_millisecond(), probe_at.as_millisecond()])?;
    Ok(())
}

/// Ends a pause. Returns whether there was one.
///
/// # Errors
/// SQLite's.
pub fn lift(tx: &Transaction<'_>, name: &str) -> Result<bool> {
    Ok(tx.prepare_cached("DELETE FROM extractor_pauses WHERE name = ?1")?.execute([name])? > 0)
}
