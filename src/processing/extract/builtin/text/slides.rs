//! Presentations: a page for each slide, with its title as heading and its notes at the end.
//!
//! ECMA-376, part 1, chapter 19.

use super::{
    super::Stop,
    package::Package,
    sections::Text,
    xml::{self, Item},
};

pub(super) fn read(package: &mut Package, text: &mut Text) -> Result<(), Stop> {
    const DECK: &str = "ppt/presentation.xml";
    let deck = package.must_have(DECK)?;
    let relations = package.relations(DECK)?;
    // In the order in which they are shown, which is not that of their names.
    let mut slides = Vec::new();
    xml::each(&deck, |item| {
        if let Item::Open(tag) = item
            && tag.name() == "sldId"
        {
            // Two attributes are called id; that of the relation is the one with letters.
            slides.extend(tag.all("id").into_iter().find_map(|id| relations.get(&id)).cloned());
        }
        Ok(())
    })?;
    for (number, slide) in (1..).zip(slides) {
        if !text.begin_page(number) {
            continue;
        }
        let Some(shapes) = package.part(&slide.part)? else {
            text.leave_out(format!("slide {number} is missing"));
            continue;
        };
        paragraphs(&shapes, text)?;
        let notes =
            package.relations(&slide.part)?.into_values().find(|it| it.kind == "notesSlide");
        if let Some(notes) = notes
            && let Some(shapes) = package.part(&notes.part)?
        {
            paragraphs(&shapes, text)?;
        }
    }
    Ok(())
}

fn paragraphs(part: &str, text: &mut Text) -> Result<(), Stop> {
    let (mut words, mut is_text, mut is_title) = (String::new(), false, false);
    // The number of the slide, as it is printed on it.
    let mut is_number = false;
    xml::each(part, |item| {
        match item {
            Item::Open(tag) => match tag.name() {
                "sp" => (is_title, is_number) = (false, false),
                "ph" => {
                    let kind = tag.get("type").unwrap_or_default();
                    is_title = matches!(kind.as_str(), "title" | "ctrTitle");
                    is_number = matches!(kind.as_str(), "sldNum" | "dt" | "ftr" | "hdr");
                }
                "t" => is_text = true,
                "br" => words.push('\n'),
                _ => {}
            },
            Item::Text(said) if is_text && !is_number => words.push_str(said),
            Item::Text(_) => {}
            Item::Close("t") => is_text = false,
            Item::Close("tc") => words.push('\t'),
            Item::Close("p") => {
                let said = std::mem::take(&mut words);
                return match is_title {
                    true => text.begin_section(&said),
                    false => text.paragraph(&said),
                };
            }
            Item::Close(_) => {}
        }
        Ok(())
    })
}
