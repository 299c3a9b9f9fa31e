//! Tasks that are no tier of a batch: a trigger, which makes batches of what a collection has not
//! extracted, and changes of many documents, in steps.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{context::Context, digest};
use crate::{
    model::{BatchId, BatchStatus, Dedup, Filter, TaskId, TaskKind},
    store::{
        StoreError, Transaction, buckets,
        events::{self, About, EventKind},
        processing::{
            Digest,
            batches::{self, NewBatch},
            collections, documents,
            members::{self, Member},
            outcomes::{self, Which},
            tasks::{self, Of, Task},
        },
    },
};

/// Objects in a batch of a trigger.
const CHUNK: u32 = 1000;
/// Documents that one transaction changes.
const STEP: u32 = 500;

/// What a trigger takes, and how far it has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trigger {
    /// What is done about objects that were extracted before.
    pub dedup: Dedup,
    /// Only those that were extracted by another recipe.
    pub only_outdated: bool,
    /// Only those that wait to be tried again.
    pub only_waiting: bool,
    /// Internal keys of the buckets to go through; empty: all that reach the collection.
    pub buckets: Vec<i64>,
    /// Only these objects, by public id.
    pub object_ids: Option<Vec<String>>,
    /// Only objects that pass this.
    pub filter: Option<Filter>,
    /// The bucket that it is in, by its place, and the last object that it has looked at.
    pub place: (usize, i64),
    /// Batches that it has made.
    pub batches: u64,
    /// Their objects.
    pub objects: u64,
    /// Whether all batches are made.
    pub is_made: bool,
}

/// Makes a trigger's task. Returns its key and id.
pub(super) fn trigger(
    tx: &Transaction<'_>,
    namespace_key: i64,
    collection_key: i64,
    trigger: &Trigger,
    now: Timestamp,
) -> Result<(i64, TaskId), StoreError> {
    let mut trigger = trigger.clone();
    if trigger.buckets.is_empty() {
        trigger.buckets = collections::root_buckets(tx, collection_key)?;
    }
    let detail =
        serde_json::to_value(&trigger).map_err(|error| StoreError::nonsense("trigger", error))?;
    let of = Of { batch: None, collection_key: Some(collection_key) };
    tasks::insert(tx, TaskKind::Trigger, namespace_key, &of, &detail, now)
}

/// Makes a trigger's task with its first batch, for whoever asked for it. Returns its id.
///
/// # Errors
/// SQLite's.
pub fn begin_trigger(
    tx: &Transaction<'_>,
    namespace_key: i64,
    collection_key: i64,
    wanted: &Trigger,
    recipe: &Digest,
    now: Timestamp,
) -> Result<TaskId, StoreError> {
    let (key, id) = trigger(tx, namespace_key, collection_key, wanted, now)?;
    if let Some(task) = tasks::by_key(tx, key)? {
        trigger_step(tx, &task, collection_key, recipe, now)?;
    }
    Ok(id)
}

/// One step of each task that waits. Returns whether there was one that is not done.
pub(super) async fn step(context: &Context) -> Result<bool, StoreError> {
    let open = context.engine.store.read(tasks::open_chores).await?;
    let mut is_busy = false;
    for task in open {
        is_busy |= one_step(context, task).await?;
    }
    Ok(is_busy)
}

async fn one_step(context: &Context, task: Task) -> Result<bool, StoreError> {
    let now = context.engine.clock().now();
    let Some(collection_key) = task.collection_key else { return Ok(false) };
    match task.kind {
        TaskKind::Trigger => {
            let extractors = context.extractors.clone();
            context
                .write(move |tx| {
                    let Some(collection) = collections::by_key(tx, collection_key)? else {
                        tasks::end(tx, task.key, BatchStatus::Canceled, None, now)?;
                        return Ok(true);
                    };
                    let settings = &collection.settings.extractor;
                    let Some(extractor) = extractors.find(&settings.name, &settings.version) else {
                        let error = format!("there is no extractor {:?} here", settings.name);
                        tasks::end(tx, task.key, BatchStatus::Failed, Some(&error), now)?;
                        return Ok(true);
                    };
                    let recipe = digest::recipe(&extractor, settings);
                    trigger_step(tx, &task, collection_key, &recipe, now)
                })
                .await
        }
        TaskKind::UpdateDocuments | TaskKind::DeleteDocuments => {
            context.write(move |tx| edit_step(tx, &task, collection_key, now)).await
        }
        TaskKind::Batch | TaskKind::DeleteBucket | TaskKind::SyncJob => Ok(false),
    }
}

/// Makes the next batch of a trigger; once all are made, waits for their end. Returns whether it
/// got on.
fn trigger_step(
    tx: &Transaction<'_>,
    task: &Task,
    collection_key: i64,
    recipe: &Digest,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut trigger: Trigger = serde_json::from_value(task.detail.clone())
        .map_err(|error| StoreError::nonsense("trigger", error))?;
    if trigger.is_made {
        let Some(status) = batches::all_ended(tx, task.key)? else { return Ok(false) };
        tasks::end(tx, task.key, status, None, now)?;
        return Ok(true);
    }
    tasks::begin(tx, task.key, now)?;
    let made = match &trigger.object_ids {
        Some(ids) => {
            let ids = ids.clone();
            let made = batch_of_ids(tx, task, collection_key, &trigger, &ids, now)?;
            trigger.is_made = true;
            made
        }
        None => next_batch(tx, task, collection_key, recipe, &mut trigger, now)?,
    };
    if made > 0 {
        trigger.batches += 1;
        trigger.objects += made;
    }
    let detail =
        serde_json::to_value(&trigger).map_err(|error| StoreError::nonsense("trigger", error))?;
    tasks::set_detail(tx, task.key, &detail, now)?;
    if trigger.is_made && trigger.batches == 0 {
        tasks::end(tx, task.key, BatchStatus::Completed, None, now)?;
    }
    Ok(true)
}

/// The next batch, of one bucket. Returns how many objects it has; none where there are no more.
fn next_batch(
    tx: &Transaction<'_>,
    task: &Task,
    collection_key: i64,
    recipe: &Digest,
    trigger: &mut Trigger,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let which = match (trigger.only_outdated, trigger.dedup.effective()) {
        _ if trigger.only_waiting => Which::Waiting,
        (true, _) => Which::Outdated,
        (false, Dedup::Skip) => Which::Unsettled,
        (false, _) => Which::All,
    };
    while let Some(bucket_key) = trigger.buckets.get(trigger.place.0).copied() {
        let after = trigger.place.1;
        let found = outcomes::unfinished_of_bucket(
            tx,
            collection_key,
            bucket_key,
            recipe,
            after,
            which,
            CHUNK,
        )?;
        let Some(last) = found.last() else {
            trigger.place = (trigger.place.0 + 1, 0);
            continue;
        };
        trigger.place.1 = *last;
        let found = passing(tx, bucket_key, trigger.filter.as_ref(), found)?;
        if !found.is_empty() {
            let key = new_batch(tx, task, collection_key, bucket_key, trigger, now)?;
            batches::add_keys(tx, key, &found)?;
            submit(tx, key, collection_key, now)?;
            return Ok(found.len() as u64);
        }
    }
    trigger.is_made = true;
    Ok(0)
}

fn passing(
    tx: &Transaction<'_>,
    bucket_key: i64,
    filter: Option<&Filter>,
    keys: Vec<i64>,
) -> Result<Vec<i64>, StoreError> {
    let (Some(filter), Some(bucket)) = (filter, buckets::by_key(tx, bucket_key)?) else {
        return Ok(keys);
    };
    members::passing(tx, &bucket, filter, &keys)?
        .map_err(|problem| StoreError::nonsense("filter", problem.message))
}

fn batch_of_ids(
    tx: &Transaction<'_>,
    task: &Task,
    collection_key: i64,
    trigger: &Trigger,
    ids: &[String],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut left = ids.to_vec();
    let mut count = 0;
    for bucket_key in &trigger.buckets {
        let key = new_batch(tx, task, collection_key, *bucket_key, trigger, now)?;
        left = batches::add_objects(tx, key, *bucket_key, &left)?;
        let page: Vec<Member> = members::page(tx, key, i64::MIN, u32::MAX)?;
        if page.is_empty() {
            batches::remove_record(tx, key)?;
            continue;
        }
        count += page.len() as u64;
        submit(tx, key, collection_key, now)?;
    }
    Ok(count)
}

fn new_batch(
    tx: &Transaction<'_>,
    task: &Task,
    collection_key: i64,
    bucket_key: i64,
    trigger: &Trigger,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let batch = NewBatch {
        id: BatchId::generate(),
        bucket_key,
        trigger_key: Some(task.key),
        is_backfill: true,
        dedup: if trigger.only_outdated { Dedup::Replace } else { trigger.dedup },
        collections: Some(vec![collection_key]),
        ..NewBatch::default()
    };
    batches::insert(tx, &batch, now)
}

fn submit(
    tx: &Transaction<'_>,
    batch_key: i64,
    collection_key: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let tiers = collections::tiers(tx, &[collection_key])?;
    batches::submit(tx, batch_key, &tiers, now)
}

/// What a change of many documents is, and how far it has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// Which documents; `None`: all.
    pub filter: Option<Filter>,
    /// What is merged into them; `None`: they are removed.
    pub patch: Option<Map<String, Value>>,
    /// The last document that was looked at, by its key.
    pub after: i64,
    /// The newest one when it was asked for: what comes later is left alone.
    pub last: i64,
    /// Documents that are changed or gone.
    pub count: u64,
}

/// Makes the task of a change of many documents. Returns its id.
///
/// # Errors
/// SQLite's.
pub fn begin_edit(
    tx: &Transaction<'_>,
    namespace_key: i64,
    collection_key: i64,
    edit: &Edit,
    now: Timestamp,
) -> Result<TaskId, StoreError> {
    let kind = match edit.patch {
        Some(_) => TaskKind::UpdateDocuments,
        None => TaskKind::DeleteDocuments,
    };
    let detail = serde_json::to_value(edit).map_err(|error| StoreError::nonsense("edit", error))?;
    let of = Of { batch: None, collection_key: Some(collection_key) };
    tasks::insert(tx, kind, namespace_key, &of, &detail, now).map(|(_, id)| id)
}

/// Changes the next documents. Returns true: it got on.
fn edit_step(
    tx: &Transaction<'_>,
    task: &Task,
    collection_key: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut edit: Edit = serde_json::from_value(task.detail.clone())
        .map_err(|error| StoreError::nonsense("edit", error))?;
    tasks::begin(tx, task.key, now)?;
    let is_done = change_some(tx, collection_key, &mut edit, now)?;
    let detail =
        serde_json::to_value(&edit).map_err(|error| StoreError::nonsense("edit", error))?;
    tasks::set_detail(tx, task.key, &detail, now)?;
    if is_done {
        tasks::end(tx, task.key, BatchStatus::Completed, None, now)?;
    }
    Ok(true)
}

/// Changes the next few of the documents that an edit is about. Returns whether it was the last
/// step.
///
/// # Errors
/// SQLite's.
pub fn change_some(
    tx: &Transaction<'_>,
    collection_key: i64,
    edit: &mut Edit,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(collection) = collections::by_key(tx, collection_key)? else { return Ok(true) };
    let keys = documents::behind(
        tx,
        collection_key,
        collection.id.as_str(),
        edit.filter.as_ref(),
        edit.after,
        edit.last,
        STEP,
    )?;
    for key in &keys {
        match &edit.patch {
            Some(patch) => documents::edit(tx, *key, patch, now)?,
            None => documents::remove(tx, *key)?,
        }
    }
    edit.count += keys.len() as u64;
    if let Some(last) = keys.last() {
        edit.after = *last;
        let detail = json!({
            "collection_id": collection.id,
            "count": keys.len(),
            "by_hand": if edit.patch.is_some() { "updated" } else { "deleted" },
        });
        events::append(tx, EventKind::DocumentsWritten, About::default(), &detail, now)?;
    }
    Ok(keys.len() < STEP as usize)
}
