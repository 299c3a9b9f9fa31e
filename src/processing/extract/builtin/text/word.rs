//! Word documents: paragraphs, tables, notes and comments, a section for each heading.
//!
//! ECMA-376, part 1, chapter 17.

use std::collections::HashSet;

use super::{
    super::Stop,
    package::Package,
    sections::Text,
    xml::{self, Item},
};

pub(super) fn read(package: &mut Package, text: &mut Text) -> Result<(), Stop> {
    let headings = headings(package)?;
    let body = package.must_have("word/document.xml")?;
    paragraphs(&body, &headings, text)?;
    for part in ["word/footnotes.xml", "word/endnotes.xml", "word/comments.xml"] {
        if let Some(notes) = package.part(part)? {
            paragraphs(&notes, &headings, text)?;
        }
    }
    Ok(())
}

/// The ids of styles that are headings: they are named after the language of who made them, and
/// what they are called in the file is not.
fn headings(package: &mut Package) -> Result<HashSet<String>, Stop> {
    let mut headings = HashSet::new();
    let Some(styles) = package.part("word/styles.xml")? else { return Ok(headings) };
    let mut id = None;
    xml::each(&styles, |item| {
        match item {
            Item::Open(tag) if tag.name() == "style" => id = tag.get("styleId"),
            Item::Open(tag) if tag.name() == "name" => {
                let name = tag.get("val").unwrap_or_default().to_lowercase();
                if name == "title" || name.starts_with("heading ") {
                    headings.extend(id.take());
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(headings)
}

fn paragraphs(part: &str, headings: &HashSet<String>, text: &mut Text) -> Result<(), Stop> {
    let (mut words, mut is_heading, mut is_text) = (String::new(), false, false);
    // In a table: the cells of the row so far.
    let (mut cells, mut rows) = (0_u32, 0_u32);
    // What is said again for old readers.
    let mut repeated = 0_u32;
    xml::each(part, |item| {
        match item {
            Item::Open(tag) if tag.name() == "Fallback" => repeated += 1,
            Item::Close("Fallback") => repeated = repeated.saturating_sub(1),
            _ if repeated > 0 => {}
            Item::Open(tag) => match tag.name() {
                "t" => is_text = true,
                "tab" => words.push('\t'),
                "br" | "cr" => words.push('\n'),
                "noBreakHyphen" => words.push('-'),
                "pStyle" => is_heading = tag.get("val").is_some_and(|id| headings.contains(&id)),
                "tr" => {
                    rows += 1;
                    cells = 0;
                }
                _ => {}
            },
            Item::Text(said) if is_text => words.push_str(said),
            Item::Text(_) => {}
            Item::Close("t") => is_text = false,
            Item::Close("p") if rows > 0 => words.push(' '),
            Item::Close("p") => {
                let said = std::mem::take(&mut words);
                return match std::mem::take(&mut is_heading) {
                    true => text.begin_section(&said),
                    false => text.paragraph(&said),
                };
            }
            Item::Close("tc") => {
                cells += 1;
                words.truncate(words.trim_end().len());
                words.push('\t');
            }
            Item::Close("tr") => {
                rows = rows.saturating_sub(1);
                is_heading = false;
                let row = std::mem::take(&mut words);
                if cells > 0 && !row.trim().is_empty() {
                    text.add(row.trim())?;
                    text.add("\n")?;
                }
            }
            Item::Close("tbl") => return text.add("\n"),
            Item::Close(_) => {}
        }
        Ok(())
    })?;
    text.paragraph(&words)
}
