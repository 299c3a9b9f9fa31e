//! Indexes of values that arrive in random order: hashes and identities, see `schema.sql`.
//!
//! A thousand new values in an index of a million are on hundreds of pages, each of which a commit
//! would read, change and write. So they go into a small index first, all of whose pages are in
//! memory, and move from there into the large one. A hand moves through their order, again and
//! again, and takes as many along as arrived: neighbours, which are on few pages of the large
//! index, too.
//!
//! Looking up a value is not here: the files of the tables do that through a view of both indexes.

use rusqlite::{Transaction, params, types::Value};

use super::Result;

/// The least that stay in the small index: about 30 pages.
const AT_LEAST: u64 = 16_384;

/// Of `n` values, this many times the square root of `n` stay in the small index: then a commit
/// changes about as many pages of the small index, all of them, as of the large one.
const PER_ROOT: u64 = 22;

/// The most that one transaction moves, if many were added outside of runs.
const AT_MOST: u64 = 4_096;

/// An index in two levels, by the names of its tables and columns.
struct Index {
    small: &'static str,
    large: &'static str,
    /// The indexed column, and the key of the row that has the value.
    name: &'static str,
    key: &'static str,
    /// The table of those rows.
    rows: &'static str,
    /// The column of `settling`.
    hand: &'static str,
    /// The values before and behind all others.
    beginning: &'static str,
    end: &'static str,
}

const HASHES: Index = Index {
    small: "fresh_hashes",
    large: "settled_hashes",
    name: "prefix",
    key: "blob_key",
    rows: "blobs",
    hand: "hash",
    beginning: "x''",
    end: "x'ffffffffffffffffff'",
};

const IDENTITIES: Index = Index {
    small: "fresh_identities",
    large: "settled_identities",
    name: "identity",
    key: "entry_key",
    rows: "entries",
    hand: "identity",
    beginning: "-9223372036854775808",
    end: "9223372036854775807",
};

/// Moves what is too many for the small indexes to the large ones: about as many as were added
/// since the last time.
pub(super) fn move_to_large(tx: &Transaction<'_>) -> Result<()> {
    HASHES.move_surplus(tx, capacity)?;
    IDENTITIES.move_surplus(tx, capacity)
}

/// How many of so many rows may be in the small index.
fn capacity(rows: u64) -> u64 {
    AT_LEAST.max(PER_ROOT * rows.isqrt())
}

impl Index {
    fn move_surplus(&self, tx: &Transaction<'_>, capacity: impl Fn(u64) -> u64) -> Result<()> {
        let Self { small, key, rows, .. } = self;
        let (count, rows): (u64, u64) = tx
            .prepare_cached(&format!(
                "SELECT (SELECT count(*) FROM {small}), (SELECT coalesce(max({key}), 0) FROM {rows})"
            ))?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        match count.saturating_sub(capacity(rows)).min(AT_MOST) {
            0 => Ok(()),
            surplus => self.move_next(tx, surplus),
        }
    }

    /// Moves the next `count` values, or those up to the end, after which the hand starts again.
    fn move_next(&self, tx: &Transaction<'_>, count: u64) -> Result<()> {
        let Self { small, large, name, key, hand, beginning, end, .. } = self;
        let range = format!("FROM {small} WHERE {name} > ?1 AND ({name}, {key}) <= (?2, ?3)");
        let from: Value = tx
            .prepare_cached(&format!("SELECT {hand} FROM settling"))?
            .query_row([], |row| row.get(0))?;
        let (to, to_key): (Value, i64) = tx
            .prepare_cached(&format!(
                "SELECT * FROM (SELECT {name}, {key} FROM {small} WHERE {name} > ?1
                                ORDER BY 1, 2 LIMIT 1 OFFSET ?2)
                 UNION ALL SELECT {end}, {}",
                i64::MAX
            ))?
            .query_row(params![from, count - 1], |row| Ok((row.get(0)?, row.get(1)?)))?;
        tx.prepare_cached(&format!(
            "INSERT INTO {large} SELECT {name}, {key} {range} ORDER BY 1, 2"
        ))?
        .execute(params![from, to, to_key])?;
        tx.prepare_cached(&format!("DELETE {range}"))?.execute(params![from, to, to_key])?;
        tx.prepare_cached(&format!(
            "UPDATE settling SET {hand} = iif(?1 = {end}, {beginning}, ?1)"
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
        MoveSurplus { capacity: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u16..60).prop_map(Step::Add),
            2 => (0_u16..60).prop_map(Step::Remove),
            2 => (0_u64..12).prop_map(|capacity| Step::MoveSurplus { capacity }),
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
        fn every_blob_is_found_by_its_hash_whatever_is_added_removed_and_moved(
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
                    Step::MoveSurplus { capacity } => {
                        let before = count(&tx, "fresh_hashes");
                        HASHES.move_surplus(&tx, |_| capacity).unwrap();
                        let after = count(&tx, "fresh_hashes");
                        prop_assert!(after <= before && after >= capacity.min(before));
                    }
                }
                for number in 0..60 {
                    let found = blobs::key_of(&tx, &hash(number)).unwrap();
                    prop_assert_eq!(found, expected.get(&number).copied());
                }
                prop_assert_eq!(
                    count(&tx, "fresh_hashes") + count(&tx, "settled_hashes"),
                    expected.len() as u64
                );
            }
        }

        #[test]
        fn moving_on_and_on_leaves_nothing_in_the_small_index(
            identities in prop::collection::vec(prop_oneof![-3_i64..3, any::<i64>()], 0..40),
            count in 1_u64..9,
        ) {
            let mut db = database();
            let tx = db.transaction().unwrap();
            let mut expected = BTreeSet::new();
            for (key, identity) in (1..).zip(identities) {
                // No row has the least of all: it would never be behind the hand.
                let identity = identity.max(i64::MIN + 1);
                tx.execute("INSERT INTO fresh_identities VALUES (?1, ?2)", [identity, key]).unwrap();
                expected.insert((identity, key));
            }
            let most = expected.len() * 3 + 3;
            for _ in 0..most {
                IDENTITIES.move_next(&tx, count).unwrap();
                let both = pairs(&tx, "SELECT identity, entry_key FROM entries_by_identity");
                prop_assert_eq!(both.len(), expected.len());
            }
            let settled = pairs(&tx, "SELECT identity, entry_key FROM settled_identities");
            let settled: BTreeSet<(i64, i64)> = settled
                .into_iter()
                .map(|(identity, key)| match identity {
                    Value::Integer(identity) => (identity, key),
                    other => panic!("{other:?}"),
                })
                .collect();
            prop_assert_eq!(settled, expected);
        }
    }

    #[test]
    fn an_entry_is_found_by_the_identity_that_it_has_now() {
        let db = database();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        let found = || pairs(&db, "SELECT identity, entry_key FROM entries_by_identity ORDER BY 2");
        let settled = |identity: i64, key: i64| {
            db.execute("INSERT INTO settled_identities VALUES (?1, ?2)", [identity, key]).unwrap();
        };
        db.execute_batch(
            "INSERT INTO entries (sync_key, source_id, version, object_key, is_duplicate, pass, identity)
             VALUES (1, x'01', x'', 1, 0, 1, 10), (1, x'02', x'', 2, 0, 1, 20), (1, x'03', x'', 3, 0, 1, NULL);",
        )
        .unwrap();
        settled(10, 1);
        settled(20, 2);

        db.execute_batch("UPDATE entries SET identity = 11 WHERE entry_key = 1").unwrap();
        db.execute_batch("UPDATE entries SET identity = 30 WHERE entry_key = 3").unwrap();
        db.execute_batch("DELETE FROM entries WHERE entry_key = 2").unwrap();
        assert_eq!(found(), [(Value::Integer(11), 1), (Value::Integer(30), 3)]);

        db.execute_batch("UPDATE entries SET identity = NULL WHERE entry_key = 1").unwrap();
        assert_eq!(found(), [(Value::Integer(30), 3)]);
    }
}
