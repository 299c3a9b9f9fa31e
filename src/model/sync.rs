//! A sync's own settings, and the names and limits that people type.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FileFilters, SchemaMapping, SyncMode};

/// The name of a bucket: 1 to 100 characters, not all blank, no `/` (it splits bucket from path),
/// no control characters, not starting with `-` or `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

/// Text that cannot name a bucket.
#[derive(Debug, thiserror::Error)]
#[error(
    "bucket name {:?} {problem}; use 1 to 100 characters without '/' or control characters, \
     not starting with '-' or '.'",
    .name.chars().take(200).collect::<String>()
)]
pub struct BucketNameError {
    name: String,
    problem: &'static str,
}

impl BucketName {
    const MAX_CHARS: usize = 100;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A valid name made out of whatever a source is called: what a bucket may not have becomes
    /// `-`, and nothing at all becomes `bucket`.
    #[must_use]
    pub fn derived_from(text: &str) -> Self {
        let safe: String = text
            .chars()
            .map(|c| if c == '/' || c.is_control() { '-' } else { c })
            .take(Self::MAX_CHARS - 8)
            .collect();
        let trimmed = safe.trim_matches(|c: char| c == '-' || c == '.' || c.is_whitespace());
        Self(if trimmed.is_empty() { "bucket" } else { trimmed }.to_owned())
    }

    /// This name with a number behind it, for when the name itself is taken.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        Self(format!("{}-{number}", self.0))
    }
}

impl FromStr for BucketName {
    type Err = BucketNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let problem = if name.trim().is_empty() {
            "is empty"
        } else if name.chars().count() > Self::MAX_CHARS {
            "is too long"
        } else if name.contains('/') {
            "contains '/'"
        } else if name.chars().any(char::is_control) {
            "contains a control character"
        } else if name.starts_with(['-', '.']) {
            "starts with '-' or '.'"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(BucketNameError { name: name.to_owned(), problem })
    }
}

impl TryFrom<String> for BucketName {
    type Error = BucketNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a run may change in the bucket besides adding to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reconcile {
    /// An entry that is gone from the source removes its object.
    pub on_delete: bool,
    /// Changed content or metadata updates the object.
    pub on_update: bool,
    /// An entry that no longer passes the filters removes its object.
    pub on_filter_drift: bool,
    /// Objects that were updated are batched again.
    pub re_extract_on_update: bool,
    /// With `re_extract_on_update`: only where one of these fields changed; empty: any change.
    pub re_extract_fields: Vec<String>,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self {
            on_delete: true,
            on_update: true,
            on_filter_drift: true,
            re_extract_on_update: true,
            re_extract_fields: Vec::new(),
        }
    }
}

/// How many objects one run may remove before it stops and asks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxDelete {
    /// At most this many objects.
    Count(u64),
    /// At most this share of the sync's objects, in percent.
    Percent(f64),
}

impl MaxDelete {
    /// Whether removing `count` of `of` objects needs somebody's word. `limit` is the sync's own
    /// setting; without one the guard holds more than half of the objects when that is more than
    /// 10.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of objects needs no 53 bits")]
    pub fn holds(limit: Option<Self>, count: u64, of: u64) -> bool {
        let percent = |share: f64| count as f64 * 100.0 > of as f64 * share;
        match limit {
            Some(Self::Count(most)) => count > most,
            Some(Self::Percent(share)) => percent(share),
            None => count > 10 && percent(50.0),
        }
    }
}

impl fmt::Display for MaxDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}

/// Text that is not a removal limit.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a removal limit: give a count (25) or a share from 0% to 100% (10%)")]
pub struct MaxDeleteError(String);

impl FromStr for MaxDelete {
    type Err = MaxDeleteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || MaxDeleteError(text.to_owned());
        match text.trim().strip_suffix('%') {
            Some(share) => share
                .trim()
                .parse()
                .ok()
                .filter(|share| (0.0..=100.0).contains(share))
                .map(Self::Percent)
                .ok_or_else(wrong),
            None => text.trim().parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

/// The settings of a sync that outlive a run. The defaults are those of the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncOptions {
    /// Which entries are taken.
    pub filters: FileFilters,
    /// Filters that the provider itself applies, by name; its folder in `sources` checks them.
    pub provider_filters: serde_json::Map<String, serde_json::Value>,
    /// How entries become fields and blobs; `None`: the file is the blob `content`, and no more.
    pub mapping: Option<SchemaMapping>,
    /// What may change in the bucket.
    pub reconcile: Reconcile,
    /// An entry whose bytes the bucket has makes no second object.
    pub skip_duplicates: bool,
    /// Take the files that symbolic links lead to.
    pub follow_symlinks: bool,
    /// With `follow_symlinks`: also those that lead out of the root.
    pub symlinks_may_leave_root: bool,
    /// Entries last modified before this are not taken.
    pub sync_from: Option<Timestamp>,
    /// Objects are made at once; else bytes wait as uploads to be confirmed.
    pub create_object_on_confirm: bool,
    /// How many objects a run may remove before it stops and asks; `None`: the guard's default.
    pub max_delete: Option<MaxDelete>,
    /// How it goes about its runs.
    pub pace: Pace,
    /// What becomes of its objects after.
    pub processing: Processing,
    /// A person's words about it, at most 500 characters.
    pub description: Option<String>,
    /// Whatever its maker wants to keep with it, at most 50 keys.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            filters: FileFilters::default(),
            provider_filters: serde_json::Map::new(),
            mapping: None,
            reconcile: Reconcile::default(),
            skip_duplicates: false,
            follow_symlinks: false,
            symlinks_may_leave_root: false,
            sync_from: None,
            create_object_on_confirm: true,
            max_delete: None,
            pace: Pace::default(),
            processing: Processing::default(),
            description: None,
            metadata: serde_json::Map::new(),
        }
    }
}

impl SyncOptions {
    /// Identifies all settings that decide about entries: a pass can only be resumed under the same
    /// settings that it began with. The list of shards is not part of it: `provider_filters` are
    /// those that say more than which shards there are.
    #[must_use]
    pub fn rules_hash(&self, provider_filters: &serde_json::Map<String, serde_json::Value>) -> i64 {
        let deciding = serde_json::json!([
            self.filters,
            provider_filters,
            self.mapping,
            self.reconcile,
            self.skip_duplicates,
            self.follow_symlinks,
            self.symlinks_may_leave_root,
            self.sync_from,
            self.create_object_on_confirm,
        ]);
        let mut number = [0; 8];
        let hash = blake3::hash(deciding.to_string().as_bytes());
        number.copy_from_slice(&hash.as_bytes()[..8]);
        i64::from_be_bytes(number)
    }
}

/// How a sync goes about its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Whether it continues after its first complete pass.
    pub mode: SyncMode,
    /// Seconds from the end of a run to the next, 30 to 900.
    pub polling_interval_seconds: u32,
    /// Entries in one unit of work, 1 to 100.
    pub batch_size: u32,
    /// Fetches at once, 1 to 100; `None`: what suits the source.
    pub sync_concurrency: Option<u32>,
    /// Listed entries after which a run ends its slice; the next run continues at once.
    pub max_objects_per_run: u64,
    /// A run continues where an interrupted one stopped; else it starts over.
    pub resume_enabled: bool,
    /// Objects between two checkpoints at most, 100 to 10,000.
    pub resume_checkpoint_frequency: u32,
}

impl Pace {
    /// Entries between two checkpoints at most, as far as the source's pages allow.
    #[must_use]
    pub fn checkpoint_every(&self) -> u64 {
        u64::from(self.resume_checkpoint_frequency.max(1))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            mode: SyncMode::default(),
            polling_interval_seconds: 300,
            batch_size: 50,
            sync_concurrency: None,
            max_objects_per_run: 100_000,
            resume_enabled: true,
            resume_checkpoint_frequency: 1000,
        }
    }
}

/// What becomes of a sync's objects once they are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processing {
    /// Objects are made, but not batched.
    pub skip_batch_submission: bool,
    /// The collections that batches are for; `None`: all of the bucket.
    pub batch_collection_ids: Option<Vec<String>>,
    /// Objects in a batch, 1 to 1000.
    pub batch_chunk_size: u32,
    /// The most that a batch may ever have, 1 to 1000.
    pub max_batch_chunk_size: u32,
    /// Which objects are worth processing, in the wire's shape.
    pub ingest_filter: Option<serde_json::Value>,
}

impl Default for Processing {
    fn default() -> Self {
        Self {
            skip_batch_submission: false,
            batch_collection_ids: None,
            batch_chunk_size: 100,
            max_batch_chunk_size: 1000,
            ingest_filter: None,
        }
    }
}

/// Why an entry failed, as the API spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorType {
    /// The transfer kept breaking.
    DownloadFailed,
    /// Listed, but not there.
    NotFound,
    /// The source refuses to hand it out.
    PermissionDenied,
    /// The provider kept asking to slow down.
    RateLimited,
    /// No answer in time.
    Timeout,
    /// More bytes than are taken.
    TooLarge,
    /// What it refers to is nothing that may be fetched.
    ValidationError,
    /// Its values do not fit the mapping or the bucket's schema.
    SchemaMismatch,
    /// Changed each time it was read.
    ChangedDuringRead,
    /// What arrived is not what was announced.
    ChecksumMismatch,
    /// Nothing that can be fetched.
    UnsupportedType,
    /// A fault of ours.
    Internal,
}

impl ErrorType {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DownloadFailed => "download_failed",
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::ValidationError => "validation_error",
            Self::SchemaMismatch => "schema_mismatch",
            Self::ChangedDuringRead => "changed_during_read",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::UnsupportedType => "unsupported_type",
            Self::Internal => "internal",
        }
    }

    /// What went wrong with an entry, and what a person can do about it.
    #[must_use]
    pub fn with_way_out(self, what: &str) -> String {
        match self.way_out() {
            Some(way_out) => format!("{what}: {way_out}"),
            None => what.to_owned(),
        }
    }

    /// `None` where the message itself says what to do.
    const fn way_out(self) -> Option<&'static str> {
        match self {
            Self::DownloadFailed => Some("the next runs try again"),
            Self::NotFound => Some("put it there, or correct what refers to it"),
            Self::PermissionDenied => Some("allow it to be read, or leave it out with a filter"),
            Self::RateLimited => {
                Some("the next runs try again; a lower sync_concurrency asks for less at once")
            }
            Self::Timeout => Some("the next runs try again; see whether its server can be reached"),
            Self::TooLarge => Some("make it smaller, or leave it out"),
            Self::ChangedDuringRead => Some("the next runs try again, once it stays as it is"),
            Self::ChecksumMismatch => {
                Some("the next runs try again; if it stays so, upload it anew")
            }
            Self::UnsupportedType => Some("give it another name, or leave it out with a filter"),
            Self::Internal => {
                Some("the next runs try again; please report it with what the log says")
            }
            Self::ValidationError | Self::SchemaMismatch => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_holds_more_than_half_when_that_is_more_than_ten() {
        assert!(!MaxDelete::holds(None, 10, 10), "ten are never held");
        assert!(!MaxDelete::holds(None, 50, 100), "half is not more than half");
        assert!(MaxDelete::holds(None, 51, 100));
        assert!(MaxDelete::holds(Some(MaxDelete::Count(2)), 3, 1000));
        assert!(!MaxDelete::holds(Some(MaxDelete::Percent(100.0)), 1000, 1000));
    }

    #[test]
    fn a_removal_limit_is_a_count_or_a_percentage() {
        assert_eq!("25".parse::<MaxDelete>().unwrap(), MaxDelete::Count(25));
        assert_eq!("12.5%".parse::<MaxDelete>().unwrap(), MaxDelete::Percent(12.5));
        for wrong in ["", "-1", "101%", "many", "%", "NaN%"] {
            assert!(wrong.parse::<MaxDelete>().is_err(), "{wrong}");
        }
    }
}
