//! How much of each connection's rate is used, and until when its provider wants no requests: what
//! every process keeps to.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Result;
use crate::sources::http::Reservation;

/// Reserves so much time of a connection's rate.
///
/// # Errors
/// SQLite's.
pub fn reserve(
    tx: &Transaction<'_>,
    connection: &str,
    cost: Duration,
    now: Timestamp,
) -> Result<Reservation> {
    let reservation = peek(tx, connection, now)?;
    let used = reservation.due_in.saturating_add(cost);
    let used = i64::try_from(used.as_micros()).unwrap_or(i64::MAX);
    save(tx, connection, now.as_microsecond().saturating_add(used), 0)?;
    Ok(reservation)
}

/// How long until a connection's rate allows a request, and how much longer its provider wants
/// none; reserves nothing.
///
/// # Errors
/// SQLite's.
pub fn peek(db: &Connection, connection: &str, now: Timestamp) -> Result<Reservation> {
    let stored: Option<(i64, i64)> = db
        .prepare_cached(
            "SELECT used_until_us, held_until_us FROM budgets
             WHERE connection_key = (SELECT connection_key FROM connections WHERE id = ?1)",
        )?
        .query_row([connection], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (used, held) = stored.unwrap_or_default();
    let after = |time: i64| {
        let micros = time.saturating_sub(now.as_microsecond());
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    Ok(Reservation { due_in: after(used), held_for: after(held) })
}

/// Makes everybody wait until then, if not for longer already.
///
/// # Errors
/// SQLite's.
pub fn hold(tx: &Transaction<'_>, connection: &str, until: Timestamp) -> Result<()> {
    save(tx, connection, 0, until.as_microsecond())
}

fn save(tx: &Transaction<'_>, connection: &str, used: i64, held: i64) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO budgets (connection_key, used_until_us, held_until_us)
         SELECT connection_key, ?2, ?3 FROM connections WHERE id = ?1
         ON CONFLICT DO UPDATE SET used_until_us = max(used_until_us, excluded.used_until_us),
                                   held_until_us = max(held_until_us, excluded.held_until_us)",
    )?
    .execute(params![connection, used, held])?;
    Ok(())
}
