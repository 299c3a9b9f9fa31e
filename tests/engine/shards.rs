//! Sources that are listed in parts: each part goes on where it stopped, a new one begins at its
//! beginning, and nothing counts as gone before all of them are listed.

use std::{collections::BTreeMap, sync::Arc};

use catchment::{
    clock::Clock as _,
    engine::{
        RunOptions,
        preview::{self, Bounds, Verdict},
    },
    model::{Cause, RunStatus, Shard, SyncOptions},
    store::{
        checkpoints::{self, Progress},
        syncs::{self, HeldReason},
    },
};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Fixture, MINUTE};

/// Settings under which these prefixes are listed, each as a shard.
fn listing(prefixes: &[&str]) -> SyncOptions {
    let provider_filters = json!({ "prefix": prefixes }).as_object().unwrap().clone();
    SyncOptions { provider_filters, ..SyncOptions::default() }
}

impl Fixture {
    /// A source of so many files in each of the folders `a/`, `b/` and `c/`, of which these are
    /// listed.
    fn with_folders(files: usize, listed: &[&str]) -> Self {
        let mut fixture = Self::with_files(0);
        for folder in ["a", "b", "c"] {
            for number in 0..files {
                let name = format!("{folder}/{number:02}");
                fixture.source.world().put(&name, format!("content of {name}"));
            }
        }
        fixture.options = listing(listed);
        // A checkpoint behind each page.
        fixture.options.pace.resume_checkpoint_frequency = 1;
        fixture
    }

    /// The listings that were begun since this was asked last: the prefix, and behind which name.
    fn listings(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.source.world().listings)
    }

    /// A run whose listing of `folder` breaks behind its first page.
    async fn run_that_breaks_in(&self, folder: &str) {
        {
            let mut world = self.source.world();
            (world.break_before_page, world.break_only) = (Some(1), Some(folder.to_owned()));
        }
        let report = self.run().await;
        assert_eq!(report.status, RunStatus::Failed, "{:?}", report.error);
        self.source.world().break_before_page = None;
        self.listings();
    }

    async fn shards(&self) -> BTreeMap<String, Progress> {
        let key = self.sync().await.key;
        let shards = self.engine.store.read(move |db| checkpoints::progress(db, key)).await;
        shards.unwrap().into_iter().map(|shard| (shard.shard.clone(), shard)).collect()
    }

    async fn objects_in(&self, folder: &str) -> usize {
        self.paths().await.iter().filter(|path| path.starts_with(folder)).count()
    }
}

fn from(prefix: &str, behind: Option<&str>) -> (String, Option<String>) {
    (prefix.to_owned(), behind.map(str::to_owned))
}

#[tokio::test]
async fn an_interrupted_pass_continues_where_it_stopped_and_then_looks_at_all_of_it_once_more() {
    let fixture = Fixture::with_folders(7, &["a/", "b/", "c/"]);
    fixture.run_that_breaks_in("b/").await;
    let shards = fixture.shards().await;
    assert!(shards["a/"].completed_at.is_some() && shards["b/"].completed_at.is_none());
    assert!(shards["b/"].cursor.is_some() && !shards.contains_key("c/"));
    fixture.wait(MINUTE);

    let report = fixture.run().await;

    assert_eq!((report.status, report.counts.synced), (RunStatus::Completed, 21 - 7 - 3));
    assert_eq!(report.counts.discovered(), 21, "each entry is counted once");
    let rest = [from("b/", Some("b/02")), from("c/", None)];
    let all = ["a/", "b/", "c/"].map(|prefix| from(prefix, None));
    let both: Vec<_> = rest.into_iter().chain(all.clone()).collect();
    assert_eq!(fixture.listings(), both, "the rest, then all of it once more");
    assert_eq!(fixture.paths().await.len(), 21);
    let shards = fixture.shards().await;
    assert_eq!(shards["c/"].completed_at, fixture.sync().await.last_sync_at);

    fixture.run().await;
    assert_eq!(fixture.listings(), all, "the next pass lists all of it");
}

#[tokio::test]
async fn nothing_counts_as_gone_before_every_shard_is_complete() {
    let fixture = Fixture::with_folders(7, &["a/", "b/"]);
    fixture.run().await;
    fixture.source.world().files.remove("a/00");
    fixture.source.world().files.remove("b/06");

    fixture.run_that_breaks_in("b/").await;
    assert_eq!(fixture.paths().await.len(), 14, "a/ is complete, b/ is not");

    let report = fixture.run().await;
    assert_eq!((report.status, report.counts.removed), (RunStatus::Completed, 2));
    assert_eq!((fixture.objects_in("a/").await, fixture.objects_in("b/").await), (6, 6));
}

#[tokio::test]
async fn slices_go_from_shard_to_shard_and_remove_only_at_the_end() {
    let mut fixture = Fixture::with_folders(4, &["a/", "b/", "c/"]);
    fixture.run().await;
    let names: Vec<String> = fixture.source.world().files.keys().cloned().collect();
    names.iter().for_each(|name| fixture.source.world().put(name, "changed"));
    fixture.source.world().files.remove("a/03");
    fixture.options.pace.max_objects_per_run = 3;
    fixture.listings();

    let first = fixture.queue(Cause::Manual, false).await;
    let slices = fixture.run_slices(first).await;

    let did: Vec<_> =
        slices.iter().map(|report| (report.counts.updated, report.counts.removed)).collect();
    assert_eq!(did, [(3, 0), (3, 0), (3, 0), (2, 1)]);
    let listings = fixture.listings();
    assert_eq!(listings[..2], [from("a/", None), from("b/", None)]);
    assert!(listings[2..6].iter().all(|(prefix, _)| prefix != "a/"), "it was complete");
    let whole = &listings[listings.len() - 3..];
    assert_eq!(whole, ["a/", "b/", "c/"].map(|prefix| from(prefix, None)));
}

#[tokio::test]
async fn a_prefix_that_is_added_is_listed_from_its_beginning_while_the_others_go_on() {
    let mut fixture = Fixture::with_folders(7, &["a/", "c/"]);
    fixture.run_that_breaks_in("c/").await;

    fixture.options.provider_filters = listing(&["a/", "b/", "c/"]).provider_filters;
    let report = fixture.run().await;

    assert_eq!((report.status, fixture.paths().await.len()), (RunStatus::Completed, 21));
    assert_eq!(fixture.listings()[..2], [from("b/", None), from("c/", Some("c/02"))]);
}

#[tokio::test]
async fn a_prefix_that_is_taken_away_takes_its_objects_along_only_where_filters_may() {
    for on_filter_drift in [false, true] {
        let mut fixture = Fixture::with_folders(3, &["a/", "b/"]);
        fixture.run().await;
        fixture.options.provider_filters = listing(&["a/"]).provider_filters;
        fixture.options.reconcile.on_filter_drift = on_filter_drift;

        let report = fixture.run().await;

        assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
        assert_eq!(fixture.objects_in("b/").await, if on_filter_drift { 0 } else { 3 });
        assert_eq!(fixture.shards().await.into_keys().collect::<Vec<_>>(), ["a/"]);

        fixture.options.provider_filters = listing(&["a/", "b/"]).provider_filters;
        fixture.run().await;
        assert_eq!(fixture.objects_in("b/").await, 3, "back again");
    }
}

#[tokio::test]
async fn a_prefix_that_is_taken_away_in_mid_pass_takes_what_the_pass_brought() {
    let mut fixture = Fixture::with_folders(7, &["a/", "b/"]);
    fixture.run_that_breaks_in("b/").await;
    assert_eq!(fixture.objects_in("a/").await, 7);

    fixture.options.provider_filters = listing(&["b/"]).provider_filters;
    fixture.options.reconcile.on_filter_drift = true;
    fixture.run().await;

    assert_eq!((fixture.objects_in("a/").await, fixture.objects_in("b/").await), (0, 7));
}

#[tokio::test]
async fn a_file_that_moves_between_shards_keeps_its_object_and_is_not_fetched() {
    for (old, new) in [("a/00", "b/new"), ("b/00", "a/new")] {
        let fixture = Fixture::with_folders(3, &["a/", "b/"]);
        fixture.run().await;
        fixture.source.world().rename(old, new);
        fixture.asked(new);

        let report = fixture.run().await;

        assert_eq!((report.counts.updated, report.counts.removed), (1, 0), "{old} to {new}");
        assert!(!fixture.asked(new) && fixture.paths().await.contains(&new.to_owned()));
    }
}

#[tokio::test]
async fn shards_without_an_order_are_listed_again_only_as_far_as_they_were_not_complete() {
    let fixture = Fixture::with_folders(7, &["a/", "b/"]);
    fixture.source.world().backwards = true;
    fixture.run_that_breaks_in("b/").await;

    assert_eq!(fixture.run().await.status, RunStatus::Completed);

    assert_eq!(fixture.listings(), ["b/", "a/", "b/"].map(|prefix| from(prefix, None)));
    assert_eq!(fixture.paths().await.len(), 14);
}

#[tokio::test]
async fn a_source_whose_shards_are_all_empty_proves_nothing() {
    let fixture = Fixture::with_folders(3, &["a/", "b/"]);
    fixture.run().await;
    let files = std::mem::take(&mut fixture.source.world().files);
    for _ in 0..2 {
        let held = fixture.run().await.held.expect("it is held");
        assert_eq!((held.reason, held.count), (HeldReason::SourceEmptied, 6));
        assert_eq!(fixture.paths().await.len(), 6, "nothing was removed");
    }
    fixture.source.world().files = files;
    assert_eq!(fixture.run().await.status, RunStatus::Completed);
    fixture.source.world().files.retain(|name, _| !name.starts_with("a/"));
    let report = fixture.run().await;
    assert_eq!((report.status, report.counts.removed), (RunStatus::Completed, 3), "one may be");
}

#[tokio::test]
async fn a_run_goes_on_under_no_other_settings_than_those_of_its_pass() {
    let mut fixture = Fixture::with_folders(7, &["a/", "b/"]);
    fixture.run_that_breaks_in("b/").await;
    fixture.options.filters.exclude_patterns = vec!["*6".into()];

    fixture.run().await;

    assert_eq!(fixture.listings(), [from("a/", None), from("b/", None)]);
}

#[tokio::test]
async fn a_checkpoint_of_another_root_is_none() {
    let mut fixture = Fixture::with_files(7);
    fixture.options.pace.resume_checkpoint_frequency = 1;
    // Nothing of the first root is taken, so nothing but its checkpoint remembers it.
    fixture.options.filters.exclude_patterns = vec!["file*".into()];
    fixture.source.world().root = Some("one disk".into());
    fixture.run_that_breaks_in("").await;
    fixture.source.world().root = Some("another disk".into());
    fixture.source.world().put("a file", "that lies before the checkpoint");

    let report = fixture.run().await;

    assert_eq!((report.status, report.counts.synced), (RunStatus::Completed, 1));
    assert_eq!(fixture.listings(), [from("", None)]);
}

#[tokio::test]
async fn what_failed_beneath_a_folder_that_cannot_be_listed_stays_a_dead_letter() {
    let fixture = Fixture::with_folders(2, &["a/", "b/"]);
    fixture.source.world().refused.extend(["a/00".into(), "b/00".into()]);
    fixture.run().await;
    let open = || async {
        let letters = fixture
            .letters(super::DeadLetterFilter { only_open: true, ..Default::default() })
            .await;
        let mut paths: Vec<_> = letters.iter().map(|letter| letter.path.to_json_text()).collect();
        paths.sort();
        paths
    };
    assert_eq!(open().await, ["a/00", "b/00"]);

    fixture.source.world().unlisted.insert("a/".into());
    fixture.source.world().files.remove("b/00");
    fixture.run().await;
    assert_eq!(open().await, ["a/", "a/00"], "b/00 is gone, of a/00 nobody knows");

    fixture.source.world().unlisted.clear();
    fixture.source.world().files.remove("a/00");
    fixture.run().await;
    assert!(open().await.is_empty());
}

#[tokio::test]
async fn a_pass_that_has_listed_nothing_yet_leaves_nothing_to_go_on_from() {
    let fixture = Fixture::with_folders(3, &["a/", "b/"]);
    fixture.run().await;
    fixture.source.world().files.clear();
    // a/ is listed to its end, and has nothing.
    fixture.run_that_breaks_in("b/").await;

    let report = fixture.run().await;

    assert_eq!((report.status, report.counts.removed), (RunStatus::Held, 0));
    assert_eq!(fixture.listings(), [from("a/", None), from("b/", None)]);
    assert_eq!(fixture.paths().await.len(), 6, "an empty source proves nothing");
}

#[tokio::test]
async fn a_preview_without_a_prefix_shows_what_that_would_remove() {
    let fixture = Fixture::with_folders(3, &["a/", "b/"]);
    fixture.run().await;
    let mut options = listing(&["a/"]);
    options.reconcile.on_filter_drift = true;
    fixture.source.world().shards = vec![Shard::beneath("a/")];
    let (place, run) = (super::location(), RunOptions::default());
    let question = fixture.question(Some(fixture.sync().await), &place, &options, &run);

    let (store, stop) = (&fixture.engine.store, CancellationToken::new());
    let outlook = preview::outlook(store, &fixture.source, question, Bounds::default(), 9, &stop);
    let outlook = outlook.await.unwrap();

    assert_eq!((outlook.preview.counts.unchanged, outlook.preview.counts.removed), (3, 3));
    let removed = outlook.sample.iter().filter(|(path, verdict)| {
        path.as_bytes().starts_with(b"b/") && *verdict == Verdict::Remove { filtered: true }
    });
    assert_eq!(removed.count(), 3);
}

#[tokio::test]
async fn settings_that_change_under_a_run_begin_the_next_one_at_the_beginning() {
    let mut fixture = Fixture::with_folders(7, &["a/"]);
    let (gate, asked) = (Arc::new(Notify::new()), fixture.source.world().asked.clone());
    {
        let mut world = fixture.source.world();
        (world.gate, world.break_before_page) = (Some(gate.clone()), Some(2));
    }
    let job = fixture.queue(Cause::Manual, false).await;
    fixture.options.filters.exclude_patterns = vec!["*6".into()];
    let meanwhile = async {
        asked.notified().await;
        let (sync, options) = (fixture.sync().await, fixture.options.clone());
        let now = fixture.clock.now();
        let change = move |tx: &catchment::store::Transaction<'_>| {
            syncs::set_options(tx, &sync, &options, now)
        };
        fixture.engine.store.write(change).await.unwrap();
        fixture.source.world().gate = None;
        gate.notify_waiters();
    };
    let (report, ()) = tokio::join!(fixture.run_job(&job), meanwhile);
    assert_eq!((report.status, report.counts.synced), (RunStatus::Failed, 6));
    assert!(fixture.shards().await["a/"].cursor.is_some(), "it has left a checkpoint");
    fixture.source.world().break_before_page = None;
    fixture.listings();

    fixture.run().await;

    assert_eq!(fixture.listings(), [from("a/", None)]);
}
