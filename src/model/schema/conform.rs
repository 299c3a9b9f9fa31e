//! Whether a value fits a field, and as what: coercions that lose nothing (numbers and booleans in
//! text, RFC 3339 dates), and a reason that says what to do about everything else.

use std::{collections::BTreeMap, fmt};

use jiff::{Timestamp, civil::Date};
use serde_json::{Map, Value};

use super::{
    BucketSchema, FieldType, SchemaField,
    number::{number_in, whole},
};

/// A value that does not fit the bucket's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The path of the field, from the object's root; empty for the value that was asked about.
    pub field: String,
    /// The value, abbreviated, where it may be shown.
    pub value: Option<String>,
    /// What does not fit; what to say behind the value, where there is one.
    pub message: String,
}

impl Mismatch {
    /// What does not fit, of a field and without a value.
    #[must_use]
    pub fn of(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), value: None, message: message.into() }
    }

    fn with(value: &Value, message: String) -> Self {
        Self { field: String::new(), value: Some(abbreviated(value)), message }
    }

    /// The same, for those who may not see the value.
    #[must_use]
    pub fn without_value(self) -> Self {
        match self.value {
            Some(_) => {
                Self { value: None, message: format!("has a value {}", self.message), ..self }
            }
            None => self,
        }
    }

    /// What does not fit, without the field.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.value {
            Some(value) => format!("is {value}, {}", self.message),
            None => self.message.clone(),
        }
    }

    /// The same, seen from further out.
    fn within(mut self, outer: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.reason()),
            field => write!(f, "field {field:?} {}", self.reason()),
        }
    }
}

impl std::error::Error for Mismatch {}

impl BucketSchema {
    /// The fields of an object as the bucket keeps them: of their types, with defaults where
    /// something is missing. `blobs` names the properties that the object has as blobs.
    ///
    /// # Errors
    /// The first field that does not fit, or is missing and required.
    pub fn conform(
        &self,
        fields: Map<String, Value>,
        blobs: &[&str],
    ) -> Result<Map<String, Value>, Mismatch> {
        conform_object(fields, &self.properties, blobs)
    }
}

impl SchemaField {
    /// The value as the field keeps it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn conform(&self, value: &Value) -> Result<Value, Mismatch> {
        let value = self.of_its_type(value)?;
        let Some(permitted) = &self.one_of else { return Ok(value) };
        let is_permitted = permitted
            .iter()
            .any(|one| self.of_its_type(one).is_ok_and(|permitted| permitted == value));
        if is_permitted {
            return Ok(value);
        }
        let all: Vec<String> = permitted.iter().map(Value::to_string).collect();
        Err(Mismatch::with(&value, format!("which is none of {}", all.join(", "))))
    }

    /// [`SchemaField::conform`] without a look at the permitted values.
    pub(super) fn of_its_type(&self, value: &Value) -> Result<Value, Mismatch> {
        let converted = match self.kind {
            FieldType::String | FieldType::Text => as_text(value),
            FieldType::Number | FieldType::Float => as_number(value),
            FieldType::Integer => as_number(value).and_then(whole),
            FieldType::Boolean => as_boolean(value),
            FieldType::Date => as_date(value),
            FieldType::Datetime => as_datetime(value),
            FieldType::Object => return self.as_object(value),
            FieldType::Array => return self.as_array(value),
            FieldType::Image
            | FieldType::Audio
            | FieldType::Video
            | FieldType::Pdf
            | FieldType::Excel => None,
        };
        converted.ok_or_else(|| self.misfit(value))
    }

    fn as_object(&self, value: &Value) -> Result<Value, Mismatch> {
        let Value::Object(fields) = value else { return Err(self.misfit(value)) };
        let none = BTreeMap::new();
        let properties = self.properties.as_ref().unwrap_or(&none);
        conform_object(fields.clone(), properties, &[]).map(Value::Object)
    }

    fn as_array(&self, value: &Value) -> Result<Value, Mismatch> {
        let Value::Array(items) = value else { return Err(self.misfit(value)) };
        let Some(item) = &self.items else { return Ok(value.clone()) };
        items
            .iter()
            .enumerate()
            .map(|(index, value)| {
                item.conform(value).map_err(|mismatch| mismatch.within(&index.to_string()))
            })
            .collect::<Result<_, _>>()
            .map(Value::Array)
    }

    fn misfit(&self, value: &Value) -> Mismatch {
        let kind = self.kind.as_str();
        let advice = match self.kind {
            FieldType::Object | FieldType::Array if value.is_string() => {
                "; if it is JSON in text, map it with the transform json_parse"
            }
            FieldType::Date => "; write 2026-01-31",
            FieldType::Datetime => "; write 2026-01-31T12:00:00Z",
            FieldType::Boolean => "; write true or false",
            kind if kind.is_blob() => "; such a field is a blob: map it with target_type blob",
            _ => "",
        };
        Mismatch::with(value, format!("which is no {kind} in the bucket's schema{advice}"))
    }
}

fn conform_object(
    mut fields: Map<String, Value>,
    properties: &BTreeMap<String, SchemaField>,
    blobs: &[&str],
) -> Result<Map<String, Value>, Mismatch> {
    for (name, field) in properties {
        match fields.get_mut(name) {
            Some(value) if !value.is_null() => {
                *value = field.conform(value).map_err(|mismatch| mismatch.within(name))?;
            }
            _ if blobs.contains(&name.as_str()) => {}
            _ => match &field.default {
                Some(default) if !default.is_null() => {
                    let value = field.conform(default).map_err(|mismatch| mismatch.within(name))?;
                    fields.insert(name.clone(), value);
                }
                _ if field.required == Some(true) => {
                    let message = "is missing, and the bucket's schema requires it";
                    return Err(Mismatch::of(name, message));
                }
                _ => {}
            },
        }
    }
    Ok(fields)
}

/// A value in a message: not the whole of it, where it is long.
fn abbreviated(value: &Value) -> String {
    const CHARS: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn as_text(value: &Value) -> Option<Value> {
    match value {
        Value::String(_) => Some(value.clone()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(is) => Some(is.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn as_boolean(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(_) => Some(value.clone()),
        Value::String(text) => match text.trim() {
            text if text.eq_ignore_ascii_case("true") => Some(true.into()),
            text if text.eq_ignore_ascii_case("false") => Some(false.into()),
            _ => None,
        },
        _ => None,
    }
}

fn as_number(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => number_in(text).map(Value::Number),
        _ => None,
    }
}

fn as_date(value: &Value) -> Option<Value> {
    let text = value.as_str()?.trim();
    // RFC 3339 knows one spelling.
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then(|| Value::from(text))
}

fn as_datetime(value: &Value) -> Option<Value> {
    let text = value.as_str()?.trim();
    if as_date(value).is_some() {
        return Some(format!("{text}T00:00:00Z").into());
    }
    instant_in(text).map(|instant| instant.to_string().into())
}

/// The instant that RFC 3339 text spells; none for a leap second, which would become another.
pub(crate) fn instant_in(text: &str) -> Option<Timestamp> {
    let time = text.get(11..)?;
    let has_leap_second = time.get(6..8) == Some("60");
    let is_rfc_3339 = text.as_bytes().get(4) == Some(&b'-')
        && time.as_bytes().get(2) == Some(&b':')
        && !text.contains('[');
    (is_rfc_3339 && !has_leap_second).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn field(json: Value) -> SchemaField {
        serde_json::from_value(json).unwrap()
    }

    fn fits(kind: &str, value: Value) -> Option<Value> {
        field(json!({"type": kind})).conform(&value).ok()
    }

    #[test]
    fn numbers_in_text_are_taken_as_long_as_they_can_be_given_back() {
        assert_eq!(fits("number", json!(" 12 ")), Some(json!(12)));
        assert_eq!(fits("number", json!("-0.50")), Some(json!(-0.5)));
        assert_eq!(fits("float", json!("1e3")), Some(json!(1000.0)));
        assert_eq!(fits("integer", json!("3.0")), Some(json!(3)));
        assert_eq!(fits("integer", json!("18446744073709551615")), Some(json!(u64::MAX)));
        for lossy in [
            "0.10000000000000000001",
            "12345678901234567890123",
            "1e999",
            "1_000",
            "",
            "NaN",
            "inf",
            "0x10",
            "1,5",
        ] {
            assert_eq!(fits("number", json!(lossy)), None, "{lossy}");
        }
        assert_eq!(fits("integer", json!(1.5)), None);
    }

    #[test]
    fn times_are_rfc_3339_and_kept_in_utc() {
        let utc = json!("2026-01-31T10:00:00Z");
        assert_eq!(fits("datetime", json!("2026-01-31T12:00:00+02:00")), Some(utc));
        assert_eq!(fits("datetime", json!("2026-01-31")), Some(json!("2026-01-31T00:00:00Z")));
        assert_eq!(fits("date", json!("2026-01-31")), Some(json!("2026-01-31")));
        for wrong in ["2026-02-30", "31.1.2026", "20260131", "2026-01-31T12:00:00Z", "today"] {
            assert_eq!(fits("date", json!(wrong)), None, "{wrong}");
        }
        for wrong in ["2026-01-31T12:00:00", "2026-12-31T23:59:60Z", "12:00", "1767225600"] {
            assert_eq!(fits("datetime", json!(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn booleans_are_true_and_false_and_no_other_words() {
        assert_eq!(fits("boolean", json!("True")), Some(json!(true)));
        for wrong in [json!("yes"), json!("1"), json!(1), json!("")] {
            assert_eq!(fits("boolean", wrong), None);
        }
    }

    #[test]
    fn what_is_in_arrays_and_objects_is_looked_at_and_named() {
        let schema = field(json!({"type": "object", "properties": {
            "tags": {"type": "array", "items": {"type": "integer"}},
            "lang": {"type": "string", "default": "en", "enum": ["en", "de"]},
            "id": {"type": "string", "required": true},
        }}));
        let kept = schema.conform(&json!({"tags": ["1", 2], "id": 7, "more": null})).unwrap();
        assert_eq!(kept, json!({"tags": [1, 2], "lang": "en", "id": "7", "more": null}));
        let wrong = |value: Value| schema.conform(&value).unwrap_err().to_string();
        assert!(wrong(json!({"id": "a", "tags": [1, "x"]})).starts_with("field \"tags.1\" is"));
        assert!(wrong(json!({})).contains("\"id\" is missing"));
        assert!(wrong(json!({"id": "a", "lang": "fr"})).contains("none of \"en\", \"de\""));
        assert!(wrong(json!("{}")).contains("json_parse"));
    }

    #[test]
    fn a_field_that_is_a_blob_is_satisfied_by_one_and_by_nothing_else() {
        let schema: BucketSchema = serde_json::from_value(
            json!({"properties": {"content": {"type": "video", "required": true}}}),
        )
        .unwrap();
        assert!(schema.conform(Map::new(), &["content"]).is_ok());
        assert!(schema.conform(Map::new(), &[]).is_err());
        let text = Map::from_iter([("content".to_owned(), json!("http://x"))]);
        assert!(schema.conform(text, &[]).unwrap_err().message.contains("target_type blob"));
    }

    #[test]
    fn a_schema_whose_default_does_not_fit_it_is_refused_in_its_place() {
        let schema: BucketSchema = serde_json::from_value(json!({"properties": {
            "n": {"type": "integer", "default": "many"},
            "a": {"type": "array", "items": {"type": "string", "items": {"type": "string"}}},
            "e": {"type": "date", "enum": ["2026-01-31", "soon"]},
        }}))
        .unwrap();
        let places: Vec<String> = schema.problems().into_iter().map(|p| p.field).collect();
        assert_eq!(
            places,
            ["properties.a.items.items", "properties.e.enum.1", "properties.n.default"]
        );
    }

    proptest! {
        #[test]
        fn every_number_survives_being_text(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            let kept = fits("number", json!(number.to_string())).unwrap();
            prop_assert_eq!(kept.as_f64().unwrap(), number);
        }

        #[test]
        fn every_whole_number_survives_being_text(number in any::<i64>()) {
            prop_assert_eq!(fits("integer", json!(number.to_string())), Some(json!(number)));
            prop_assert_eq!(fits("string", json!(number)), Some(json!(number.to_string())));
        }

        #[test]
        fn what_conforms_conforms_again_to_the_same(text in ".{0,24}", kind in prop::sample::select(
            vec!["string", "number", "integer", "float", "boolean", "date", "datetime", "array"],
        )) {
            if let Some(kept) = fits(kind, json!(text)) {
                prop_assert_eq!(fits(kind, kept.clone()), Some(kept));
            }
        }
    }
}
