//! What is to be done about one object in one collection: decided from the object, the documents
//! upstream and the ledger, without touching anything.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{
    digest,
    extract::{Class, Extractor},
    job::{InputPlan, JobPlan, UpstreamOf},
    view::{View, ViewValue},
};
use crate::{
    model::{CollectionSettings, Dedup, ExtractorSettings, InputFrom, Passthrough},
    store::{
        Connection, Result,
        buckets::Bucket,
        objects::record::{self, Record},
        processing::{
            Digest, batches,
            collections::{self, Collection, Upstream},
            documents::{self, Document},
            members::Member,
            outcomes::{self, Outcome, State, Try},
        },
    },
};
use jiff::Timestamp;

/// How often processing may die with an object at hand.
const DEATHS: u32 = 3;

/// A collection that takes part in a batch.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    pub(super) collection: Collection,
    pub(super) extractor: Arc<Extractor>,
    pub(super) recipe: Digest,
    pub(super) sources: Vec<Upstream>,
}

impl Taking {
    pub(super) fn new(
        collection: Collection,
        extractor: Arc<Extractor>,
        sources: Vec<Upstream>,
    ) -> Self {
        let recipe = digest::recipe(&extractor, &collection.settings.extractor);
        Self { collection, extractor, recipe, sources }
    }

    pub(super) fn settings(&self) -> &CollectionSettings {
        &self.collection.settings
    }

    /// The collections that it takes from.
    pub(super) fn upstream(&self) -> impl Iterator<Item = i64> {
        self.sources.iter().filter_map(|source| match source {
            Upstream::Collection(key) => Some(*key),
            Upstream::Bucket(_) => None,
        })
    }

    fn takes_from_bucket(&self, bucket_key: i64) -> bool {
        self.sources.contains(&Upstream::Bucket(bucket_key))
    }
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing: it is gone, is not wanted, or was settled before.
    Skip,
    /// Nothing more: this batch has settled it already.
    Done,
    /// Nothing yet.
    Later(Timestamp),
    /// Only what is passed through is another.
    Carry(Carry),
    /// It cannot be done.
    Fail(Try, Class, String),
    /// It is to be extracted.
    Run(Box<Run>),
}

/// Fields that are passed through anew.
#[derive(Debug)]
pub(super) struct Carry {
    pub(super) collection_key: i64,
    pub(super) object_key: i64,
    pub(super) old: Map<String, Value>,
    pub(super) new: Map<String, Value>,
}

/// An object that is to be extracted.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) of: Try,
    pub(super) object_id: String,
    pub(super) bucket_id: String,
    pub(super) path: String,
    /// The object as it was looked at.
    pub(super) revision_ms: i64,
    pub(super) jobs: Vec<JobPlan>,
    /// What documents take over; of an object, not of documents upstream.
    pub(super) carried: Option<Map<String, Value>>,
    /// Tries before this one, for this input.
    pub(super) attempts: u32,
    /// Whether nothing else is to run beside it.
    pub(super) alone: bool,
    /// How often processing died with it at hand.
    pub(super) deaths: u32,
}

impl Run {
    /// Calls that belong to no batch and settle nothing.
    pub(super) fn of_jobs(bucket: &Bucket, object: &Record, jobs: Vec<JobPlan>) -> Self {
        Self {
            of: Try { collection_key: 0, object_key: object.key, input: [0; 16], recipe: [0; 16] },
            object_id: object.id.to_string(),
            bucket_id: bucket.id.to_string(),
            path: object.path.to_json_text(),
            revision_ms: 0,
            jobs,
            carried: None,
            attempts: 0,
            alone: false,
            deaths: 0,
        }
    }
}

/// What a member is decided by, besides itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) batch_key: i64,
    pub(super) bucket_key: i64,
    pub(super) dedup: Dedup,
    pub(super) now: Timestamp,
}

/// Decides about a member that passes the collection's filter.
///
/// # Errors
/// SQLite's.
pub(super) fn decide(
    db: &Connection,
    rules: &Rules,
    bucket_id: &str,
    taking: &Taking,
    member: &Member,
) -> Result<Verdict> {
    // Looked up again: it may have gone since the page was read.
    let Some(object) = record::by_id(db, rules.bucket_key, &member.object_id)? else {
        return Ok(Verdict::Skip);
    };
    let upstream = match taking.takes_from_bucket(rules.bucket_key) {
        true => None,
        false => Some(upstream_of(db, taking, member.object_key)?),
    };
    let extractor = &taking.settings().extractor;
    let chosen = Chosen { by_source: &taking.settings().source.by_source, bucket_id };
    let jobs = match jobs(&taking.extractor, extractor, chosen, &object, upstream.as_deref()) {
        Ok(jobs) if jobs.is_empty() => return Ok(Verdict::Skip),
        Ok(jobs) => jobs,
        Err(missing) => {
            let of = try_of(taking, member, [0; 16]);
            return Ok(match outcomes::of(db, of.collection_key, of.object_key)? {
                Some(known)
                    if known.batch_key == Some(rules.batch_key) && known.state == State::Failed =>
                {
                    Verdict::Done
                }
                _ => Verdict::Fail(of, Class::Permanent, missing),
            });
        }
    };
    let of = try_of(taking, member, digest::input(&jobs));
    let known = outcomes::of(db, of.collection_key, of.object_key)?;
    let carried = upstream.is_none().then(|| jobs[0].carried.clone());
    if let Some(known) = &known
        && let Some(verdict) = by_ledger(db, rules, &of, known, carried.as_ref())?
    {
        return Ok(verdict);
    }
    let same_input = known.filter(|known| known.input == of.input);
    let deaths = same_input.as_ref().map_or(0, |known| known.deaths);
    let tried_by_us = same_input
        .as_ref()
        .filter(|known| known.batch_key == Some(rules.batch_key) && known.state == State::Waiting);
    let alone = deaths > 0
        || tried_by_us
            .is_some_and(|known| known.class.as_deref() == Some(Class::Resource.as_str()));
    Ok(Verdict::Run(Box::new(Run {
        of,
        object_id: member.object_id.clone(),
        bucket_id: String::new(),
        path: object.path.to_json_text(),
        revision_ms: object.updated_at.as_millisecond(),
        jobs,
        carried,
        attempts: tried_by_us.map_or(0, |known| known.attempts),
        alone,
        deaths,
    })))
}

const fn try_of(taking: &Taking, member: &Member, input: Digest) -> Try {
    Try {
        collection_key: taking.collection.key,
        object_key: member.object_key,
        input,
        recipe: taking.recipe,
    }
}

/// What the ledger says about it, if that settles it.
fn by_ledger(
    db: &Connection,
    rules: &Rules,
    of: &Try,
    known: &Outcome,
    carried: Option<&Map<String, Value>>,
) -> Result<Option<Verdict>> {
    let is_ours = known.batch_key == Some(rules.batch_key);
    let same = known.input == of.input;
    let replaces = rules.dedup.effective() == Dedup::Replace && !is_ours;
    Ok(match known.state {
        State::Trying if !is_ours && is_under_way(db, known)? => Some(Verdict::Skip),
        State::Waiting if known.deaths >= DEATHS && same => Some(Verdict::Fail(
            *of,
            Class::Resource,
            format!("processing ended {DEATHS} times while it was being extracted"),
        )),
        State::Waiting if is_ours => {
            known.retry_at.filter(|at| *at > rules.now).map(Verdict::Later)
        }
        State::Trying | State::Waiting => None,
        State::Done | State::Failed if is_ours && same => Some(Verdict::Done),
        State::Done if same && !replaces => Some(carry(of, known, carried)?),
        State::Failed if same && !replaces && known.recipe == of.recipe => {
            let may_pass = known.class.as_deref() != Some(Class::Permanent.as_str());
            (!may_pass).then_some(Verdict::Skip)
        }
        State::Done | State::Failed => None,
    })
}

fn is_under_way(db: &Connection, known: &Outcome) -> Result<bool> {
    known.batch_key.map_or(Ok(false), |key| batches::is_wanted(db, key))
}

fn carry(of: &Try, known: &Outcome, carried: Option<&Map<String, Value>>) -> Result<Verdict> {
    let Some(new) = carried else { return Ok(Verdict::Skip) };
    let old: Map<String, Value> = known
        .carried
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    Ok(match old == *new {
        true => Verdict::Skip,
        false => Verdict::Carry(Carry {
            collection_key: of.collection_key,
            object_key: of.object_key,
            old,
            new: new.clone(),
        }),
    })
}

fn upstream_of(db: &Connection, taking: &Taking, object_key: i64) -> Result<Vec<Document>> {
    let mut all = Vec::new();
    for key in taking.upstream() {
        match &taking.settings().source.filter {
            None => all.extend(documents::of_object(db, key, object_key)?),
            Some(filter) => {
                let id = collections::by_key(db, key)?.map(|found| found.id.to_string());
                let query = documents::query::Query::new(
                    key,
                    &id.unwrap_or_default(),
                    Some(filter),
                    None,
                    None,
                );
                // A filter that documents cannot be asked was refused when it was made.
                let Ok(query) = query else { continue };
                let places = query.of_object(object_key).keys(db, None, 0, 10_000)?;
                let mut found = documents::by_keys(db, places.iter().map(|place| place.key()))?;
                found.sort_by_key(|document| document.part);
                all.extend(found);
            }
        }
    }
    Ok(all)
}

/// The calls that an object takes: one, or one for each document upstream. None where the extractor
/// takes nothing of it.
///
/// # Errors
/// The required field that it has not.
pub(super) fn jobs(
    extractor: &Extractor,
    settings: &ExtractorSettings,
    chosen: Chosen<'_>,
    object: &Record,
    upstream: Option<&[Document]>,
) -> std::result::Result<Vec<JobPlan>, String> {
    let views: Vec<View<'_>> = match upstream {
        None => vec![View { object, upstream: None }],
        Some(documents) => {
            documents.iter().map(|document| View { object, upstream: Some(document) }).collect()
        }
    };
    let mut jobs = Vec::new();
    for view in views {
        let inputs = inputs(settings, &view);
        let blob = inputs.iter().find_map(|(_, input)| match input {
            InputPlan::Blob(blob) => Some(blob),
            InputPlan::Value(_) => None,
        });
        let is_taken = match blob {
            Some(blob) => accepts(extractor, blob.mime.as_deref()),
            None => !inputs.is_empty() || !extractor.needs_input,
        };
        if !is_taken {
            continue;
        }
        jobs.push(JobPlan {
            content_hash: blob.map(|blob| blob.hash.to_string()),
            carried: carried(extractor, settings, chosen, &view)?,
            upstream: view.upstream.map(|document| UpstreamOf {
                document_id: document.id.to_string(),
                collection_id: document.collection_id.to_string(),
                body: Value::Object(document.body.clone()),
            }),
            inputs,
        });
    }
    Ok(jobs)
}

fn inputs(settings: &ExtractorSettings, view: &View<'_>) -> Vec<(String, InputPlan)> {
    let one = |path: &str| match view.find(path) {
        ViewValue::Blob(blob) => Some(InputPlan::Blob(blob)),
        ViewValue::Value(value) => Some(InputPlan::Value(value)),
        ViewValue::Nothing => None,
    };
    let mut inputs = Vec::new();
    for slot in &settings.inputs {
        match &slot.from {
            InputFrom::Literal(value) => {
                inputs.push((slot.name.clone(), InputPlan::Value(value.clone())));
            }
            InputFrom::Field(path) => {
                inputs.extend(one(path).map(|input| (slot.name.clone(), input)));
            }
            InputFrom::Fields(paths) => {
                for (number, path) in paths.iter().enumerate() {
                    inputs
                        .extend(one(path).map(|input| (format!("{}.{number}", slot.name), input)));
                }
            }
        }
    }
    inputs
}

fn accepts(extractor: &Extractor, mime: Option<&str>) -> bool {
    let mime = mime.unwrap_or("application/octet-stream");
    extractor.accepts.iter().any(|pattern| {
        pattern == "*/*"
            || pattern == mime
            || pattern
                .strip_suffix("/*")
                .is_some_and(|kind| mime.split('/').next().is_some_and(|of_mime| of_mime == kind))
    })
}

/// Which fields each source gives, where a collection tells its sources apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<'a> {
    /// By public id; empty: it does not.
    pub(super) by_source: &'a BTreeMap<String, Vec<Passthrough>>,
    /// Public id of the object's bucket.
    pub(super) bucket_id: &'a str,
}

impl<'a> Chosen<'a> {
    /// The fields that are taken over of the source of a view; `Some(None)`: all of them.
    fn of(self, view: &View<'_>) -> Option<Option<&'a [Passthrough]>> {
        let source = match view.upstream {
            Some(document) => document.collection_id.as_str(),
            None => self.bucket_id,
        };
        (!self.by_source.is_empty()).then(|| self.by_source.get(source).map(Vec::as_slice))
    }
}

/// The fields that documents take over.
fn carried(
    extractor: &Extractor,
    settings: &ExtractorSettings,
    chosen: Chosen<'_>,
    view: &View<'_>,
) -> std::result::Result<Map<String, Value>, String> {
    let keeps = settings
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.get("preserve_metadata"))
        .is_none_or(|keeps| keeps != &Value::Bool(false));
    let (mut carried, of_source) = match chosen.of(view) {
        // This source gives these, and no others.
        Some(Some(fields)) => (Map::new(), fields),
        // Others give all of theirs.
        Some(None) => (view.all_fields(), &[][..]),
        None if settings.all_fields || (extractor.carries_fields && keeps) => {
            (view.all_fields(), &[][..])
        }
        None => (Map::new(), &[][..]),
    };
    let wanted = of_source.iter().chain(&settings.passthrough);
    for Passthrough { source, target, default, required } in wanted {
        let value = view.field(source).or_else(|| default.clone());
        match value {
            Some(value) => {
                if target != source {
                    carried.remove(source);
                }
                carried.insert(target.clone(), value);
            }
            None if *required => {
                return Err(format!("it has no field {source:?}, which is required"));
            }
            None => {}
        }
    }
    carried.retain(|name, _| !RESERVED.contains(&name.as_str()));
    Ok(carried)
}

/// Names of fields that are ours.
pub const RESERVED: [&str; 6] = [
    "document_id",
    "collection_id",
    "document_blobs",
    "_internal",
    "vector_hydration_incomplete",
    "searchable_at",
];
