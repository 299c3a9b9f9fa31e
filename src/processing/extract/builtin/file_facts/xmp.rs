//! XMP: the packet of XML that cameras, editors and word processors put into files of many kinds.

use std::{fs::File, io::Read as _};

use quick_xml::{Reader, XmlVersion, events::Event};

use super::{Facts, moment, rewind, set, words};

/// Bytes at the beginning of a file in which a packet is looked for.
const SEARCHED: u64 = 1024 * 1024;
/// Bytes of a packet that are read at most.
const LONGEST: usize = 256 * 1024;
const BEGINNING: &[u8] = b"<x:xmpmeta";
const END: &[u8] = b"</x:xmpmeta>";

pub(super) fn read(file: &mut File, facts: &mut Facts) {
    let mut bytes = Vec::new();
    if !rewind(file) || file.take(SEARCHED).read_to_end(&mut bytes).is_err() {
        return;
    }
    let Some(start) = find(&bytes, BEGINNING) else { return };
    let packet = &bytes[start..bytes.len().min(start + LONGEST)];
    let Some(end) = find(packet, END) else { return };
    take(&packet[..end + END.len()], facts);
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
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
