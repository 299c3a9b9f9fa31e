//! What an extractor returned for one object, put together, and no more of it than is allowed.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Class, Failure,
    protocol::{BlobOutput, Drawable, Output, VectorOutput},
    scratch::{Scratch, ScratchFile},
};

/// Bytes of one document, as JSON.
pub const DOCUMENT_BYTES: usize = 1024 * 1024;
/// Documents of one object.
pub const DOCUMENTS: usize = 10_000;
/// Bytes that an extractor may write about one object, blobs included.
pub const OBJECT_BYTES: u64 = 64 * 1024 * 1024;
/// Values of one vector.
pub const DIMENSIONS: usize = 65_536;

/// What came of an object.
#[derive(Clone, Debug, Default)]
pub struct Extracted {
    /// Its documents, in order.
    pub documents: Vec<Document>,
    /// What was left out, and why: the first few.
    pub left_out: Vec<String>,
    /// How much was left out.
    pub left_out_count: u64,
    /// What an extractor of ours cannot draw itself.
    pub drawable: Option<Drawable>,
    /// The end of what the extractor wrote to its standard error.
    pub log: String,
    /// The folder that a program wrote to: some write a file that no line names.
    pub scratch: Option<Arc<Scratch>>,
}

/// One document.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Its fields.
    pub body: Map<String, Value>,
    /// Files that belong to it.
    pub blobs: Vec<Piece>,
    /// Its vectors.
    pub vectors: Vec<VectorOutput>,
}

/// A file that belongs to a document.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its bytes.
    pub file: ScratchFile,
    /// The document's field that it is.
    pub field: String,
    /// What it is for.
    pub role: Option<String>,
    /// MIME type.
    pub mime_type: Option<String>,
}

/// Lines, as they come in.
#[derive(Debug)]
pub struct Gathering {
    scratch: Option<Arc<Scratch>>,
    bytes: u64,
    so_far: Extracted,
}

/// How many things that were left out are named.
const NAMED: usize = 10;

impl Gathering {
    /// Nothing yet, of an extractor that writes to this folder, if it has one.
    #[must_use]
    pub fn new(scratch: Option<Arc<Scratch>>) -> Self {
        Self { scratch, bytes: 0, so_far: Extracted::default() }
    }

    /// Takes a line in. Returns whether it was the last.
    ///
    /// # Errors
    /// When it is no line of the protocol, or more than is allowed.
    pub fn take(&mut self, line: &[u8]) -> Result<bool, Failure> {
        self.count(line.len() as u64)?;
        let output: Output = serde_json::from_slice(line).map_err(|error| {
            let start: String = String::from_utf8_lossy(line).chars().take(80).collect();
            permanent(format!(
                "the extractor wrote a line that is not of the protocol: {error}: {start}"
            ))
        })?;
        self.add(output, line.len())
    }

    fn add(&mut self, output: Output, length: usize) -> Result<bool, Failure> {
        match output {
            Output::Document(_) if length > DOCUMENT_BYTES => {
                Err(too_much(format!("a document has more than {DOCUMENT_BYTES} bytes")))
            }
            Output::Document(_) if self.so_far.documents.len() == DOCUMENTS => {
                Err(too_much(format!("there are more than {DOCUMENTS} documents")))
            }
            Output::Document(body) => {
                self.so_far.documents.push(Document { body, ..Document::default() });
                Ok(false)
            }
            Output::Blob(blob) => self.add_blob(blob).map(|()| false),
            Output::Vector(vector) => self.add_vector(vector).map(|()| false),
            Output::Progress(_) => Ok(false),
            Output::LeftOut(why) => {
                self.so_far.left_out_count += 1;
                if self.so_far.left_out.len() < NAMED {
                    self.so_far.left_out.push(why.chars().take(500).collect());
                }
                Ok(false)
            }
            Output::Draw(drawable) => {
                self.so_far.drawable = Some(drawable);
                Ok(false)
            }
            Output::Done(true) => Ok(true),
            Output::Done(false) => Err(permanent("the extractor says that it is not done")),
            Output::Failed(failed) => Err(Failure::new(failed.class(), failed.message)),
        }
    }

    /// Takes in what needs no line: an extractor that does not speak the protocol is translated.
    ///
    /// # Errors
    /// When it is more than is allowed.
    pub(super) fn take_output(&mut self, output: Output) -> Result<bool, Failure> {
        let length = serde_json::to_vec(&output).map_or(usize::MAX, |line| line.len());
        self.count(length as u64)?;
        self.add(output, length)
    }

    /// What was taken in. The caller has seen the last line.
    #[must_use]
    pub fn finish(self) -> Extracted {
        self.so_far
    }

    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > OBJECT_BYTES {
            return Err(too_much(format!("the extractor wrote more than {OBJECT_BYTES} bytes")));
        }
        Ok(())
    }

    fn last(&mut self) -> Result<&mut Document, Failure> {
        self.so_far
            .documents
            .last_mut()
            .ok_or_else(|| permanent("the extractor sent a blob or a vector before a document"))
    }

    /// A file counts only where it is a plain one in the scratch folder: no link leads out of it.
    fn add_blob(&mut self, blob: BlobOutput) -> Result<(), Failure> {
        let scratch = self.scratch.as_ref().ok_or_else(|| permanent("a service sends no files"))?;
        let file = scratch.file(&blob.path).map_err(|error| {
            permanent(format!(
                "the extractor sent a file that is not in its scratch folder: {:?}: {error}",
                blob.path
            ))
        })?;
        self.count(file.size())?;
        let piece = Piece { file, field: blob.field, role: blob.role, mime_type: blob.mime_type };
        self.last()?.blobs.push(piece);
        Ok(())
    }

    fn add_vector(&mut self, vector: VectorOutput) -> Result<(), Failure> {
        let is_sound =
            !vector.values.is_empty() && vector.values.iter().all(|value| value.is_finite());
        if !is_sound || vector.values.len() > DIMENSIONS {
            return Err(permanent(format!(
                "the vector {:?} must have 1 to {DIMENSIONS} finite numbers",
                vector.name
            )));
        }
        self.last()?.vectors.push(vector);
        Ok(())
    }
}

fn permanent(message: impl Into<String>) -> Failure {
    Failure::new(Class::Permanent, message)
}

fn too_much(message: impl Into<String>) -> Failure {
    Failure::new(Class::Resource, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn gathered(lines: &[&str]) -> Result<Option<Extracted>, Failure> {
        let mut gathering = Gathering::new(None);
        for line in lines {
            if gathering.take(line.as_bytes())? {
                return Ok(Some(gathering.finish()));
            }
        }
        Ok(None)
    }

    #[test]
    fn vectors_belong_to_the_document_before_them() {
        let found = gathered(&[
            r#"{"document":{"a":1}}"#,
            r#"{"document":{"a":2}}"#,
            r#"{"vector":{"name":"v","values":[1,0.5]}}"#,
            r#"{"done":true}"#,
        ]);
        let documents = found.unwrap().unwrap().documents;
        assert!(documents[0].vectors.is_empty());
        assert_eq!(documents[1].vectors[0].values, [1.0, 0.5]);
    }

    #[test]
    fn no_documents_come_of_an_extractor_that_does_not_say_that_it_is_done() {
        assert!(gathered(&[r#"{"document":{"a":1}}"#]).unwrap().is_none());
    }

    #[test]
    fn more_than_is_allowed_fails_as_a_matter_of_resources() {
        let long = format!(r#"{{"document":{{"a":"{}"}}}}"#, "x".repeat(DOCUMENT_BYTES));
        assert_eq!(gathered(&[&long]).unwrap_err().class, Class::Resource);
        let many = vec![r#"{"document":{}}"#; DOCUMENTS + 1];
        assert_eq!(gathered(&many).unwrap_err().class, Class::Resource);
    }
}
