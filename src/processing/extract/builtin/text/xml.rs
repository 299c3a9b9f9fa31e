//! XML as a list of what opens, closes and is said, by local names. Entities of a document's own
//! are never resolved.

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::super::{Stop, permanent};

/// One thing after the other.
pub(in super::super) enum Item<'a> {
    /// An element begins.
    Open(Tag<'a>),
    /// An element of that name ends; also one that was never open for long.
    Close(&'a str),
    /// Words.
    Text(&'a str),
}

/// The beginning of an element.
pub(in super::super) struct Tag<'a>(&'a BytesStart<'a>);

impl Tag<'_> {
    /// Its name without a prefix.
    pub(in super::super) fn name(&self) -> &str {
        local(self.0.name().into_inner())
    }

    /// The value of an attribute, by its name without a prefix.
    pub(in super::super) fn get(&self, wanted: &str) -> Option<String> {
        self.all(wanted).into_iter().next()
    }

    /// The values of all attributes of that name, whatever their prefixes.
    pub(in super::super) fn all(&self, wanted: &str) -> Vec<String> {
        self.0
            .attributes()
            .with_checks(false)
            .flatten()
            .filter(|attribute| local(attribute.key.into_inner()) == wanted)
            .filter_map(|attribute| attribute.normalized_value(XmlVersion::Implicit1_0).ok())
            .map(std::borrow::Cow::into_owned)
            .collect()
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Hands over each item of a document.
///
/// # Errors
/// When it is no XML, or the visitor's.
pub(in super::super) fn each(
    document: &str,
    mut visit: impl FnMut(Item<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut reader = Reader::from_str(document);
    reader.config_mut().check_end_names = false;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => visit(Item::Open(Tag(&tag)))?,
            Ok(Event::Empty(tag)) => {
                visit(Item::Open(Tag(&tag)))?;
                visit(Item::Close(local(tag.name().into_inner())))?;
            }
            Ok(Event::End(tag)) => visit(Item::Close(local(tag.name().into_inner())))?,
            Ok(Event::Text(text)) => visit(Item::Text(&text))?,
            Ok(Event::CData(text)) => visit(Item::Text(&text))?,
            Ok(Event::GeneralRef(name)) => {
                let named = match &*name {
                    "amp" => Some('&'),
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => name.resolve_char_ref().ok().flatten(),
                };
                if let Some(c) = named {
                    visit(Item::Text(c.encode_utf8(&mut [0; 4])))?;
                }
            }
            Ok(Event::Eof) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(permanent(format!("its XML is damaged: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_lose_their_prefixes_and_entities_become_characters() {
        let mut said = String::new();
        each("<w:a x:id='1 &amp; 2'><b/>&lt;&#228;&unknown;<![CDATA[<c>]]></w:a>", |item| {
            match item {
                Item::Open(tag) => {
                    said += &format!("({} {:?})", tag.name(), tag.get("id"));
                }
                Item::Close(name) => said += &format!("(/{name})"),
                Item::Text(text) => said += text,
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(said, "(a Some(\"1 & 2\"))(b None)(/b)<ä<c>(/a)");
    }
}
