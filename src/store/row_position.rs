//! Places in an ordered list: behind which row its next page begins.

use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use super::clause::Clause;

/// A row's place: its key, and what it was ordered by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowPosition {
    key: i64,
    value: SortValue,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SortValue {
    Null,
    Integer(i64),
    /// Bits of a float, which has no exact decimal form.
    Real(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl RowPosition {
    pub(super) fn new(key: i64, value: Value) -> Self {
        let value = match value {
            Value::Null => SortValue::Null,
            Value::Integer(number) => SortValue::Integer(number),
            Value::Real(number) => SortValue::Real(number.to_bits()),
            Value::Text(text) => SortValue::Text(text),
            Value::Blob(bytes) => match String::from_utf8(bytes) {
                Ok(text) => SortValue::Text(text),
                Err(error) => SortValue::Bytes(error.into_bytes()),
            },
        };
        Self { key, value }
    }

    /// The internal key of the row.
    #[must_use]
    pub const fn key(&self) -> i64 {
        self.key
    }

    /// What the row was ordered by; text as bytes where the column holds such.
    pub(super) fn value(&self, as_bytes: bool) -> Value {
        match self.value.clone() {
            SortValue::Null => Value::Null,
            SortValue::Integer(number) => number.into(),
            SortValue::Real(bits) => f64::from_bits(bits).into(),
            SortValue::Text(text) if as_bytes => text.into_bytes().into(),
            SortValue::Text(text) => text.into(),
            SortValue::Bytes(bytes) => bytes.into(),
        }
    }

    /// The rows behind it in the order of `column`, then `key`. NULL comes before everything, as
    /// SQLite has it.
    pub(super) fn behind(&self, column: &Clause, key: &str, descending: bool) -> Clause {
        let sign = if descending { " < " } else { " > " };
        let key = Clause::default().sql(key).sql(sign).bind(self.key);
        let is_null = || column.clone().sql(" IS NULL");
        match (self.value(false), descending) {
            (Value::Null, true) => Clause::joined(vec![is_null(), key], true),
            (Value::Null, false) => {
                let equal = Clause::joined(vec![is_null(), key], true);
                Clause::joined(vec![equal, column.clone().sql(" IS NOT NULL")], false)
            }
            (value, _) => {
                let beyond = column.clone().sql(sign).bind(value.clone());
                let same = column.clone().sql(" = ").bind(value);
                let mut parts = vec![beyond, Clause::joined(vec![same, key], true)];
                parts.extend(descending.then(is_null));
                Clause::joined(parts, false)
            }
        }
    }
}
