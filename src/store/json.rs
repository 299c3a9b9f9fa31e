//! JSON columns.

use serde::{Serialize, de::DeserializeOwned};

use super::{Result, StoreError};

/// Reads a column that holds a `what`.
pub(super) fn read<T: DeserializeOwned>(what: &'static str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| StoreError::nonsense(what, error))
}

/// The text of a column that holds a `what`.
pub(super) fn write(what: &'static str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::nonsense(what, error))
}
