//! What readers put words into: a list of sections, each with the page and the heading that it
//! belongs to.

use super::{
    super::{Stop, too_much},
    split::SplitBy,
};

/// Bytes of text that one file may have.
const MOST: usize = 48 * 1024 * 1024;

/// The words of a file.
#[derive(Debug, Default)]
pub(super) struct Text {
    sections: Vec<Section>,
    bytes: usize,
    /// Pages that are wanted.
    pages: Option<u32>,
    /// Pages that were there besides.
    more_pages: u32,
    left_out: Vec<String>,
}

/// Words under one heading of one page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Section {
    pub(super) page: Option<u32>,
    pub(super) heading: Option<String>,
    pub(super) text: String,
}

impl Text {
    /// No words yet; of so many pages at most.
    pub(super) fn up_to(pages: Option<u32>) -> Self {
        Self { pages, ..Self::default() }
    }

    /// Begins a page, from 1. Returns whether it is wanted: its words need not be read otherwise.
    pub(super) fn begin_page(&mut self, number: u32) -> bool {
        if self.pages.is_some_and(|most| number > most) {
            self.more_pages += 1;
            return false;
        }
        self.sections.push(Section { page: Some(number), ..Section::default() });
        true
    }

    /// Begins what is under a heading, which is text too.
    ///
    /// # Errors
    /// When there is too much text.
    pub(super) fn begin_section(&mut self, heading: &str) -> Result<(), Stop> {
        const LONGEST: usize = 500;
        let heading = heading.split_whitespace().collect::<Vec<_>>().join(" ");
        if heading.is_empty() {
            return Ok(());
        }
        let page = self.sections.last().and_then(|section| section.page);
        let short = heading.chars().take(LONGEST).collect();
        self.sections.push(Section { page, heading: Some(short), text: String::new() });
        self.paragraph(&heading)
    }

    /// Adds words that stand by themselves.
    ///
    /// # Errors
    /// When there is too much text.
    pub(super) fn paragraph(&mut self, words: &str) -> Result<(), Stop> {
        let words = words.trim();
        if words.is_empty() {
            return Ok(());
        }
        self.add(words)?;
        self.add("\n\n")
    }

    /// Adds words as they are.
    ///
    /// # Errors
    /// When there is too much text.
    pub(super) fn add(&mut self, words: &str) -> Result<(), Stop> {
        self.bytes += words.len();
        if self.bytes > MOST {
            return Err(too_much(format!("it has more than {MOST} bytes of text")));
        }
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        if let Some(section) = self.sections.last_mut() {
            section.text.push_str(words);
        }
        Ok(())
    }

    /// Something cannot be read, and the rest can.
    pub(super) fn leave_out(&mut self, why: String) {
        self.left_out.push(why);
    }

    /// What was left out, and why.
    pub(super) fn left_out(&self) -> Vec<String> {
        let mut told = self.left_out.clone();
        if self.more_pages > 0 {
            told.push(format!("{} pages behind max_document_pages", self.more_pages));
        }
        told
    }

    /// Sections that belong together, none of them empty.
    pub(super) fn groups(self, split_by: SplitBy) -> Vec<Section> {
        let has_pages = self.sections.iter().any(|section| section.page.is_some());
        let mut groups: Vec<Section> = Vec::new();
        for section in self.sections {
            let starts_anew = match (split_by, has_pages) {
                (SplitBy::Auto | SplitBy::Pages, true) => {
                    groups.last().is_none_or(|last| last.page != section.page)
                }
                (SplitBy::Auto | SplitBy::Headings | SplitBy::Paragraphs, _) => {
                    section.heading.is_some() || groups.is_empty()
                }
                (SplitBy::Pages | SplitBy::Characters | SplitBy::None, _) => groups.is_empty(),
            };
            match groups.last_mut() {
                Some(last) if !starts_anew => {
                    last.heading = last.heading.take().or(section.heading);
                    last.page = last.page.filter(|page| Some(*page) == section.page);
                    last.text.push_str(&section.text);
                }
                _ => groups.push(section),
            }
        }
        if split_by == SplitBy::Paragraphs {
            groups = groups.into_iter().flat_map(paragraphs).collect();
        }
        if matches!(split_by, SplitBy::Characters | SplitBy::None) {
            // A heading somewhere in it says nothing of all of it.
            groups.iter_mut().for_each(|group| group.heading = None);
        }
        groups.retain(|group| !group.text.trim().is_empty());
        groups
    }
}

fn paragraphs(section: Section) -> Vec<Section> {
    let Section { page, heading, text } = section;
    let of = |text: &str| Section { page, heading: heading.clone(), text: text.to_owned() };
    text.split("\n\n").map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn two_pages() -> Text {
        let mut text = Text::default();
        assert!(text.begin_page(1));
        text.begin_section("One").unwrap();
        text.paragraph("first").unwrap();
        text.begin_section("Two").unwrap();
        text.paragraph("second").unwrap();
        assert!(text.begin_page(2));
        text.paragraph("third").unwrap();
        text
    }

    fn texts(split_by: SplitBy) -> Vec<String> {
        let tidy = |group: Section| group.text.split_whitespace().collect::<Vec<_>>().join(" ");
        two_pages().groups(split_by).into_iter().map(tidy).collect()
    }

    #[test]
    fn sections_gather_by_page_by_heading_by_paragraph_or_all() {
        assert_eq!(texts(SplitBy::Auto), ["One first Two second", "third"]);
        assert_eq!(texts(SplitBy::Pages), ["One first Two second", "third"]);
        assert_eq!(texts(SplitBy::Headings), ["One first", "Two second third"]);
        assert_eq!(texts(SplitBy::Paragraphs), ["One", "first", "Two", "second", "third"]);
        assert_eq!(texts(SplitBy::None), ["One first Two second third"]);
        assert_eq!(two_pages().groups(SplitBy::Auto)[0].heading.as_deref(), Some("One"));
    }

    #[test]
    fn pages_that_are_left_out_are_reported() {
        let mut text = Text::up_to(Some(1));
        assert!(text.begin_page(1) && !text.begin_page(2) && !text.begin_page(3));
        assert_eq!(text.left_out(), ["2 pages behind max_document_pages"]);
    }
}
