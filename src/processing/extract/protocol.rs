//! What goes over the line to an extractor and back: one JSON value a line, UTF-8, in both
//! directions.
//!
//! A request is answered by any number of outputs, the last of which is `done` or `failed`. Blobs
//! and vectors belong to the document before them. An extractor that ends without either has
//! failed.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One object to extract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The same for every try of this object in this batch.
    pub run: String,
    /// The object.
    pub object: ObjectFacts,
    /// The extractor's inputs, by name.
    pub inputs: BTreeMap<String, Input>,
    /// The collection's parameters.
    pub parameters: Map<String, Value>,
    /// A folder that may be written to. What is in it is gone after the request. Empty for a
    /// service.
    pub scratch: PathBuf,
}

/// What is known of an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectFacts {
    /// Public id.
    pub object_id: String,
    /// Public id of its bucket.
    pub bucket_id: String,
    /// Its path, as the API shows it.
    pub path: String,
}

/// An input of an extractor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// A blob.
    File(FileInput),
    /// Anything else.
    Value(Value),
}

/// A blob to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileInput {
    /// Where it is.
    #[serde(flatten)]
    pub place: FilePlace,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: FileFacts,
}

/// How an extractor gets at the bytes of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilePlace {
    /// A file of this absolute path; what an owner's program gets.
    Path(PathBuf),
    /// The nth open file that came with the line; what our own extractors get, which can open
    /// nothing themselves.
    Handed(usize),
    /// A link that needs no token, for a while; what a service gets.
    Url(String),
    /// The bytes themselves, in base64; what a service gets of a small one.
    ContentBase64(String),
}

/// What is known of a blob.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// MIME type, if one is known.
    pub mime_type: Option<String>,
    /// Bytes.
    pub size_bytes: u64,
    /// `blake3:` and 64 hexadecimal digits.
    pub hash: String,
    /// The name of the file, as text.
    pub filename: String,
}

/// One line from an extractor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A document: its fields.
    Document(Map<String, Value>),
    /// A file in the scratch folder that belongs to the last document.
    Blob(BlobOutput),
    /// A vector of the last document.
    Vector(VectorOutput),
    /// How far it has come, from 0 to 1.
    Progress(f64),
    /// Something that was left out, and why: a row that cannot be read. The others count.
    LeftOut(String),
    /// What an extractor of ours cannot draw itself. Another program draws it, and the extractor is
    /// given that picture in the place of the file. Of others it means nothing.
    Draw(Drawable),
    /// All documents have been sent.
    Done(bool),
    /// Nothing is to be kept.
    Failed(Failed),
}

/// A file that an extractor has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobOutput {
    /// Its name in the scratch folder.
    pub path: PathBuf,
    /// The document's field that it is.
    pub field: String,
    /// What it is for: `thumbnail`, `clip`, …
    #[serde(default)]
    pub role: Option<String>,
    /// MIME type.
    #[serde(default)]
    pub mime_type: Option<String>,
}

/// A vector that an extractor has made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorOutput {
    /// The name of its index.
    pub name: String,
    /// Its values.
    pub values: Vec<f32>,
}

/// What is drawn by programs of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawable {
    /// The first page of a PDF.
    Page,
    /// A frame of a film.
    Frame,
    /// A HEIC or AVIF picture.
    Photo,
    /// An SVG picture.
    Vector,
}

/// Why an extractor gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// For people.
    pub message: String,
    /// Whether another try may help.
    #[serde(default)]
    pub retry: bool,
    /// Finer than `retry`; only our own extractors say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
}

impl Failed {
    /// What is to be done about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match (self.class, self.retry) {
            (Some(class), _) => class,
            (None, true) => Class::Transient,
            (None, false) => Class::Permanent,
        }
    }
}

/// Failures by what is done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Tried again after a while.
    Transient,
    /// The object is at fault: not tried again by itself.
    Permanent,
    /// It took too much time, memory or room: tried once more, alone.
    Resource,
    /// The extractor is at fault, not the object: it is paused, and the try does not count.
    Unavailable,
}

impl Class {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Resource => "resource",
            Self::Unavailable => "unavailable",
        }
    }

    /// The class of that spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Transient, Self::Permanent, Self::Resource, Self::Unavailable]
            .into_iter()
            .find(|class| class.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn lines_read_as_the_documentation_writes_them() {
        let read = |value: Value| serde_json::from_value::<Output>(value).unwrap();
        assert_eq!(read(json!({"progress": 0.4})), Output::Progress(0.4));
        assert_eq!(read(json!({"done": true})), Output::Done(true));
        let Output::Failed(failed) = read(json!({"failed": {"message": "no", "retry": true}}))
        else {
            panic!("not a failure")
        };
        assert_eq!(failed.class(), Class::Transient);
        let input = json!({"path": "/a/input.jpg", "mime_type": "image/jpeg", "size_bytes": 5,
                           "hash": "blake3:00", "filename": "a.jpg"});
        let read: Input = serde_json::from_value(input.clone()).unwrap();
        assert!(
            matches!(&read, Input::File(file) if file.place == FilePlace::Path("/a/input.jpg".into()))
        );
        assert_eq!(serde_json::to_value(&read).unwrap(), input);
        assert_eq!(
            serde_json::from_value::<Input>(json!("text")).unwrap(),
            Input::Value("text".into())
        );
    }
}
