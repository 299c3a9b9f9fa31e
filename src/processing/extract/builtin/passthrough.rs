//! `passthrough_extractor@v1`: what an object says of itself, as a document; or a document for each
//! row of a JSONL file, with the vectors that the rows bring.

use std::io::{BufRead as _, BufReader, Read as _};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Builtin, Sink, Stop, file_of, parameters, permanent};
use crate::processing::extract::{
    gather::{DIMENSIONS, DOCUMENT_BYTES},
    protocol::{Input, Output, Request},
};

pub(super) static PASSTHROUGH: Builtin = Builtin {
    name: "passthrough_extractor",
    version: "v1",
    description: "The object's own fields, or a document for each row of a JSONL file",
    needs_input: false,
    carries_fields: true,
    draws: false,
    accepts: &["*/*"],
    fields: &[],
    parameters: schema,
    run,
};

fn schema() -> Value {
    parameters(
        PASSTHROUGH.name,
        json!({
            "preserve_metadata": {
                "type": ["boolean", "null"],
                "description": "Whether the object's own metadata becomes part of the document",
                "default": true,
            },
            "vector_fields": {
                "type": ["array", "null"],
                "description": "Fields of a row that are vectors; the object is read as JSONL then",
                "items": {
                    "type": "object",
                    "required": ["field", "name", "dimensions"],
                    "additionalProperties": false,
                    "properties": {
                        "field": {"type": "string", "minLength": 1},
                        "name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]{0,63}$"},
                        "dimensions": {"type": "integer", "minimum": 1, "maximum": DIMENSIONS},
                        "distance": {"enum": ["cosine", "dot", "euclidean", null]},
                    },
                },
            },
            "row_format": {
                "enum": ["jsonl", null],
                "description": "How rows are written; Parquet is not read here",
            },
        }),
    )
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    preserve_metadata: Option<bool>,
    vector_fields: Option<Vec<VectorField>>,
    row_format: Option<String>,
}

#[derive(Deserialize)]
struct VectorField {
    field: String,
    name: String,
    dimensions: usize,
}

fn run(
    request: &Request,
    files: &mut Vec<std::fs::File>,
    emit: &mut dyn FnMut(Output) -> std::io::Result<()>,
) -> Result<(), Stop> {
    let mut sink = Sink(emit);
    let parameters: Parameters = serde_json::from_value(Value::Object(request.parameters.clone()))
        .map_err(|error| permanent(format!("the parameters cannot be read: {error}")))?;
    let vectors = parameters.vector_fields.unwrap_or_default();
    if vectors.is_empty() && parameters.row_format.is_none() {
        return sink.document(own_fields(request, parameters.preserve_metadata));
    }
    let Some((file, _)) = file_of(request, files) else {
        return Err(permanent("there is no file to read rows from"));
    };
    rows(file, &vectors, &mut sink)
}

/// What the mapped inputs say, besides files.
fn own_fields(request: &Request, wanted: Option<bool>) -> Map<String, Value> {
    let mut body = Map::new();
    if wanted == Some(false) {
        return body;
    }
    for (name, input) in &request.inputs {
        match input {
            Input::Value(value) if !value.is_null() => {
                body.insert(name.clone(), value.clone());
            }
            _ => {}
        }
    }
    body
}

/// A document a row. A row that cannot be read is left out, and reported.
fn rows(file: std::fs::File, vectors: &[VectorField], sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut line = Vec::new();
    let mut number = 0_u64;
    // A vector is longer in text than what is left of its row.
    let longest = DOCUMENT_BYTES as u64 * 2;
    loop {
        line.clear();
        number += 1;
        let read = reader
            .by_ref()
            .take(longest)
            .read_until(b'\n', &mut line)
            .map_err(|error| permanent(format!("the file cannot be read: {error}")))?;
        if read == 0 {
            return Ok(());
        }
        if read as u64 == longest && line.last() != Some(&b'\n') {
            return Err(permanent(format!("row {number} is longer than {longest} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match row(&line, vectors) {
            Ok((body, found)) => {
                sink.document(body)?;
                for (name, values) in found {
                    sink.vector(&name, values)?;
                }
            }
            Err(why) => sink.left_out(format!("row {number}: {why}"))?,
        }
    }
}

type Row = (Map<String, Value>, Vec<(String, Vec<f32>)>);

fn row(line: &[u8], vectors: &[VectorField]) -> Result<Row, String> {
    let mut body: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| format!("is no JSON object: {error}"))?;
    let mut found = Vec::new();
    for wanted in vectors {
        let Some(value) = body.remove(&wanted.field) else {
            return Err(format!("has no {:?}", wanted.field));
        };
        let values: Vec<f32> = serde_json::from_value(value)
            .map_err(|error| format!("{:?} is no vector: {error}", wanted.field))?;
        if wanted.dimensions != values.len() {
            return Err(format!(
                "{:?} has {} dimensions, not {}",
                wanted.field,
                values.len(),
                wanted.dimensions
            ));
        }
        found.push((wanted.name.clone(), values));
    }
    Ok((body, found))
}
