//! The little XML that S3 speaks: elements with text, nothing trimmed, nothing missing.

use quick_xml::{
    Reader,
    escape::resolve_xml_entity,
    events::{BytesRef, Event},
};

/// Elements deeper than this belong to no document of S3.
const MAX_DEPTH: usize = 16;

/// Why a document cannot be taken at its word.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum XmlError {
    /// It is not XML.
    #[error("the response is not well-formed XML: {0}")]
    Malformed(String),
    /// It ends too early.
    #[error("the response ends in the middle of {0}")]
    CutShort(String),
}

/// Calls `take` at the end of each element with its path from the root and its own text, exactly
/// as it stands between the tags; parents therefore come after their children.
pub(super) fn fields(text: &str, mut take: impl FnMut(&[&str], String)) -> Result<(), XmlError> {
    let malformed = |error: &dyn std::fmt::Display| XmlError::Malformed(error.to_string());
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut names: Vec<String> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    let mut seen_root = false;
    loop {
        match reader.read_event().map_err(|error| malformed(&error))? {
            Event::Start(start) => {
                seen_root = true;
                if names.len() == MAX_DEPTH {
                    return Err(XmlError::Malformed("too many nested elements".into()));
                }
                names.push(start.local_name().as_ref().to_owned());
                texts.push(String::new());
            }
            Event::Empty(empty) => {
                seen_root = true;
                names.push(empty.local_name().as_ref().to_owned());
                emit(&names, String::new(), &mut take);
                names.pop();
            }
            Event::End(_) => {
                emit(&names, texts.pop().unwrap_or_default(), &mut take);
                names.pop();
            }
            Event::Text(content) => append(&mut texts, &content),
            Event::CData(content) => append(&mut texts, &content),
            Event::GeneralRef(reference) => append(&mut texts, &resolve(&reference)?),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match names.pop() {
        Some(open) => Err(XmlError::CutShort(open)),
        None if seen_root => Ok(()),
        None => Err(XmlError::CutShort("nothing".into())),
    }
}

fn emit(names: &[String], text: String, take: &mut impl FnMut(&[&str], String)) {
    let mut path = [""; MAX_DEPTH + 1];
    for (slot, name) in path.iter_mut().zip(names) {
        *slot = name;
    }
    take(&path[..names.len()], text);
}

fn append(texts: &mut [String], more: &str) {
    if let Some(text) = texts.last_mut() {
        text.push_str(more);
    }
}

/// A character or one of XML's five entities. Control characters that XML 1.0 forbids are what
/// servers write when they ignore `encoding-type=url`; they are taken as meant.
fn resolve(reference: &BytesRef<'_>) -> Result<String, XmlError> {
    let unknown = || XmlError::Malformed(format!("unknown entity &{};", &**reference));
    match reference.resolve_char_ref() {
        Ok(Some(c)) => Ok(c.to_string()),
        Ok(None) => resolve_xml_entity(reference).map(str::to_owned).ok_or_else(unknown),
        Err(_) => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, XmlError> {
        let mut all = Vec::new();
        fields(text, |path, value| all.push((path.join("/"), value))).map(|()| all)
    }

    #[test]
    fn text_is_taken_exactly_with_its_spaces_entities_and_control_characters() {
        let all =
            read("<a xmlns=\"u\"><b> x &amp;&lt;&#x1;&#13;\ty </b><c/><![CDATA[<&]]></a>").unwrap();
        assert_eq!(all[0], ("a/b".into(), " x &<\u{1}\r\ty ".into()));
        assert_eq!(all[1], ("a/c".into(), String::new()));
        assert_eq!(all[2], ("a".into(), "<&".into()));
    }

    #[test]
    fn a_document_that_ends_too_early_is_an_error_wherever_it_is_cut() {
        let whole = "<?xml version=\"1.0\"?><a><b>1</b><b>&amp;</b></a>";
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{}", &whole[..end]);
        }
        assert!(read(whole).is_ok());
    }

    #[test]
    fn an_unknown_entity_or_bottomless_nesting_is_refused() {
        assert!(read("<a>&bomb;</a>").is_err());
        assert!(read(&"<a>".repeat(9999)).is_err());
    }
}
