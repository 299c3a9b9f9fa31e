//! `text@v1`: the words of PDFs, Office files, books, web pages, Markdown and everything that is
//! text already, in documents of a sensible size: a page or a section each, cut where it is too
//! long.
//!
//! [`sections`] is what every reader fills; [`split`] makes pieces of it. What a file is, its bytes
//! say before its name does. Nothing is cut off silently: what is left out is reported, and what is
//! more than an object may have fails.

mod book;
mod charset;
mod html;
mod json;
mod markdown;
mod open_document;
pub(super) mod package;
pub(super) mod pdf;
mod sections;
mod sheets;
mod slides;
mod split;
mod word;
pub(super) mod xml;

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::{package::Package, sections::Text, split::SplitBy};
use super::{Builtin, Field, Sink, Stop, file_of, parameters, permanent, too_much};
use crate::processing::extract::protocol::{FileFacts, Output, Request};

/// Bytes at the beginning of a file that show what it is.
const HEAD: u64 = 8192;
/// Bytes of a file that is read as a whole: all but packages.
const FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of a file that is text already.
const TEXT_BYTES: u64 = 32 * 1024 * 1024;

const CHUNK_SIZE: usize = 10_000;

pub(super) static TEXT: Builtin = Builtin {
    name: "text",
    version: "v1",
    description: "The words of PDF, Office, HTML, Markdown, CSV, JSON and plain text, piece by piece",
    needs_input: true,
    carries_fields: false,
    draws: false,
    accepts: &[
        "text/*",
        "application/pdf",
        "application/json",
        "application/x-ndjson",
        "application/ld+json",
        "application/xml",
        "application/xhtml+xml",
        "application/javascript",
        "application/sql",
        "application/toml",
        "application/yaml",
        "application/x-yaml",
        "application/x-sh",
        "application/epub+zip",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
        "application/vnd.ms-word.document.macroEnabled.12",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.spreadsheet",
    ],
    fields: &[
        Field { name: "text", kind: "text", description: "The words" },
        Field { name: "page", kind: "integer", description: "Which page or slide, from 1" },
        Field { name: "heading", kind: "string", description: "The heading above, or the sheet" },
        Field { name: "index", kind: "integer", description: "Which piece of the file, from 0" },
    ],
    parameters: schema,
    run,
};

fn schema() -> Value {
    parameters(
        "text",
        json!({
            "split_by": {
                "enum": ["auto", "pages", "headings", "paragraphs", "characters", "none", null],
                "default": "auto",
                "description": "Where one document ends and the next begins. auto: pages where \
                                there are any, else headings",
            },
            "chunk_size": {
                "type": "integer", "minimum": 100, "maximum": 100_000, "default": CHUNK_SIZE,
                "description": "Characters of one document; what is longer is cut between \
                                paragraphs, lines, sentences or words. Not with none",
            },
            "chunk_overlap": {
                "type": "integer", "minimum": 0, "maximum": 10_000, "default": 0,
                "description": "Characters that a piece repeats of the one before; less than half \
                                of chunk_size",
            },
            "max_document_pages": {
                "type": ["integer", "null"], "minimum": 1, "maximum": 10_000,
                "description": "Pages or slides that are read; further ones are left out and reported",
            },
        }),
    )
}

#[derive(Deserialize)]
#[serde(default)]
struct Parameters {
    split_by: Option<SplitBy>,
    chunk_size: usize,
    chunk_overlap: usize,
    max_document_pages: Option<u32>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { split_by: None, chunk_size: CHUNK_SIZE, chunk_overlap: 0, max_document_pages: None }
    }
}

fn run(
    request: &Request,
    files: &mut Vec<File>,
    emit: &mut dyn FnMut(Output) -> io::Result<()>,
) -> Result<(), Stop> {
    let parameters: Parameters = serde_json::from_value(Value::Object(request.parameters.clone()))
        .map_err(|error| permanent(format!("the parameters cannot be read: {error}")))?;
    let Some((mut file, known)) = file_of(request, files) else {
        return Err(permanent("there is no file to read"));
    };
    let mut sink = Sink(emit);
    let mut text = Text::up_to(parameters.max_document_pages);
    read(&mut file, known, &mut text)?;
    for told in text.left_out() {
        sink.left_out(told)?;
    }
    let size = parameters.chunk_size.max(1);
    let overlap = parameters.chunk_overlap.min(size / 2);
    let split_by = parameters.split_by.unwrap_or_default();
    let mut index = 0_u64;
    for group in text.groups(split_by) {
        let pieces = match split_by {
            SplitBy::None => vec![group.text.as_str()],
            _ => split::pieces(&group.text, size, overlap),
        };
        for piece in pieces {
            let mut body = Map::new();
            body.insert("text".to_owned(), piece.into());
            if let Some(page) = group.page {
                body.insert("page".to_owned(), page.into());
            }
            if let Some(heading) = &group.heading {
                body.insert("heading".to_owned(), heading.as_str().into());
            }
            body.insert("index".to_owned(), index.into());
            sink.document(body)?;
            index += 1;
        }
    }
    match index {
        0 => sink.left_out("it has no text; what can be seen of it may be a picture".to_owned()),
        _ => Ok(()),
    }
}

fn read(file: &mut File, known: &FileFacts, text: &mut Text) -> Result<(), Stop> {
    let mut head = Vec::new();
    (&mut *file).take(HEAD).read_to_end(&mut head).map_err(unreadable)?;
    let start = head.trim_ascii_start();
    if contains(&head[..head.len().min(1024)], b"%PDF-") {
        return pdf::read(whole(file, FILE_BYTES)?, text);
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return packed(Package::open(file)?, text);
    }
    if head.starts_with(b"\xd0\xcf\x11\xe0") {
        return Err(permanent(
            "this is an Office file of the time before 2007, which is not read here: save it anew, \
             or let a program of yours read it",
        ));
    }
    if start.starts_with(b"{\\rtf") {
        return Err(permanent("RTF is not read here: save it as another format"));
    }
    let words = charset::decode(whole(file, TEXT_BYTES)?)?;
    let mime = known.mime_type.as_deref().unwrap_or_default();
    let mime = mime.split(';').next().unwrap_or_default().trim();
    let is_page = |start: &[u8]| {
        let start = start[..start.len().min(256)].to_ascii_lowercase();
        start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
    };
    match mime {
        "text/html" | "application/xhtml+xml" => html::read(&words, text),
        "application/json" | "application/ld+json" | "application/x-ndjson" => {
            json::read(&words, text)
        }
        "text/markdown" | "text/x-markdown" => markdown::read(&words, text),
        _ if is_page(start) => html::read(&words, text),
        _ if mime.ends_with("+json") => json::read(&words, text),
        _ => text.add(&words),
    }
}

/// A zip with documents in it, by what it has.
fn packed(mut package: Package, text: &mut Text) -> Result<(), Stop> {
    if package.has("word/document.xml") {
        word::read(&mut package, text)
    } else if package.has("ppt/presentation.xml") {
        slides::read(&mut package, text)
    } else if package.has("xl/workbook.xml") {
        sheets::read(&mut package, text)
    } else if package.has("META-INF/container.xml") && !package.has("content.xml") {
        book::read(&mut package, text)
    } else if package.has("content.xml") {
        open_document::read(&mut package, text)
    } else {
        Err(permanent("this archive is no document of a kind that is read here"))
    }
}

fn whole(file: &mut File, most: u64) -> Result<Vec<u8>, Stop> {
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > most {
        true => Err(too_much(format!("the file has more than {most} bytes to be read as text"))),
        false => Ok(bytes),
    }
}

fn unreadable(error: io::Error) -> Stop {
    permanent(format!("the file cannot be read: {error}"))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
