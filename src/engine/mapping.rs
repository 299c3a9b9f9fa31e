//! Carrying out a mapping: what is known of an entry becomes the fields and blobs of its object.
//! Pure: values in, values out. The bytes that a blob is to have are fetched elsewhere.

use regex::Regex;
use serde_json::{Map, Value};

use super::filter::Dossier;
use crate::{
    model::{
        BlobMapping, BlobType, BucketSchema, BucketSettings, CONTENT, EntryPath, FieldMapping,
        FieldProblem, MappingEntry, MappingSource, Mismatch, PartAddress, SchemaMapping, Transform,
        UniqueKey, UniqueValue, filename_regex,
    },
    sources::{Facts, Needs},
};

/// A compiled mapping, with the schema of the bucket that it maps into.
#[derive(Debug)]
pub struct Mapping {
    fields: Vec<Field>,
    blobs: Vec<Blob>,
    content: String,
    schema: Option<BucketSchema>,
    unique_key: Option<UniqueKey>,
}

#[derive(Debug)]
struct Field {
    target: String,
    source: Source,
    transform: Option<Transform>,
    is_required: bool,
}

#[derive(Debug)]
struct Blob {
    property: String,
    kind: BlobType,
    mime: Option<String>,
    source: Source,
}

/// A source that is ready to be asked.
#[derive(Debug)]
enum Source {
    File,
    Tag(String),
    Metadata(String),
    Property(String),
    FileName { regex: Regex, default: Option<String> },
    Folder { segment: Option<i64>, full_path: bool },
    Constant(Value),
}

/// What an entry becomes.
#[derive(Debug, PartialEq)]
pub struct Mapped {
    /// The fields of its object.
    pub fields: Map<String, Value>,
    /// What names its object in the bucket, where something has to and it has all of that.
    pub unique_key: Option<UniqueValue>,
    /// The blobs of its object.
    pub blobs: Vec<MappedBlob>,
}

/// A blob that an entry's object is to have.
#[derive(Debug, PartialEq, Eq)]
pub struct MappedBlob {
    /// The property that it becomes.
    pub property: String,
    /// What it is; [`BlobType::Auto`]: as its MIME type says.
    pub kind: BlobType,
    /// Its MIME type, whatever its provider says.
    pub mime: Option<String>,
    /// Its bytes.
    pub bytes: BlobBytes,
}

/// Where the bytes of a blob are.
#[derive(Debug, PartialEq, Eq)]
pub enum BlobBytes {
    /// They are the file's.
    File,
    /// They are to be fetched from here.
    Url(String),
    /// They are those of a named part of the entry.
    Part(PartAddress),
    /// They are this text.
    Text(String),
    /// They cannot be had, for this reason.
    Unsupported(String),
}

impl Mapping {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// When an expression in it cannot be used.
    pub fn compile(mapping: &SchemaMapping) -> Result<Self, Vec<FieldProblem>> {
        let mut compiled = Self {
            fields: Vec::new(),
            blobs: Vec::new(),
            content: CONTENT.to_owned(),
            schema: None,
            unique_key: None,
        };
        let mut problems = Vec::new();
        for (target, entry) in mapping.entries() {
            match Source::compile(entry.source()) {
                Ok(source) => compiled.add(target, entry, source),
                Err(message) => {
                    let place = format!("mappings.{target}.source.pattern");
                    problems.push(FieldProblem::new(place, Value::Null, message));
                }
            }
        }
        compiled.settle_content();
        if problems.is_empty() { Ok(compiled) } else { Err(problems) }
    }

    /// The same, with its values checked against the bucket's schema, and its unique key made of
    /// them.
    #[must_use]
    pub fn into_bucket_of(self, settings: BucketSettings) -> Self {
        let BucketSettings { bucket_schema: schema, unique_key, .. } = settings;
        Self { schema, unique_key, ..self }
    }

    fn add(&mut self, target: &str, entry: &MappingEntry, source: Source) {
        match entry {
            MappingEntry::Field(FieldMapping { transform, required, .. }) => {
                self.fields.push(Field {
                    target: target.to_owned(),
                    source,
                    transform: *transform,
                    is_required: *required,
                });
            }
            MappingEntry::Blob(BlobMapping {
                blob_type,
                blob_property,
                mime_type_override,
                ..
            }) => {
                self.blobs.push(Blob {
                    property: blob_property.clone(),
                    kind: *blob_type,
                    mime: mime_type_override.clone(),
                    source,
                });
            }
        }
    }

    /// The file has a property of its own: the one that it is mapped to, `content` rather than
    /// another; and `content` where it is mapped to none.
    fn settle_content(&mut self) {
        let is_file = |blob: &&Blob| matches!(blob.source, Source::File);
        let files = || self.blobs.iter().filter(is_file);
        let chosen = files().find(|blob| blob.property == CONTENT).or_else(|| files().next());
        match chosen {
            Some(blob) => self.content = blob.property.clone(),
            None => self.blobs.push(Blob {
                property: CONTENT.to_owned(),
                kind: BlobType::Auto,
                mime: None,
                source: Source::File,
            }),
        }
    }

    /// The property that is the file itself.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    /// What has to be known of an entry to map it. That makes a request only where the answer to
    /// the fetch does not give it anyway.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let fields = self.fields.iter().map(|field| &field.source);
        let sources = fields.chain(self.blobs.iter().map(|blob| &blob.source));
        sources.map(Source::needs).fold(Needs::default(), Needs::and)
    }

    /// Whether it makes anything of the folders that an entry is in.
    #[must_use]
    pub fn looks_at_folders(&self) -> bool {
        let fields = self.fields.iter().map(|field| &field.source);
        let mut sources = fields.chain(self.blobs.iter().map(|blob| &blob.source));
        sources.any(|source| matches!(source, Source::Folder { .. }))
    }

    /// Maps an entry.
    ///
    /// # Errors
    /// When a value is missing that must be there, or does not fit the bucket's schema.
    pub fn map(&self, entry: &Dossier<'_>) -> Result<Mapped, Mismatch> {
        let nothing = Facts::default();
        let facts = entry.facts.unwrap_or(&nothing);
        let mut fields = Map::new();
        for field in &self.fields {
            if let Some(value) = field.value(entry.path, facts)? {
                fields.insert(field.target.clone(), value);
            }
        }
        let mut blobs = Vec::new();
        for blob in &self.blobs {
            blobs.extend(blob.of(entry.path, facts)?);
        }
        if let Some(schema) = &self.schema {
            let there: Vec<&str> = blobs.iter().map(|blob| blob.property.as_str()).collect();
            fields = schema.conform(fields, &there).map_err(|wrong| self.shown(wrong))?;
        }
        let unique_key = match &self.unique_key {
            Some(key) => key.value_of(&fields)?,
            None => None,
        };
        Ok(Mapped { fields, unique_key, blobs })
    }

    /// What may be shown of a value that does not fit: nothing of a column, which is the data of
    /// somebody.
    fn shown(&self, wrong: Mismatch) -> Mismatch {
        let is_within = |field: &&Field| {
            let rest = wrong.field.strip_prefix(&field.target);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match self.fields.iter().find(is_within).map(|field| &field.source) {
            Some(Source::Property(_)) => wrong.without_value(),
            _ => wrong,
        }
    }
}

impl Field {
    fn value(&self, path: &EntryPath, facts: &Facts) -> Result<Option<Value>, Mismatch> {
        let mismatch = |message: String| Mismatch::of(self.target.as_str(), message);
        let found = self.source.value(path, facts).filter(|value| !value.is_null());
        let value = match (found, self.transform) {
            (Some(Value::String(text)), Some(transform)) => {
                apply(transform, text).map_err(mismatch)?
            }
            (found, _) => found,
        };
        if value.is_none() && self.is_required {
            return Err(mismatch(format!(
                "is required, and the entry has no {}: add it at the source, or do not require it",
                self.source.describe()
            )));
        }
        Ok(value)
    }
}

fn apply(transform: Transform, text: String) -> Result<Option<Value>, String> {
    Ok(match transform {
        Transform::Lowercase => Some(text.to_lowercase().into()),
        Transform::Uppercase => Some(text.to_uppercase().into()),
        Transform::Trim => Some(text.trim().into()),
        Transform::JsonParse => {
            let parsed: Value = serde_json::from_str(&text)
                .map_err(|error| format!("is to be read as JSON, and is none: {error}"))?;
            Some(parsed).filter(|value| !value.is_null())
        }
    })
}

impl Blob {
    /// The blob of an entry; none where its source has nothing.
    fn of(&self, path: &EntryPath, facts: &Facts) -> Result<Option<MappedBlob>, Mismatch> {
        if let Some(part) = self.source.part(facts) {
            return Ok(part.map(|address| self.mapped(BlobBytes::Part(address.clone()))));
        }
        let bytes = match &self.source {
            Source::File => BlobBytes::File,
            source if source.is_reference(facts) => BlobBytes::Unsupported(format!(
                "{} refers to a file that is kept by the provider, which cannot be fetched: map a \
                 column with an http:// or https:// URL",
                source.describe()
            )),
            source => match source.value(path, facts) {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::String(text)) => self.bytes_of(text)?,
                Some(_) => {
                    return Err(
                        self.mismatch("is neither text nor a URL: a blob is made of either")
                    );
                }
            },
        };
        Ok(Some(self.mapped(bytes)))
    }

    fn mapped(&self, bytes: BlobBytes) -> MappedBlob {
        MappedBlob {
            property: self.property.clone(),
            kind: self.kind,
            mime: self.mime.clone(),
            bytes,
        }
    }

    fn bytes_of(&self, text: String) -> Result<BlobBytes, Mismatch> {
        if is_url(&text) {
            return Ok(BlobBytes::Url(text.trim().to_owned()));
        }
        match self.kind {
            BlobType::Auto | BlobType::Text => Ok(BlobBytes::Text(text)),
            _ => Err(self.mismatch("is no URL that begins with http:// or https://")),
        }
    }

    fn mismatch(&self, message: &str) -> Mismatch {
        Mismatch::of(self.property.as_str(), message)
    }
}

/// Whether text names something elsewhere. Other schemes are refused where it is fetched.
fn is_url(text: &str) -> bool {
    text.trim().split_once("://").is_some_and(|(scheme, rest)| {
        let mut letters = scheme.bytes();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !rest.is_empty()
            && !rest.contains(char::is_whitespace)
    })
}

impl Source {
    fn compile(source: &MappingSource) -> Result<Self, String> {
        Ok(match source.clone() {
            MappingSource::File => Self::File,
            MappingSource::Tag { key } => Self::Tag(key),
            MappingSource::Metadata { key } => Self::Metadata(key.to_lowercase()),
            MappingSource::Column { name } => Self::Property(name),
            MappingSource::DriveProperty { key } => Self::Property(key),
            MappingSource::RssField { field } | MappingSource::RtspField { field } => {
                Self::Property(field)
            }
            MappingSource::FilenameRegex { pattern, default } => {
                Self::FileName { regex: filename_regex(&pattern)?, default }
            }
            MappingSource::FolderPath { segment, full_path } => Self::Folder { segment, full_path },
            MappingSource::Constant { value } => Self::Constant(value),
        })
    }

    fn needs(&self) -> Needs {
        match self {
            Self::Tag(_) => Needs { tags: true, ..Needs::default() },
            Self::Metadata(_) => Needs { metadata: true, ..Needs::default() },
            Self::Property(_) => Needs { properties: true, ..Needs::default() },
            Self::File | Self::FileName { .. } | Self::Folder { .. } | Self::Constant(_) => {
                Needs::default()
            }
        }
    }

    fn value(&self, path: &EntryPath, facts: &Facts) -> Option<Value> {
        match self {
            Self::File => None,
            Self::Tag(key) => facts.tags.get(key).map(|value| value.as_str().into()),
            Self::Metadata(key) => {
                let named = |name: &str| value_of(&facts.properties, name).cloned();
                let listed = || named(&format!("metadata.{key}")).or_else(|| named(key));
                let own = facts.metadata.get(key).map(|value| value.as_str().into());
                own.or_else(|| facts.is_listed.then(listed).flatten())
            }
            Self::Property(name) => value_of(&facts.properties, name).cloned(),
            Self::FileName { regex, default } => {
                let name = EntryPath::new(path.file_name()).to_json_text();
                let found = regex.captures(&name).and_then(|groups| groups.get(1));
                found.map(|group| group.as_str()).or(default.as_deref()).map(Value::from)
            }
            Self::Folder { segment, full_path } => folder(path, *segment, *full_path),
            Self::Constant(value) => Some(value.clone()),
        }
    }

    /// The named part of an entry that it names, `None` within where the entry has none; `None`
    /// where it names no part.
    fn part<'f>(&self, facts: &'f Facts) -> Option<Option<&'f PartAddress>> {
        let (Self::Metadata(name) | Self::Property(name)) = self else { return None };
        let mut parts = facts.parts.iter();
        let (_, part) = parts.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(part.as_ref())
    }

    /// Whether it is a property that refers to a file which cannot be fetched.
    fn is_reference(&self, facts: &Facts) -> bool {
        match self {
            Self::Property(name) if !facts.references.is_empty() => {
                property(&facts.properties, name)
                    .is_some_and(|(name, _)| facts.references.contains(name))
            }
            _ => false,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::File => "file".to_owned(),
            Self::Tag(key) => format!("tag {key:?}"),
            Self::Metadata(key) => format!("metadata {key:?}"),
            Self::Property(name) => format!("{name:?}"),
            Self::FileName { regex, .. } => format!("file name that {:?} matches", regex.as_str()),
            Self::Folder { .. } => "such folder".to_owned(),
            Self::Constant(_) => "value".to_owned(),
        }
    }
}

/// A property by its exact name, else by the one name that differs only in its case.
fn property<'f>(properties: &'f Map<String, Value>, name: &str) -> Option<(&'f String, &'f Value)> {
    properties.get_key_value(name).or_else(|| {
        let mut alike = properties.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        alike.next().filter(|_| alike.next().is_none())
    })
}

fn value_of<'f>(properties: &'f Map<String, Value>, name: &str) -> Option<&'f Value> {
    property(properties, name).map(|(_, value)| value)
}

/// A folder of a path, or all of them; none for entries at the root, which are in no folder.
fn folder(path: &EntryPath, segment: Option<i64>, full_path: bool) -> Option<Value> {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte == b'/')?;
    let folders = &bytes[..end];
    let chosen = if full_path {
        folders
    } else {
        let count = folders.split(|byte| *byte == b'/').count();
        let segment = segment.unwrap_or(-1);
        let place = if segment < 0 {
            count.checked_sub(usize::try_from(segment.unsigned_abs()).ok()?)?
        } else {
            usize::try_from(segment).ok()?
        };
        folders.split(|byte| *byte == b'/').nth(place)?
    };
    Some(EntryPath::new(chosen).to_json_text().into())
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
