//! Reading a mapping, with every mistake in it said at once and in its place.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    BlobMapping, CONTENT, FieldMapping, MappingEntry, MappingSource, SchemaMapping, Transform,
};
use crate::model::FieldProblem;

/// Longest name of an S3 tag
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>).
const TAG_CHARS: usize = 128;
/// Longest name of anything else.
const NAME_CHARS: usize = 1024;
/// Compiled size of a regular expression at most, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// See [`SchemaMapping::parse`].
pub(super) fn mapping(json: &Value) -> Result<SchemaMapping, Vec<FieldProblem>> {
    let mut problems = Vec::new();
    let mut mappings = BTreeMap::new();
    if let Some(mut root) = Fields::of("", json, &mut problems) {
        let entries = root.take("mappings");
        root.refuse_others(&mut problems);
        match entries {
            Some(Value::Object(entries)) => {
                for (target, json) in entries.iter().filter(|(_, json)| !json.is_null()) {
                    let place = format!("mappings.{target}");
                    mappings.extend(
                        entry(&place, json, &mut problems).map(|entry| (target.clone(), entry)),
                    );
                }
            }
            Some(other) => problems.push(wrong("mappings", other, "an object of targets")),
            None => problems.push(FieldProblem::missing("mappings")),
        }
    }
    check_properties(&mappings, &mut problems);
    if problems.is_empty() { Ok(SchemaMapping { mappings }) } else { Err(problems) }
}

/// Two blobs cannot be one property, and the file needs one of its own.
fn check_properties(mappings: &BTreeMap<String, MappingEntry>, problems: &mut Vec<FieldProblem>) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    let has_file = mappings.values().any(
        |entry| matches!(entry, MappingEntry::Blob(blob) if blob.source == MappingSource::File),
    );
    for (target, entry) in mappings {
        let MappingEntry::Blob(blob) = entry else { continue };
        let property = blob.blob_property.as_str();
        let place = || format!("mappings.{target}.blob_property");
        if let Some(other) = taken.insert(property, target) {
            let message = format!("{property:?} is what {other:?} is mapped to already");
            problems.push(FieldProblem::new(place(), property, message));
        } else if property == CONTENT && !has_file {
            let message = "this is the property of the file itself: choose another, or map the \
                           source `file` to another";
            problems.push(FieldProblem::new(place(), property, message));
        }
    }
}

fn entry(place: &str, json: &Value, problems: &mut Vec<FieldProblem>) -> Option<MappingEntry> {
    let mut fields = Fields::of(place, json, problems)?;
    let source = match fields.take("source") {
        Some(json) => source(&format!("{place}.source"), json, problems),
        None => {
            problems.push(FieldProblem::missing(format!("{place}.source")));
            None
        }
    };
    let named = fields.text("target_type", problems);
    let entry = match named {
        Some("field") => field(&mut fields, source, problems),
        Some("blob") => blob(&mut fields, source, problems),
        Some(other) => {
            let problem = FieldProblem::new(fields.at("target_type"), other, "is no target type");
            problems.push(problem.accepts("field, blob"));
            return None;
        }
        None if fields.has_any(&["blob_type", "blob_property", "mime_type_override"])
            || source == Some(MappingSource::File) =>
        {
            blob(&mut fields, source, problems)
        }
        None => field(&mut fields, source, problems),
    };
    fields.refuse_others(problems);
    entry
}

fn field(
    fields: &mut Fields<'_>,
    source: Option<MappingSource>,
    problems: &mut Vec<FieldProblem>,
) -> Option<MappingEntry> {
    let transform: Option<Transform> =
        fields.typed("transform", "lowercase, uppercase, trim, json_parse", problems);
    let required = fields.typed("required", "true, false", problems).unwrap_or_default();
    if source == Some(MappingSource::File) {
        let message = "a field cannot hold the file: make it a blob";
        problems.push(FieldProblem::new(fields.at("source.type"), "file", message));
    }
    Some(MappingEntry::Field(FieldMapping { source: source?, transform, required }))
}

fn blob(
    fields: &mut Fields<'_>,
    source: Option<MappingSource>,
    problems: &mut Vec<FieldProblem>,
) -> Option<MappingEntry> {
    let kinds = "auto, image, video, audio, text, pdf, excel";
    let blob_type = fields.typed("blob_type", kinds, problems).unwrap_or_default();
    let blob_property = fields.name("blob_property", NAME_CHARS, problems);
    let mime_type_override = fields.text("mime_type_override", problems).map(str::to_owned);
    if let Some(mime) = &mime_type_override
        && !is_mime(mime)
    {
        let place = fields.at("mime_type_override");
        problems.push(wrong(&place, &mime.as_str().into(), "type/subtype, as in image/jpeg"));
    }
    Some(MappingEntry::Blob(BlobMapping {
        source: source?,
        blob_type,
        blob_property: blob_property.unwrap_or_else(|| CONTENT.to_owned()),
        mime_type_override,
    }))
}

/// Whether text is of the form `type/subtype`, parameters aside.
fn is_mime(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default();
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    essence.trim().split_once('/').is_some_and(|(family, kind)| is_token(family) && is_token(kind))
}

fn source(place: &str, json: &Value, problems: &mut Vec<FieldProblem>) -> Option<MappingSource> {
    let mut fields = Fields::of(place, json, problems)?;
    let kind = match fields.text("type", problems) {
        Some(kind) => kind,
        None => implied(&fields, json, problems)?,
    };
    let source = match kind {
        "file" => Some(MappingSource::File),
        "tag" => {
            fields.required_name("key", TAG_CHARS, problems).map(|key| MappingSource::Tag { key })
        }
        "metadata" => fields
            .required_name("key", NAME_CHARS, problems)
            .map(|key| MappingSource::Metadata { key }),
        "column" => fields
            .required_name("name", NAME_CHARS, problems)
            .map(|name| MappingSource::Column { name }),
        "drive_property" => fields
            .required_name("key", NAME_CHARS, problems)
            .map(|key| MappingSource::DriveProperty { key }),
        "rss_field" => fields
            .required_name("field", NAME_CHARS, problems)
            .map(|field| MappingSource::RssField { field }),
        "rtsp_field" => fields
            .required_name("field", NAME_CHARS, problems)
            .map(|field| MappingSource::RtspField { field }),
        "filename_regex" => filename_regex(&mut fields, problems),
        "folder_path" => Some(MappingSource::FolderPath {
            segment: fields.typed("segment", "a whole number", problems),
            full_path: fields.typed("full_path", "true, false", problems).unwrap_or_default(),
        }),
        "constant" => match fields.take("value") {
            Some(value) => Some(MappingSource::Constant { value: value.clone() }),
            None => {
                problems.push(FieldProblem::missing(fields.at("value")));
                None
            }
        },
        other => {
            let problem = FieldProblem::new(fields.at("type"), other, "is no kind of source");
            problems.push(problem.accepts(KINDS));
            return None;
        }
    };
    fields.refuse_others(problems);
    source
}

const KINDS: &str = "file, tag, metadata, column, drive_property, filename_regex, folder_path, \
                     constant, rss_field, rtsp_field";

/// The kind of a source that does not say it, where its fields imply it.
fn implied(
    fields: &Fields<'_>,
    json: &Value,
    problems: &mut Vec<FieldProblem>,
) -> Option<&'static str> {
    let tells = [
        ("name", "column"),
        ("pattern", "filename_regex"),
        ("segment", "folder_path"),
        ("full_path", "folder_path"),
        ("value", "constant"),
    ];
    if let Some((_, kind)) = tells.iter().find(|(name, _)| fields.has_any(&[*name])) {
        return Some(*kind);
    }
    if !fields.has_any(&["key", "field"]) {
        return Some("file");
    }
    let mut problem = FieldProblem::missing(fields.at("type"));
    problem.value = Some(json.clone());
    problems.push(problem.accepts(KINDS));
    None
}

fn filename_regex(
    fields: &mut Fields<'_>,
    problems: &mut Vec<FieldProblem>,
) -> Option<MappingSource> {
    let pattern = fields.required_name("pattern", usize::MAX, problems);
    let default = fields.text("default", problems).map(str::to_owned);
    let pattern = pattern?;
    let problem = match compile(&pattern) {
        Ok(regex) if regex.captures_len() == 2 => None,
        Ok(regex) => Some(format!(
            "has {} capture groups; it needs exactly one, and (?:…) groups without capturing",
            regex.captures_len() - 1
        )),
        Err(error) => Some(format!("is not a regular expression that can be used: {error}")),
    };
    if let Some(message) = problem {
        problems.push(FieldProblem::new(fields.at("pattern"), pattern.as_str(), message));
        return None;
    }
    Some(MappingSource::FilenameRegex { pattern, default })
}

/// Compiles an expression for file names. Look-around and back-references are refused: with them,
/// no bound can be put on the time that a name takes.
pub(crate) fn compile(pattern: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        // The last line says what, the ones before draw where.
        other => {
            let text = other.to_string();
            let what = text.lines().last().unwrap_or_default();
            what.strip_prefix("error: ").unwrap_or(what).to_owned()
        }
    })
}

fn wrong(place: &str, value: &Value, accepted: &str) -> FieldProblem {
    FieldProblem::new(place, value.clone(), "is not what it should be").accepts(accepted)
}

/// The fields of a JSON object, taken one after the other, so that those left over can be refused.
struct Fields<'a> {
    place: &'a str,
    fields: &'a Map<String, Value>,
    taken: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn of(place: &'a str, json: &'a Value, problems: &mut Vec<FieldProblem>) -> Option<Self> {
        match json {
            Value::Object(fields) => Some(Self { place, fields, taken: Vec::new() }),
            other => {
                let place = if place.is_empty() { "mappings" } else { place };
                problems.push(wrong(place, other, "an object"));
                None
            }
        }
    }

    fn at(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.fields.get(*name).is_some_and(|json| !json.is_null()))
    }

    /// The value of a field, null being one too.
    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.taken.push(name);
        self.fields.get(name)
    }

    /// A field of a type that reads itself; null is as good as nothing.
    fn typed<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        accepted: &str,
        problems: &mut Vec<FieldProblem>,
    ) -> Option<T> {
        let json = self.take(name).filter(|json| !json.is_null())?;
        T::deserialize(json).map_err(|_| problems.push(wrong(&self.at(name), json, accepted))).ok()
    }

    fn text(&mut self, name: &'static str, problems: &mut Vec<FieldProblem>) -> Option<&'a str> {
        let json = self.take(name).filter(|json| !json.is_null())?;
        let text = json.as_str();
        if text.is_none() {
            problems.push(wrong(&self.at(name), json, "text"));
        }
        text
    }

    /// Text of 1 to `most` characters.
    fn name(
        &mut self,
        name: &'static str,
        most: usize,
        problems: &mut Vec<FieldProblem>,
    ) -> Option<String> {
        let text = self.text(name, problems)?;
        if text.is_empty() || text.chars().count() > most {
            let accepted = match most {
                usize::MAX => "text that is not empty".to_owned(),
                most => format!("text of 1 to {most} characters"),
            };
            problems.push(wrong(&self.at(name), &text.into(), &accepted));
            return None;
        }
        Some(text.to_owned())
    }

    fn required_name(
        &mut self,
        name: &'static str,
        most: usize,
        problems: &mut Vec<FieldProblem>,
    ) -> Option<String> {
        if !self.has_any(&[name]) {
            self.taken.push(name);
            problems.push(FieldProblem::missing(self.at(name)));
            return None;
        }
        self.name(name, most, problems)
    }

    fn refuse_others(&self, problems: &mut Vec<FieldProblem>) {
        let others = self.fields.iter().filter(|(name, _)| !self.taken.contains(&name.as_str()));
        for (name, json) in others {
            let problem = FieldProblem::new(
                self.at(name),
                json.clone(),
                "is not known here (extra_forbidden)",
            );
            problems.push(problem.accepts(self.taken.join(", ")));
        }
    }
}
