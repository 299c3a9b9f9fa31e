//! Web pages: the words that a reader sees, a line for each block, a section for each heading.

use html5gum::{DefaultEmitter, Token, Tokenizer};

use super::{super::Stop, sections::Text};

pub(super) fn read(page: &str, text: &mut Text) -> Result<(), Stop> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut words = Words { text, line: String::new(), hidden: Vec::new(), is_as_written: 0 };
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => words.open(&name_of(&tag.name), tag.self_closing)?,
            Token::EndTag(tag) => words.close(&name_of(&tag.name))?,
            Token::String(string) => words.say(&String::from_utf8_lossy(&string)),
            _ => {}
        }
    }
    words.end_line()
}

fn name_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Words<'t> {
    text: &'t mut Text,
    line: String,
    /// Elements that are open and show nothing.
    hidden: Vec<String>,
    /// How many elements are open in which white space counts.
    is_as_written: u32,
}

impl Words<'_> {
    fn open(&mut self, name: &str, is_empty: bool) -> Result<(), Stop> {
        match name {
            "script" | "style" | "template" | "svg" | "noscript" if !is_empty => {
                self.hidden.push(name.to_owned());
                Ok(())
            }
            _ if !self.hidden.is_empty() => Ok(()),
            "pre" | "textarea" => {
                self.is_as_written += 1;
                self.end_line()
            }
            "br" => {
                self.line.push('\n');
                Ok(())
            }
            "td" | "th" => {
                if !self.line.is_empty() {
                    self.line.push('\t');
                }
                Ok(())
            }
            _ if is_block(name) => self.end_line(),
            _ => Ok(()),
        }
    }

    fn close(&mut self, name: &str) -> Result<(), Stop> {
        if let Some(place) = self.hidden.iter().rposition(|hidden| hidden == name) {
            self.hidden.truncate(place);
            return Ok(());
        }
        match name {
            _ if !self.hidden.is_empty() => Ok(()),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "title" => {
                let heading = std::mem::take(&mut self.line);
                self.text.begin_section(&heading)
            }
            "pre" | "textarea" => {
                let done = self.end_line();
                self.is_as_written = self.is_as_written.saturating_sub(1);
                done
            }
            _ if is_block(name) => self.end_line(),
            _ => Ok(()),
        }
    }

    fn say(&mut self, words: &str) {
        if !self.hidden.is_empty() {
            return;
        }
        if self.is_as_written > 0 {
            self.line.push_str(words);
            return;
        }
        for c in words.chars() {
            match c.is_whitespace() {
                true if self.line.is_empty() || self.line.ends_with([' ', '\n', '\t']) => {}
                true => self.line.push(' '),
                false => self.line.push(c),
            }
        }
    }

    fn end_line(&mut self) -> Result<(), Stop> {
        let line = std::mem::take(&mut self.line);
        self.text.paragraph(&line)
    }
}

/// Elements that begin and end a line.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "dd"
            | "details"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hr"
            | "li"
            | "main"
            | "nav"
            | "ol"
            | "option"
            | "p"
            | "section"
            | "summary"
            | "table"
            | "title"
            | "tr"
            | "ul"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::split::SplitBy, *};

    fn seen(page: &str) -> Vec<(Option<String>, String)> {
        let mut text = Text::default();
        read(page, &mut text).unwrap();
        let tidy = |text: &str| text.trim().replace("\n\n", "|");
        let groups = text.groups(SplitBy::Headings).into_iter();
        groups.map(|group| (group.heading, tidy(&group.text))).collect()
    }

    #[test]
    fn only_what_a_reader_sees_is_text() {
        let page = "<!doctype html><title>T&eacute;st</title><style>p{}</style>
            <script>if (a < b) alert('<p>no')</script><p>one <b>two</b>\n three<br>four<!-- no -->
            <h2>Head</h2><table><tr><td>a<td>b</tr></table><pre>x\n  y</pre><li>last";
        let found = seen(page);
        assert_eq!(found[0], (Some("Tést".to_owned()), "Tést|one two three\nfour".to_owned()));
        assert_eq!(found[1], (Some("Head".to_owned()), "Head|a\tb|x\n  y|last".to_owned()));
    }

    #[test]
    fn tag_soup_is_read_to_its_end() {
        assert_eq!(seen("a</p></p><b>c<i>d</b>&nbsp;e&#x20ac;<unclosed attr='")[0].1, "a|cd e€");
    }
}
