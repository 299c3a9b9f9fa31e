//! What is known of an entry besides its listing, so that its source is asked for what is missing
//! and for nothing twice. Makes no requests itself.

use super::filter::Dossier;
use crate::{
    model::{EntryPath, Fingerprint},
    sources::{Facts, Needs},
    store::{entries::HANDED_OVER, shape::StoredShape},
};

/// What is known of an entry so far.
#[derive(Debug, Default)]
pub(super) struct KnownFacts {
    pub(super) facts: Facts,
    have: Needs,
}

impl KnownFacts {
    /// What the listing says about an entry.
    pub(super) fn listed(file: &Fingerprint) -> Self {
        let Some(properties) = file.properties() else { return Self::default() };
        Self {
            facts: Facts {
                mime: file.mime.clone(),
                properties: properties.clone(),
                parts: file.details.as_ref().map(|of| of.parts.clone()).unwrap_or_default(),
                is_listed: true,
                ..Facts::default()
            },
            have: Needs { metadata: true, properties: true, ..Needs::default() },
        }
    }

    /// What is stored of an entry whose version has not changed, as far as its source would say the
    /// same of it.
    pub(super) fn from_stored(kept: &StoredShape) -> Self {
        if kept.object.is_none() || kept.judged_by == Some(HANDED_OVER) {
            return Self::default();
        }
        let metadata = kept.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self {
            facts: Facts {
                mime: kept.mime.clone(),
                metadata: metadata.unwrap_or_default(),
                ..Facts::default()
            },
            have: Needs { metadata: true, ..Needs::default() },
        }
    }

    /// What is needed and not known yet.
    pub(super) const fn missing(&self, needs: Needs) -> Needs {
        needs.without(self.have)
    }

    /// Adds what the source returned when it was asked for `missing`.
    pub(super) fn add(&mut self, missing: Needs, returned: Facts) {
        if missing.metadata || missing.properties {
            self.facts.mime = returned.mime;
            self.facts.metadata = returned.metadata;
            self.facts.properties = returned.properties;
            self.facts.references = returned.references;
            self.facts.parts = returned.parts;
        }
        if missing.tags {
            self.facts.tags = returned.tags;
        }
        self.have = self.have.and(missing);
    }

    /// Adds what was returned with the bytes, which is newer than anything else.
    pub(super) fn add_fetched(&mut self, facts: Facts) {
        self.facts.mime = facts.mime.or_else(|| self.facts.mime.take());
        self.facts.metadata = facts.metadata;
        self.have.metadata = true;
        self.have.properties |= !facts.properties.is_empty();
        self.facts.properties.extend(facts.properties);
    }

    /// Whether the user metadata is known.
    pub(super) const fn has_metadata(&self) -> bool {
        self.have.metadata
    }

    /// The entry as filters and mappings see it.
    pub(super) fn dossier<'a>(
        &'a self,
        path: &'a EntryPath,
        fingerprint: &'a Fingerprint,
    ) -> Dossier<'a> {
        Dossier { path, fingerprint, facts: Some(&self.facts) }
    }
}
