//! Looking closer at an entry than its listing and its bytes: does it pass the filters' conditions on
//! its metadata, and what does the mapping make of it? Asks the source for what is missing, and for
//! nothing that is known already.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::{FetchError, Outcome, permit, web};
use crate::{
    engine::{
        filter::Dossier,
        mapping::{BlobBytes, Mapped, MappedBlob, Mapping},
        plan::{Task, Work},
        run::Run,
    },
    model::{BlobType, FieldType},
    sources::{Facts, Needs, retry::RetryPolicy},
    store::{
        left_out::LeftOut,
        rejudge::{HANDED_OVER, Rejudged, Reshaped},
        shape::{self, Kept, Shape, ShapedBlob, ShapedBytes},
    },
};

/// What is known of an entry so far, and which part of that is all that there is to know.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    pub(super) facts: Facts,
    have: Needs,
}

impl Inquiry {
    /// Asks the source for what is needed and not known yet.
    async fn ask(&mut self, run: &Run, work: &Work, needs: Needs) -> Result<(), FetchError> {
        let missing = needs.without(self.have);
        if missing.is_nothing() {
            return Ok(());
        }
        let ask = || async {
            let _permit = permit(run).await;
            run.source.facts(&work.id, &work.fingerprint, missing).await
        };
        let told = RetryPolicy::FETCH.run(ask).await?;
        if missing.metadata || missing.properties {
            self.facts.mime = told.mime;
            self.facts.metadata = told.metadata;
            self.facts.properties = told.properties;
        }
        if missing.tags {
            self.facts.tags = told.tags;
        }
        self.have = self.have.and(missing);
        Ok(())
    }

    /// Takes in what came along with the bytes, which is the newest there is.
    pub(super) fn came(&mut self, facts: Facts) {
        self.facts.mime = facts.mime;
        self.facts.metadata = facts.metadata;
        self.have.metadata = true;
        self.have.properties |= !facts.properties.is_empty();
        self.facts.properties.extend(facts.properties);
    }

    fn dossier<'a>(&'a self, work: &'a Work) -> Dossier<'a> {
        Dossier { path: &work.path, fingerprint: &work.fingerprint, facts: Some(&self.facts) }
    }
}

/// Whether an entry is left out for what its source says of it.
pub(super) async fn left_out(
    run: &Run,
    work: &Work,
    inquiry: &mut Inquiry,
) -> Result<Option<Outcome>, FetchError> {
    let filter = &run.rules.filter;
    inquiry.ask(run, work, filter.needs()).await?;
    let unmet = filter.refuses_facts(&inquiry.dossier(work));
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
    inquiry.ask(run, work, mapping.needs()).await?;
    let mapped = mapping.map(&inquiry.dossier(work))?;
    shape_of(run, mapping, mapped, urls).await.map(|shape| Some(Box::new(shape)))
}

/// Decides anew about an entry that was taken by other settings. Its bytes stay; what is kept of it
/// is asked for no more, unless it may say what another entry was.
pub(super) async fn rejudge(run: &Arc<Run>, work: &Work) -> Result<Outcome, FetchError> {
    let known = work.known.and_then(|key| i64::try_from(key).ok());
    let kept = match known {
        Some(key) => run.store.read(move |db| shape::kept(db, key)).await?,
        None => None,
    };
    // It is gone since it was compared, by somebody else's hand.
    let (Some(entry_key), Some(kept)) = (known, kept) else { return Ok(Outcome::Vanished) };
    let mut inquiry = recollect(work, &kept);
    if let Some(left_out) = left_out(run, work, &mut inquiry).await? {
        return Ok(left_out);
    }
    let is_same = work.task == Task::Rejudge { is_same: true };
    // A duplicate's object is another entry's; an entry that has changed, and is not to be updated,
    // leaves its object as it is.
    let object = if kept.is_duplicate || !is_same {
        None
    } else {
        let shape = shape(run, work, &mut inquiry, &kept.urls).await?;
        let metadata = (kept.judged_by == Some(HANDED_OVER) && inquiry.have.metadata)
            .then(|| Value::from_iter(inquiry.facts.metadata).to_string());
        Some(Reshaped { shape, metadata })
    };
    Ok(Outcome::Rejudged(Box::new(Rejudged { entry_key, object })))
}

/// What is kept of an entry, where it is still what the source would say.
fn recollect(work: &Work, kept: &Kept) -> Inquiry {
    let is_its_own = work.task == Task::Rejudge { is_same: true }
        && !kept.is_duplicate
        && kept.judged_by != Some(HANDED_OVER);
    if !is_its_own {
        return Inquiry::default();
    }
    let metadata = kept.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
    Inquiry {
        facts: Facts {
            mime: kept.mime.clone(),
            metadata: metadata.unwrap_or_default(),
            ..Facts::default()
        },
        have: Needs { metadata: true, ..Needs::default() },
    }
}

async fn shape_of(
    run: &Arc<Run>,
    mapping: &Mapping,
    mapped: Mapped,
    urls: &BTreeMap<String, String>,
) -> Result<Shape, FetchError> {
    let mut blobs = Vec::with_capacity(mapped.blobs.len());
    for blob in mapped.blobs {
        blobs.push(match &blob.bytes {
            BlobBytes::File => file(&blob),
            BlobBytes::Text(text) => {
                let stored = web::store_text(run, text).await?;
                let mime = blob.mime.clone().or_else(|| Some("text/plain".to_owned()));
                shaped(&blob, mime, None, None, ShapedBytes::Other(stored))
            }
            BlobBytes::Url(url) => elsewhere(run, &blob, url, urls).await?,
        });
    }
    Ok(Shape { fields: as_text(mapped.fields), content: mapping.content().to_owned(), blobs })
}

fn as_text(fields: Map<String, Value>) -> Option<String> {
    (!fields.is_empty()).then(|| Value::Object(fields).to_string())
}

fn file(blob: &MappedBlob) -> ShapedBlob {
    shaped(blob, blob.mime.clone(), None, None, ShapedBytes::File)
}

/// A blob from elsewhere: fetched, unless it has been from that very place.
async fn elsewhere(
    run: &Arc<Run>,
    blob: &MappedBlob,
    url: &str,
    urls: &BTreeMap<String, String>,
) -> Result<ShapedBlob, FetchError> {
    let is_here = urls.get(&blob.property).is_some_and(|here| here == url);
    let fetched = match is_here {
        true => None,
        false => Some(web::fetch(run, url).await?),
    };
    let metadata = Some(json!({"url": url}).to_string());
    Ok(match fetched {
        None => shaped(blob, blob.mime.clone(), None, metadata, ShapedBytes::Kept),
        Some(fetched) => {
            let mime = blob.mime.clone().or(fetched.mime);
            shaped(blob, mime, fetched.filename, metadata, ShapedBytes::Other(fetched.stored))
        }
    })
}

fn shaped(
    blob: &MappedBlob,
    mime: Option<String>,
    filename: Option<String>,
    metadata: Option<String>,
    bytes: ShapedBytes,
) -> ShapedBlob {
    let told = match blob.kind {
        // The file's own type is the object's.
        BlobType::Auto if mime.is_none() => None,
        BlobType::Auto => Some(FieldType::of_mime(mime.as_deref()).as_str()),
        kind => kind.as_declared(),
    };
    ShapedBlob {
        property: blob.property.clone(),
        kind: told.map(str::to_owned),
        filename,
        mime,
        metadata,
        bytes,
    }
}
