//! Small pictures of blobs, drawn when somebody asked for them and kept while there is room; and
//! that there is none to be drawn of a blob, with the reason. They go with their blob.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, blobs};
use crate::model::BlobHash;

/// What is kept of a blob in one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// A picture, in WebP.
    Picture(Vec<u8>),
    /// There is none to be drawn.
    None {
        /// Why.
        reason: String,
        /// Whether another try may end otherwise: it took too much time or memory.
        may_pass: bool,
    },
}

/// How long what may pass is not tried again, after the first, second and third try. After a fourth
/// one it holds as long as any other reason.
const WAITS_MS: [i64; 3] = [10 * MINUTE_MS, 6 * 60 * MINUTE_MS, 3 * 24 * 60 * MINUTE_MS];
const MINUTE_MS: i64 = 60 * 1000;

/// How long somebody's looking at a picture need not be written down again.
const FRESH_MS: i64 = 24 * 60 * 60 * 1000;
/// What a row takes besides its bytes, about.
const ROW_BYTES: u64 = 64;

/// What is kept of a blob in that size, and whether it is to be [`touch`]ed. A reason that another
/// version of the program gave does not count, for this one may know better; nor does one that may
/// have passed by now.
///
/// # Errors
/// SQLite's.
pub fn find(
    connection: &Connection,
    hash: &BlobHash,
    size: u32,
    version: &str,
    now: Timestamp,
) -> Result<Option<(Drawn, bool)>> {
    let Some(blob_key) = blobs::key_of(connection, hash)? else { return Ok(None) };
    let found = connection
        .prepare_cached(
            "SELECT webp, reason, used_at_ms, retry_at_ms IS NOT NULL FROM thumbnails
             WHERE blob_key = ?1 AND size = ?2
               AND (webp IS NOT NULL
                    OR version = ?3 AND (retry_at_ms IS NULL OR retry_at_ms > ?4))",
        )?
        .query_row(params![blob_key, size, version, now.as_millisecond()], |row| {
            let kept = match row.get::<_, Option<Vec<u8>>>(0)? {
                Some(webp) => Drawn::Picture(webp),
                None => Drawn::None {
                    reason: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
                    may_pass: row.get(3)?,
                },
            };
            Ok((kept, row.get::<_, i64>(2)? < now.as_millisecond() - FRESH_MS))
        })
        .optional()?;
    Ok(found)
}

/// Notes that somebody looked at it.
///
/// # Errors
/// SQLite's.
pub fn touch(tx: &Transaction<'_>, hash: &BlobHash, size: u32, now: Timestamp) -> Result<()> {
    let Some(blob_key) = blobs::key_of(tx, hash)? else { return Ok(()) };
    tx.prepare_cached("UPDATE thumbnails SET used_at_ms = ?3 WHERE blob_key = ?1 AND size = ?2")?
        .execute(params![blob_key, size, now.as_millisecond()])?;
    Ok(())
}

/// Keeps what came of drawing a blob, and lets go of what nobody has looked at for longest until
/// all of it is within `most` bytes. Nothing, if the blob has gone meanwhile.
///
/// # Errors
/// SQLite's.
pub fn keep(
    tx: &Transaction<'_>,
    hash: &BlobHash,
    size: u32,
    kept: &Drawn,
    version: &str,
    most: u64,
    now: Timestamp,
) -> Result<()> {
    let Some(blob_key) = blobs::key_of(tx, hash)? else { return Ok(()) };
    let (webp, reason, tries) = match kept {
        Drawn::Picture(webp) => (Some(webp), None, 0),
        Drawn::None { reason, may_pass: false } => (None, Some(reason), 0),
        Drawn::None { reason, may_pass: true } => {
            (None, Some(reason), 1 + tries_of(tx, blob_key, size, version)?)
        }
    };
    let wait = tries.checked_sub(1).and_then(|place| WAITS_MS.get(place));
    let retry_at_ms = wait.map(|wait| now.as_millisecond() + wait);
    let bytes = webp.map_or(0, Vec::len) + reason.map_or(0, String::len);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO thumbnails (blob_key, size, webp, reason, version, bytes, used_at_ms,
                                            tries, retry_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        blob_key,
        size,
        webp,
        reason,
        version,
        bytes as u64 + ROW_BYTES,
        now.as_millisecond(),
        tries,
        retry_at_ms,
    ])?;
    make_room(tx, most)
}

/// How often this version has tried a blob in vain that may have been drawn.
fn tries_of(tx: &Transaction<'_>, blob_key: i64, size: u32, version: &str) -> Result<usize> {
    Ok(tx
        .prepare_cached(
            "SELECT tries FROM thumbnails WHERE blob_key = ?1 AND size = ?2 AND version = ?3",
        )?
        .query_row(params![blob_key, size, version], |row| row.get(0))
        .optional()?
        .unwrap_or_default())
}

fn make_room(tx: &Transaction<'_>, most: u64) -> Result<()> {
    let mut kept = kept_bytes(tx)?;
    if kept <= most {
        return Ok(());
    }
    let mut oldest = tx.prepare_cached(
        "SELECT thumbnail_key, bytes FROM thumbnails ORDER BY used_at_ms, thumbnail_key",
    )?;
    let mut rows = oldest.query([])?;
    let mut gone = Vec::new();
    while kept > most {
        let Some(row) = rows.next()? else { break };
        gone.push(row.get::<_, i64>(0)?);
        kept = kept.saturating_sub(row.get(1)?);
    }
    for key in gone {
        tx.prepare_cached("DELETE FROM thumbnails WHERE thumbnail_key = ?1")?.execute([key])?;
    }
    Ok(())
}

/// Bytes of all that is kept.
///
/// # Errors
/// SQLite's.
pub fn kept_bytes(connection: &Connection) -> Result<u64> {
    Ok(connection
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM thumbnails")?
        .query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_nobody_looked_at_for_longest_makes_room_and_a_blob_takes_its_pictures_along() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("../../schema.sql")).unwrap();
        let tx = db.transaction().unwrap();
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
        let hashes: Vec<BlobHash> = (0..4_u8).map(|byte| BlobHash::of(&[byte])).collect();
        let keys: Vec<i64> =
            hashes.iter().map(|hash| blobs::ensure(&tx, hash, 1, Some(&[0])).unwrap()).collect();
        let picture = Drawn::Picture(vec![7; 1000]);
        let keep_at = |hash, second| keep(&tx, hash, 256, &picture, "1", 2500, at(second)).unwrap();
        let has = |hash| find(&tx, hash, 256, "1", at(9)).unwrap().is_some();
        keep_at(&hashes[0], 0);
        keep_at(&hashes[1], 1);
        touch(&tx, &hashes[0], 256, at(2)).unwrap();
        keep_at(&hashes[2], 3);
        assert!(has(&hashes[0]) && !has(&hashes[1]) && has(&hashes[2]));
        assert!(kept_bytes(&tx).unwrap() <= 2500);

        blobs::maybe_orphaned(&tx, keys[0]).unwrap();
        blobs::take_orphans(&tx, 10).unwrap();
        let left: u64 = tx.query_row("SELECT count(*) FROM thumbnails", [], |r| r.get(0)).unwrap();
        assert_eq!(left, 1);
    }

    /// A database with one blob, and its hash.
    fn one_blob() -> (Connection, BlobHash) {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("../../schema.sql")).unwrap();
        let hash = BlobHash::of(b"a");
        let tx = db.transaction().unwrap();
        blobs::ensure(&tx, &hash, 1, Some(b"a")).unwrap();
        tx.commit().unwrap();
        (db, hash)
    }

    #[test]
    fn why_there_is_no_picture_holds_for_the_version_that_said_it() {
        let (mut db, hash) = one_blob();
        let tx = db.transaction().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let none = Drawn::None { reason: "it is text".to_owned(), may_pass: false };
        keep(&tx, &hash, 64, &none, "1", 1000, now).unwrap();
        assert_eq!(find(&tx, &hash, 64, "1", now).unwrap().unwrap().0, none);
        assert_eq!(find(&tx, &hash, 64, "2", now).unwrap(), None);
    }

    #[test]
    fn what_took_too_long_is_tried_three_times_more_and_less_and_less_often() {
        let (mut db, hash) = one_blob();
        let tx = db.transaction().unwrap();
        let none = Drawn::None { reason: "it took longer than 60 s".to_owned(), may_pass: true };
        let is_kept = |now| find(&tx, &hash, 64, "1", now).unwrap().is_some();
        let mut now = Timestamp::UNIX_EPOCH;
        for minutes in [10, 6 * 60, 3 * 24 * 60] {
            keep(&tx, &hash, 64, &none, "1", 1000, now).unwrap();
            let due = now + std::time::Duration::from_secs(minutes * 60);
            assert!(is_kept(due - std::time::Duration::from_secs(1)), "{minutes} minutes");
            assert!(!is_kept(due), "{minutes} minutes");
            now = due;
        }
        keep(&tx, &hash, 64, &none, "1", 1000, now).unwrap();
        let years = std::time::Duration::from_secs(10 * 365 * 24 * 3600);
        assert!(is_kept(now + years), "after four tries it holds for this version");
        assert_eq!(find(&tx, &hash, 64, "2", now).unwrap(), None);
    }
}
