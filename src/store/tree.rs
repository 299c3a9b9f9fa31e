//! A bucket as folders: paths cut at their slashes. And which objects share bytes.
//!
//! There are no rows for folders. The folders of a folder are found by leaping through the index of
//! paths from one to the next; the objects right in it, by going through its stretch of the index.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Result, syncs, time};
use crate::model::EntryPath;

/// The most folders that are returned of one folder.
pub const MOST_FOLDERS: usize = 5000;

/// An object in a line of a list.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Public id.
    pub id: String,
    /// Its whole path.
    pub path: EntryPath,
    /// Bytes.
    pub size: u64,
    /// Its MIME type.
    pub mime: Option<String>,
    /// When it was modified at its source, else when it came here.
    pub modified: jiff::Timestamp,
}

/// Internal key of the bucket of that id or name.
///
/// # Errors
/// SQLite's.
pub fn bucket(db: &Connection, namespace_key: i64, named: &str) -> Result<Option<i64>> {
    Ok(db
        .prepare_cached(
            "SELECT bucket_key FROM buckets WHERE namespace_key = ?1 AND (id = ?2 OR name = ?2)
             ORDER BY id = ?2 DESC LIMIT 1",
        )?
        .query_row(params![namespace_key, named], |row| row.get(0))
        .optional()?)
}

/// The folders right in the folder `prefix` (empty, or ending in a slash), in bytewise order, and
/// whether there are more than [`MOST_FOLDERS`].
///
/// # Errors
/// SQLite's.
pub fn folders(db: &Connection, bucket: i64, prefix: &[u8]) -> Result<(Vec<EntryPath>, bool)> {
    let mut next = db.prepare_cached(
        "SELECT path FROM objects
         WHERE bucket_key = ?1 AND state IS NULL AND path >= ?2 AND path < ?3
         AND instr(substr(path, ?4), x'2F') > 0
         ORDER BY path LIMIT 1",
    )?;
    let (mut from, end) = (prefix.to_vec(), behind(prefix));
    let rest = prefix.len() as i64 + 1;
    let mut folders = Vec::new();
    while folders.len() <= MOST_FOLDERS {
        let found: Option<Vec<u8>> =
            next.query_row(params![bucket, from, end, rest], |row| row.get(0)).optional()?;
        let Some(path) = found else { return Ok((folders, false)) };
        let cut = path[prefix.len()..].iter().position(|byte| *byte == b'/').unwrap_or_default();
        let folder = &path[..=prefix.len() + cut];
        from = behind(folder);
        folders.push(EntryPath::new(folder));
    }
    folders.truncate(MOST_FOLDERS);
    Ok((folders, true))
}

/// How many objects lie right in the folder.
///
/// # Errors
/// SQLite's.
pub fn count(db: &Connection, bucket: i64, prefix: &[u8]) -> Result<u64> {
    Ok(db
        .prepare_cached(
            "SELECT count(*) FROM objects
             WHERE bucket_key = ?1 AND state IS NULL AND path >= ?2 AND path < ?3
             AND instr(substr(path, ?4), x'2F') = 0",
        )?
        .query_row(params![bucket, prefix, behind(prefix), prefix.len() as i64 + 1], |row| {
            row.get(0)
        })?)
}

/// Objects right in the folder, in bytewise order of their paths.
///
/// # Errors
/// SQLite's.
pub fn leaves(
    db: &Connection,
    bucket: i64,
    prefix: &[u8],
    limit: u32,
    offset: u64,
) -> Result<Vec<Leaf>> {
    let mut statement = db.prepare_cached(
        "SELECT id, path, size, mime, modified_ns, updated_at_ms FROM objects
         WHERE bucket_key = ?1 AND state IS NULL AND path >= ?2 AND path < ?3
         AND instr(substr(path, ?4), x'2F') = 0
         ORDER BY path LIMIT ?5 OFFSET ?6",
    )?;
    let rows = statement.query_map(
        params![bucket, prefix, behind(prefix), prefix.len() as i64 + 1, limit, offset],
        |row| {
            let modified: Option<i64> = row.get(4)?;
            Ok(Leaf {
                id: row.get(0)?,
                path: syncs::path(row.get(1)?),
                size: row.get(2)?,
                mime: row.get(3)?,
                modified: match modified {
                    Some(ns) => time::from_ns(ns),
                    None => time::from_ms(row.get(5)?),
                },
            })
        },
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What shares bytes with an object: another one, by its id, its bucket's and its path.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Public id.
    pub id: String,
    /// Public id of its bucket.
    pub bucket_id: String,
    /// Its path.
    pub path: EntryPath,
}

/// At most `limit` objects of the namespace that have a blob with the object of that id in common.
///
/// # Errors
/// SQLite's.
pub fn twins(
    db: &Connection,
    namespace_key: i64,
    bucket: i64,
    id: &str,
    limit: u32,
) -> Result<Vec<Twin>> {
    let mut statement = db.prepare_cached(
        "SELECT DISTINCT o.id, b.id, o.path
         FROM objects mine JOIN object_blobs m ON m.object_key = mine.object_key
         JOIN object_blobs t ON t.blob_key = m.blob_key AND t.object_key <> m.object_key
         JOIN objects o ON o.object_key = t.object_key AND o.state IS NULL
         JOIN buckets b ON b.bucket_key = o.bucket_key AND b.namespace_key = ?1
         WHERE mine.id = ?3 AND mine.bucket_key = ?2
         ORDER BY o.object_key LIMIT ?4",
    )?;
    let rows = statement.query_map(params![namespace_key, bucket, id, limit], |row| {
        Ok(Twin { id: row.get(0)?, bucket_id: row.get(1)?, path: syncs::path(row.get(2)?) })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The first path behind all that begin with `prefix`.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // No path of a source is that long.
    vec![u8::MAX; 4097]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_prefix_is_behind_all_that_begin_with_it() {
        assert_eq!(behind(b"a/"), b"a0");
        assert_eq!(behind(&[b'a', 0xFF]), b"b");
        assert!(behind(b"") > vec![u8::MAX; 4096]);
    }
}
