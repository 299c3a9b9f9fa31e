//! Long text in pieces that end where a reader would pause.

use serde::Deserialize;

/// Where one document ends and the next begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SplitBy {
    /// At pages where there are any, else at headings.
    #[default]
    Auto,
    /// At pages.
    Pages,
    /// At headings.
    Headings,
    /// At blank lines.
    Paragraphs,
    /// Only by size.
    Characters,
    /// Nowhere.
    None,
}

/// Cuts `text` into pieces of at most `size` characters, each of which repeats up to `overlap`
/// characters of the one before. Every character but white space at the edges is in a piece.
pub(super) fn pieces(text: &str, size: usize, overlap: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while let Some((most, _)) = rest.char_indices().nth(size) {
        let end = pause(&rest[..most]);
        pieces.push(rest[..end].trim_end());
        let next = back(&rest[..end], overlap);
        // Never less than a step.
        let next = if next == 0 { end } else { next };
        rest = rest[next..].trim_start();
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Where to cut, at the end at the latest: behind the last paragraph of the second half, else line,
/// sentence, word.
fn pause(text: &str) -> usize {
    let half = floor_boundary(text, text.len() / 2);
    for mark in ["\n\n", "\n", ". ", "! ", "? ", "。", " "] {
        if let Some(at) = text[half..].rfind(mark) {
            return half + at + mark.len();
        }
    }
    text.len()
}

/// Where the next piece begins: at a word that is up to `overlap` characters before the end; at the
/// end, where there is none. Where nobody writes spaces, anywhere.
fn back(text: &str, overlap: usize) -> usize {
    if overlap == 0 {
        return text.len();
    }
    let body = text.trim_end().len();
    let start = text.char_indices().rev().nth(overlap - 1).map_or(0, |(at, _)| at.min(body));
    if start == 0 || text[..start].ends_with(char::is_whitespace) {
        return start;
    }
    match text[start..body].find(char::is_whitespace) {
        Some(at) => start + at,
        None if text[..body].contains(char::is_whitespace) => text.len(),
        None => start,
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_cut_between_paragraphs_then_lines_then_sentences_then_words() {
        assert_eq!(pieces("aaaa bbbb\n\ncccc dddd", 14, 0), ["aaaa bbbb", "cccc dddd"]);
        assert_eq!(pieces("One is here. Two is there", 20, 0), ["One is here.", "Two is there"]);
        assert_eq!(pieces("one two three four", 10, 0), ["one two", "three four"]);
        assert_eq!(pieces("äääääääää", 4, 0), ["ääää", "ääää", "ä"]);
        assert_eq!(pieces(" \n ", 4, 0), Vec::<&str>::new());
    }

    #[test]
    fn a_piece_repeats_the_end_of_the_one_before() {
        assert_eq!(pieces("one two three four", 10, 4), ["one two", "two three", "four"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_long(
            text in "[a-zäß .\n]{0,300}", size in 2_usize..40, share in 0_usize..=2,
        ) {
            let overlap = size / 2 * share / 2;
            let cut = pieces(&text, size, overlap);
            prop_assert!(cut.iter().all(|piece| piece.chars().count() <= size));
            if overlap == 0 {
                let bare = |text: &str| text.split_whitespace().collect::<String>();
                prop_assert_eq!(bare(&cut.concat()), bare(&text));
            }
        }
    }
}
