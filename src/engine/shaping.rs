//! Turns what a mapping has made into what is stored: the shape of an object. Pure: the caller
//! provides the bytes of its blobs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::mapping::{MappedBlob, Mapping};
use crate::{
    model::{BlobType, FieldType, UniqueValue},
    store::{
        commit::Stored,
        shape::{Shape, ShapedBlob, ShapedBytes},
    },
};

/// An object as it was mapped, with these blobs.
pub(super) fn shape(
    mapping: &Mapping,
    fields: Map<String, Value>,
    unique_key: Option<UniqueValue>,
    blobs: Vec<ShapedBlob>,
) -> Shape {
    let fields = (!fields.is_empty()).then(|| Value::Object(fields).to_string());
    Shape { fields, unique_key, content: mapping.content().to_owned(), blobs }
}

/// A blob that is the file itself.
pub(super) fn file(blob: &MappedBlob) -> ShapedBlob {
    shaped(blob, blob.mime.clone(), ShapedBytes::File)
}

/// A blob that is text.
pub(super) fn text(blob: &MappedBlob, stored: Stored) -> ShapedBlob {
    let mime = blob.mime.clone().or_else(|| Some("text/plain".to_owned()));
    shaped(blob, mime, ShapedBytes::Other(stored))
}

/// A blob that is here from that very place; `urls` says where those of the object came from.
pub(super) fn kept(
    blob: &MappedBlob,
    url: &str,
    urls: &BTreeMap<String, String>,
) -> Option<ShapedBlob> {
    let is_here = urls.get(&blob.property).is_some_and(|here| here == url);
    is_here.then(|| ShapedBlob {
        metadata: from(url),
        ..shaped(blob, blob.mime.clone(), ShapedBytes::Kept)
    })
}

/// A blob that was fetched from a URL.
pub(super) fn fetched(
    blob: &MappedBlob,
    url: &str,
    stored: Stored,
    mime: Option<String>,
    filename: Option<String>,
) -> ShapedBlob {
    let mime = blob.mime.clone().or(mime);
    ShapedBlob { filename, metadata: from(url), ..shaped(blob, mime, ShapedBytes::Other(stored)) }
}

fn from(url: &str) -> Option<String> {
    Some(json!({ "url": url }).to_string())
}

fn shaped(blob: &MappedBlob, mime: Option<String>, bytes: ShapedBytes) -> ShapedBlob {
    let given = match blob.kind {
        // The file's own type is the object's.
        BlobType::Auto if mime.is_none() => None,
        BlobType::Auto => Some(FieldType::of_mime(mime.as_deref()).as_str()),
        kind => kind.as_declared(),
    };
    ShapedBlob {
        property: blob.property.clone(),
        kind: given.map(str::to_owned),
        filename: None,
        mime,
        metadata: None,
        bytes,
    }
}
