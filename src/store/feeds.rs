//! Where the change feed of each shard of a sync continues.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::{
    Result, leases,
    target::{Basis, Target},
    time,
};
use crate::model::{Cursor, Shard};

/// The feed of a shard.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The shard's name.
    pub shard: String,
    /// Where a changes pass continues; `None`: a full pass is needed.
    pub token: Option<Cursor>,
    /// Where the replay of an incomplete full pass continues.
    pub pending: Option<Cursor>,
    /// What the last full pass was made for; `None`: there was none.
    pub basis: Option<Basis>,
    /// When that was complete.
    pub full_at: Option<Timestamp>,
    /// Whether everything has to be listed again whatever the token says.
    pub needs_full: bool,
}

/// The feeds of a sync.
///
/// # Errors
/// SQLite's.
pub fn load(connection: &Connection, sync_key: i64) -> Result<Vec<Feed>> {
    let mut statement = connection.prepare_cached(
        "SELECT shard, token, pending, root, judged_by, full_at_ms, needs_full FROM feeds
         WHERE sync_key = ?1 ORDER BY shard",
    )?;
    let feeds = statement
        .query_map([sync_key], |row| {
            let rules_hash: Option<i64> = row.get(4)?;
            let root = row.get(3)?;
            Ok(Feed {
                shard: row.get(0)?,
                token: row.get::<_, Option<Vec<u8>>>(1)?.map(Cursor),
                pending: row.get::<_, Option<Vec<u8>>>(2)?.map(Cursor),
                basis: rules_hash.map(|rules_hash| Basis { root, rules_hash }),
                full_at: row.get::<_, Option<i64>>(5)?.map(time::from_ms),
                needs_full: row.get(6)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(feeds)
}

/// A full pass begins: its replay starts at this token.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn begin_full_pass(
    tx: &Transaction<'_>,
    target: &Target,
    shard: &Shard,
    token: &Cursor,
) -> Result<()> {
    leases::check(tx, target.fence)?;
    tx.prepare_cached(
        "INSERT INTO feeds (sync_key, shard, pending) VALUES (?1, ?2, ?3)
         ON CONFLICT (sync_key, shard) DO UPDATE SET
             token = NULL, pending = excluded.pending, needs_full = 0",
    )?
    .execute(params![target.fence.sync_key, shard.name(), token.0])?;
    Ok(())
}

/// A page of the feed is committed. `is_replay`: that of a full pass.
pub(super) fn advance(
    tx: &Transaction<'_>,
    target: &Target,
    shard: &str,
    token: &Cursor,
    is_replay: bool,
) -> Result<()> {
    let column = if is_replay { "pending" } else { "token" };
    tx.prepare_cached(&format!(
        "UPDATE feeds SET {column} = ?3 WHERE sync_key = ?1 AND shard = ?2"
    ))?
    .execute(params![target.fence.sync_key, shard, token.0])?;
    Ok(())
}

/// A full pass is complete: changes passes continue from where its replay ended.
///
/// # Errors
/// SQLite's.
pub fn complete_full_pass(
    tx: &Transaction<'_>,
    target: &Target,
    basis: &Basis,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE feeds SET token = pending, pending = NULL, root = ?2, judged_by = ?3,
                          full_at_ms = ?4
         WHERE sync_key = ?1 AND pending IS NOT NULL",
    )?
    .execute(params![
        target.fence.sync_key,
        basis.root,
        basis.rules_hash,
        now.as_millisecond()
    ])?;
    Ok(())
}

/// Entries have moved, and rules look at their paths: the next pass has to be a full one.
pub(super) fn need_full_pass(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached("UPDATE feeds SET needs_full = 1 WHERE sync_key = ?1")?
        .execute([sync_key])?;
    Ok(())
}

/// Whether the next pass has to be a full one, because entries have moved.
///
/// # Errors
/// SQLite's.
pub fn needs_full_pass(connection: &Connection, sync_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM feeds WHERE sync_key = ?1 AND needs_full = 1")?
        .exists([sync_key])?)
}

/// The next pass has to be a full one, from its beginning.
///
/// # Errors
/// SQLite's.
pub fn invalidate(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached("UPDATE feeds SET token = NULL, pending = NULL WHERE sync_key = ?1")?
        .execute([sync_key])?;
    Ok(())
}
