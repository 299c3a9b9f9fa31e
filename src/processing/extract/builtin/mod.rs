//! The extractors that come with Catchment. Each is one function, which runs in a confined child
//! process: it is given a request and open files and returns documents.
//!
//! A built-in never changes what it makes of an object under the same version: another result is
//! another version, and nothing is extracted anew for it unasked.

mod file_facts;
mod passthrough;
mod raw;
mod text;
pub mod thumbnail;

use std::{fs::File, io};

use serde_json::{Map, Value, json};

use super::protocol::{
    BlobOutput, Class, Drawable, Failed, FileFacts, Input, Output, Request, VectorOutput,
};

/// An extractor that comes with Catchment.
#[derive(Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, for people.
    pub description: &'static str,
    /// Whether an object without anything that is mapped is nothing for it.
    pub needs_input: bool,
    /// Whether its documents take over all fields unless somebody says otherwise.
    pub carries_fields: bool,
    /// Whether it draws pictures: it writes them to its scratch folder, and may ask for one of what
    /// it cannot draw itself. Others write no files.
    pub draws: bool,
    /// MIME types that it takes, `type/*` and `*/*` among them.
    pub accepts: &'static [&'static str],
    /// The fields of its documents, in the words of a bucket's schema.
    pub fields: &'static [Field],
    /// The JSON Schema of its parameters.
    pub parameters: fn() -> Value,
    /// Runs it.
    pub run: Run,
}

/// A field of a document.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// What it says.
    pub description: &'static str,
}

type Run =
    fn(&Request, &mut Vec<File>, &mut dyn FnMut(Output) -> io::Result<()>) -> Result<(), Stop>;

/// All of them.
pub static ALL: &[&Builtin] =
    &[&passthrough::PASSTHROUGH, &file_facts::FILE_FACTS, &text::TEXT, &thumbnail::THUMBNAIL];

/// The extractor of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().copied().find(|extractor| extractor.name == name)
}

/// Why an extractor stops before it is done.
#[derive(Debug)]
pub enum Stop {
    /// It failed, and says why.
    Failed(Failed),
    /// Nobody reads its output.
    Out(io::Error),
}

/// Where an extractor writes what it found.
struct Sink<'a>(&'a mut dyn FnMut(Output) -> io::Result<()>);

impl Sink<'_> {
    fn document(&mut self, body: Map<String, Value>) -> Result<(), Stop> {
        self.emit(Output::Document(body))
    }

    fn vector(&mut self, name: &str, values: Vec<f32>) -> Result<(), Stop> {
        self.emit(Output::Vector(VectorOutput { name: name.to_owned(), values }))
    }

    fn left_out(&mut self, why: String) -> Result<(), Stop> {
        self.emit(Output::LeftOut(why))
    }

    fn blob(&mut self, blob: BlobOutput) -> Result<(), Stop> {
        self.emit(Output::Blob(blob))
    }

    fn draw(&mut self, drawable: Drawable) -> Result<(), Stop> {
        self.emit(Output::Draw(drawable))
    }

    fn emit(&mut self, output: Output) -> Result<(), Stop> {
        (self.0)(output).map_err(Stop::Out)
    }
}

/// The object is at fault.
fn permanent(message: impl Into<String>) -> Stop {
    Stop::Failed(Failed { message: message.into(), retry: false, class: None })
}

/// It would take more memory, time or room than an object may.
fn too_much(message: impl Into<String>) -> Stop {
    Stop::Failed(Failed { message: message.into(), retry: false, class: Some(Class::Resource) })
}

/// The first file among the inputs, taken out of those that were handed over.
fn file_of<'r>(request: &'r Request, files: &mut Vec<File>) -> Option<(File, &'r FileFacts)> {
    let input = request.inputs.values().find_map(|input| match input {
        Input::File(file) => Some(file),
        Input::Value(_) => None,
    })?;
    if files.is_empty() {
        return None;
    }
    Some((files.remove(0), &input.facts))
}

/// The JSON Schema of parameters with these properties, and none besides.
fn parameters(name: &str, properties: Value) -> Value {
    let mut properties = properties;
    if let Value::Object(map) = &mut properties {
        map.insert(
            "extractor_type".to_owned(),
            json!({"const": name, "description": "The extractor's name"}),
        );
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}
