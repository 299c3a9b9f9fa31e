//! Fonts, as far as text is concerned: which characters the codes of a string stand for, and how
//! wide they are.
//!
//! ISO 32000-2, chapters 9.6, 9.7 and 9.10. What a font program inside the file says of its own
//! codes is not looked at: a font that only says it there has no text.

use std::{borrow::Cow, collections::HashMap};

use hayro_cmap::{BfString, CMap};
use hayro_syntax::object::{Array, Dict, Name, Object, Stream};

use super::glyphs::{self, Encoding};

/// A font.
pub(super) struct Font {
    to_unicode: Option<CMap>,
    codes: Codes,
}

enum Codes {
    /// A byte each.
    Simple { texts: Box<[Cow<'static, str>; 256]>, widths: Box<[f64; 256]> },
    /// Two bytes each.
    Composite {
        /// They are UTF-16.
        are_unicode: bool,
        widths: HashMap<u32, f64>,
        default_width: f64,
    },
}

/// One code of a string.
pub(super) struct Glyph<'f> {
    /// What it says; empty where nobody knows.
    pub(super) text: Cow<'f, str>,
    /// How wide it is, as a share of the size.
    pub(super) width: f64,
    /// Whether it is the single byte 32, which words are spaced by.
    pub(super) is_space: bool,
}

/// The width of what has none, of fonts that every viewer is to know.
const USUAL_WIDTH: f64 = 0.5;

impl Font {
    pub(super) fn read(dict: &Dict<'_>) -> Self {
        let to_unicode = dict
            .get::<Stream<'_>>("ToUnicode")
            .and_then(|stream| stream.decoded_data().ok().map(Cow::into_owned))
            .and_then(|data| CMap::parse(&data, |_| None));
        let descendant = dict
            .get::<Array<'_>>("DescendantFonts")
            .and_then(|fonts| fonts.iter::<Dict<'_>>().next());
        let codes = match descendant {
            Some(descendant) => composite(dict, &descendant),
            None => simple(dict),
        };
        Self { to_unicode, codes }
    }

    /// Hands over each code of a string.
    pub(super) fn decode<'f>(&'f self, string: &[u8], mut each: impl FnMut(Glyph<'f>)) {
        match &self.codes {
            Codes::Simple { texts, widths } => {
                for byte in string {
                    let at = usize::from(*byte);
                    let text = self.mapped(u32::from(*byte));
                    each(Glyph {
                        text: text.unwrap_or(Cow::Borrowed(&texts[at])),
                        width: widths[at],
                        is_space: *byte == b' ',
                    });
                }
            }
            Codes::Composite { are_unicode, widths, default_width } => {
                for pair in string.as_chunks::<2>().0 {
                    let code = u16::from_be_bytes(*pair);
                    let own = || match are_unicode {
                        true => char::decode_utf16([code]).flatten().collect::<String>(),
                        false => String::new(),
                    };
                    let code = u32::from(code);
                    each(Glyph {
                        text: self.mapped(code).unwrap_or_else(|| Cow::Owned(own())),
                        width: widths.get(&code).copied().unwrap_or(*default_width),
                        is_space: false,
                    });
                }
            }
        }
    }

    fn mapped(&self, code: u32) -> Option<Cow<'static, str>> {
        Some(Cow::Owned(match self.to_unicode.as_ref()?.lookup_bf_string(code)? {
            BfString::Char(c) => c.to_string(),
            BfString::String(text) => text,
        }))
    }
}

fn simple(dict: &Dict<'_>) -> Codes {
    let named = dict.get::<Name<'_>>("Encoding");
    let detailed = dict.get::<Dict<'_>>("Encoding");
    let base = named.or_else(|| detailed.as_ref()?.get::<Name<'_>>("BaseEncoding"));
    let is_true_type =
        dict.get::<Name<'_>>("Subtype").is_some_and(|name| name.as_ref() == b"TrueType");
    let encoding = match base.as_deref() {
        Some(b"WinAnsiEncoding") => Encoding::Windows,
        Some(b"MacRomanEncoding") => Encoding::Mac,
        _ if is_true_type => Encoding::Windows,
        _ => Encoding::Standard,
    };
    let mut texts: Box<[Cow<'static, str>; 256]> =
        Box::new(std::array::from_fn(|code| Cow::Owned(glyphs::of_code(encoding, code))));
    let differences = detailed.and_then(|encoding| encoding.get::<Array<'_>>("Differences"));
    let mut code = 0_usize;
    for item in differences.iter().flat_map(|all| all.iter::<Object<'_>>()) {
        match item {
            Object::Number(first) => code = usize::try_from(first.as_i64()).unwrap_or(256),
            Object::Name(name) => {
                if let Some(text) = texts.get_mut(code) {
                    *text = Cow::Owned(glyphs::of_name(name.as_str()));
                }
                code += 1;
            }
            _ => {}
        }
    }
    Codes::Simple { texts, widths: widths(dict) }
}

fn widths(dict: &Dict<'_>) -> Box<[f64; 256]> {
    // A font that is drawn by operators has units of its own.
    let unit = dict
        .get::<Array<'_>>("FontMatrix")
        .and_then(|matrix| matrix.iter::<f64>().next())
        .map_or(0.001, f64::abs);
    let missing = dict
        .get::<Dict<'_>>("FontDescriptor")
        .and_then(|descriptor| descriptor.get::<f64>("MissingWidth"))
        .map_or(USUAL_WIDTH, |width| width * unit);
    let mut widths = Box::new([missing; 256]);
    let first = dict.get::<i32>("FirstChar").and_then(|first| usize::try_from(first).ok());
    let listed = dict.get::<Array<'_>>("Widths");
    for (place, width) in listed.iter().flat_map(|all| all.iter::<f64>()).enumerate() {
        if let Some(slot) = widths.get_mut(first.unwrap_or(0).saturating_add(place)) {
            *slot = width * unit;
        }
    }
    widths
}

fn composite(dict: &Dict<'_>, descendant: &Dict<'_>) -> Codes {
    let encoding = dict.get::<Name<'_>>("Encoding");
    let name = encoding.as_ref().map_or("", Name::as_str);
    let are_unicode = name.starts_with("Uni") && (name.contains("UCS2") || name.contains("UTF16"));
    let default_width = descendant.get::<f64>("DW").unwrap_or(1000.0) / 1000.0;
    let mut widths = HashMap::new();
    if let Some(listed) = descendant.get::<Array<'_>>("W") {
        cid_widths(&listed, &mut widths);
    }
    Codes::Composite { are_unicode, widths, default_width }
}

/// `c [w1 w2 …]` or `first last w`, in any order.
fn cid_widths(listed: &Array<'_>, widths: &mut HashMap<u32, f64>) {
    let mut items = listed.iter::<Object<'_>>();
    let number = |item: Option<Object<'_>>| item.and_then(Object::into_number);
    while let Some(first) = number(items.next()) {
        let Ok(first) = u16::try_from(first.as_i64()) else { return };
        match items.next() {
            Some(Object::Array(each)) => {
                for (code, width) in (u32::from(first)..=0xffff).zip(each.iter::<f64>()) {
                    widths.insert(code, width / 1000.0);
                }
            }
            Some(Object::Number(last)) => {
                let (Ok(last), Some(width)) = (u16::try_from(last.as_i64()), number(items.next()))
                else {
                    return;
                };
                for code in first..=last {
                    widths.insert(u32::from(code), width.as_f64() / 1000.0);
                }
            }
            _ => return,
        }
    }
}
