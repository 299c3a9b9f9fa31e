//! Rows of blobs: what is stored, where, and what refers to it.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::Result;
use crate::model::BlobHash;

/// Where the bytes of a blob are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobLocation {
    /// In the database; these are they.
    Inline(Vec<u8>),
    /// In the file that is named by the hash.
    File {
        /// How many bytes it has.
        size: u64,
    },
}

impl BlobLocation {
    /// Bytes that come with it.
    #[must_use]
    pub fn held(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::File { .. } => 0,
        }
    }
}

/// A blob row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Internal key.
    pub key: i64,
    /// What its bytes hash to.
    pub hash: BlobHash,
    /// How many they are.
    pub size: u64,
    /// Whether they are in the database.
    pub inline: bool,
}

/// Finds or records a blob; `bytes` are given for one that is to be kept in the database, and must
/// be durable in their file for one that is not. Returns its key.
pub(super) fn ensure(
    tx: &Transaction<'_>,
    hash: &BlobHash,
    size: u64,
    bytes: Option<&[u8]>,
) -> Result<i64> {
    if let Some(key) = key_of(tx, hash)? {
        return Ok(key);
    }
    tx.prepare_cached("INSERT INTO blobs (hash, size, inline) VALUES (?1, ?2, ?3)")?
        .execute(params![hash.as_bytes(), size, bytes.is_some()])?;
    let key = tx.last_insert_rowid();
    tx.prepare_cached("INSERT INTO recent_hashes VALUES (?1, ?2)")?
        .execute(params![prefix(hash), key])?;
    if let Some(bytes) = bytes {
        tx.prepare_cached("INSERT INTO blob_bytes (blob_key, bytes) VALUES (?1, ?2)")?
            .execute(params![key, bytes])?;
    }
    Ok(key)
}

/// What the indexes of hashes have of one.
pub(super) fn prefix(hash: &BlobHash) -> &[u8] {
    &hash.as_bytes()[..8]
}

/// The key of the blob of that hash, if one is recorded.
pub(super) fn key_of(connection: &Connection, hash: &BlobHash) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached(
            "SELECT blob_key FROM blobs_by_hash CROSS JOIN blobs USING (blob_key)
             WHERE prefix = substr(?1, 1, 8) AND hash = ?1",
        )?
        .query_row([hash.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// Whether a blob of that hash is recorded.
///
/// # Errors
/// SQLite's.
pub fn is_recorded(connection: &Connection, hash: &BlobHash) -> Result<bool> {
    Ok(key_of(connection, hash)?.is_some())
}

/// Where the bytes of a blob are, if it is recorded.
///
/// # Errors
/// SQLite's.
pub fn locate(connection: &Connection, hash: &BlobHash) -> Result<Option<BlobLocation>> {
    let Some(key) = key_of(connection, hash)? else { return Ok(None) };
    Ok(Some(match inline_bytes(connection, key)? {
        Some(bytes) => BlobLocation::Inline(bytes),
        None => BlobLocation::File { size: hash_and_size(connection, key)?.1 },
    }))
}

/// The bytes of a blob that are in the database, if they are.
pub(super) fn inline_bytes(connection: &Connection, blob_key: i64) -> Result<Option<Vec<u8>>> {
    Ok(connection
        .prepare_cached("SELECT bytes FROM blob_bytes WHERE blob_key = ?1")?
        .query_row([blob_key], |row| row.get(0))
        .optional()?)
}

/// The hash and the size of a blob.
pub(super) fn hash_and_size(connection: &Connection, blob_key: i64) -> Result<(BlobHash, u64)> {
    Ok(connection
        .prepare_cached("SELECT hash, size FROM blobs WHERE blob_key = ?1")?
        .query_row([blob_key], |row| Ok((BlobHash::from_bytes(row.get(0)?), row.get(1)?)))?)
}

/// Notes that a blob may have lost its last reference.
pub(super) fn maybe_orphaned(tx: &Transaction<'_>, blob_key: i64) -> Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO orphans (blob_key) VALUES (?1)")?
        .execute([blob_key])?;
    Ok(())
}

/// Whether any blob may have lost its last reference.
///
/// # Errors
/// SQLite's.
pub fn has_orphans(connection: &Connection) -> Result<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM orphans LIMIT 1")?.exists([])?)
}

/// Takes up to `limit` blobs out of the records that nothing refers to, and returns those whose
/// bytes are files. A file must not be deleted before this has committed, and only through
/// [`delete_unrecorded`]. Returns `None` once there is nothing left to look at.
///
/// # Errors
/// SQLite's.
pub fn take_orphans(tx: &Transaction<'_>, limit: u32) -> Result<Option<Vec<Blob>>> {
    let keys: Vec<i64> = tx
        .prepare_cached("SELECT blob_key FROM orphans LIMIT ?1")?
        .query_map([limit], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Ok(None);
    }
    tally(tx)?;
    let mut gone = Vec::new();
    for key in keys {
        tx.prepare_cached("DELETE FROM orphans WHERE blob_key = ?1")?.execute([key])?;
        if is_needed(tx, key)? {
            continue;
        }
        tx.prepare_cached("DELETE FROM blob_bytes WHERE blob_key = ?1")?.execute([key])?;
        tx.prepare_cached("DELETE FROM thumbnails WHERE blob_key = ?1")?.execute([key])?;
        gone.extend(
            tx.prepare_cached(
                "DELETE FROM blobs WHERE blob_key = ?1 RETURNING hash, size, inline",
            )?
            .query_row([key], |row| {
                Ok(Blob {
                    key,
                    hash: BlobHash::from_bytes(row.get(0)?),
                    size: row.get(1)?,
                    inline: row.get(2)?,
                })
            })
            .optional()?,
        );
    }
    untally(tx, &gone)?;
    Ok(Some(gone))
}

/// Whether an object, an upload or a document is made of a blob.
fn is_needed(connection: &Connection, blob_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM object_blobs WHERE blob_key = ?1
             UNION ALL SELECT 1 FROM uploads WHERE blob_key = ?1
             UNION ALL SELECT 1 FROM document_blobs WHERE blob_key = ?1",
        )?
        .exists([blob_key])?)
}

/// Runs `delete` for the file of each hash that is not recorded. The write lock, which every
/// commit needs too, is held meanwhile: no file goes while its row is being made.
///
/// # Errors
/// SQLite's.
pub fn delete_unrecorded(
    tx: &Transaction<'_>,
    hashes: &[BlobHash],
    mut delete: impl FnMut(&BlobHash),
) -> Result<()> {
    for hash in hashes {
        if !is_recorded(tx, hash)? {
            delete(hash);
        }
    }
    Ok(())
}

/// Puts every blob that nothing refers to up for collection, however it came to that.
///
/// # Errors
/// SQLite's.
pub fn find_orphans(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(
        "INSERT OR IGNORE INTO orphans (blob_key)
         SELECT blob_key FROM blobs
         WHERE NOT EXISTS (SELECT 1 FROM object_blobs ob WHERE ob.blob_key = blobs.blob_key)
           AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.blob_key = blobs.blob_key)
           AND NOT EXISTS (SELECT 1 FROM document_blobs d WHERE d.blob_key = blobs.blob_key)",
        [],
    )?;
    Ok(())
}

/// The next `limit` blobs behind `after` in key order, all or only those of a bucket.
///
/// # Errors
/// SQLite's.
pub fn page(
    connection: &Connection,
    bucket_key: Option<i64>,
    after: i64,
    limit: u32,
) -> Result<Vec<Blob>> {
    let mut statement = connection.prepare_cached(
        "SELECT blob_key, hash, size, inline FROM blobs
         WHERE blob_key > ?1 AND (?3 IS NULL OR EXISTS (
             SELECT 1 FROM object_blobs ob JOIN objects o USING (object_key)
             WHERE ob.blob_key = blobs.blob_key AND o.bucket_key = ?3))
         ORDER BY blob_key LIMIT ?2",
    )?;
    let blobs =
        statement.query_map(params![after, limit, bucket_key], blob)?.collect::<Result<_, _>>()?;
    Ok(blobs)
}

/// A row of `blob_key, hash, size, inline`.
fn blob(row: &Row<'_>) -> rusqlite::Result<Blob> {
    Ok(Blob {
        key: row.get(0)?,
        hash: BlobHash::from_bytes(row.get(1)?),
        size: row.get(2)?,
        inline: row.get(3)?,
    })
}

/// Puts `bytes` in the place of those that an inline blob has: a repair.
///
/// # Errors
/// SQLite's.
pub fn restore_inline(tx: &Transaction<'_>, blob_key: i64, bytes: &[u8]) -> Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO blob_bytes (blob_key, bytes) VALUES (?1, ?2)")?
        .execute(params![blob_key, bytes])?;
    Ok(())
}

/// Marks the blob of `hash` as damaged; nothing, if it is not recorded any more.
///
/// # Errors
/// SQLite's.
pub fn mark_damaged(tx: &Transaction<'_>, hash: &BlobHash, problem: &str) -> Result<()> {
    if let Some(key) = key_of(tx, hash)? {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO damaged_blobs (blob_key, problem) VALUES (?1, ?2)",
        )?
        .execute(params![key, problem])?;
    }
    Ok(())
}

/// Takes the mark of damage off a blob.
///
/// # Errors
/// SQLite's.
pub fn mark_intact(tx: &Transaction<'_>, blob_key: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM damaged_blobs WHERE blob_key = ?1")?.execute([blob_key])?;
    Ok(())
}

/// Up to `limit` blobs that are marked as damaged and that objects of a sync are made of, with what
/// is wrong with each.
///
/// # Errors
/// SQLite's.
pub fn damaged(connection: &Connection, sync_key: i64, limit: u32) -> Result<Vec<(Blob, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT blob_key, hash, size, inline, problem FROM damaged_blobs JOIN blobs USING (blob_key)
         WHERE EXISTS (
             SELECT 1 FROM object_blobs ob JOIN entries e USING (object_key)
             WHERE ob.blob_key = blobs.blob_key AND e.sync_key = ?1)
         ORDER BY blob_key LIMIT ?2",
    )?;
    let damaged = statement
        .query_map(params![sync_key, limit], |row| Ok((blob(row)?, row.get(4)?)))?
        .collect::<Result<_, _>>()?;
    Ok(damaged)
}

/// How much all blobs are, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of those that are files.
    pub file_bytes: u64,
}

/// What is tallied, and what was added since.
const TALLIED: &str = "SELECT t.blobs + count(b.blob_key), t.bytes + coalesce(sum(b.size), 0),
     t.file_bytes + coalesce(sum(b.size) FILTER (WHERE b.inline = 0), 0),
     coalesce(max(b.blob_key), t.counted_to)
     FROM blob_tally t LEFT JOIN blobs b ON b.blob_key > t.counted_to";

/// How much all blobs are. Looks only at those that came since the last tally.
///
/// # Errors
/// SQLite's.
pub fn totals(connection: &Connection) -> Result<Totals> {
    Ok(connection.prepare_cached(TALLIED)?.query_row([], |row| {
        Ok(Totals { blobs: row.get(0)?, bytes: row.get(1)?, file_bytes: row.get(2)? })
    })?)
}

/// Counts the blobs that have come, once for many of them: a count at each would cost a first sync
/// a tenth of its time.
///
/// # Errors
/// SQLite's.
pub(super) fn tally(tx: &Transaction<'_>) -> Result<()> {
    tx.prepare_cached(&format!(
        "UPDATE blob_tally SET (blobs, bytes, file_bytes, counted_to) = ({TALLIED})"
    ))?
    .execute([])?;
    Ok(())
}

/// Takes blobs that are gone off the tally. Keys may be reused, so that it must not count up to
/// one that nobody has.
fn untally(tx: &Transaction<'_>, gone: &[Blob]) -> Result<()> {
    let bytes = |blobs: &mut dyn Iterator<Item = &Blob>| blobs.map(|blob| blob.size).sum::<u64>();
    tx.prepare_cached(
        "UPDATE blob_tally SET blobs = blobs - ?1, bytes = bytes - ?2, file_bytes = file_bytes - ?3,
             counted_to = (SELECT coalesce(max(blob_key), 0) FROM blobs)",
    )?
    .execute(params![
        gone.len(),
        bytes(&mut gone.iter()),
        bytes(&mut gone.iter().filter(|blob| !blob.inline)),
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What going through all of them finds.
    fn counted(db: &Connection) -> Totals {
        let count = "SELECT count(*), coalesce(sum(size), 0),
                            coalesce(sum(size) FILTER (WHERE inline = 0), 0) FROM blobs";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Totals { blobs: row.get(0)?, bytes: row.get(1)?, file_bytes: row.get(2)? })
        };
        db.query_row(count, [], read).unwrap()
    }

    #[test]
    fn the_tally_is_the_count_whatever_comes_and_goes() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("../../schema.sql")).unwrap();
        let tx = db.transaction().unwrap();
        let come = |number: u8| {
            let bytes = [number];
            let inline = number.is_multiple_of(2).then_some(bytes.as_slice());
            ensure(&tx, &BlobHash::of(&bytes), number.into(), inline).unwrap()
        };
        for number in 1..=10 {
            come(number);
            assert_eq!(totals(&tx).unwrap(), counted(&tx));
            if number % 3 == 0 {
                tally(&tx).unwrap();
                assert_eq!(totals(&tx).unwrap(), counted(&tx));
            }
        }
        let last = come(10);
        for key in [last, last - 1, 3] {
            maybe_orphaned(&tx, key).unwrap();
        }
        assert_eq!(take_orphans(&tx, 10).unwrap().unwrap().len(), 3);
        assert_eq!((totals(&tx).unwrap(), counted(&tx).blobs), (counted(&tx), 7));
        // Its key is that of one that is gone.
        assert_eq!(come(11), last - 1);
        assert_eq!(totals(&tx).unwrap(), counted(&tx));
        tally(&tx).unwrap();
        assert_eq!(totals(&tx).unwrap(), counted(&tx));
    }
}
