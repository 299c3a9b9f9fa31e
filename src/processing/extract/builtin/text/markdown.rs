//! Markdown: text as it is, which begins a section at each heading.

use super::{super::Stop, sections::Text};

pub(super) fn read(words: &str, text: &mut Text) -> Result<(), Stop> {
    let mut fence: Option<&str> = None;
    for line in words.split_inclusive('\n') {
        let bare = line.trim();
        match fence {
            Some(mark) if bare.starts_with(mark) => fence = None,
            Some(_) => {}
            None if bare.starts_with("```") => fence = Some("```"),
            None if bare.starts_with("~~~") => fence = Some("~~~"),
            None => {
                if let Some(heading) = heading(line) {
                    text.begin_section(heading)?;
                    continue;
                }
            }
        }
        text.add(line)?;
    }
    Ok(())
}

/// What an ATX heading says: <https://spec.commonmark.org/0.31.2/#atx-headings>.
fn heading(line: &str) -> Option<&str> {
    let marks = line.bytes().take_while(|byte| *byte == b'#').count();
    let rest = &line[marks..];
    let is_heading = (1..=6).contains(&marks) && rest.starts_with([' ', '\t', '\n', '\r']);
    is_heading.then(|| rest.trim().trim_end_matches('#').trim()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::split::SplitBy, *};

    #[test]
    fn headings_begin_sections_and_what_is_code_does_not() {
        let mut text = Text::default();
        read("intro\n# One ##\nfirst\n```\n# no heading\n```\n## Two\n#hash\n", &mut text).unwrap();
        let groups = text.groups(SplitBy::Headings);
        let headings: Vec<_> = groups.iter().map(|group| group.heading.as_deref()).collect();
        assert_eq!(headings, [None, Some("One"), Some("Two")]);
        assert!(groups[1].text.contains("# no heading"));
        assert!(groups[2].text.contains("#hash"));
    }
}
