//! Pages, titles, authors and times of PDFs and of Office files.

use std::{fs::File, io::Read as _};

use hayro_syntax::object::DateTime;
use jiff::civil;

use super::{
    super::text::{
        package::Package,
        pdf,
        xml::{self, Item},
    },
    Facts, moment, rewind, set, words,
};

/// Bytes of a PDF that is looked into: it is read as a whole.
const PDF_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn read_pdf(file: &mut File, facts: &mut Facts) {
    let mut bytes = Vec::new();
    let read = rewind(file) && file.take(PDF_BYTES + 1).read_to_end(&mut bytes).is_ok();
    if !read || bytes.len() as u64 > PDF_BYTES {
        return;
    }
    let Ok(pdf) = pdf::open(bytes) else { return };
    set(facts, "page_count", Some(pdf.pages().len() as u64));
    let said = pdf.metadata();
    let text = |bytes: &Option<Box<[u8]>>| {
        bytes.as_deref().and_then(|bytes| words(&pdf::text_string(bytes)))
    };
    set(facts, "title", text(&said.title));
    set(facts, "author", text(&said.author));
    set(facts, "created_at", said.creation_date.as_ref().and_then(time));
}

/// What a word processor writes beside the document itself; ECMA-376, part 2, chapter 11.
pub(super) fn read_office(file: &mut File, facts: &mut Facts) {
    let Ok(mut package) = Package::open(file) else { return };
    for part in ["docProps/core.xml", "docProps/app.xml", "meta.xml"] {
        let Ok(Some(said)) = package.part(part) else { continue };
        let mut open = String::new();
        // As far as it can be read.
        let _ = xml::each(&said, |item| {
            match item {
                Item::Open(tag) => {
                    open = tag.name().to_owned();
                    let pages = tag.get("page-count").and_then(|count| count.parse::<u64>().ok());
                    set(facts, "page_count", pages);
                }
                Item::Close(_) => open.clear(),
                Item::Text(text) => match open.as_str() {
                    "title" => set(facts, "title", words(text)),
                    "creator" | "initial-creator" => set(facts, "author", words(text)),
                    "created" | "creation-date" => set(facts, "created_at", moment::utc(text)),
                    "Pages" | "Slides" => {
                        let pages = text.trim().parse::<u64>().ok().filter(|pages| *pages > 0);
                        set(facts, "page_count", pages);
                    }
                    _ => {}
                },
            }
            Ok(())
        });
    }
}

fn time(at: &DateTime) -> Option<String> {
    let day = civil::Date::new(i16::try_from(at.year).ok()?, to_i8(at.month)?, to_i8(at.day)?);
    let time = civil::Time::new(to_i8(at.hour)?, to_i8(at.minute)?, to_i8(at.second)?, 0);
    let (hours, minutes) = (at.utc_offset_hour, at.utc_offset_minute);
    let sign = if hours < 0 { '-' } else { '+' };
    let local = day.ok()?.to_datetime(time.ok()?);
    moment::utc(&format!("{local}{sign}{:02}:{minutes:02}", hours.unsigned_abs()))
}

fn to_i8(number: u8) -> Option<i8> {
    i8::try_from(number).ok()
}
