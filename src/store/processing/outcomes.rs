//! The ledger: what became of each object in each collection.
//!
//! An object is `trying` from before it is handed out until its outcome commits; `waiting` while it
//! will be tried again; `done` or `failed` when it is settled. `done` and its documents commit
//! together, so that whoever dies, an object is extracted twice at worst and shown once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{Digest, collections, documents};
use crate::{
    model::EntryPath,
    store::{Result, StoreError, time},
};

/// How an object stands in a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Handed out.
    Trying,
    /// To be tried again.
    Waiting,
    /// Extracted.
    Done,
    /// Given up.
    Failed,
}

impl State {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "trying" => Self::Trying,
            "waiting" => Self::Waiting,
            "done" => Self::Done,
            "failed" => Self::Failed,
            other => return Err(StoreError::nonsense("outcome", other)),
        })
    }
}

/// What the ledger has of an object in a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it stands.
    pub state: State,
    /// What went in.
    pub input: Digest,
    /// What it went through.
    pub recipe: Digest,
    /// What was passed through, a JSON object.
    pub carried: Option<String>,
    /// Tries so far.
    pub attempts: u32,
    /// How often processing died with it at hand.
    pub deaths: u32,
    /// Internal key of the batch that tried it last.
    pub batch_key: Option<i64>,
    /// Not tried again before.
    pub retry_at: Option<Timestamp>,
    /// The class of its failure.
    pub class: Option<String>,
}

/// The outcome of an object in a collection, if there is one.
///
/// # Errors
/// SQLite's.
pub fn of(
    connection: &Connection,
    collection_key: i64,
    object_key: i64,
) -> Result<Option<Outcome>> {
    connection
        .prepare_cached(
            "SELECT state, input, recipe, carried, attempts, deaths, batch_key, retry_at_ms, class
             FROM outcomes WHERE collection_key = ?1 AND object_key = ?2",
        )?
        .query_row([collection_key, object_key], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<Outcome> {
    let state: String = row.get(0)?;
    Ok(Outcome {
        state: State::parse(&state)?,
        input: row.get(1)?,
        recipe: row.get(2)?,
        carried: row.get(3)?,
        attempts: row.get(4)?,
        deaths: row.get(5)?,
        batch_key: row.get(6)?,
        retry_at: row.get::<_, Option<i64>>(7)?.map(time::from_ms),
        class: row.get(8)?,
    })
}

/// An object that is about to be handed out.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// The collection.
    pub collection_key: i64,
    /// The object.
    pub object_key: i64,
    /// What goes in.
    pub input: Digest,
    /// What it goes through.
    pub recipe: Digest,
}

/// Counts a try, before it begins. Returns whether it may: not while another batch tries the same
/// object.
///
/// # Errors
/// SQLite's.
pub fn begin(tx: &Transaction<'_>, batch_key: i64, of: &Try, now: Timestamp) -> Result<bool> {
    let begun = tx
        .prepare_cached(
            "INSERT INTO outcomes (collection_key, object_key, state, input, recipe, attempts,
                               batch_key, updated_at_ms)
         VALUES (?1, ?2, 'trying', ?3, ?4, 1, ?5, ?6)
         ON CONFLICT (collection_key, object_key) DO UPDATE SET
             state = 'trying', recipe = ?4, retry_at_ms = NULL, updated_at_ms = ?6,
             attempts = CASE WHEN input = ?3 AND batch_key IS ?5 AND state = 'waiting'
                             THEN attempts + 1 ELSE 1 END,
             deaths = CASE WHEN input = ?3 THEN deaths ELSE 0 END,
             input = ?3, batch_key = ?5
         WHERE outcomes.state <> 'trying' OR outcomes.batch_key IS ?5
            OR outcomes.batch_key NOT IN (SELECT b.batch_key FROM batches b
                                          WHERE b.batch_key = outcomes.batch_key
                                            AND b.status = 'IN_PROGRESS')",
        )?
        .execute(params![
            of.collection_key,
            of.object_key,
            of.input,
            of.recipe,
            batch_key,
            now.as_millisecond()
        ])?;
    Ok(begun > 0)
}

/// Whether a try is still under way as it was handed out: its object is the same, has not changed
/// since, and nobody has tried it besides.
///
/// # Errors
/// SQLite's.
pub fn is_current(
    tx: &Transaction<'_>,
    batch_key: i64,
    of: &Try,
    object_id: &str,
    revision_ms: i64,
) -> Result<bool> {
    Ok(tx
        .prepare_cached(
            "SELECT 1 FROM outcomes JOIN objects o USING (object_key)
             JOIN collections c USING (collection_key)
             WHERE collection_key = ?1 AND object_key = ?2 AND outcomes.state = 'trying'
               AND input = ?3 AND recipe = ?4 AND batch_key = ?5 AND o.id = ?6
               AND o.updated_at_ms = ?7 AND o.state IS NULL AND c.is_deleting = 0",
        )?
        .exists(params![
            of.collection_key,
            of.object_key,
            of.input,
            of.recipe,
            batch_key,
            object_id,
            revision_ms
        ])?)
}

/// Settles a try as done. Its documents are written in the same transaction.
///
/// # Errors
/// SQLite's.
pub fn done(
    tx: &Transaction<'_>,
    of: &Try,
    carried: Option<&str>,
    left_out: u64,
    log: &str,
    took_ms: u64,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE outcomes SET state = 'done', carried = ?3, class = NULL, error = NULL, deaths = 0,
                left_out = ?4, log = ?5, took_ms = ?6, updated_at_ms = ?7
         WHERE collection_key = ?1 AND object_key = ?2",
    )?
    .execute(params![
        of.collection_key,
        of.object_key,
        carried,
        left_out,
        (!log.is_empty()).then_some(log),
        took_ms,
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Keeps what is passed through by now.
///
/// # Errors
/// SQLite's.
pub fn set_carried(
    tx: &Transaction<'_>,
    collection_key: i64,
    object_key: i64,
    carried: Option<&str>,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE outcomes SET carried = ?3 WHERE collection_key = ?1 AND object_key = ?2",
    )?
    .execute(params![collection_key, object_key, carried])?;
    Ok(())
}

/// Why a try came to nothing.
#[derive(Clone, Debug)]
pub struct Failed<'a> {
    /// See `extract::Class`.
    pub class: &'a str,
    /// For people.
    pub error: &'a str,
    /// The end of what the extractor said.
    pub log: &'a str,
    /// How long it took.
    pub took_ms: u64,
}

/// Settles a try as failed. Documents of an earlier, successful one stay.
///
/// # Errors
/// SQLite's.
pub fn fail(tx: &Transaction<'_>, of: &Try, failed: &Failed<'_>, now: Timestamp) -> Result<()> {
    write_failure(tx, of, "failed", failed, None, now)
}

/// Lets a try be made again, at a time.
///
/// # Errors
/// SQLite's.
pub fn wait(
    tx: &Transaction<'_>,
    of: &Try,
    failed: &Failed<'_>,
    retry_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    write_failure(tx, of, "waiting", failed, Some(retry_at), now)
}

fn write_failure(
    tx: &Transaction<'_>,
    of: &Try,
    state: &str,
    failed: &Failed<'_>,
    retry_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE outcomes SET state = ?3, class = ?4, error = ?5, log = ?6, took_ms = ?7,
                retry_at_ms = ?8, updated_at_ms = ?9
         WHERE collection_key = ?1 AND object_key = ?2",
    )?
    .execute(params![
        of.collection_key,
        of.object_key,
        state,
        failed.class,
        failed.error,
        (!failed.log.is_empty()).then_some(failed.log),
        failed.took_ms,
        retry_at.map(Timestamp::as_millisecond),
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Takes a try of a batch back, as if it had not begun: it was not the object's fault.
///
/// # Errors
/// SQLite's.
pub fn refund(
    tx: &Transaction<'_>,
    batch_key: i64,
    collection_key: i64,
    object_key: i64,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE outcomes SET state = 'waiting', attempts = max(attempts - 1, 0)
         WHERE collection_key = ?1 AND object_key = ?2 AND batch_key = ?3 AND state = 'trying'",
    )?
    .execute([collection_key, object_key, batch_key])?;
    Ok(())
}

/// Takes the tries of a batch back that were under way or to be made again. Those that had been
/// settled before, by their documents, are so again.
pub(super) fn let_go(tx: &Transaction<'_>, batch_key: i64) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM outcomes WHERE batch_key = ?1 AND state IN ('trying', 'waiting')",
    )?
    .execute([batch_key])?;
    Ok(())
}

/// How many objects of a batch its own tries have finished in these collections: done, failed.
///
/// # Errors
/// SQLite's.
pub fn count_finished(
    connection: &Connection,
    batch_key: i64,
    collection_keys: &[i64],
) -> Result<(u64, u64)> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed')
         FROM outcomes WHERE batch_key = ?1 AND collection_key = ?2",
    )?;
    let (mut done, mut failed) = (0, 0);
    for key in collection_keys {
        let (more_done, more_failed): (u64, u64) =
            count.query_row([batch_key, *key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        done += more_done;
        failed += more_failed;
    }
    Ok((done, failed))
}

/// A failed object of a batch.
#[derive(Clone, Debug)]
pub struct FailedObject {
    /// Internal key of the collection.
    pub collection_key: i64,
    /// Public id of the object.
    pub object_id: String,
    /// The class of its failure.
    pub class: String,
    /// Why, for people.
    pub error: String,
    /// Tries so far.
    pub attempts: u32,
    /// When it failed last.
    pub at: Timestamp,
    /// The end of what the extractor said.
    pub log: Option<String>,
}

fn failed_object(row: &Row<'_>) -> rusqlite::Result<FailedObject> {
    Ok(FailedObject {
        collection_key: row.get(0)?,
        object_id: row.get(1)?,
        class: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        error: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
        attempts: row.get(4)?,
        at: time::from_ms(row.get(5)?),
        log: row.get(6)?,
    })
}

/// Failed objects of a batch in these collections, by collection, `skip` left out.
///
/// # Errors
/// SQLite's.
pub fn failed_of_batch(
    connection: &Connection,
    batch_key: i64,
    collection_keys: &[i64],
    skip: u64,
    limit: u32,
) -> Result<Vec<FailedObject>> {
    let mut statement = connection.prepare_cached(
        "SELECT collection_key, o.id, class, error, attempts, outcomes.updated_at_ms, log
         FROM outcomes JOIN objects o USING (object_key)
         WHERE batch_key = ?1 AND outcomes.state = 'failed'
           AND collection_key IN (SELECT value FROM json_each(?2))
         ORDER BY collection_key, object_key LIMIT ?3 OFFSET ?4",
    )?;
    let keys = serde_json::json!(collection_keys).to_string();
    let failed = statement
        .query_map(params![batch_key, keys, limit, skip], failed_object)?
        .collect::<std::result::Result<_, _>>()?;
    Ok(failed)
}

/// Which failures of a collection somebody wants; all that are set must hold.
#[derive(Clone, Debug, Default)]
pub struct FailureFilter {
    /// Of this class.
    pub class: Option<String>,
    /// That say exactly this.
    pub error: Option<String>,
    /// Of these objects, by public id.
    pub object_ids: Option<Vec<String>>,
    /// Only those that may pass.
    pub passing_only: bool,
}

impl FailureFilter {
    /// The condition, on rows of `outcomes`.
    const CONDITION: &str = "outcomes.collection_key = ?1 AND outcomes.state = 'failed'
        AND (?2 IS NULL OR class = ?2) AND (?3 IS NULL OR coalesce(error, '') = ?3)
        AND (?4 IS NULL OR outcomes.object_key IN
             (SELECT object_key FROM objects WHERE id IN (SELECT value FROM json_each(?4))))
        AND (NOT ?5 OR class IN ('transient', 'resource'))";

    fn object_ids(&self) -> Option<String> {
        self.object_ids.as_ref().map(|ids| serde_json::json!(ids).to_string())
    }
}

/// An object that failed in a collection.
#[derive(Clone, Debug)]
pub struct FailedInCollection {
    /// How.
    pub failed: FailedObject,
    /// Public id of its bucket.
    pub bucket_id: Option<String>,
    /// Public id of the batch that tried it last.
    pub batch_id: Option<String>,
    /// The object's path.
    pub path: EntryPath,
    /// The object's MIME type, if one is known.
    pub mime: Option<String>,
}

/// Objects that failed in a collection, by age, `skip` left out.
///
/// # Errors
/// SQLite's.
pub fn failed_of_collection(
    connection: &Connection,
    collection_key: i64,
    wanted: &FailureFilter,
    skip: u64,
    limit: u32,
) -> Result<Vec<FailedInCollection>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT collection_key, o.id, class, outcomes.error, attempts, outcomes.updated_at_ms, log,
                (SELECT id FROM buckets k WHERE k.bucket_key = o.bucket_key),
                (SELECT id FROM batches b WHERE b.batch_key = outcomes.batch_key), o.path, o.mime
         FROM outcomes JOIN objects o USING (object_key)
         WHERE {} ORDER BY object_key LIMIT ?6 OFFSET ?7",
        FailureFilter::CONDITION
    ))?;
    let (class, error, ids) = (&wanted.class, &wanted.error, wanted.object_ids());
    let values = params![collection_key, class, error, ids, wanted.passing_only, limit, skip];
    let failed = statement
        .query_map(values, |row| {
            Ok(FailedInCollection {
                failed: failed_object(row)?,
                bucket_id: row.get(7)?,
                batch_id: row.get(8)?,
                path: EntryPath::new(row.get::<_, Vec<u8>>(9)?),
                mime: row.get(10)?,
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(failed)
}

/// How many objects failed in a collection.
///
/// # Errors
/// SQLite's.
pub fn count_failed(
    connection: &Connection,
    collection_key: i64,
    wanted: &FailureFilter,
) -> Result<u64> {
    let (class, error, ids) = (&wanted.class, &wanted.error, wanted.object_ids());
    Ok(connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM outcomes JOIN objects o USING (object_key) WHERE {}",
            FailureFilter::CONDITION
        ))?
        .query_row(params![collection_key, class, error, ids, wanted.passing_only], |row| {
            row.get(0)
        })?)
}

/// Lets objects that failed in a collection be tried again: the next trigger takes them. Returns
/// how many.
///
/// # Errors
/// SQLite's.
pub fn retry_failed(
    tx: &Transaction<'_>,
    collection_key: i64,
    wanted: &FailureFilter,
) -> Result<u64> {
    let (class, error, ids) = (&wanted.class, &wanted.error, wanted.object_ids());
    let retried = tx
        .prepare_cached(&format!(
            "UPDATE outcomes SET state = 'waiting', attempts = 0, deaths = 0, retry_at_ms = NULL
             WHERE {}",
            FailureFilter::CONDITION
        ))?
        .execute(params![collection_key, class, error, ids, wanted.passing_only])?;
    Ok(retried as u64)
}

/// Failures of a collection, grouped by class and what they say, the most frequent first.
///
/// # Errors
/// SQLite's.
pub fn failures_of_collection(
    connection: &Connection,
    collection_key: i64,
) -> Result<Vec<FailureGroup>> {
    groups(connection, "collection_key = ?1", collection_key)
}

/// Failures of a batch, grouped the same way.
///
/// # Errors
/// SQLite's.
pub fn failures_of_batch(connection: &Connection, batch_key: i64) -> Result<Vec<FailureGroup>> {
    groups(connection, "batch_key = ?1", batch_key)
}

/// How many objects failed in a batch, by class and by internal key of the collection.
///
/// # Errors
/// SQLite's.
pub fn failed_by_class(connection: &Connection, batch_key: i64) -> Result<Vec<(String, i64, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(class, ''), collection_key, count(*) FROM outcomes
         WHERE batch_key = ?1 AND state = 'failed' GROUP BY class, collection_key",
    )?;
    let counts = statement
        .query_map([batch_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(counts)
}

/// Failures that say the same.
#[derive(Clone, Debug)]
pub struct FailureGroup {
    /// Their class.
    pub class: String,
    /// What they say.
    pub error: String,
    /// How many.
    pub count: u64,
    /// One of them: the public id of its object.
    pub example: Option<String>,
}

fn groups(connection: &Connection, condition: &str, key: i64) -> Result<Vec<FailureGroup>> {
    const TOLD: u32 = 50;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT class, error, failures, (SELECT id FROM objects o WHERE o.object_key = first)
         FROM (SELECT class, error, count(*) AS failures, min(object_key) AS first
               FROM outcomes WHERE {condition} AND state = 'failed'
               GROUP BY class, error ORDER BY 3 DESC LIMIT ?2)"
    ))?;
    let groups = statement
        .query_map(params![key, TOLD], |row| {
            Ok(FailureGroup {
                class: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
                error: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
                count: row.get(2)?,
                example: row.get(3)?,
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(groups)
}

/// What the extractors of a batch said, by collection and object, the latest last.
///
/// # Errors
/// SQLite's.
pub fn logs_of_batch(
    connection: &Connection,
    batch_key: i64,
    collection_key: i64,
) -> Result<Vec<(String, String)>> {
    const TOLD: u32 = 1000;
    let mut statement = connection.prepare_cached(
        "SELECT o.id, log FROM outcomes JOIN objects o USING (object_key)
         WHERE batch_key = ?1 AND collection_key = ?2 AND log IS NOT NULL
         ORDER BY outcomes.updated_at_ms DESC LIMIT ?3",
    )?;
    let mut logs: Vec<(String, String)> = statement
        .query_map(params![batch_key, collection_key, TOLD], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<std::result::Result<_, _>>()?;
    logs.reverse();
    Ok(logs)
}

/// How long the tries of a batch took, in milliseconds, ascending.
///
/// # Errors
/// SQLite's.
pub fn durations(connection: &Connection, batch_key: i64) -> Result<Vec<u64>> {
    let mut statement = connection.prepare_cached(
        "SELECT took_ms FROM outcomes WHERE batch_key = ?1 AND state IN ('done', 'failed')
         ORDER BY took_ms",
    )?;
    let durations = statement
        .query_map([batch_key], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(durations)
}

/// Lets failed objects of a batch be tried again. Returns how many, and how many failures stay.
///
/// # Errors
/// SQLite's.
pub fn retry(
    tx: &Transaction<'_>,
    batch_key: i64,
    collection_keys: &[i64],
    all: bool,
) -> Result<(u64, u64)> {
    let mut reset = tx.prepare_cached(
        "UPDATE outcomes SET state = 'waiting', attempts = 0, deaths = 0, retry_at_ms = NULL
         WHERE batch_key = ?1 AND collection_key = ?2 AND state = 'failed'
           AND (?3 OR class IN ('transient', 'resource'))",
    )?;
    let mut count = 0;
    for key in collection_keys {
        count += reset.execute(params![batch_key, key, all])? as u64;
    }
    let (_, left) = count_finished(tx, batch_key, collection_keys)?;
    Ok((count, left))
}

/// Forgets what a batch has finished in these collections, so that it is extracted anew. Documents
/// stay until they are replaced.
///
/// # Errors
/// SQLite's.
pub fn reopen(tx: &Transaction<'_>, batch_key: i64, collection_keys: &[i64]) -> Result<()> {
    let mut reset = tx.prepare_cached(
        "UPDATE outcomes SET state = 'waiting', attempts = 0, deaths = 0, retry_at_ms = NULL
         WHERE collection_key = ?2 AND object_key IN
             (SELECT object_key FROM batch_objects WHERE batch_key = ?1)",
    )?;
    for key in collection_keys {
        reset.execute([batch_key, *key])?;
    }
    Ok(())
}

/// Removes the documents of a batch with their outcomes. Returns how many documents went.
///
/// # Errors
/// SQLite's.
pub fn remove_documents_of_batch(tx: &Transaction<'_>, batch_key: i64) -> Result<u64> {
    let removed = documents::remove_of_batch(tx, batch_key)?;
    tx.prepare_cached("DELETE FROM outcomes WHERE batch_key = ?1")?.execute([batch_key])?;
    Ok(removed)
}

/// Objects of a bucket that a collection has not settled as they are now, behind a key: those that
/// a trigger takes. Those that failed for good are left out.
///
/// # Errors
/// SQLite's.
pub fn unfinished_of_bucket(
    connection: &Connection,
    collection_key: i64,
    bucket_key: i64,
    recipe: &Digest,
    after: i64,
    which: Which,
    limit: u32,
) -> Result<Vec<i64>> {
    let upstream = collections::sources(connection, collection_key)?
        .iter()
        .any(|source| matches!(source, collections::Upstream::Collection(_)));
    // What an upstream collection made later than the outcome is news, too.
    let changed = match upstream {
        false => "o.updated_at_ms > r.updated_at_ms",
        true => {
            "o.updated_at_ms > r.updated_at_ms OR EXISTS (
                 SELECT 1 FROM documents d JOIN collection_sources s
                     ON s.upstream_key = d.collection_key AND s.collection_key = ?1
                 WHERE d.object_key = o.object_key AND d.updated_at_ms > r.updated_at_ms)"
        }
    };
    let condition = match which {
        Which::All => "1".to_owned(),
        Which::Waiting => "r.state = 'waiting'".to_owned(),
        Which::Outdated => "r.state = 'done' AND r.recipe <> ?5".to_owned(),
        Which::Unsettled => format!(
            "(r.state IS NULL OR r.state IN ('trying', 'waiting') OR {changed}
              OR (r.state = 'failed' AND (r.class IN ('transient', 'resource') OR r.recipe <> ?5)))"
        ),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT o.object_key FROM objects o INDEXED BY objects_by_age
         LEFT JOIN outcomes r ON r.collection_key = ?1 AND r.object_key = o.object_key
         WHERE o.bucket_key = ?2 AND o.state IS NULL AND o.object_key > ?3 AND ?5 IS NOT NULL
           AND {condition} ORDER BY o.object_key LIMIT ?4"
    ))?;
    let keys = statement
        .query_map(params![collection_key, bucket_key, after, limit, recipe], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(keys)
}

/// Which objects a trigger takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// New ones, changed ones, and those whose failure may pass.
    Unsettled,
    /// Every one.
    All,
    /// Those that were extracted by another recipe.
    Outdated,
    /// Those that wait to be tried again.
    Waiting,
}
