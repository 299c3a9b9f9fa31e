//! What a bucket is set up with, besides its name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::BucketSchema;

/// The settings of a bucket, as its row keeps them. What is a [`Value`] is in the wire's shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BucketSettings {
    /// A person's words about it.
    pub description: Option<String>,
    /// The fields of its objects; `None`: any.
    pub bucket_schema: Option<BucketSchema>,
    /// The fields that no two objects share.
    pub unique_key: Option<UniqueKey>,
    /// Whatever its maker wants to keep with it.
    pub metadata: Option<Map<String, Value>>,
    /// standard, nearline, coldline or archive; kept for clients that ask.
    pub storage_class: Option<String>,
    /// Where outputs go, if not here.
    pub destination: Option<Value>,
    /// Which objects are worth processing.
    pub ingest_filter: Option<Value>,
    /// Where objects come from besides syncs.
    pub source_adapter: Option<Value>,
}

/// Fields that together name an object of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueKey {
    /// The fields, in no order of meaning.
    pub fields: Vec<String>,
    /// What to do about an object whose key is taken: insert, update or upsert.
    #[serde(default)]
    pub default_policy: Option<String>,
}
