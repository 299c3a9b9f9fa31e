//! XMP: the packet of XML that cameras, editors and word processors put into files of many kinds.

use std::sync::LazyLock;

use quick_xml::{Reader, XmlVersion, events::Event};
use regex::bytes::Regex;

use super::{Facts, moment, set, words};

/// Bytes of a packet that are read at most.
const LONGEST: usize = 256 * 1024;
/// Searched for in all that is read of every file, which has to be quick.
static BEGINNING: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("<x:xmpmeta").ok());
static END: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("</x:xmpmeta>").ok());

/// Takes what a packet says that is at the beginning of a file.
pub(super) fn read(head: &[u8], facts: &mut Facts) {
    let first = |wanted: &Option<Regex>, bytes: &[u8]| {
        wanted.as_ref()?.find(bytes).map(|found| (found.start(), found.end()))
    };
    let Some((start, _)) = first(&BEGINNING, head) else { return };
    let packet = &head[start..head.len().min(start + LONGEST)];
    let Some((_, end)) = first(&END, packet) else { return };
    take(&packet[..end], facts);
}

/// Titles, authors and times, wherever in the packet they are.
fn take(packet: &[u8], facts: &mut Facts) {
    let mut reader = Reader::from_reader(packet);
    let mut open: Vec<String> = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                attributes(&tag, facts);
                open.push(tag.name().as_ref().to_owned());
            }
            Ok(Event::Empty(tag)) => attributes(&tag, facts),
            Ok(Event::End(_)) => {
                open.pop();
            }
            Ok(Event::Text(text)) => {
                for name in &open {
                    note(name, &text, facts);
                }
            }
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn attributes(tag: &quick_xml::events::BytesStart<'_>, facts: &mut Facts) {
    for attribute in tag.attributes().flatten() {
        if let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) {
            note(attribute.key.as_ref(), &value, facts);
        }
    }
}

fn note(name: &str, text: &str, facts: &mut Facts) {
    match name {
        "dc:title" => set(facts, "title", words(text)),
        "dc:creator" => set(facts, "author", words(text)),
        "xmp:CreateDate" | "photoshop:DateCreated" => {
            set(facts, "created_at", moment::utc(text));
        }
        "tiff:Make" => set(facts, "camera_make", words(text)),
        "tiff:Model" => set(facts, "camera_model", words(text)),
        _ => {}
    }
}
