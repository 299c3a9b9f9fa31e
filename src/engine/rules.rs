//! What a sync decides by, compiled: its filters, its mapping, and the mark that they leave on what
//! was decided by them.

use serde_json::json;

use super::{
    filter::{Filter, FilterError},
    mapping::Mapping,
};
use crate::{
    model::{BucketSettings, SyncOptions},
    store::entries::Judge,
};

/// The filters and the mapping of a sync.
#[derive(Debug, Default)]
pub struct Rules {
    /// Which entries it takes.
    pub filter: Filter,
    /// What becomes of them; `None`: the file is the object's content, and no more.
    pub mapping: Option<Mapping>,
    /// Stands for all settings that look at more of an entry than its listing: what was decided
    /// under another mark is decided anew, once. `None` where there are no such settings, which
    /// makes nothing of this cost anything.
    pub mark: Option<i64>,
}

impl Rules {
    /// Compiles the rules of a sync, whose bucket is still to be known.
    ///
    /// # Errors
    /// When filters or mapping cannot be.
    pub fn compile(options: &SyncOptions) -> Result<Self, FilterError> {
        let filter = Filter::compile(&options.filters)?;
        let mapping = options.mapping.as_ref().map(Mapping::compile).transpose();
        let mapping = mapping.map_err(FilterError)?;
        let mark = mark(options, None, &filter);
        Ok(Self { filter, mapping, mark })
    }

    /// The same rules, for a bucket with these settings.
    #[must_use]
    pub fn bound_to(self, options: &SyncOptions, bucket: BucketSettings) -> Self {
        let mark = mark(options, Some(&bucket), &self.filter);
        let mapping = self.mapping.map(|mapping| mapping.into_bucket_of(bucket));
        Self { mapping, mark, ..self }
    }

    /// What the index has to compare. A `full` run recalls nothing: it asks about every entry again.
    #[must_use]
    pub fn judge(&self, full: bool) -> Judge {
        Judge { mark: self.mark, leaves_out: !full && !self.filter.needs().is_nothing() }
    }

    /// Whether entries are looked at more closely than their listing and their bytes.
    #[must_use]
    pub fn look_closer(&self) -> bool {
        self.mapping.is_some() || !self.filter.needs().is_nothing()
    }
}

fn mark(options: &SyncOptions, bucket: Option<&BucketSettings>, filter: &Filter) -> Option<i64> {
    let conditions = (!filter.needs().is_nothing()).then_some(&options.filters.metadata_filters);
    let mapping = options.mapping.as_ref();
    if conditions.is_none() && mapping.is_none() {
        return None;
    }
    let bucket = bucket.filter(|_| mapping.is_some());
    let schema = bucket.and_then(|bucket| bucket.bucket_schema.as_ref());
    let text = match bucket.and_then(|bucket| bucket.unique_key.as_ref()) {
        None => json!([conditions, mapping, schema]),
        Some(key) => json!([conditions, mapping, schema, key.fields]),
    };
    let text = text.to_string();
    let mut number = [0; 8];
    number.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    // Never negative: those are for marks that no rules leave.
    Some(i64::from_be_bytes(number) & i64::MAX)
}
