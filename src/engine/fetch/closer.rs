//! Looking closer at an entry than its listing and its bytes: does it pass the filters' conditions on
//! its metadata, and what does the mapping make of it? Asks the source for what is missing, and for
//! nothing that is known already.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::{Bundle, FetchError, Outcome, permit, web};
use crate::{
    engine::{
        inquiry::Inquiry,
        mapping::{BlobBytes, Mapped, Mapping},
        plan::Work,
        run::Run,
        shaping,
    },
    sources::{Needs, retry::RetryPolicy},
    store::{
        StoreError,
        left_out::LeftOut,
        rejudge::{Rejudged, Reshaped},
        renames::Moved,
        shape::{self, Kept, Shape},
    },
};

/// What is kept of entries whose bytes are here, by the keys of their rows.
pub(super) type Recalled = HashMap<i64, Kept>;

/// Reads what is kept of a bundle's entries, all together: a read for each starts a thread for each.
pub(super) async fn recall(run: &Run, bundle: &Bundle) -> Result<Recalled, StoreError> {
    let rows: Vec<i64> = bundle.iter().filter_map(|(_, work)| work.row()).collect();
    if rows.is_empty() {
        return Ok(Recalled::new());
    }
    run.store
        .read(move |db| {
            let kept = |row| Ok(shape::kept(db, row)?.map(|kept| (row, kept)));
            rows.into_iter().filter_map(|row| kept(row).transpose()).collect()
        })
        .await
}

/// Asks the source for what is needed and not known yet.
async fn ask(
    run: &Run,
    work: &Work,
    inquiry: &mut Inquiry,
    needs: Needs,
) -> Result<(), FetchError> {
    let missing = inquiry.missing(needs);
    if missing.is_nothing() {
        return Ok(());
    }
    let ask = || async {
        let _permit = permit(run).await;
        run.source.facts(&work.id, &work.fingerprint, missing).await
    };
    inquiry.told(missing, RetryPolicy::FETCH.run(ask).await?);
    Ok(())
}

/// Whether an entry is left out for what its source says of it.
pub(super) async fn left_out(
    run: &Run,
    work: &Work,
    inquiry: &mut Inquiry,
) -> Result<Option<Outcome>, FetchError> {
    let filter = &run.rules.filter;
    ask(run, work, inquiry, filter.needs()).await?;
    let unmet = filter.refuses_facts(&inquiry.dossier(&work.path, &work.fingerprint));
    Ok(unmet.map(|unmet| {
        let version = work.fingerprint.version.clone();
        Outcome::LeftOut(LeftOut { id: work.id.clone(), version, unmet: unmet.0 })
    }))
}

/// What the mapping makes of an entry whose bytes are here; `None` where there is no mapping.
pub(super) async fn shape(
    run: &Arc<Run>,
    work: &Work,
    inquiry: &mut Inquiry,
    urls: &BTreeMap<String, String>,
) -> Result<Option<Box<Shape>>, FetchError> {
    let Some(mapping) = &run.rules.mapping else { return Ok(None) };
    ask(run, work, inquiry, mapping.needs()).await?;
    let mapped = mapping.map(&inquiry.dossier(&work.path, &work.fingerprint))?;
    shape_of(run, mapping, mapped, urls).await.map(|shape| Some(Box::new(shape)))
}

/// Decides anew about an entry that was taken by other settings. Its bytes stay; what is kept of it
/// is asked for no more, unless it may say what another entry was.
pub(super) async fn rejudge(
    run: &Arc<Run>,
    work: &Work,
    is_same: bool,
    recalled: &Recalled,
) -> Result<Outcome, FetchError> {
    let kept = work.row().and_then(|row| recalled.get_key_value(&row));
    // It is gone since it was compared, by somebody else's hand.
    let Some((&entry_key, kept)) = kept else { return Ok(Outcome::Vanished) };
    let mut inquiry = if is_same { Inquiry::recollect(kept) } else { Inquiry::default() };
    let tells_metadata = !inquiry.has_metadata();
    if let Some(left_out) = left_out(run, work, &mut inquiry).await? {
        return Ok(left_out);
    }
    // An entry that has changed, and is not to be updated, leaves its object as it is.
    let object = match kept.object {
        Some(_) if is_same => Some(reshaped(run, work, kept, &mut inquiry, tells_metadata).await?),
        _ => None,
    };
    Ok(Outcome::Rejudged(Box::new(Rejudged { entry_key, object })))
}

/// Decides about an entry that was taken under another name. Its bytes stay; its source is asked for
/// the rest, since what was copied under a new name need not have taken all along.
pub(super) async fn rename(
    run: &Arc<Run>,
    work: &Work,
    row: i64,
    recalled: &Recalled,
) -> Result<Outcome, FetchError> {
    let mut inquiry = Inquiry::default();
    if let Some(left_out) = left_out(run, work, &mut inquiry).await? {
        return Ok(left_out);
    }
    let object = match recalled.get(&row) {
        // By a listing alone, before as now: nothing but its name follows from its name.
        Some(Kept { judged_by: None, .. }) if run.rules.mark.is_none() => None,
        Some(kept @ Kept { object: Some(_), .. }) => {
            Some(reshaped(run, work, kept, &mut inquiry, true).await?)
        }
        _ => None,
    };
    Ok(Outcome::Renamed(Box::new(moved(work, row, object))))
}

/// The entry of that row under its new name.
pub(super) fn moved(work: &Work, row: i64, object: Option<Reshaped>) -> Moved {
    Moved {
        entry_key: row,
        id: work.id.clone(),
        path: work.path.clone(),
        fingerprint: work.fingerprint.clone(),
        object,
        failure: None,
    }
}

/// What becomes of an object whose bytes are here, and, where the source `tells` that, of its user
/// metadata.
async fn reshaped(
    run: &Arc<Run>,
    work: &Work,
    kept: &Kept,
    inquiry: &mut Inquiry,
    tells_metadata: bool,
) -> Result<Reshaped, FetchError> {
    let shape = shape(run, work, inquiry, &kept.urls).await?;
    let metadata = (tells_metadata && inquiry.has_metadata())
        .then(|| Value::from_iter(inquiry.facts.metadata.clone()).to_string());
    Ok(Reshaped { shape, metadata })
}

/// The shape that a mapping has made, with the bytes of its blobs.
async fn shape_of(
    run: &Arc<Run>,
    mapping: &Mapping,
    mapped: Mapped,
    urls: &BTreeMap<String, String>,
) -> Result<Shape, FetchError> {
    let mut blobs = Vec::with_capacity(mapped.blobs.len());
    for blob in mapped.blobs {
        blobs.push(match &blob.bytes {
            BlobBytes::File => shaping::file(&blob),
            BlobBytes::Text(text) => shaping::text(&blob, web::store_text(run, text).await?),
            // It is fetched, unless it has been from that very place.
            BlobBytes::Url(url) => match shaping::kept(&blob, url, urls) {
                Some(kept) => kept,
                None => {
                    let fetched = web::fetch(run, url).await?;
                    shaping::fetched(&blob, url, fetched.stored, fetched.mime, fetched.filename)
                }
            },
        });
    }
    Ok(shaping::shape(mapping, mapped.fields, mapped.unique_key, blobs))
}
