//! What a bucket is set up with, besides its name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BucketSchema, Mismatch};

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
    /// For how many days deleted objects stay in its trash; 0: it has none; `None`: 30.
    pub trash_days: Option<u32>,
    /// Whether objects that a sync removes go to the trash, too.
    pub trash_synced: bool,
}

impl BucketSettings {
    /// For how many days deleted objects stay in its trash; 0: it has none.
    #[must_use]
    pub fn trash_days(&self) -> u32 {
        self.trash_days.unwrap_or(30)
    }
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

/// Why a value cannot be part of a unique key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartProblem {
    /// It is not there, or neither text, nor a number, nor true or false.
    Missing,
    /// It is text, but not of 1 to 255 characters.
    Length,
}

/// The values of a unique key that an object has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueValue {
    /// The fields, for people.
    pub fields: String,
    /// Their values as a JSON array, in the order of the fields.
    pub values: String,
}

impl UniqueKey {
    /// A field's value, if it can be part of a unique key.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn part(value: Option<&Value>) -> Result<&Value, PartProblem> {
        match value {
            Some(Value::String(text)) if text.is_empty() || text.chars().count() > 255 => {
                Err(PartProblem::Length)
            }
            Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => Ok(value),
            _ => Err(PartProblem::Missing),
        }
    }

    /// The values that an object of these fields has; `None` where it lacks one of them.
    ///
    /// # Errors
    /// When a value cannot be part of a key.
    pub fn value_of(&self, fields: &Map<String, Value>) -> Result<Option<UniqueValue>, Mismatch> {
        let mut values = Vec::new();
        for name in &self.fields {
            match Self::part(fields.get(name)) {
                Ok(value) => values.push(value.clone()),
                Err(PartProblem::Missing) => return Ok(None),
                Err(PartProblem::Length) => {
                    let message = "is part of the bucket's unique key, and has to be of 1 to 255 \
                                   characters for that";
                    return Err(Mismatch::of(name, message));
                }
            }
        }
        let (fields, values) = (self.fields.join(", "), Value::Array(values).to_string());
        Ok(Some(UniqueValue { fields, values }))
    }
}
