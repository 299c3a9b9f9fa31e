//! The books of an installation: whatever a test has done, the counts of the jobs, the totals of
//! their syncs, the numbers of the buckets and what the program tells of them agree.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// What is counted of a job, and of a sync in total.
const COUNTS: [&str; 8] =
    ["synced", "updated", "unchanged", "duplicates", "filtered", "failed", "removed", "bytes"];

/// Holds the state in `data_dir` to its own sums. They hold at every moment: what a transaction
/// counts for a job it counts for its sync and its bucket.
#[track_caller]
pub fn balance(data_dir: &Path) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(data_dir.join("catchment.db"), flags).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    for count in COUNTS {
        let off = wrong(
            &db,
            &format!(
                "SELECT s.id, s.{count}, coalesce((SELECT sum(j.{count}) FROM jobs j
                                                   WHERE j.sync_key = s.sync_key), 0) AS told
                 FROM syncs s WHERE s.{count} <> told"
            ),
        );
        assert!(off.is_empty(), "totals of {count} are not the sum over the jobs: {off:?}");
    }
    let off = wrong(
        &db,
        "SELECT b.name, b.object_count,
                (SELECT count(*) FROM objects o
                 WHERE o.bucket_key = b.bucket_key AND o.state IS NULL) AS told
         FROM buckets b WHERE b.object_count <> told
         UNION ALL
         SELECT 'trash of ' || b.name, b.trash_count,
                (SELECT count(*) FROM trash t WHERE t.bucket_key = b.bucket_key) AS told
         FROM buckets b WHERE b.trash_count <> told",
    );
    assert!(off.is_empty(), "a bucket has another number of objects than it says: {off:?}");
    let off = wrong(
        &db,
        "SELECT 'blobs', t.blobs, (SELECT count(*) FROM blobs WHERE blob_key <= counted_to) AS told
         FROM blob_tally t WHERE t.blobs <> told
         UNION ALL
         SELECT 'bytes', t.bytes, (SELECT coalesce(sum(size), 0) FROM blobs
                                   WHERE blob_key <= counted_to) AS told
         FROM blob_tally t WHERE t.bytes <> told
         UNION ALL
         SELECT status, t.jobs, (SELECT count(*) FROM jobs j WHERE j.status = t.status) AS told
         FROM job_tallies t WHERE t.jobs <> told",
    );
    assert!(off.is_empty(), "a tally is not the count: {off:?}");
}

/// Whose number is not what it should be, with both.
fn wrong(db: &Connection, question: &str) -> Vec<(String, i64, i64)> {
    let mut statement = db.prepare(question).unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

/// Holds the summary of a run to what `status --json` says of its job, if it still shows that.
#[track_caller]
pub fn tells_the_same(status: &Value, summary: &Value) {
    let jobs = status["syncs"].as_array().unwrap().iter();
    let mut jobs = jobs.flat_map(|sync| sync["jobs"].as_array().unwrap());
    let Some(job) = jobs.find(|job| job["job_id"] == summary["job_id"]) else { return };
    for count in COUNTS.into_iter().chain(["discovered"]) {
        assert_eq!(job[count], summary[count], "{count}: status {job}, summary {summary}");
    }
}

/// Holds a sync of the API, its jobs and its metrics to each other.
#[track_caller]
pub fn agree(sync: &Value, jobs: &[Value], metrics: &Value) {
    let sum = |count: &str| -> u64 {
        jobs.iter().map(|job| job["metadata"]["counts"][count].as_u64().unwrap()).sum()
    };
    for count in COUNTS.into_iter().chain(["discovered"]) {
        assert_eq!(sync["totals"][count], sum(count), "{count} of {sync} and its jobs");
    }
    let listed: u64 = COUNTS[..6].iter().map(|count| sum(count)).sum();
    let files = [
        ("total_files_discovered", listed),
        ("total_files_synced", sum("synced") + sum("updated")),
    ];
    for (name, count) in files {
        assert_eq!((&sync[name], &metrics[name]), (&count.into(), &count.into()), "{name}");
    }
    // Entries, not tries.
    assert_eq!(sync["total_files_failed"], metrics["total_files_failed"]);
    assert!(sync["total_files_failed"].as_u64().unwrap() <= sum("failed"), "{sync}");
    assert_eq!(sync["total_bytes_synced"], sum("bytes"));
    assert_eq!(sync["dead_letters"], metrics["dead_letters"]);
}
