//! What a reader finds after a run: the bucket, the dead letters, and counts that agree.

use std::collections::BTreeMap;

use catchment::{
    model::{BlobHash, Counts, Life},
    store::{
        buckets, dead_letters, jobs,
        objects::{self, After},
        syncs,
    },
};

use crate::history::History;

/// An object as a reader of the bucket sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) hash: BlobHash,
    pub(super) fields: serde_json::Value,
}

impl History {
    /// What the bucket has; and every count agrees with every other.
    pub(super) async fn bucket(&mut self) -> BTreeMap<String, Seen> {
        let store = self.engine().store;
        let (bucket, page, sync, jobs) = store
            .read(|db| {
                let bucket = buckets::by_name(db, "world")?;
                let Some(bucket) = bucket else { return Ok((None, Vec::new(), None, Vec::new())) };
                let page = objects::page(db, bucket.key, b"", &After::default(), 10_000)?;
                let sync = syncs::all(db)?.remove(0);
                let jobs = jobs::latest(db, sync.key, 10_000)?;
                Ok((Some(bucket), page, Some(sync), jobs))
            })
            .await
            .unwrap();
        let Some((bucket, sync)) = bucket.zip(sync) else { return BTreeMap::new() };
        assert_eq!(bucket.object_count, page.len() as u64, "the bucket's own count");
        assert_eq!(bucket.object_bytes, page.iter().map(|object| object.size).sum::<u64>());
        let mut sum = Counts::default();
        jobs.iter().for_each(|job| sum.add(&job.counts));
        assert_eq!(sync.totals.counts, sum, "the totals are the sum over the jobs");
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
        seen
    }

    /// The open dead letters, by path.
    pub(super) async fn letters(&mut self) -> BTreeMap<String, Life> {
        let store = self.engine().store;
        let letters = store
            .read(|db| {
                let Some(sync) = syncs::all(db)?.pop() else { return Ok(Vec::new()) };
                dead_letters::open(db, sync.key, 10_000)
            })
            .await
            .unwrap();
        letters.into_iter().map(|letter| (letter.path.to_json_text(), letter.life)).collect()
    }
}
