//! Two-level indexes of values that arrive in random order: hashes and identities, see
//! `schema.sql`.
//!
//! A thousand new rows in one index of a million fall on hundreds of pages, each of which a commit
//! would read, change and write. So they go into a small table first (the recent level), all of
//! whose pages are cached, and are merged from there into the large one (the main level). Each
//! merge continues in key order from where the last one ended, and moves about as many rows as were
//! added since: neighbours, which are on few pages of the main level too.
//!
//! What does not live here: look-ups, which the file of each table does through a view of both
//! levels.

use rusqlite::{Transaction, params, types::Value};

use super::Result;

/// The least number of rows that stay in the recent level: about 30 pages.
const MIN_RECENT: u64 = 16_384;

/// Of `n` rows in all, this many times the root of `n` stay recent: then the pages of the recent
/// level, all of which change with a commit, are about as many as those that a merge changes in the
/// main level.
const PER_ROOT: u64 = 22;

/// The most rows that one transaction merges, should many have been added without a commit of a
/// run.
const MAX_MERGED: u64 = 4_096;

/// A two-level index, by the names of its tables and columns.
struct Index {
    /// The table of each level.
    recent: &'static str,
    main: &'static str,
    /// The indexed column, and the key of the row that has its value.
    value: &'static str,
    key: &'static str,
    /// The table of those rows.
    rows: &'static str,
    /// The column of `merge_positions`.
    position: &'static str,
    /// SQL literals below and above every value.
    lowest: &'static str,
    highest: &'static str,
}

const HASHES: Index = Index {
    recent: "recent_hashes",
    main: "main_hashes",
    value: "prefix",
    key: "blob_key",
    rows: "blobs",
    position: "hash",
    lowest: "x''",
    highest: "x'ffffffffffffffffff'",
};

const IDENTITIES: Index = Index {
    recent: "recent_identities",
    main: "main_identities",
    value: "identity",
    key: "entry_key",
    rows: "entries",
    position: "identity",
    lowest: "-9223372036854775808",
    highest: "9223372036854775807",
};

/// Merges the rows beyond those that may stay recent: about as many as were added since the last
/// merge.
pub(super) fn merge(tx: &Transaction<'_>) -> Result<()> {
    HASHES.merge(tx, max_recent)?;
    IDENTITIES.merge(tx, max_recent)
}

/// How many of so many rows may stay recent.
fn max_recent(rows: u64) -> u64 {
    MIN_RECENT.max(PER_ROOT * rows.isqrt())
}

impl Index {
    fn merge(&self, tx: &Transaction<'_>, max_recent: impl Fn(u64) -> u64) -> Result<()> {
        let Self { recent, key, rows, .. } = self;
        let (recent, rows): (u64, u64) = tx
            .prepare_cached(&format!(
                "SELECT (SELECT count(*) FROM {recent}), (SELECT coalesce(max({key}), 0) FROM {rows})"
            ))?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        match recent.saturating_sub(max_recent(rows)).min(MAX_MERGED) {
            0 => Ok(()),
            count => self.merge_next(tx, count),
        }
    }

    /// Merges that many rows behind the last merge, or those up to the end, behind which the next
    /// merge begins again.
    fn merge_next(&self, tx: &Transaction<'_>, count: u64) -> Result<()> {
        let Self { recent, main, value, key, position, lowest, highest, .. } = self;
        let range = format!("FROM {recent} WHERE {value} > ?1 AND ({value}, {key}) <= (?2, ?3)");
        let from: Value = tx
            .prepare_cached(&format!("SELECT {position} FROM merge_positions"))?
            .query_row([], |row| row.get(0))?;
        let (to, to_key): (Value, i64) = tx
            .prepare_cached(&format!(
                "SELECT * FROM (SELECT {value}, {key} FROM {recent} WHERE {value} > ?1
                                ORDER BY 1, 2 LIMIT 1 OFFSET ?2)
                 UNION ALL SELECT {highest}, {}",
                i64::MAX
            ))?
            .query_row(params![from, count - 1], |row| Ok((row.get(0)?, row.get(1)?)))?;
        tx.prepare_cached(&format!(
            "INSERT INTO {main} SELECT {value}, {key} {range} ORDER BY 1, 2"
        ))?
        .execute(params![from, to, to_key])?;
        tx.prepare_cached(&format!("DELETE {range}"))?.execute(params![from, to, to_key])?;
        tx.prepare_cached(&format!(
            "UPDATE merge_positions SET {position} = iif(?1 = {highest}, {lowest}, ?1)"
        ))?
        .execute([to])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;
    use crate::{model::BlobHash, store::blobs};

    /// What happens to the blobs of a database.
    #[derive(Clone, Debug)]
    enum Step {
        Add(u16),
        Remove(u16),
        Merge { max_recent: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u16..60).prop_map(Step::Add),
            2 => (0_u16..60).prop_map(Step::Remove),
            2 => (0_u64..12).prop_map(|max_recent| Step::Merge { max_recent }),
        ]
    }

    fn hash(number: u16) -> BlobHash {
        BlobHash::of(&number.to_le_bytes())
    }

    fn pairs(db: &Connection, query: &str) -> Vec<(Value, i64)> {
        db.prepare(query)
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn count(db: &Connection, table: &str) -> u64 {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("../../schema.sql")).unwrap();
        db
    }

    proptest! {
        #[test]
        fn every_blob_is_found_by_its_hash_whatever_is_added_removed_and_merged(
            steps in prop::collection::vec(step(), 0..120)
        ) {
            let mut db = database();
            let tx = db.transaction().unwrap();
            let mut expected: BTreeMap<u16, i64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Add(number) => {
                        let key = blobs::ensure(&tx, &hash(number), 2, None).unwrap();
                        prop_assert_eq!(*expected.entry(number).or_insert(key), key, "stored twice");
                    }
                    Step::Remove(number) => {
                        if let Some(key) = expected.remove(&number) {
                            blobs::maybe_orphaned(&tx, key).unwrap();
                            prop_assert_eq!(blobs::take_orphans(&tx, 9).unwrap().unwrap().len(), 1);
                        }
                    }
                    Step::Merge { max_recent } => {
                        let before = count(&tx, "recent_hashes");
                        HASHES.merge(&tx, |_| max_recent).unwrap();
                        let after = count(&tx, "recent_hashes");
                        prop_assert!(after <= before && after >= max_recent.min(before));
                    }
                }
                for number in 0..60 {
                    let found = blobs::key_of(&tx, &hash(number)).unwrap();
                    prop_assert_eq!(found, expected.get(&number).copied());
                }
                prop_assert_eq!(
                    count(&tx, "recent_hashes") + count(&tx, "main_hashes"),
                    expected.len() as u64
                );
            }
        }

        #[test]
        fn merges_that_follow_one_another_leave_no_row_behind(
            identities in prop::collection::vec(prop_oneof![-3_i64..3, any::<i64>()], 0..40),
            count in 1_u64..9,
        ) {
            let mut db = database();
            let tx = db.transaction().unwrap();
            let mut expected = BTreeSet::new();
            for (key, identity) in (1..).zip(identities) {
                // No row has the lowest value of all: it would never be behind a merge.
                let identity = identity.max(i64::MIN + 1);
                tx.execute("INSERT INTO recent_identities VALUES (?1, ?2)", [identity, key]).unwrap();
                expected.insert((identity, key));
            }
            let most = expected.len() * 3 + 3;
            for _ in 0..most {
                IDENTITIES.merge_next(&tx, count).unwrap();
                let both = pairs(&tx, "SELECT identity, entry_key FROM entries_by_identity");
                prop_assert_eq!(both.len(), expected.len());
            }
            let merged = pairs(&tx, "SELECT identity, entry_key FROM main_identities");
            let merged: BTreeSet<(i64, i64)> = merged
                .into_iter()
                .map(|(identity, key)| match identity {
                    Value::Integer(identity) => (identity, key),
                    other => panic!("{other:?}"),
                })
                .collect();
            prop_assert_eq!(merged, expected);
        }
    }

    #[test]
    fn an_entry_is_found_by_the_identity_that_it_has_now() {
        let db = database();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        let found = || pairs(&db, "SELECT identity, entry_key FROM entries_by_identity ORDER BY 2");
        let insert_merged = |identity: i64, key: i64| {
            db.execute("INSERT INTO main_identities VALUES (?1, ?2)", [identity, key]).unwrap();
        };
        db.execute_batch(
            "INSERT INTO entries (sync_key, source_id, version, object_key, is_duplicate, pass, identity)
             VALUES (1, x'01', x'', 1, 0, 1, 10), (1, x'02', x'', 2, 0, 1, 20), (1, x'03', x'', 3, 0, 1, NULL);",
        )
        .unwrap();
        insert_merged(10, 1);
        insert_merged(20, 2);

        db.execute_batch("UPDATE entries SET identity = 11 WHERE entry_key = 1").unwrap();
        db.execute_batch("UPDATE entries SET identity = 30 WHERE entry_key = 3").unwrap();
        db.execute_batch("DELETE FROM entries WHERE entry_key = 2").unwrap();
        assert_eq!(found(), [(Value::Integer(11), 1), (Value::Integer(30), 3)]);

        db.execute_batch("UPDATE entries SET identity = NULL WHERE entry_key = 1").unwrap();
        assert_eq!(found(), [(Value::Integer(30), 3)]);
    }
}
