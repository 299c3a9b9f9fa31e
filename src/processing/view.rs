//! What an extractor and its documents can be given: the fields and blobs of an object, or of a
//! document that another collection made of it.

use serde_json::{Map, Value};

use crate::{
    model::{BlobHash, CONTENT},
    store::{
        objects::record::Record,
        processing::documents::{Document, DocumentBlob},
    },
};

/// What a collection takes: an object, seen through a document of it where it takes from another
/// collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) object: &'a Record,
    pub(super) upstream: Option<&'a Document>,
}

/// A blob that can be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) hash: BlobHash,
    pub(super) size: u64,
    pub(super) mime: Option<String>,
    pub(super) filename: String,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ViewValue {
    Blob(Blob),
    Value(Value),
    Nothing,
}

impl View<'_> {
    /// What is of that name: a blob of that property first, then a field of that path.
    pub(super) fn find(&self, path: &str) -> ViewValue {
        if let Some(blob) = self.blob(path) {
            return ViewValue::Blob(blob);
        }
        match self.field(path) {
            Some(Value::Null) | None => ViewValue::Nothing,
            Some(value) => ViewValue::Value(value),
        }
    }

    fn blob(&self, property: &str) -> Option<Blob> {
        let of_document = |blob: &DocumentBlob| Blob {
            hash: blob.hash,
            size: blob.size,
            mime: blob.mime.clone(),
            filename: blob.field.clone(),
        };
        let upstream = self.upstream.and_then(|document| {
            document.blobs.iter().find(|blob| blob.field == property).map(of_document)
        });
        upstream.or_else(|| {
            let blobs = &self.object.blobs;
            let found = blobs.iter().find(|blob| blob.property == property);
            // Whatever the bucket calls it, an object of one blob has a content.
            let found = found.or_else(|| blobs.first().filter(|_| property == CONTENT))?;
            Some(Blob {
                hash: found.hash,
                size: found.size,
                mime: found.mime.clone(),
                filename: found.filename.clone(),
            })
        })
    }

    /// The value of a field: of the document, of the object, or of what its source says.
    pub(super) fn field(&self, path: &str) -> Option<Value> {
        if let Some(document) = self.upstream
            && let Some(value) = at(&document.body, path)
        {
            return Some(value);
        }
        let object = self.object;
        at(&object.fields, path).or_else(|| match path {
            "key_prefix" | "path" => Some(object.path.to_json_text().into()),
            "object_id" => Some(object.id.to_string().into()),
            "size_bytes" => Some(object.size.into()),
            "mime_type" => object.mime.clone().map(Value::from),
            "modified_at" => object.modified.map(|at| at.to_string().into()),
            _ => {
                let inner = path.strip_prefix("metadata.").unwrap_or(path);
                at(object.metadata.as_ref()?, inner)
            }
        })
    }

    /// All fields there are, without what is said of the file itself.
    pub(super) fn all_fields(&self) -> Map<String, Value> {
        let mut all = self.object.metadata.clone().unwrap_or_default();
        all.extend(self.object.fields.clone());
        if let Some(document) = self.upstream {
            all.extend(document.body.clone());
        }
        all
    }
}

fn at(map: &Map<String, Value>, path: &str) -> Option<Value> {
    if let Some(value) = map.get(path) {
        return Some(value.clone());
    }
    let (first, rest) = path.split_once('.')?;
    match map.get(first)? {
        Value::Object(inner) => at(inner, rest),
        _ => None,
    }
}
