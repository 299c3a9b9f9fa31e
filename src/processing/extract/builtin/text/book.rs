//! Electronic books: the chapters in the order of the book, each read as the web page that it is.
//!
//! <https://www.w3.org/TR/epub-33/>.

use std::collections::HashMap;

use super::{
    super::{Stop, permanent},
    html,
    package::{Package, resolve},
    sections::Text,
    xml::{self, Item},
};

pub(super) fn read(package: &mut Package, text: &mut Text) -> Result<(), Stop> {
    let container = package.must_have("META-INF/container.xml")?;
    let mut root = None;
    xml::each(&container, |item| {
        if let Item::Open(tag) = item
            && tag.name() == "rootfile"
        {
            root = root.take().or(tag.get("full-path"));
        }
        Ok(())
    })?;
    let root = root.ok_or_else(|| permanent("the book does not say where it begins"))?;
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let listing = package.must_have(&root)?;
    let (mut parts, mut chapters) = (HashMap::new(), Vec::new());
    xml::each(&listing, |item| {
        let Item::Open(tag) = item else { return Ok(()) };
        match tag.name() {
            "item" => {
                if let (Some(id), Some(target)) = (tag.get("id"), tag.get("href")) {
                    let target = percent_encoding::percent_decode_str(&target);
                    parts.insert(id, resolve(&folder, &target.decode_utf8_lossy()));
                }
            }
            "itemref" => chapters.extend(tag.get("idref")),
            _ => {}
        }
        Ok(())
    })?;
    for chapter in chapters {
        let part = parts.get(&chapter).cloned().unwrap_or(chapter);
        match package.part(&part)? {
            Some(page) => html::read(&page, text)?,
            None => text.leave_out(format!("the chapter {part:?} is missing")),
        }
    }
    Ok(())
}
