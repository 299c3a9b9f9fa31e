//! The index by which a search finds objects follows what syncs do, in the background.

use std::time::Duration;

use catchment::{
    engine::search_index,
    store::{
        Connection, RowPosition,
        objects::{query::Query, record, text},
    },
};
use tokio_util::sync::CancellationToken;

use super::{Fixture, buckets};

/// The paths that a search finds, the newest object first.
async fn found(fixture: &Fixture, wanted: &'static str) -> Vec<String> {
    let search = |db: &Connection| {
        let bucket = buckets::by_name(db, "bucket")?.unwrap();
        let query = Query::new(&bucket, None, Some(wanted), None).unwrap();
        let found = query.keys(db, None, 0, 100, None)?;
        record::by_keys(db, found.places.iter().map(RowPosition::key))
    };
    let records = fixture.engine.store.read(search).await.unwrap();
    records.iter().map(|record| record.path.to_json_text()).collect()
}

async fn is_behind(fixture: &Fixture) -> bool {
    fixture.engine.store.read(text::is_behind).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_syncs_bring_change_and_remove_is_indexed_in_the_background() {
    let fixture = Fixture::with_files(20);
    fixture.run().await;
    assert!(is_behind(&fixture).await, "a sync leaves that to others");
    assert_eq!(found(&fixture, "FILE 07").await, ["file 07"], "and it is found all the same");

    let stopping = CancellationToken::new();
    let keeping =
        tokio::spawn(search_index::keep_up_to_date(fixture.engine.store.clone(), stopping.clone()));
    while is_behind(&fixture).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(found(&fixture, "file 07").await, ["file 07"]);

    fixture.source.world().rename("file 07", "picture 07");
    fixture.source.world().files.remove("file 08");
    fixture.run().await;
    while is_behind(&fixture).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(found(&fixture, "picture").await, ["picture 07"]);
    assert!(found(&fixture, "file 07").await.is_empty());
    assert!(found(&fixture, "file 08").await.is_empty());

    stopping.cancel();
    keeping.await.unwrap();
}
