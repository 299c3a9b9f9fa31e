//! Lines of text, put together from stretches that are drawn somewhere.

/// A stretch of text: where it is drawn, in units of the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Where its first character begins.
    pub(super) start: (f64, f64),
    /// Where the next one would.
    pub(super) end: (f64, f64),
    /// Which way it runs; of length 1.
    pub(super) direction: (f64, f64),
    /// How tall its characters are.
    pub(super) size: f64,
}

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
    last: Option<Stretch>,
}

/// Gaps that are wider than this share of the size are spaces.
const SPACE: f64 = 0.18;
/// Steps back that are longer begin a line.
const BACK: f64 = 1.0;
/// Steps up or down that are longer begin a line; shorter ones are indices and accents.
const LINE: f64 = 0.6;
/// Steps up or down that are longer begin a paragraph.
const PARAGRAPH: f64 = 1.9;

impl Lines {
    /// Adds words drawn there, behind what separates them from those before.
    pub(super) fn add(&mut self, stretch: Stretch, words: &str) {
        if words.is_empty() {
            return;
        }
        if let Some(last) = self.last {
            let gap = between(&last, &stretch);
            let is_apart = self.text.ends_with(char::is_whitespace) || words.starts_with(' ');
            if gap != " " || !is_apart {
                self.text.truncate(self.text.trim_end_matches(' ').len().max(match gap {
                    "" | " " => self.text.len(),
                    _ => 0,
                }));
                self.text.push_str(gap);
            }
        }
        self.text.extend(words.chars().filter(|c| !c.is_control()));
        self.last = Some(stretch);
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

fn between(last: &Stretch, next: &Stretch) -> &'static str {
    let size = last.size.max(next.size).max(f64::MIN_POSITIVE);
    let (dx, dy) = (next.start.0 - last.end.0, next.start.1 - last.end.1);
    let (ux, uy) = last.direction;
    let along = (dx * ux + dy * uy) / size;
    let across = ((dy * ux - dx * uy) / size).abs();
    let turned = ux * next.direction.0 + uy * next.direction.1 < 0.9;
    if across > PARAGRAPH || turned {
        "\n\n"
    } else if across > LINE || along < -BACK {
        "\n"
    } else if along > SPACE {
        " "
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64, y: f64, width: f64) -> Stretch {
        Stretch { start: (x, y), end: (x + width, y), direction: (1.0, 0.0), size: 10.0 }
    }

    #[test]
    fn gaps_are_spaces_lines_and_paragraphs() {
        let mut lines = Lines::default();
        lines.add(at(0.0, 100.0, 20.0), "Hel");
        lines.add(at(20.4, 100.0, 10.0), "lo");
        lines.add(at(34.0, 100.0, 30.0), "world");
        lines.add(at(64.0, 103.0, 5.0), "2");
        lines.add(at(0.0, 88.0, 30.0), "next ");
        lines.add(at(34.0, 88.0, 30.0), "one");
        lines.add(at(0.0, 50.0, 30.0), "far");
        assert_eq!(lines.finish(), "Hello world2\nnext one\n\nfar");
    }
}
