//! Printing: numbers, sizes and objects as people and programs read them.

use std::io::Write;

use bytesize::ByteSize;
use serde::Serialize;

use super::error::CliError;
use crate::{model::EntryPath, store::objects::Object};

/// Prints a line for people, as long as anybody reads: if stdout was closed or is full, the work
/// continues without it.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// [`line`] on stderr.
pub(super) fn warning(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a value as one line of JSON.
pub(super) fn json_line(out: &mut impl Write, value: &impl Serialize) -> Result<(), CliError> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// A size as people read it: `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A count with separators: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many there are of something: `1 document`, `1,234 documents`. `one` is its singular.
pub(super) fn counted(number: u64, one: &str) -> String {
    let many = if one.ends_with("ch") { "es" } else { "s" };
    format!("{} {one}{}", count(number), if number == 1 { "" } else { many })
}

/// A path in JSON: as text, and as exact bytes where the text is not exact.
#[derive(Debug, Serialize)]
pub(super) struct JsonPath {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl From<&EntryPath> for JsonPath {
    fn from(path: &EntryPath) -> Self {
        Self { path: path.to_json_text(), path_bytes: path.base64_if_not_utf8() }
    }
}

/// An object as `ls --json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct JsonObject<'a> {
    #[serde(flatten)]
    path: JsonPath,
    size: u64,
    hash: String,
    modified_at: Option<jiff::Timestamp>,
    mime_type: Option<&'a str>,
    object_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<serde_json::Value>,
}

impl<'a> From<&'a Object> for JsonObject<'a> {
    fn from(object: &'a Object) -> Self {
        Self {
            path: (&object.path).into(),
            size: object.size,
            hash: object.hash.to_string(),
            modified_at: object.modified,
            mime_type: object.mime.as_deref(),
            object_id: object.id.as_str(),
            metadata: object.metadata.as_deref().and_then(|json| serde_json::from_str(json).ok()),
            fields: object.fields.as_deref().and_then(|json| serde_json::from_str(json).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_have_separators() {
        let shown = [0, 999, 1000, 1_234_567].map(super::count);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
