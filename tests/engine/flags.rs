//! The settings of reconcile, each alone and with every other: what stays and what changes when an
//! entry is added, edited, given another version with the same bytes, removed, and filtered out.

use std::collections::{BTreeMap, BTreeSet};

use catchment::model::{BlobHash, Reconcile};

use super::{After, Fixture, buckets, objects};

/// Those of combination `bits`. Batches are made by none: the last two are kept and change nothing
/// of what is in the bucket.
fn combination(bits: u8) -> Reconcile {
    let is_set = |bit: u8| bits & (1 << bit) != 0;
    Reconcile {
        on_delete: is_set(0),
        on_update: is_set(1),
        on_filter_drift: is_set(2),
        re_extract_on_update: is_set(3),
        re_extract_fields: is_set(4).then(|| "title".to_owned()).into_iter().collect(),
    }
}

async fn contents(fixture: &Fixture) -> BTreeMap<String, (String, BlobHash)> {
    let page = |db: &catchment::store::Connection| {
        let bucket = buckets::by_name(db, "bucket")?.unwrap();
        objects::page(db, bucket.key, b"", &After::default(), 1000)
    };
    let objects = fixture.engine.store.read(page).await.unwrap().into_iter();
    objects
        .map(|object| (object.path.to_json_text(), (object.id.to_string(), object.hash)))
        .collect()
}

#[tokio::test]
async fn each_flag_alone_and_with_every_other_does_what_it_says_and_no_more() {
    for bits in 0..32 {
        let flags = combination(bits);
        let mut fixture = Fixture::with_files(6);
        fixture.options.reconcile = flags.clone();
        fixture.run().await;
        let before = contents(&fixture).await;
        {
            let mut world = fixture.source.world();
            world.put("file 01", "edited");
            world.put("file 02", "content 2");
            world.files.remove("file 03");
            world.put("file 06", "added");
            world.asked_for.clear();
        }
        fixture.options.filters.exclude_patterns = vec!["file 04".to_owned()];

        let counts = fixture.run().await.counts;

        // The same bytes under another version are found to be so, and change nothing.
        let updates = u64::from(flags.on_update);
        let removals = u64::from(flags.on_delete) + u64::from(flags.on_filter_drift);
        let told =
            (counts.synced, counts.updated, counts.unchanged, counts.filtered, counts.removed);
        assert_eq!(told, (1, updates, 4 - updates, 1, removals), "{flags:?}");
        assert_eq!(counts.discovered(), 6, "{flags:?}");

        let mut wanted = before.clone();
        if flags.on_update {
            wanted.get_mut("file 01").unwrap().1 = BlobHash::of(b"edited");
        }
        if flags.on_delete {
            wanted.remove("file 03");
        }
        if flags.on_filter_drift {
            wanted.remove("file 04");
        }
        let mut after = contents(&fixture).await;
        assert_eq!(after.remove("file 06").unwrap().1, BlobHash::of(b"added"), "{flags:?}");
        assert_eq!(after, wanted, "{flags:?}");

        let mut asked: BTreeSet<&str> = ["file 06"].into();
        asked.extend(flags.on_update.then_some(["file 01", "file 02"]).into_iter().flatten());
        let fetched = fixture.source.world().asked_for.clone();
        assert_eq!(fetched.iter().map(String::as_str).collect::<BTreeSet<_>>(), asked, "{flags:?}");
        assert_eq!(fixture.sync().await.options.reconcile, flags);

        let again = fixture.run().await.counts;
        assert_eq!((again.unchanged, again.filtered, again.bytes), (5, 1, 0), "{flags:?}");
        assert_eq!(again.removed, 0, "{flags:?}");
    }
}
