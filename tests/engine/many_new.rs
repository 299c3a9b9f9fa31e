//! Many new entries at once are written together, and come out as if each had been written alone.

use catchment::{
    engine::Report,
    model::{BlobHash, Counts, RunStatus},
    store::Connection,
};

use crate::Fixture;

const FILES: usize = 2345;

/// So many different contents there are among them.
const CONTENTS: usize = 700;

fn content(file: usize) -> String {
    format!("content {}", file % CONTENTS)
}

impl Fixture {
    fn with_many_files() -> Self {
        let fixture = Self::with_files(0);
        for file in 0..FILES {
            fixture.source.world().put(&format!("{file:04}"), content(file));
        }
        fixture
    }

    /// The path and the hash of each object's bytes, by path.
    async fn hashes(&self) -> Vec<(String, BlobHash)> {
        let read = |db: &Connection| {
            let mut statement = db.prepare(
                "SELECT path, hash FROM objects JOIN object_blobs USING (object_key)
                     JOIN blobs USING (blob_key) ORDER BY path",
            )?;
            let rows = statement.query_map([], |row| {
                let path = String::from_utf8(row.get(0)?).unwrap();
                Ok((path, BlobHash::from_bytes(row.get(1)?)))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.engine.store.read(read).await.unwrap()
    }

    async fn count(&self, query: &'static str) -> i64 {
        let count = move |db: &Connection| Ok(db.query_row(query, [], |row| row.get(0))?);
        self.engine.store.read(count).await.unwrap()
    }
}

fn counts(report: &Report) -> Counts {
    assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
    report.counts
}

#[tokio::test]
async fn thousands_of_new_files_become_an_object_each_and_equal_bytes_are_stored_once() {
    let fixture = Fixture::with_many_files();

    let first = counts(&fixture.run().await);

    assert_eq!((first.synced, first.duplicates), (FILES as u64, 0));
    let expected: Vec<_> = (0..FILES)
        .map(|file| (format!("{file:04}"), BlobHash::of(content(file).as_bytes())))
        .collect();
    assert_eq!(fixture.hashes().await, expected);
    assert_eq!(fixture.count("SELECT count(*) FROM blobs").await, CONTENTS as i64);
    assert_eq!(fixture.count("SELECT count(*) FROM blob_bytes").await, CONTENTS as i64);
    assert_eq!(fixture.count("SELECT object_count FROM buckets").await, FILES as i64);
    assert_eq!(counts(&fixture.run().await).unchanged, FILES as u64);
}

#[tokio::test]
async fn of_thousands_of_new_files_those_with_equal_bytes_share_an_object_where_they_shall() {
    let mut fixture = Fixture::with_many_files();
    fixture.options.skip_duplicates = true;

    let first = counts(&fixture.run().await);

    let shared = FILES - CONTENTS;
    assert_eq!((first.synced, first.duplicates), (CONTENTS as u64, shared as u64));
    let expected: Vec<_> = (0..CONTENTS)
        .map(|file| (format!("{file:04}"), BlobHash::of(content(file).as_bytes())))
        .collect();
    assert_eq!(fixture.hashes().await, expected);
    assert_eq!(counts(&fixture.run().await).unchanged, FILES as u64);
}

#[tokio::test]
async fn new_files_are_distinguished_from_changed_ones() {
    let fixture = Fixture::with_many_files();
    fixture.run().await;
    for file in (0..FILES).step_by(3) {
        fixture.source.world().put(&format!("{file:04}"), format!("changed {file}"));
    }
    for file in 0..500 {
        // Between those that are there, with bytes that some of them have.
        fixture.source.world().put(&format!("{file:04} new"), content(file));
    }

    let second = counts(&fixture.run().await);

    let changed = FILES.div_ceil(3);
    assert_eq!((second.synced, second.updated), (500, changed as u64));
    assert_eq!(second.unchanged, (FILES - changed) as u64);
    let hashes = fixture.hashes().await;
    assert_eq!(hashes.len(), FILES + 500);
    for (path, hash) in hashes {
        let file: usize = path[..4].parse().unwrap();
        let expected = match path.ends_with("new") || !file.is_multiple_of(3) {
            true => content(file),
            false => format!("changed {file}"),
        };
        assert_eq!(hash, BlobHash::of(expected.as_bytes()), "{path}");
    }
}
