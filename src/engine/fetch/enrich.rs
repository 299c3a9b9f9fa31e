//! What an entry needs besides its listing and its bytes: its metadata, for the filters'
//! conditions, and the object that the mapping makes of it. Asks the source only for what is not
//! known already.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::{Bundle, FetchError, Outcome, body::store_any, permit, web};
use crate::{
    engine::{
        context::Run,
        known_facts::KnownFacts,
        mapping::{BlobBytes, Mapped, Mapping},
        plan::Action,
        shaping,
    },
    model::{Fingerprint, PartAddress},
    sources::{Facts, Needs, PartFacts, SourceError, retry::RetryPolicy},
    store::{
        StoreError,
        commit::Stored,
        left_out::LeftOut,
        reevaluate::{OwnObject, Reevaluated, Relisted, Reshaped},
        renames::Renamed,
        shape::{self, Shape, StoredShape},
    },
};

/// What is stored of entries, by the keys of their rows.
pub(super) type StoredEntries = HashMap<i64, StoredShape>;

/// Reads what is stored of a bundle's entries in one go: a read for each would use a thread for
/// each.
pub(super) async fn load_stored(run: &Run, bundle: &Bundle) -> Result<StoredEntries, StoreError> {
    let of_listed = |action: &Action| match action.fingerprint.bytes() {
        // Its bytes are known: what its data leads to is another thing, and may be here already.
        Some(_) if run.rules.mapping.is_some() => action.known_row(),
        _ => None,
    };
    let row = |action: &Action| action.row().or_else(|| of_listed(action));
    let rows: Vec<i64> = bundle.iter().filter_map(|(_, action)| row(action)).collect();
    if rows.is_empty() {
        return Ok(StoredEntries::new());
    }
    run.store
        .read(move |db| {
            let kept = |row| Ok(shape::kept(db, row)?.map(|kept| (row, kept)));
            rows.into_iter().filter_map(|row| kept(row).transpose()).collect()
        })
        .await
}

/// Requests from the source what is needed and not known yet.
async fn fetch_missing(
    run: &Run,
    action: &Action,
    known: &mut KnownFacts,
    needs: Needs,
) -> Result<(), FetchError> {
    let missing = known.missing(needs);
    if missing.is_nothing() {
        return Ok(());
    }
    let ask = || async {
        let _permit = permit(run).await;
        run.source.facts(&action.id, &action.fingerprint, missing).await
    };
    known.add(missing, RetryPolicy::FETCH.run(ask).await?);
    Ok(())
}

/// The outcome of an entry that does not meet the filters' conditions on its metadata; `None` if it
/// does.
pub(super) async fn left_out(
    run: &Run,
    action: &Action,
    known: &mut KnownFacts,
) -> Result<Option<Outcome>, FetchError> {
    let filter = &run.rules.filter;
    fetch_missing(run, action, known, filter.needs()).await?;
    let unmet = filter.refuses_facts(&known.dossier(&action.path, &action.fingerprint));
    Ok(unmet.map(|unmet| {
        let (id, version) = (action.id.clone(), action.fingerprint.version.clone());
        let details = action.fingerprint.details.as_deref();
        let facts_mark = details.and_then(|details| details.facts_mark);
        let further = details.map_or(0, |details| details.further);
        Outcome::LeftOut(LeftOut { id, version, unmet: unmet.0, facts_mark, further })
    }))
}

/// What the mapping makes of an entry; `None` where there is no mapping.
pub(super) async fn shape(
    run: &Arc<Run>,
    action: &Action,
    known: &mut KnownFacts,
    urls: &BTreeMap<String, String>,
) -> Result<Option<Box<Shape>>, FetchError> {
    let Some(mapping) = &run.rules.mapping else { return Ok(None) };
    fetch_missing(run, action, known, mapping.needs()).await?;
    let mapped = mapping.map(&known.dossier(&action.path, &action.fingerprint))?;
    shape_of(run, action, mapping, mapped, urls).await.map(|shape| Some(Box::new(shape)))
}

/// Evaluates an entry again that was stored under other settings. Its bytes stay; what is stored of
/// it is not asked for again, unless it may belong to another entry.
pub(super) async fn reevaluate(
    run: &Arc<Run>,
    action: &Action,
    is_same: bool,
    stored: &StoredEntries,
) -> Result<Outcome, FetchError> {
    let kept = action.row().and_then(|row| stored.get_key_value(&row));
    // Somebody else has removed it since it was compared.
    let Some((&entry_key, kept)) = kept else { return Ok(Outcome::Vanished) };
    let is_listed = action.fingerprint.properties().is_some();
    let mut known = match is_same && !is_listed {
        true => KnownFacts::from_stored(kept),
        false => KnownFacts::listed(&action.fingerprint),
    };
    let updates_metadata = is_listed || !known.has_metadata();
    if let Some(left_out) = left_out(run, action, &mut known).await? {
        return Ok(left_out);
    }
    if kept.shares && is_same && !run.rules.shares_objects {
        let own = own_object(run, action, &mut known).await?;
        let (object, own, listing) = (None, Some(Box::new(own)), None);
        let separated = Reevaluated { entry_key, object, own, listing };
        return Ok(Outcome::Reevaluated(Box::new(separated)));
    }
    // The object of an entry that has changed but is not to be updated stays as it is.
    let updates_object = run.sync.options.reconcile.on_update;
    let has_new_rules = kept.judged_by != run.rules.mark;
    let object = match kept.object {
        Some(_) if is_same && (updates_object || has_new_rules) => {
            Some(reshaped(run, action, kept, &mut known, updates_metadata).await?)
        }
        _ => None,
    };
    let (path, fingerprint) = (action.path.clone(), action.fingerprint.to_store());
    let listing = (is_same && fingerprint.details.is_some())
        .then(|| Box::new(Relisted { path, fingerprint, updates_object }));
    let own = None;
    Ok(Outcome::Reevaluated(Box::new(Reevaluated { entry_key, object, own, listing })))
}

/// An object of its own for an entry that has shared another one's: as it would be if it had been
/// fetched, without fetching it.
async fn own_object(
    run: &Arc<Run>,
    action: &Action,
    known: &mut KnownFacts,
) -> Result<OwnObject, FetchError> {
    fetch_missing(run, action, known, Needs { metadata: true, ..Needs::default() }).await?;
    let shape = shape(run, action, known, &BTreeMap::new()).await?;
    let facts = &known.facts;
    Ok(OwnObject {
        id: action.id.clone(),
        path: action.path.clone(),
        fingerprint: action.fingerprint.to_store(),
        mime: mime(facts.mime.clone(), action),
        metadata: metadata_of(facts, &action.fingerprint),
        shape,
    })
}

/// The MIME type of an entry: that which was returned with it, that of its listing, or a guess.
pub(super) fn mime(returned: Option<String>, action: &Action) -> Option<String> {
    returned
        .or_else(|| action.fingerprint.mime.clone())
        .or_else(|| action.path.mime_guess().map(str::to_owned))
}

/// Evaluates an entry that was renamed. Its bytes stay; its source is asked for the rest, since a
/// copy under a new name need not have the metadata of the original.
pub(super) async fn rename(
    run: &Arc<Run>,
    action: &Action,
    row: i64,
    stored: &StoredEntries,
) -> Result<Outcome, FetchError> {
    let mut known = KnownFacts::default();
    if let Some(left_out) = left_out(run, action, &mut known).await? {
        return Ok(left_out);
    }
    let object = match stored.get(&row) {
        // Its listing was and is all that is used: only its name changes.
        Some(StoredShape { judged_by: None, .. }) if run.rules.mark.is_none() => None,
        Some(kept @ StoredShape { object: Some(_), .. }) => {
            Some(reshaped(run, action, kept, &mut known, true).await?)
        }
        _ => None,
    };
    Ok(Outcome::Renamed(Box::new(renamed(action, row, object))))
}

/// What an object keeps of what its source says: user metadata, or properties that were listed.
pub(super) fn metadata_of(facts: &Facts, file: &Fingerprint) -> Option<String> {
    let metadata = facts.metadata.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    let mut all: serde_json::Map<String, Value> = metadata.collect();
    if file.details.is_some() {
        all.extend(facts.properties.clone());
    }
    (!all.is_empty()).then(|| Value::Object(all).to_string())
}

/// The entry of that row under its new name.
pub(super) fn renamed(action: &Action, row: i64, object: Option<Reshaped>) -> Renamed {
    Renamed {
        entry_key: row,
        id: action.id.clone(),
        path: action.path.clone(),
        fingerprint: action.fingerprint.to_store(),
        object,
        failure: None,
    }
}

/// The new shape of an object whose bytes are stored, and its user metadata if that was asked for
/// again.
async fn reshaped(
    run: &Arc<Run>,
    action: &Action,
    kept: &StoredShape,
    known: &mut KnownFacts,
    updates_metadata: bool,
) -> Result<Reshaped, FetchError> {
    let shape = shape(run, action, known, &kept.urls).await?;
    let metadata = (updates_metadata && known.has_metadata())
        .then(|| metadata_of(&known.facts, &action.fingerprint).unwrap_or_else(|| "{}".to_owned()));
    Ok(Reshaped { shape, metadata })
}

/// A named part of an entry, stored.
async fn fetch_part(
    run: &Run,
    action: &Action,
    address: &PartAddress,
) -> Result<(Stored, PartFacts), FetchError> {
    let attempt = || async {
        let _permit = permit(run).await;
        let (facts, body) = run.source.fetch_part(&action.id, address).await?;
        let (stored, check) = store_any(&run.blobs, &run.observer, body, &[]).await?;
        check?;
        Ok::<_, FetchError>((stored, facts))
    };
    RetryPolicy::FETCH.run(attempt).await
}

/// The shape that the mapping has made, with the bytes of its blobs.
async fn shape_of(
    run: &Arc<Run>,
    action: &Action,
    mapping: &Mapping,
    mapped: Mapped,
    urls: &BTreeMap<String, String>,
) -> Result<Shape, FetchError> {
    let mut blobs = Vec::with_capacity(mapped.blobs.len());
    for blob in mapped.blobs {
        blobs.push(match &blob.bytes {
            BlobBytes::File => shaping::file(&blob),
            BlobBytes::Text(text) => shaping::text(&blob, web::store_text(run, text).await?),
            BlobBytes::Unsupported(reason) => {
                return Err(SourceError::Unsupported { message: reason.clone() }.into());
            }
            // It is fetched, unless it was fetched from that very URL before.
            BlobBytes::Url(url) => match shaping::kept(&blob, url, urls) {
                Some(kept) => kept,
                None => {
                    let fetched = web::fetch(run, url).await?;
                    shaping::fetched(&blob, url, fetched.stored, fetched.mime, fetched.filename)
                }
            },
            BlobBytes::Part(part) => match shaping::kept(&blob, &part.0, urls) {
                Some(kept) => kept,
                None => {
                    let (stored, facts) = fetch_part(run, action, part).await?;
                    shaping::fetched(&blob, &part.0, stored, facts.mime, facts.filename)
                }
            },
        });
    }
    Ok(shaping::shape(mapping, mapped.fields, mapped.unique_key, blobs))
}
