//! `file_facts@v1`: what a file says of itself, in one document: its true type, what a camera wrote
//! into it, tags and length of music and films, titles, what is in an archive.
//!
//! Nothing here is essential: a part of a file that cannot be read leaves its fields out, and only
//! a file without any readable byte fails.

mod archive;
mod audio;
mod document;
mod image;
mod matroska;
mod moment;
mod movie;
mod quicktime;
mod tracks;
mod xmp;

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Builtin, Field, Sink, Stop, file_of, parameters, permanent};
use crate::processing::extract::protocol::{FileFacts, Output, Request};

pub(super) static FILE_FACTS: Builtin = Builtin {
    name: "file_facts",
    version: "v1",
    description: "What a file says of itself: type, size, EXIF, XMP, tags, length, archive listing",
    needs_input: true,
    carries_fields: false,
    draws: false,
    accepts: &["*/*"],
    fields: &[
        field("mime_type", "string", "Its true type, by its bytes"),
        field("size_bytes", "integer", "Bytes"),
        field("width", "integer", "Pixels, as stored"),
        field("height", "integer", "Pixels, as stored"),
        field("orientation", "integer", "How to turn it, by EXIF: 1 to 8"),
        field("duration_seconds", "float", "How long it plays"),
        field("page_count", "integer", "Pages"),
        field("title", "string", "Its title"),
        field("author", "string", "Who made it"),
        field("created_at", "datetime", "When it was taken or made"),
        field("camera_make", "string", "Who built the camera"),
        field("camera_model", "string", "Which camera"),
        field("gps", "object", "Where: latitude, longitude, altitude_m"),
        field("audio", "object", "codec, channels, sample_rate_hz, bit_rate, tags"),
        field("video", "object", "codec, width, height, frame_rate"),
        field("entry_count", "integer", "Entries of an archive"),
        field("entries", "array", "The first 1000: path, size_bytes"),
        field("exif", "object", "All of EXIF, by its own names"),
    ],
    parameters: || parameters("file_facts", json!({})),
    run,
};

const fn field(name: &'static str, kind: &'static str, description: &'static str) -> Field {
    Field { name, kind, description }
}

/// Bytes at the beginning of a file that are read in one go, whatever it is: all of most pictures.
const HEAD: u64 = 1024 * 1024;
/// Bytes at the beginning of a file that show its type.
const SIGNATURE: usize = 8192;

type Facts = Map<String, Value>;

fn run(
    request: &Request,
    files: &mut Vec<File>,
    emit: &mut dyn FnMut(Output) -> io::Result<()>,
) -> Result<(), Stop> {
    let Some((mut file, known)) = file_of(request, files) else {
        return Err(permanent("there is no file to look at"));
    };
    let unreadable = |error| permanent(format!("the file cannot be read: {error}"));
    let head = head_of(&mut file, known.size_bytes).map_err(unreadable)?;
    let mime = mime_of(&head[..head.len().min(SIGNATURE)], known);
    let mut facts = Facts::new();
    facts.insert("size_bytes".to_owned(), known.size_bytes.into());
    match mime.split('/').next() {
        Some("image") => image::read(&mut file, &head, &mut facts),
        Some("audio") => audio::read(&mut file, &mut facts),
        Some("video") => movie::read(&mut file, &mime, &mut facts),
        _ => {}
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        archive::read_zip(&mut file, &mut facts);
        document::read_office(&mut file, &mut facts);
    } else if mime == "application/x-tar" {
        archive::read_tar(&mut file, &mut facts);
    } else if mime == "application/gzip" {
        archive::read_tar_gz(&mut file, &mut facts);
    } else if mime == "application/pdf" {
        document::read_pdf(&mut file, &mut facts);
    }
    xmp::read(&head, &mut facts);
    facts.insert("mime_type".to_owned(), mime.into());
    Sink(emit).document(facts)
}

fn head_of(file: &mut File, size: u64) -> io::Result<Bytes> {
    // One byte more than there are: the end is found without another buffer.
    let room = usize::try_from(size.min(HEAD - 1) + 1).unwrap_or_default();
    let mut head = Vec::with_capacity(room);
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(head.into())
}

/// The type by its bytes; else as its source or name has it.
fn mime_of(head: &[u8], known: &FileFacts) -> String {
    let by_bytes = matroska::mime_of(head).or(infer::get(head).map(|found| found.mime_type()));
    let by_name = known.mime_type.as_deref().filter(|mime| *mime != "application/octet-stream");
    match (by_bytes, by_name) {
        // A docx is a zip by its bytes: what the name adds to that is right.
        (Some("application/zip"), Some(named)) => named,
        (Some(bytes), _) => bytes,
        (None, Some(named)) => named,
        (None, None) if is_text(head) => "text/plain",
        (None, None) => "application/octet-stream",
    }
    .to_owned()
}

fn is_text(head: &[u8]) -> bool {
    !head.is_empty()
        && !head.contains(&0)
        && std::str::from_utf8(&head[..head.len().min(4000)])
            .map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Sets a fact that has a value and is not there yet.
fn set(facts: &mut Facts, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value.map(Into::into)
        && !facts.contains_key(name)
    {
        facts.insert(name.to_owned(), value);
    }
}

/// Sets facts that are under a name, beside those that are there.
fn part(facts: &mut Facts, name: &str, fill: impl FnOnce(&mut Facts)) {
    let mut part = match facts.remove(name) {
        Some(Value::Object(part)) => part,
        _ => Facts::new(),
    };
    fill(&mut part);
    if !part.is_empty() {
        facts.insert(name.to_owned(), Value::Object(part));
    }
}

/// Text that says something, no longer than is sensible.
fn words(text: &str) -> Option<String> {
    const LONGEST: usize = 4000;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.chars().take(LONGEST).collect())
}

/// A number that JSON can write.
fn number(real: f64) -> Option<Value> {
    serde_json::Number::from_f64(real).map(Value::Number)
}

/// How long something plays, in seconds; nothing that nobody can have recorded.
fn seconds(length: f64) -> Option<Value> {
    const LONGEST: f64 = 366.0 * 24.0 * 3600.0;
    number(length).filter(|_| length > 0.0 && length <= LONGEST)
}

/// An edge of a picture, in pixels; nothing that nobody can have.
fn pixels(edge: u64) -> Option<u64> {
    const LONGEST: u64 = 1_000_000;
    Some(edge).filter(|edge| (1..=LONGEST).contains(edge))
}

fn rewind(file: &mut File) -> bool {
    file.seek(SeekFrom::Start(0)).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_say_more_about_a_type_than_a_name_does() {
        let named =
            |mime: &str| FileFacts { mime_type: Some(mime.to_owned()), ..FileFacts::default() };
        assert_eq!(mime_of(b"\x89PNG\r\n\x1a\n", &named("image/jpeg")), "image/png");
        assert_eq!(mime_of(b"plain words", &FileFacts::default()), "text/plain");
        assert_eq!(mime_of(b"a,b", &named("text/csv")), "text/csv");
        assert_eq!(mime_of(b"\0\x01", &FileFacts::default()), "application/octet-stream");
    }
}
