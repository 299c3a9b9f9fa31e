//! What is known of an entry besides its listing, and which part of that is all that there is to know:
//! so that its source is asked for what is missing, and for nothing twice. Who asks is elsewhere.

use super::filter::Dossier;
use crate::{
    model::{EntryPath, Fingerprint},
    sources::{Facts, Needs},
    store::{rejudge::HANDED_OVER, shape::Kept},
};

/// What is known of an entry so far.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    pub(super) facts: Facts,
    have: Needs,
}

impl Inquiry {
    /// What is kept of an entry whose version is still the one that was taken, as far as that is
    /// what the source would say of it.
    pub(super) fn recollect(kept: &Kept) -> Self {
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

    /// Takes in what the source told when it was asked for `missing`.
    pub(super) fn told(&mut self, missing: Needs, told: Facts) {
        if missing.metadata || missing.properties {
            self.facts.mime = told.mime;
            self.facts.metadata = told.metadata;
            self.facts.properties = told.properties;
        }
        if missing.tags {
            self.facts.tags = told.tags;
        }
        self.have = self.have.and(missing);
    }

    /// Takes in what came along with the bytes, which is the newest there is.
    pub(super) fn came(&mut self, facts: Facts) {
        self.facts.mime = facts.mime;
        self.facts.metadata = facts.metadata;
        self.have.metadata = true;
        self.have.properties |= !facts.properties.is_empty();
        self.facts.properties.extend(facts.properties);
    }

    /// Whether the user metadata is known.
    pub(super) const fn has_metadata(&self) -> bool {
        self.have.metadata
    }

    /// The entry as filters and mappings look at it.
    pub(super) fn dossier<'a>(
        &'a self,
        path: &'a EntryPath,
        fingerprint: &'a Fingerprint,
    ) -> Dossier<'a> {
        Dossier { path, fingerprint, facts: Some(&self.facts) }
    }
}
