//! From any earlier schema to this one. Migrations are only ever appended.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{Result, StoreError};

/// The whole schema as it is today, for a database that has none.
const SCHEMA: &str = include_str!("../../schema.sql");

/// Each step brings a database from version `index + 1` to `index + 2`.
const STEPS: &[&str] = &[
    include_str!("migrations/2_control_plane.sql"),
    include_str!("migrations/3_shards.sql"),
    include_str!("migrations/4_tallies.sql"),
    include_str!("migrations/5_text.sql"),
    include_str!("migrations/6_scattered.sql"),
    include_str!("migrations/7_held_back.sql"),
    include_str!("migrations/8_renewals.sql"),
    include_str!("migrations/9_plain_names.sql"),
    include_str!("migrations/10_decisions.sql"),
    include_str!("migrations/11_trust.sql"),
    include_str!("migrations/12_processing.sql"),
    include_str!("migrations/13_edits.sql"),
    include_str!("migrations/14_trash.sql"),
    include_str!("migrations/15_by_id.sql"),
    include_str!("migrations/16_thumbnails.sql"),
    include_str!("migrations/17_progress.sql"),
    include_str!("migrations/18_budgets.sql"),
    include_str!("migrations/19_webhooks.sql"),
    include_str!("migrations/20_further_files.sql"),
    include_str!("migrations/21_links.sql"),
    include_str!("migrations/22_document_index.sql"),
    include_str!("migrations/23_refusals.sql"),
    include_str!("migrations/24_link_keys.sql"),
    include_str!("migrations/25_access_keys.sql"),
    include_str!("migrations/26_thumbnail_tries.sql"),
    include_str!("migrations/27_stops.sql"),
    include_str!("migrations/28_several_parents.sql"),
];

/// The version of [`SCHEMA`].
pub(super) const LATEST: usize = STEPS.len() + 1;

/// The version of a database: 0 for one without any tables.
///
/// # Errors
/// When it is newer than this program, or no database at all.
pub(super) fn version_of(connection: &Connection, path: &Path) -> Result<usize> {
    let found = version(connection)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), error })?;
    match usize::try_from(found) {
        Ok(version) if version <= LATEST => Ok(version),
        _ => {
            let known = i64::try_from(LATEST).unwrap_or(i64::MAX);
            Err(StoreError::Newer { path: path.to_owned(), found, known })
        }
    }
}

/// Applies the steps that this database has not seen, each in its own transaction.
///
/// # Errors
/// When the database is from a newer version, which is left as it is.
pub(super) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<()> {
    // Tables that others refer to are rebuilt; what they hold is checked before it is kept.
    connection.pragma_update(None, "foreign_keys", false)?;
    loop {
        let found = version_of(connection, path)?;
        let (statements, reached) = match found {
            0 => (SCHEMA, LATEST),
            LATEST => return Ok(()),
            older => (STEPS[older - 1], older + 1),
        };
        // Another process may be migrating too: look again and act in one exclusive transaction.
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version_of(&step, path)? == found {
            step.execute_batch(statements)?;
            check_references(&step)?;
            step.pragma_update(None, "user_version", reached)?;
            step.commit()?;
        }
    }
}

/// Every reference has what it refers to.
pub(super) fn check_references(connection: &Connection) -> Result<()> {
    let dangling: Option<String> = connection
        .prepare("PRAGMA foreign_key_check")?
        .query_map([], |row| row.get(0))?
        .next()
        .transpose()?;
    match dangling {
        None => Ok(()),
        Some(table) => Err(StoreError::nonsense("schema", format!("{table} refers to nothing"))),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{BlobHash, Identity},
        store::{blobs, entries},
    };

    /// What the first version that people had began with.
    const FIRST: &str = include_str!("migrations/1_first.sql");

    fn open(schema: &str, version: usize) -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(schema).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
        bring_up_to_date(&mut db, Path::new("test")).unwrap();
        db
    }

    /// Tables with their columns, indexes with theirs, in an order of no meaning; what triggers and
    /// views do, word by word.
    fn shape(db: &Connection) -> BTreeMap<String, Vec<String>> {
        let names: Vec<(String, String, Option<String>)> = db
            .prepare("SELECT name, type, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        names
            .into_iter()
            .map(|(name, kind, sql)| {
                let what = match kind.as_str() {
                    "trigger" | "view" => return (name, sql.into_iter().collect()),
                    "table" => {
                        "name || ' ' || type || ' ' || \"notnull\" || ' ' || pk || ' ' ||
                                coalesce(dflt_value, '-') FROM pragma_table_xinfo"
                    }
                    _ => "coalesce(name, 'rowid') || ' ' || seqno FROM pragma_index_xinfo",
                };
                let columns = db
                    .prepare(&format!("SELECT {what}(?1) ORDER BY 1"))
                    .unwrap()
                    .query_map([&name], |row| row.get(0))
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                (name, columns)
            })
            .collect()
    }

    #[test]
    fn a_database_of_the_first_version_becomes_what_a_new_one_is() {
        let (new, old) = (open("", 0), open(FIRST, 1));
        assert_eq!(shape(&new), shape(&old));
    }

    #[test]
    fn what_was_found_by_hash_or_identity_is_found_after_the_upgrade() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(FIRST).unwrap();
        STEPS[..4].iter().for_each(|step| db.execute_batch(step).unwrap());
        db.pragma_update(None, "user_version", 5).unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        let hash = BlobHash::of(b"bytes");
        db.execute("INSERT INTO blobs VALUES (7, ?1, 5, 0)", [hash.as_bytes()]).unwrap();
        db.execute_batch(
            "INSERT INTO buckets (bucket_key, id, namespace_key, name, created_at_ms, updated_at_ms)
             SELECT 1, 'bkt', namespace_key, 'bucket', 0, 0 FROM namespaces;
             INSERT INTO syncs (sync_key, id, bucket_key, connection_key, source_path, options, made_by,
                                named_bucket, status, created_at_ms, updated_at_ms)
             SELECT 1, 'sync', 1, connection_key, x'', '{}', 'api', 0, 'ACTIVE', 0, 0 FROM connections;
             INSERT INTO entries (entry_key, sync_key, source_id, version, object_key, is_duplicate,
                                  pass, identity)
             VALUES (3, 1, x'61', x'', 0, 0, 1, 42);",
        )
        .unwrap();

        bring_up_to_date(&mut db, Path::new("test")).unwrap();

        assert_eq!(blobs::key_of(&db, &hash).unwrap(), Some(7));
        let found = entries::only_one_like(&db, 1, 2, Identity(42)).unwrap();
        assert_eq!(found, Some(3));
    }

    #[test]
    fn a_database_of_a_newer_version_is_left_as_it_is() {
        let mut db = Connection::open_in_memory().unwrap();
        db.pragma_update(None, "user_version", LATEST + 1).unwrap();
        let refused = bring_up_to_date(&mut db, Path::new("test")).unwrap_err();
        assert!(matches!(refused, StoreError::Newer { .. }));
    }
}
