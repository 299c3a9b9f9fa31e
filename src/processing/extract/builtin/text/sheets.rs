//! Workbooks: a section for each sheet, a line for each row, cells between tabs. Numbers are as
//! they are kept, which for dates is days.
//!
//! ECMA-376, part 1, chapter 18.

use super::{
    super::Stop,
    package::Package,
    sections::Text,
    xml::{self, Item},
};

pub(super) fn read(package: &mut Package, text: &mut Text) -> Result<(), Stop> {
    const BOOK: &str = "xl/workbook.xml";
    let book = package.must_have(BOOK)?;
    let relations = package.relations(BOOK)?;
    let mut sheets = Vec::new();
    xml::each(&book, |item| {
        if let Item::Open(tag) = item
            && tag.name() == "sheet"
        {
            let name = tag.get("name").unwrap_or_default();
            let relation = tag.all("id").into_iter().find_map(|id| relations.get(&id));
            sheets.extend(relation.map(|relation| (name, relation.part.clone())));
        }
        Ok(())
    })?;
    let shared = match package.part("xl/sharedStrings.xml")? {
        Some(part) => shared_strings(&part)?,
        None => Vec::new(),
    };
    for (name, part) in sheets {
        match package.part(&part)? {
            Some(sheet) => {
                text.begin_section(&name)?;
                rows(&sheet, &shared, text)?;
            }
            None => text.leave_out(format!("sheet {name:?} is missing")),
        }
    }
    Ok(())
}

fn shared_strings(part: &str) -> Result<Vec<String>, Stop> {
    let (mut all, mut one) = (Vec::new(), String::new());
    // How something is pronounced is not what is said.
    let (mut is_text, mut is_ruby) = (false, false);
    xml::each(part, |item| {
        match item {
            Item::Open(tag) if tag.name() == "t" => is_text = true,
            Item::Open(tag) if tag.name() == "rPh" => is_ruby = true,
            Item::Open(_) => {}
            Item::Text(said) if is_text && !is_ruby => one.push_str(said),
            Item::Text(_) => {}
            Item::Close("t") => is_text = false,
            Item::Close("rPh") => is_ruby = false,
            Item::Close("si") => all.push(std::mem::take(&mut one)),
            Item::Close(_) => {}
        }
        Ok(())
    })?;
    Ok(all)
}

fn rows(part: &str, shared: &[String], text: &mut Text) -> Result<(), Stop> {
    let (mut row, mut value) = (String::new(), String::new());
    let (mut is_value, mut is_shared) = (false, false);
    xml::each(part, |item| {
        match item {
            Item::Open(tag) => match tag.name() {
                "row" => row.clear(),
                "c" => {
                    value.clear();
                    is_shared = tag.get("t").as_deref() == Some("s");
                }
                "v" | "t" => is_value = true,
                _ => {}
            },
            Item::Text(said) if is_value => value.push_str(said),
            Item::Text(_) => {}
            Item::Close("v" | "t") => is_value = false,
            Item::Close("c") => {
                let at = value.trim().parse::<usize>().ok();
                let shown = match is_shared {
                    true => at.and_then(|at| shared.get(at)).map_or("", String::as_str),
                    false => value.as_str(),
                };
                if !shown.is_empty() {
                    if !row.is_empty() {
                        row.push('\t');
                    }
                    row.push_str(shown);
                }
            }
            Item::Close("row") if !row.is_empty() => {
                text.add(&row)?;
                text.add("\n")?;
            }
            Item::Close(_) => {}
        }
        Ok(())
    })
}
