//! Finding objects by a piece of their text: an index of all pieces of three letters, brought up to
//! date a step at a time. It may lag behind and it may find too much, but it misses nothing:
//! whoever asks it holds what it finds against the objects themselves.

use std::ops::RangeInclusive;

use rusqlite::{Connection, Transaction};

use crate::store::{Result, clause::Clause, functions};

/// Letters of the pieces that are indexed: FTS5's trigrams, <https://sqlite.org/fts5.html>.
const PIECE: usize = 3;

/// Pieces of a long text that are looked up: more would not leave fewer objects.
const PIECES: usize = 32;

/// What an object says of itself, the same for every search: its bucket, its path, and the values
/// of its metadata and fields, without case.
const TEXT: &str = "mark_of_bucket(o.bucket_key) || char(10) || searchable(o.path)
    || coalesce(char(10) || (SELECT group_concat(searchable(j.atom), char(10))
                             FROM json_tree(o.metadata) j WHERE j.atom IS NOT NULL), '')
    || coalesce(char(10) || (SELECT group_concat(searchable(j.atom), char(10))
                             FROM json_tree(o.fields) j WHERE j.atom IS NOT NULL), '')";

/// How far the index has come.
const REACH: &str = "(SELECT indexed_to FROM object_text_reach)";

/// A text that the index can look for.
#[derive(Clone, Debug)]
pub(super) struct SearchTerms {
    text: String,
    pieces: String,
}

impl SearchTerms {
    /// `None` where every word is too short to have a piece.
    pub(super) fn new(bucket_key: i64, text: &str) -> Option<Self> {
        let pieces: Vec<String> = words(text).into_iter().flat_map(pieces).take(PIECES).collect();
        if pieces.is_empty() {
            return None;
        }
        let mark = functions::mark_of_bucket(bucket_key);
        let quoted = |piece: String| format!("\"{}\"", piece.replace('"', "\"\""));
        let pieces: Vec<_> = std::iter::once(mark).chain(pieces).map(quoted).collect();
        Some(Self { text: text.to_owned(), pieces: pieces.join(" ") })
    }

    /// The keys of all objects that may have it or be called so, each once, and some of those that
    /// do not; of those between two keys, at least. Each part is in the order of the keys, either
    /// way, so that whoever takes the first few in that order does not wait for the others.
    pub(super) fn candidates(&self, keys: &RangeInclusive<i64>) -> Clause {
        Clause::default()
            .sql("SELECT rowid AS object_key FROM object_text WHERE object_text MATCH ")
            .bind(self.pieces.clone())
            .sql(" AND rowid >= ")
            .bind(*keys.start())
            .sql(" AND rowid <= min(")
            .bind(*keys.end())
            .sql(&format!(
                ", {REACH}) AND NOT EXISTS (SELECT 1 FROM object_text_stale s
                                            WHERE s.object_key = object_text.rowid)
                 UNION ALL SELECT object_key FROM object_text_stale WHERE object_key <= {REACH}
                 UNION ALL SELECT object_key FROM objects WHERE object_key > {REACH}
                 UNION ALL SELECT i.object_key FROM objects i WHERE i.object_key <= {REACH}
                     AND NOT EXISTS (SELECT 1 FROM object_text_stale s
                                     WHERE s.object_key = i.object_key)
                     AND NOT EXISTS (SELECT 1 FROM object_text t
                                     WHERE t.rowid = i.object_key AND t.object_text MATCH "
            ))
            .bind(self.pieces.clone())
            .sql(") AND i.id = ")
            .bind(self.text.clone())
    }
}

/// The words of a text that is searched for; blanks alone are one word.
pub(super) fn words(text: &str) -> Vec<&str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() { vec![text] } else { words }
}

fn pieces(word: &str) -> Vec<String> {
    let letters: Vec<char> = functions::searchable(word).chars().collect();
    letters.windows(PIECE).map(|piece| piece.iter().collect()).collect()
}

/// Whether there are objects that the index has not come to.
///
/// # Errors
/// SQLite's.
pub fn is_behind(connection: &Connection) -> Result<bool> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT EXISTS (SELECT 1 FROM object_text_stale)
                 OR EXISTS (SELECT 1 FROM objects WHERE object_key > {REACH})"
        ))?
        .query_row([], |row| row.get(0))?)
}

/// Brings up to `most` objects into the index, those that changed first.
///
/// # Errors
/// SQLite's.
pub fn catch_up(tx: &Transaction<'_>, most: u32) -> Result<()> {
    let renewed = renew(tx, most)?;
    let last: Option<i64> = tx
        .prepare_cached(&format!(
            "SELECT max(object_key) FROM (SELECT object_key FROM objects WHERE object_key > {REACH}
                                          ORDER BY object_key LIMIT ?1)"
        ))?
        .query_row([most.saturating_sub(renewed)], |row| row.get(0))?;
    if let Some(last) = last {
        tx.prepare_cached(&format!(
            "INSERT OR REPLACE INTO object_text (rowid, text) SELECT o.object_key, {TEXT}
             FROM objects o
             WHERE o.object_key > {REACH} AND o.object_key <= ?1
             ORDER BY o.object_key"
        ))?
        .execute([last])?;
        tx.prepare_cached("UPDATE object_text_reach SET indexed_to = ?1")?.execute([last])?;
    }
    Ok(())
}

/// Indexes what is stale again. Returns how many objects that were.
fn renew(tx: &Transaction<'_>, most: u32) -> Result<u32> {
    let stale: Vec<i64> = tx
        .prepare_cached("SELECT object_key FROM object_text_stale LIMIT ?1")?
        .query_map([most], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    let mut remove = tx.prepare_cached("DELETE FROM object_text WHERE rowid = ?1")?;
    let mut insert = tx.prepare_cached(&format!(
        "INSERT INTO object_text (rowid, text) SELECT o.object_key, {TEXT} FROM objects o
         WHERE o.object_key = ?1 AND o.object_key <= {REACH}"
    ))?;
    let mut mark_indexed =
        tx.prepare_cached("DELETE FROM object_text_stale WHERE object_key = ?1")?;
    for key in &stale {
        remove.execute([key])?;
        insert.execute([key])?;
        mark_indexed.execute([key])?;
    }
    Ok(stale.len().try_into().unwrap_or(most))
}
