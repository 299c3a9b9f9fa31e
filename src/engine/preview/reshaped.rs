//! Stored entries that a run would evaluate again: how their objects would change.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::{
    engine::{
        RunError,
        known_facts::KnownFacts,
        mapping::{BlobBytes, Mapped, Mapping},
        shaping,
    },
    model::{BlobHash, Entry, EntryKind, ErrorType, Mismatch, PartAddress},
    sources::{Needs, Source, SourceError, retry::RetryPolicy},
    store::{
        Store,
        commit::Stored,
        shape::{self, Shape, StoredShape},
        unique_keys,
    },
};

/// How a stored entry would change.
pub(super) enum Foreseen {
    /// Its object would change.
    Changed {
        /// What would change and why.
        why: String,
    },
    /// It would fail.
    Failed { error_type: ErrorType, message: String },
}

/// An object as it would be, as far as that is known without fetching anything.
struct Draft {
    shape: Shape,
    /// What would change in any case.
    new: Vec<String>,
}

/// Evaluates entries, given with their positions and the keys of their rows. Those that would stay
/// as they are are not in the result.
pub(super) async fn foresee(
    store: &Store,
    source: &dyn Source,
    mapping: Option<&Mapping>,
    entries: Vec<(usize, Entry, i64)>,
) -> Result<HashMap<usize, Foreseen>, RunError> {
    if entries.is_empty() {
        return Ok(HashMap::new());
    }
    let kept = store
        .read(move |db| {
            let read = |(position, entry, key)| Ok((position, entry, shape::kept(db, key)?));
            entries.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let drafts = kept.into_iter().filter_map(|(position, entry, kept)| {
        let kept = kept?;
        let object_key = kept.object?;
        Some(async move {
            Ok::<_, RunError>((position, object_key, draft(source, mapping, entry, kept).await?))
        })
    });
    let drafts: Vec<_> = drafts.collect();
    let mut results = stream::iter(drafts).buffer_unordered(source.default_concurrency());
    let (mut foreseen, mut ready) = (HashMap::new(), Vec::new());
    while let Some((position, object_key, drafted)) = results.try_next().await? {
        match drafted {
            Ok(draft) => ready.push((position, object_key, draft)),
            Err(failed) => drop(foreseen.insert(position, failed)),
        }
    }
    let compared = store
        .read(move |db| {
            let mut compared = Vec::new();
            for (position, object_key, Draft { shape, mut new }) in ready {
                let taken = match &shape.unique_key {
                    Some(wanted) => unique_keys::taken(db, object_key, wanted)?,
                    None => None,
                };
                new.extend(shape::changes(db, object_key, &shape)?);
                compared.push((position, taken.map(Foreseen::refused).or(Foreseen::of(new))));
            }
            Ok(compared)
        })
        .await?;
    let changed = |(position, foreseen): (usize, Option<Foreseen>)| Some((position, foreseen?));
    foreseen.extend(compared.into_iter().filter_map(changed));
    Ok(foreseen)
}

impl Foreseen {
    /// An object in which these parts would change, if there are any.
    fn of(mut parts: Vec<String>) -> Option<Self> {
        parts.sort();
        parts.dedup();
        let why = format!("the settings make it another object: {}", parts.join(", "));
        (!parts.is_empty()).then_some(Self::Changed { why })
    }

    fn refused(message: String) -> Self {
        Self::Failed { error_type: ErrorType::ValidationError, message }
    }
}

impl From<Mismatch> for Foreseen {
    fn from(mismatch: Mismatch) -> Self {
        let error_type = ErrorType::SchemaMismatch;
        Self::Failed { error_type, message: error_type.with_way_out(&mismatch.to_string()) }
    }
}

/// What the mapping makes of an entry. Asks its source for what is not stored, as a run would.
async fn draft(
    source: &dyn Source,
    mapping: Option<&Mapping>,
    entry: Entry,
    kept: StoredShape,
) -> Result<Result<Draft, Foreseen>, SourceError> {
    let mut known = KnownFacts::from_stored(&kept);
    let missing = known.missing(mapping.map_or_else(Needs::default, Mapping::needs));
    let Entry { id, path, kind: EntryKind::File(fingerprint), .. } = &entry else {
        return Ok(Ok(Draft { shape: Shape::plain(), new: Vec::new() }));
    };
    if !missing.is_nothing() {
        let ask = || source.facts(id, fingerprint, missing);
        match RetryPolicy::FETCH.run(ask).await {
            Ok(facts) => known.add(missing, facts),
            Err(error) if error.class().ends_run() => return Err(error),
            Err(error) => {
                let error_type = error.error_type();
                let message = error_type.with_way_out(&error.to_string());
                return Ok(Err(Foreseen::Failed { error_type, message }));
            }
        }
    }
    let mut new = Vec::new();
    if missing.metadata {
        let metadata = Value::from_iter(known.facts.metadata.clone()).to_string();
        if metadata != kept.metadata.as_deref().unwrap_or("{}") {
            new.push("metadata".to_owned());
        }
    }
    let Some(mapping) = mapping else { return Ok(Ok(Draft { shape: Shape::plain(), new })) };
    Ok(match mapping.map(&known.dossier(path, fingerprint)) {
        Ok(mapped) => {
            let shape = shape_of(mapping, mapped, &kept, &mut new);
            Ok(Draft { shape, new })
        }
        Err(mismatch) => Err(mismatch.into()),
    })
}

/// The shape that the mapping has made, without blobs that would have to be fetched first.
fn shape_of(mapping: &Mapping, mapped: Mapped, kept: &StoredShape, new: &mut Vec<String>) -> Shape {
    let mut blobs = Vec::new();
    for blob in &mapped.blobs {
        match &blob.bytes {
            BlobBytes::File => blobs.push(shaping::file(blob)),
            BlobBytes::Text(text) => {
                let (hash, size) = (BlobHash::of(text.as_bytes()), text.len() as u64);
                blobs.push(shaping::text(blob, Stored { hash, size, inline: None }));
            }
            BlobBytes::Url(url) | BlobBytes::Part(PartAddress(url)) => {
                match shaping::kept(blob, url, &kept.urls) {
                    Some(kept) => blobs.push(kept),
                    None => new.push(blob.property.clone()),
                }
            }
            BlobBytes::Unsupported(_) => new.push(blob.property.clone()),
        }
    }
    shaping::shape(mapping, mapped.fields, mapped.unique_key, blobs)
}
