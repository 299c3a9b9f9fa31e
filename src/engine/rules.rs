//! The rules of a sync, compiled: its filters, its mapping, and the mark that identifies both in
//! what is stored.

use serde_json::{Map, Value, json};

use super::{
    filter::{Filter, FilterError},
    mapping::Mapping,
};
use crate::{
    model::{BucketSettings, FileFilters, Location, SchemaMapping, SyncOptions},
    sources::{self, Profile},
    store::{entries::CurrentRules, reconcile::Scope},
};

/// The filters and the mapping of a sync.
#[derive(Debug, Default)]
pub struct Rules {
    /// Which entries it syncs.
    pub filter: Filter,
    /// What objects are made of them; `None`: the file is the object's content, and nothing else.
    pub mapping: Option<Mapping>,
    /// Identifies all settings that look at more of an entry than its listing: an entry that is
    /// stored with another mark is evaluated again, once. `None` where there are no such settings;
    /// then none of this costs anything.
    pub mark: Option<i64>,
    /// Whether entries with equal bytes share an object (`skip_duplicates`).
    pub shares_objects: bool,
    /// Where only an outline of entries is listed, the `provider_filters` that decide about them.
    /// Then all filters look at more than the listing, and what they leave out is remembered.
    outlined: Option<Map<String, Value>>,
    /// Whether the `provider_filters` look at the folders that an entry is in.
    provider_looks_at_folders: bool,
}

impl Rules {
    /// Compiles the rules of a sync whose bucket is not known yet.
    ///
    /// # Errors
    /// When filters or mapping are invalid.
    pub fn compile(options: &SyncOptions) -> Result<Self, FilterError> {
        let filter = Filter::compile(&options.filters)?;
        let mapping = options.mapping.as_ref().map(Mapping::compile).transpose();
        let mapping = mapping.map_err(FilterError)?;
        let mark = mark(options, options.mapping.as_ref(), None, &filter, None);
        let shares_objects = options.skip_duplicates;
        let (outlined, provider_looks_at_folders) = (None, false);
        Ok(Self { filter, mapping, mark, shares_objects, outlined, provider_looks_at_folders })
    }

    /// The same rules, for a source that is listed in this way.
    #[must_use]
    pub fn listed_as(self, profile: &Profile, location: &Location, options: &SyncOptions) -> Self {
        if !(profile.has_outlines && profile.is_by_id()) {
            return self;
        }
        let provider = &location.connection.provider;
        let deciding = sources::filters_besides_shards(provider, &options.provider_filters);
        let filters = (&options.filters, options.sync_from);
        let outlined = (!deciding.is_empty() || filters != (&FileFilters::default(), None))
            .then_some(deciding);
        let mapping = options.mapping.as_ref();
        let mark = mark(options, mapping, None, &self.filter, outlined.as_ref());
        let provider_looks_at_folders =
            sources::filters_look_at_folders(provider, &options.provider_filters);
        Self { mark, outlined, provider_looks_at_folders, ..self }
    }

    /// The same rules, for a bucket with these settings. Where its schema requires fields, entries
    /// are checked against it without a mapping, too.
    #[must_use]
    pub fn bound_to(self, options: &SyncOptions, bucket: BucketSettings) -> Self {
        let implied = (options.mapping.is_none() && requires_fields(&bucket))
            .then(SchemaMapping::of_the_file);
        let compiled = implied.as_ref().and_then(|mapping| Mapping::compile(mapping).ok());
        let settings = options.mapping.as_ref().or(implied.as_ref());
        let outlined = self.outlined.as_ref();
        let mark = mark(options, settings, Some(&bucket), &self.filter, outlined);
        let mapping = self.mapping.or(compiled).map(|mapping| mapping.into_bucket_of(bucket));
        Self { mapping, mark, ..self }
    }

    /// What the index has to compare with. `full_since`: where every entry is fetched and asked
    /// about again, the pass in which that began.
    #[must_use]
    pub fn current(&self, full_since: Option<i64>) -> CurrentRules {
        CurrentRules {
            mark: self.mark,
            leave_out: !self.filter.needs().is_nothing() || self.outlined.is_some(),
            full_since,
            shares_objects: self.shares_objects,
        }
    }

    /// Whether they look at the folders that an entry is in: then an entry that is moved with one
    /// may have to be evaluated again.
    #[must_use]
    pub fn look_at_folders(&self) -> bool {
        self.mapping.as_ref().is_some_and(Mapping::looks_at_folders)
            || self.filter.looks_at_folders()
            || self.provider_looks_at_folders
    }

    /// Whether they need more of an entry than its listing and its bytes.
    #[must_use]
    pub fn need_facts(&self) -> bool {
        self.mapping.is_some() || !self.filter.needs().is_nothing()
    }
}

/// Whether a renamed entry keeps its object: only where both removals and changes reach the bucket,
/// and entries are not fetched again anyway.
#[must_use]
pub fn follows_renames(options: &SyncOptions, full: bool) -> bool {
    options.reconcile.on_delete && options.reconcile.on_update && !full
}

/// Which of the entries that a pass does not find a sync with these settings removes.
#[must_use]
pub fn removal_scope(location: &Location, options: &SyncOptions) -> Scope {
    let provider = &location.connection.provider;
    // With filters that cannot be read, the source could not have been opened.
    let filters =
        sources::provider_filters(provider, &options.provider_filters).unwrap_or_default();
    Scope {
        absent: options.reconcile.on_delete,
        drifted: options.reconcile.on_filter_drift,
        listed: filters.shards,
    }
}

/// Whether an object of the bucket must have fields that are no blobs.
fn requires_fields(bucket: &BucketSettings) -> bool {
    let schema = bucket.bucket_schema.iter();
    let mut fields = schema.flat_map(|schema| schema.properties.values());
    fields.any(|field| field.required == Some(true) && !field.kind.is_blob())
}

fn mark(
    options: &SyncOptions,
    mapping: Option<&SchemaMapping>,
    bucket: Option<&BucketSettings>,
    filter: &Filter,
    outlined: Option<&Map<String, Value>>,
) -> Option<i64> {
    let conditions = (!filter.needs().is_nothing()).then_some(&options.filters.metadata_filters);
    if conditions.is_none() && mapping.is_none() && outlined.is_none() {
        return None;
    }
    let bucket = bucket.filter(|_| mapping.is_some());
    let schema = bucket.and_then(|bucket| bucket.bucket_schema.as_ref());
    let text = match bucket.and_then(|bucket| bucket.unique_key.as_ref()) {
        None => json!([conditions, mapping, schema]),
        Some(key) => json!([conditions, mapping, schema, key.fields]),
    };
    let text = match outlined {
        None => text.to_string(),
        Some(deciding) => json!([text, options.filters, deciding, options.sync_from]).to_string(),
    };
    let mut number = [0; 8];
    number.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    // Never negative: negative marks belong to no rules.
    Some(i64::from_be_bytes(number) & i64::MAX)
}
