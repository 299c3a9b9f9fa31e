//! What a page draws, followed from operator to operator as far as text is concerned.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use hayro_syntax::{
    content::{TypedIter, ops::TypedInstruction},
    object::{Dict, Name, Object, ObjectIdentifier, Stream},
    page::{Page, Resources},
};

use super::{
    super::super::{Stop, too_much},
    font::Font,
    lines::{Lines, Stretch},
};

/// What one page may draw, in operators: more than any map.
const OPERATORS: u64 = 5_000_000;
/// Operators that drawing a form counts as, and bytes of its content that count as one.
const FORM: u64 = 100;
const BYTES_OF_OPERATOR: u64 = 16;
/// Forms within forms.
const DEPTH: usize = 16;
/// Bytes of one page's text.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Reads the pages of one file; keeps its fonts.
#[derive(Default)]
pub(super) struct Reader {
    fonts: HashMap<ObjectIdentifier, Rc<Font>>,
    /// Forms that are being drawn: one that draws itself is not drawn again.
    open: HashSet<ObjectIdentifier>,
    /// Of this page, so far.
    operators: u64,
}

/// `[a b c d e f]`, as the file writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Matrix([f64; 6]);

impl Matrix {
    const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// First this one, then the other.
    fn then(self, other: Self) -> Self {
        let ([a, b, c, d, e, f], [p, q, r, s, t, u]) = (self.0, other.0);
        Self([
            a * p + b * r,
            a * q + b * s,
            c * p + d * r,
            c * q + d * s,
            e * p + f * r + t,
            e * q + f * s + u,
        ])
    }

    fn shift(x: f64, y: f64) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    fn origin(self) -> (f64, f64) {
        (self.0[4], self.0[5])
    }
}

/// What `q` keeps and `Q` brings back.
#[derive(Clone)]
struct State {
    page: Matrix,
    font: Option<Rc<Font>>,
    size: f64,
    between_characters: f64,
    between_words: f64,
    /// 1: as wide as the font says.
    stretch: f64,
    leading: f64,
    rise: f64,
}

impl State {
    fn new(page: Matrix) -> Self {
        Self {
            page,
            font: None,
            size: 0.0,
            between_characters: 0.0,
            between_words: 0.0,
            stretch: 1.0,
            leading: 0.0,
            rise: 0.0,
        }
    }
}

impl Reader {
    /// The words of a page.
    ///
    /// # Errors
    /// When it draws more than any page of a person's does.
    pub(super) fn read(&mut self, page: &Page<'_>) -> Result<String, Stop> {
        self.operators = 0;
        let mut lines = Lines::default();
        let mut operators = page.typed_operations();
        let state = State::new(Matrix::IDENTITY);
        self.content(&mut operators, page.resources(), state, 0, &mut lines)?;
        Ok(lines.finish())
    }

    fn content(
        &mut self,
        operators: &mut TypedIter<'_>,
        resources: &Resources<'_>,
        mut state: State,
        depth: usize,
        lines: &mut Lines,
    ) -> Result<(), Stop> {
        const KEPT: usize = 512;
        let mut kept: Vec<State> = Vec::new();
        // Where the line began, and where the next character goes.
        let (mut line, mut cursor) = (Matrix::IDENTITY, Matrix::IDENTITY);
        while let Some(operator) = operators.next() {
            self.count(1)?;
            if lines.len() > PAGE_BYTES {
                return Err(too_much(format!("a page has more than {PAGE_BYTES} bytes of text")));
            }
            let mut next_line = |x: f64, y: f64, cursor: &mut Matrix| {
                line = Matrix::shift(x, y).then(line);
                *cursor = line;
            };
            match operator {
                TypedInstruction::SaveState(_) if kept.len() < KEPT => kept.push(state.clone()),
                TypedInstruction::RestoreState(_) => state = kept.pop().unwrap_or(state),
                TypedInstruction::Transform(by) => {
                    let by = [by.0, by.1, by.2, by.3, by.4, by.5].map(|number| number.as_f64());
                    state.page = Matrix(by).then(state.page);
                }
                TypedInstruction::BeginText(_) => {
                    (line, cursor) = (Matrix::IDENTITY, Matrix::IDENTITY);
                }
                TypedInstruction::TextFont(font) => {
                    state.size = font.1.as_f64();
                    state.font = self.font(resources, font.0);
                }
                TypedInstruction::CharacterSpacing(by) => state.between_characters = by.0.as_f64(),
                TypedInstruction::WordSpacing(by) => state.between_words = by.0.as_f64(),
                TypedInstruction::HorizontalScaling(by) => state.stretch = by.0.as_f64() / 100.0,
                TypedInstruction::TextLeading(by) => state.leading = by.0.as_f64(),
                TypedInstruction::TextRise(by) => state.rise = by.0.as_f64(),
                TypedInstruction::NextLine(by) => {
                    next_line(by.0.as_f64(), by.1.as_f64(), &mut cursor);
                }
                TypedInstruction::NextLineAndSetLeading(by) => {
                    state.leading = -by.1.as_f64();
                    next_line(by.0.as_f64(), by.1.as_f64(), &mut cursor);
                }
                TypedInstruction::NextLineUsingLeading(_) => {
                    next_line(0.0, -state.leading, &mut cursor);
                }
                TypedInstruction::SetTextMatrix(to) => {
                    let to = [to.0, to.1, to.2, to.3, to.4, to.5].map(|number| number.as_f64());
                    line = Matrix(to);
                    cursor = line;
                }
                TypedInstruction::ShowText(text) => show(&state, &mut cursor, text.0, lines),
                TypedInstruction::NextLineAndShowText(text) => {
                    next_line(0.0, -state.leading, &mut cursor);
                    show(&state, &mut cursor, text.0, lines);
                }
                TypedInstruction::ShowTextWithParameters(text) => {
                    state.between_words = text.0.as_f64();
                    state.between_characters = text.1.as_f64();
                    next_line(0.0, -state.leading, &mut cursor);
                    show(&state, &mut cursor, text.2, lines);
                }
                TypedInstruction::ShowTexts(pieces) => {
                    for piece in pieces.0.iter::<Object<'_>>() {
                        match piece {
                            Object::String(text) => show(&state, &mut cursor, &text, lines),
                            Object::Number(back) => {
                                let by = -back.as_f64() / 1000.0 * state.size * state.stretch;
                                cursor = Matrix::shift(by, 0.0).then(cursor);
                            }
                            _ => {}
                        }
                    }
                }
                TypedInstruction::XObject(named) => {
                    if let Some(form) = resources.get_x_object(named.0) {
                        self.form(&form, resources, &state, depth, lines)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Draws a form: content that has its own resources.
    fn form(
        &mut self,
        form: &Stream<'_>,
        resources: &Resources<'_>,
        state: &State,
        depth: usize,
        lines: &mut Lines,
    ) -> Result<(), Stop> {
        let dict = form.dict();
        let is_form = dict.get::<Name<'_>>("Subtype").is_some_and(|name| name.as_ref() == b"Form");
        if !is_form || depth == DEPTH || self.open.contains(&form.obj_id()) {
            return Ok(());
        }
        let Ok(content) = form.decoded_data() else { return Ok(()) };
        self.open.insert(form.obj_id());
        self.count(FORM + content.len() as u64 / BYTES_OF_OPERATOR)?;
        let mut state = state.clone();
        if let Some(matrix) = dict.get::<hayro_syntax::object::Array<'_>>("Matrix") {
            let numbers: Vec<f64> = matrix.iter::<f64>().collect();
            if let Ok(numbers) = <[f64; 6]>::try_from(numbers) {
                state.page = Matrix(numbers).then(state.page);
            }
        }
        let own = dict.get::<Dict<'_>>("Resources").map(Resources::new);
        let resources = own.as_ref().unwrap_or(resources);
        let mut operators = TypedIter::new(&content);
        let done = self.content(&mut operators, resources, state, depth + 1, lines);
        self.open.remove(&form.obj_id());
        done
    }

    fn font(&mut self, resources: &Resources<'_>, name: &Name<'_>) -> Option<Rc<Font>> {
        let dict = resources.get_font(name)?;
        let Some(id) = dict.obj_id() else { return Some(Rc::new(Font::read(&dict))) };
        let font = self.fonts.entry(id).or_insert_with(|| Rc::new(Font::read(&dict)));
        Some(font.clone())
    }

    fn count(&mut self, operators: u64) -> Result<(), Stop> {
        self.operators += operators;
        match self.operators > OPERATORS {
            true => Err(too_much("a page of the PDF draws more than is followed here")),
            false => Ok(()),
        }
    }
}

/// Draws a string, and moves the cursor behind it.
fn show(state: &State, cursor: &mut Matrix, string: &[u8], lines: &mut Lines) {
    let Some(font) = &state.font else { return };
    let of_font = Matrix([state.size * state.stretch, 0.0, 0.0, state.size, 0.0, state.rise]);
    let before = of_font.then(*cursor).then(state.page);
    let (mut words, mut width) = (String::new(), 0.0);
    font.decode(string, |glyph| {
        words.push_str(&glyph.text);
        let extra = if glyph.is_space { state.between_words } else { 0.0 };
        width += (glyph.width * state.size + state.between_characters + extra) * state.stretch;
    });
    *cursor = Matrix::shift(width, 0.0).then(*cursor);
    let after = of_font.then(*cursor).then(state.page);
    let [a, b, c, d, ..] = before.0;
    let along = a.hypot(b);
    let direction = if along > 0.0 { (a / along, b / along) } else { (1.0, 0.0) };
    let stretch =
        Stretch { start: before.origin(), end: after.origin(), direction, size: c.hypot(d) };
    lines.add(stretch, &words);
}
