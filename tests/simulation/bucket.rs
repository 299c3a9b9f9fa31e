//! What a reader finds after a run: the bucket, the dead letters, and counts that agree.

use std::collections::BTreeMap;

use catchment::{
    model::{BlobHash, Life},
    store::{
        self, Connection, buckets,
        dead_letters::{self, DeadLetter},
        objects::{self, After},
        syncs::{self, HeldRemovals},
    },
};
use rusqlite::OptionalExtension as _;

use crate::history::History;

/// An object as a reader of the bucket sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) hash: BlobHash,
    pub(super) fields: serde_json::Value,
}

/// The key of the one sync that there is, once there is one.
pub(super) fn sync_key(db: &Connection) -> store::Result<Option<i64>> {
    let mut statement = db.prepare_cached("SELECT sync_key FROM syncs")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?)
}

/// The sums over what the rows of a table count.
fn counts(db: &Connection, table: &str) -> store::Result<[i64; 8]> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT sum(synced), sum(updated), sum(unchanged), sum(duplicates), sum(filtered),
                sum(failed), sum(removed), sum(bytes) FROM {table}"
    ))?;
    let mut sums = [0; 8];
    statement.query_row([], |row| {
        sums.iter_mut().enumerate().try_for_each(|(index, sum)| row.get(index).map(|it| *sum = it))
    })?;
    Ok(sums)
}

/// What a reader finds at one moment.
#[derive(Default)]
pub(super) struct Found {
    /// The objects, by path.
    pub(super) bucket: BTreeMap<String, Seen>,
    /// The open dead letters, by path.
    pub(super) letters: BTreeMap<String, Life>,
    /// Removals that wait for somebody's word.
    pub(super) held: Option<HeldRemovals>,
}

impl History {
    /// What is there; and every count agrees with every other.
    pub(super) async fn found(&mut self) -> Found {
        let store = self.engine().store;
        let read = store.read(|db| {
            let Some(sync_key) = sync_key(db)? else { return Ok(None) };
            let letters = dead_letters::open(db, sync_key, 10_000)?;
            let held = syncs::held_removals(db, sync_key)?;
            let bucket = buckets::by_name(db, "world")?.expect("a sync has its bucket");
            let page = objects::page(db, bucket.key, b"", &After::default(), 10_000)?;
            let counts = (counts(db, "syncs")?, counts(db, "jobs")?);
            Ok(Some((letters, held, bucket, page, counts)))
        });
        let Some((letters, held, bucket, page, (totals, sums))) = read.await.unwrap() else {
            return Found::default();
        };
        let letter = |letter: DeadLetter| (letter.path.to_json_text(), letter.life);
        let letters = letters.into_iter().map(letter).collect();
        assert_eq!(bucket.object_count, page.len() as u64, "the bucket's own count");
        assert_eq!(bucket.object_bytes, page.iter().map(|object| object.size).sum::<u64>());
        assert_eq!(totals, sums, "the totals are the sum over the jobs");
        let seen: BTreeMap<String, Seen> = page
            .iter()
            .map(|object| {
                let fields = object.fields.as_deref().map(serde_json::from_str);
                let fields = fields.transpose().unwrap().unwrap_or_default();
                let seen = Seen { id: object.id.to_string(), hash: object.hash, fields };
                (object.path.to_json_text(), seen)
            })
            .collect();
        assert_eq!(seen.len(), page.len(), "one object a path");
        self.check_what_people_wrote(&seen);
        Found { bucket: seen, letters, held }
    }

    /// What the bucket has.
    pub(super) async fn bucket(&mut self) -> BTreeMap<String, Seen> {
        self.found().await.bucket
    }
}
