//! What people do to the bucket between runs: they write to objects, and switch on the trash for
//! what the sync removes. Whatever runs do after, what they wrote stays with its object.

use std::collections::BTreeMap;

use catchment::{
    clock::Clock as _,
    model::{BlobHash, MaxDelete, RunStatus},
    store::{
        StoreError, buckets,
        edits::Edits,
        objects::{
            record,
            write::{self, Change},
        },
    },
};

use crate::{bucket::Seen, history::History};

/// The field that people write, which no mapping gives.
const FIELD: &str = "stars";

impl History {
    /// Somebody writes to one of the objects.
    pub(super) async fn write_to_an_object(&mut self) {
        let objects: Vec<String> = self.bucket().await.into_values().map(|seen| seen.id).collect();
        let Some(id) = self.random.choice(objects) else { return };
        self.did("field that a person wrote");
        let (stars, now) = (self.random.u64(1..6), self.clock.now());
        self.written.insert(id.clone(), stars);
        let store = self.engine().store;
        store
            .write(move |tx| {
                let bucket = buckets::by_name(tx, "world")?.expect("it has objects");
                let object = record::by_id(tx, bucket.key, &id)?.expect("it is there");
                let given = Edits { given: object.fields.clone(), ..Edits::default() };
                let mut edits = object.edits.unwrap_or(given);
                edits.write(FIELD.to_owned(), stars.into());
                let fields = edits.merged();
                let change = Change { path: None, fields, edits: Some(edits), unique_key: None };
                write::change(tx, bucket.key, object.key, &change, now)?;
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }

    /// Somebody decides whether the trash keeps what the sync removes.
    pub(super) async fn set_the_trash(&mut self) {
        let (keeps, now) = (self.random.bool(), self.clock.now());
        let store = self.engine().store;
        store
            .write(move |tx| {
                let Some(bucket) = buckets::by_name(tx, "world")? else { return Ok(()) };
                let mut settings = bucket.settings;
                settings.trash_synced = keeps;
                buckets::set_settings(tx, bucket.key, &settings, now)
            })
            .await
            .unwrap();
    }

    /// Somebody switches `skip_duplicates` off: what was skipped has its objects after the next
    /// pass, and nothing is fetched for them.
    pub(super) async fn stop_skipping_duplicates(&mut self) {
        if !self.options.skip_duplicates {
            return;
        }
        self.did("duplicates that are skipped no more");
        self.source.world().heal();
        self.max_delete = Some(MaxDelete::Percent(100.0));
        // An object that went over to an equal entry is decided with the next pass.
        for _ in 0..3 {
            self.approve_what_waits().await;
            self.give_another_chance().await;
            let report = self.run(false).await.unwrap();
            assert!(report.error.is_none(), "{:?}", report.error);
        }
        self.source.world().asked_for.clear();
        self.options.skip_duplicates = false;
        let report = self.run(false).await.unwrap();
        assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
        assert_eq!(report.counts.bytes, 0);
        let bucket = self.bucket().await;
        self.check_that_nothing_was_skipped(&bucket);
        self.take_as_it_is().await;
    }

    /// Every entry that passes has its object, and none was fetched.
    fn check_that_nothing_was_skipped(&self, bucket: &BTreeMap<String, Seen>) {
        let world = self.source.world();
        assert!(world.asked_for.is_empty(), "{:?} were fetched again", world.asked_for);
        for (name, file) in world.files.iter().filter(|(name, _)| self.passes(name)) {
            let hash = bucket.get(name).map(|seen| seen.hash);
            assert_eq!(hash, Some(BlobHash::of(&file.content)), "{name}");
        }
    }

    /// What people wrote is where they wrote it.
    pub(super) fn check_what_people_wrote(&self, bucket: &BTreeMap<String, Seen>) {
        for (name, seen) in bucket {
            let wrote = self.written.get(&seen.id).map(|stars| serde_json::json!(stars));
            assert_eq!(seen.fields.get(FIELD), wrote.as_ref(), "{name} has what a person wrote");
        }
    }

    /// The fields that a mapping gives an object, with what a person wrote to it.
    pub(super) fn with_what_people_wrote(
        &self,
        seen: &Seen,
        given: &serde_json::Value,
    ) -> serde_json::Value {
        let Some(stars) = self.written.get(&seen.id) else { return given.clone() };
        let mut fields = given.as_object().cloned().unwrap_or_default();
        fields.insert(FIELD.to_owned(), (*stars).into());
        fields.into()
    }
}
