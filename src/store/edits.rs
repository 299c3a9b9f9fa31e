//! What people wrote to objects of syncs: kept apart from the fields that the sync gives, and
//! merged over them, so that it stays when the entry changes. `objects.edits` has the fields of
//! people, where null hides a field that the sync gives; `objects.given` has the sync's own; the
//! two merged are `objects.fields`, which is what everybody reads. An object without edits has only
//! the last.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value};

use super::{Result, buckets, json};
use crate::model::UniqueValue;

/// The fields of an object of a sync that people wrote to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    /// The fields of people; null hides a field that the sync gives.
    pub edited: Map<String, Value>,
    /// The fields as the sync gives them.
    pub given: Map<String, Value>,
}

impl Edits {
    /// Those in the two columns, `edits` and `given`.
    pub(super) fn read(edited: Option<&str>, given: Option<&str>) -> Result<Option<Self>> {
        let Some(edited) = edited else { return Ok(None) };
        let given = given.map(|text| json::read("object", text)).transpose()?.unwrap_or_default();
        Ok(Some(Self { edited: json::read("object", edited)?, given }))
    }

    /// Writes a field. Null takes an edit back, so that what the sync gives is seen again; where
    /// the field was not edited, it hides what the sync gives.
    pub fn write(&mut self, name: String, value: Value) {
        if !value.is_null() {
            self.edited.insert(name, value);
        } else if self.edited.remove(&name).is_none() && self.given.contains_key(&name) {
            self.edited.insert(name, Value::Null);
        }
    }

    /// The fields that everybody reads.
    #[must_use]
    pub fn merged(&self) -> Map<String, Value> {
        let mut fields = self.given.clone();
        for (name, value) in &self.edited {
            match value {
                Value::Null => fields.remove(name),
                value => fields.insert(name.clone(), value.clone()),
            };
        }
        fields
    }

    /// The two columns.
    fn columns(&self) -> Result<(Option<String>, Option<String>)> {
        match self.edited.is_empty() {
            true => Ok((None, None)),
            false => Ok((column(&self.edited)?, column(&self.given)?)),
        }
    }
}

/// Fields as a column has them: NULL for none.
pub(super) fn column(fields: &Map<String, Value>) -> Result<Option<String>> {
    match fields.is_empty() {
        true => Ok(None),
        false => json::write("object", fields).map(Some),
    }
}

/// The edits of an object, with what its sync would give it now: `given`, a JSON object. `None`
/// where nobody has edited it.
pub(super) fn over(
    connection: &Connection,
    object_key: i64,
    given: Option<&str>,
) -> Result<Option<Edits>> {
    let edited: Option<String> = connection
        .prepare_cached("SELECT edits FROM objects WHERE object_key = ?1")?
        .query_row([object_key], |row| row.get(0))
        .optional()?
        .flatten();
    Edits::read(edited.as_deref(), given)
}

/// Stores the edits of an object. Its `fields` are the caller's to write.
pub(super) fn save(tx: &Transaction<'_>, object_key: i64, edits: &Edits) -> Result<()> {
    let (edited, given) = edits.columns()?;
    tx.prepare_cached("UPDATE objects SET edits = ?2, given = ?3 WHERE object_key = ?1")?
        .execute(params![object_key, edited, given])?;
    Ok(())
}

/// The value of the bucket's unique key that an object with these edits has.
pub(super) fn unique_key(
    connection: &Connection,
    object_key: i64,
    edits: &Edits,
) -> Result<Option<UniqueValue>> {
    let bucket_key = connection
        .prepare_cached("SELECT bucket_key FROM objects WHERE object_key = ?1")?
        .query_row([object_key], |row| row.get(0))?;
    let Some(key) = buckets::settings(connection, bucket_key)?.unique_key else { return Ok(None) };
    // A value that cannot be part of a key was refused where it came from.
    Ok(key.value_of(&edits.merged()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn null_takes_an_edit_back_and_hides_what_was_not_edited() {
        let read = |text| Edits::read(Some("{}"), Some(text)).unwrap().unwrap();
        let mut edits = read(r#"{"title": "theirs", "stars": 3}"#);
        edits.write("title".to_owned(), json!("mine"));
        edits.write("note".to_owned(), json!("new"));
        assert_eq!(json!(edits.merged()), json!({"title": "mine", "stars": 3, "note": "new"}));
        for name in ["title", "note", "stars", "nothing"] {
            edits.write(name.to_owned(), Value::Null);
        }
        assert_eq!(json!(edits.merged()), json!({"title": "theirs"}));
        assert_eq!(json!(edits.edited), json!({"stars": null}));
        edits.write("stars".to_owned(), Value::Null);
        assert_eq!(json!(edits.merged()), json!({"title": "theirs", "stars": 3}));
    }
}
