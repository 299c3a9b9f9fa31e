//! OpenDocument texts, presentations and spreadsheets: sections for headings and sheets, pages for
//! slides.
//!
//! OASIS OpenDocument 1.3, part 3.

use super::{
    super::Stop,
    package::Package,
    sections::Text,
    xml::{self, Item},
};

pub(super) fn read(package: &mut Package, text: &mut Text) -> Result<(), Stop> {
    let content = package.must_have("content.xml")?;
    let (mut words, mut is_wanted, mut slides) = (String::new(), true, 0);
    // How deep it is in a paragraph or heading, and in a row of a table.
    let (mut said_in, mut rows) = (0_u32, 0_u32);
    xml::each(&content, |item| {
        match item {
            Item::Open(tag) => match tag.name() {
                // `draw:page`; `text:page-…` are other names.
                "page" => {
                    slides += 1;
                    is_wanted = text.begin_page(slides);
                }
                "table" => {
                    if let Some(name) = tag.get("name").filter(|_| is_wanted && slides == 0) {
                        text.begin_section(&name)?;
                    }
                }
                "table-row" => rows += 1,
                "p" | "h" => said_in += 1,
                "s" => {
                    let count = tag.get("c").and_then(|count| count.parse::<usize>().ok());
                    words.extend(std::iter::repeat_n(' ', count.unwrap_or(1).min(100)));
                }
                "tab" => words.push('\t'),
                "line-break" => words.push('\n'),
                _ => {}
            },
            Item::Text(said) if said_in > 0 && is_wanted => words.push_str(said),
            Item::Text(_) => {}
            Item::Close("p" | "h") if rows > 0 => {
                said_in = said_in.saturating_sub(1);
                words.push(' ');
            }
            Item::Close(name @ ("p" | "h")) => {
                said_in = said_in.saturating_sub(1);
                let said = std::mem::take(&mut words);
                return match name {
                    "h" => text.begin_section(&said),
                    _ => text.paragraph(&said),
                };
            }
            Item::Close("table-cell") => {
                words.truncate(words.trim_end().len());
                if !words.is_empty() {
                    words.push('\t');
                }
            }
            Item::Close("table-row") => {
                rows = rows.saturating_sub(1);
                let row = std::mem::take(&mut words);
                if !row.trim().is_empty() {
                    text.add(row.trim())?;
                    text.add("\n")?;
                }
            }
            Item::Close(_) => {}
        }
        Ok(())
    })
}
