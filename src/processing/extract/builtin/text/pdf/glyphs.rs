//! Which characters glyphs are, by the code of a standard encoding or by their name.
//!
//! ISO 32000-2, annex D; names as in <https://github.com/adobe-type-tools/agl-specification>.

use unicode_normalization::UnicodeNormalization as _;

use super::super::charset::windows_1252;

/// An encoding that fonts name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// WinAnsiEncoding.
    Windows,
    /// MacRomanEncoding.
    Mac,
    /// StandardEncoding.
    Standard,
}

/// From 0x80.
const MAC: &str = "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø¿¡¬√ƒ≈∆«»…\
     \u{a0}ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";

/// From 0xa1; spaces are codes without a glyph.
const STANDARD: &str =
    "¡¢£⁄¥ƒ§¤'“«‹›ﬁﬂ –†‡· ¶•‚„”»…‰ ¿ `´ˆ˜¯˘˙¨ ˚¸ ˝˛ˇ—                Æ ª    ŁØŒº     æ   ı  łøœß";

/// What a code says; empty where there is nothing.
pub(super) fn of_code(encoding: Encoding, code: usize) -> String {
    let Ok(byte) = u8::try_from(code) else { return String::new() };
    let c = match (encoding, byte) {
        (_, 0..0x20 | 0x7f) => None,
        (Encoding::Standard, b'\'') => Some('’'),
        (Encoding::Standard, b'`') => Some('‘'),
        (_, 0x20..0x7f) => Some(char::from(byte)),
        (Encoding::Windows, _) => Some(windows_1252(byte)).filter(|c| !c.is_control()),
        (Encoding::Mac, _) => MAC.chars().nth(code - 0x80),
        (Encoding::Standard, 0xa1..) => STANDARD.chars().nth(code - 0xa1).filter(|c| *c != ' '),
        (Encoding::Standard, _) => None,
    };
    c.map(spelled_out).unwrap_or_default()
}

/// What a glyph of that name says; empty where nobody knows.
pub(super) fn of_name(name: &str) -> String {
    // `a.sc`, `f_i`: variants and ligatures.
    let bare = name.split('.').next().unwrap_or_default();
    bare.split('_').map(of_part).collect()
}

fn of_part(name: &str) -> String {
    let code = |digits: &str| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    let mut chars = name.chars();
    if let (Some(only), None) = (chars.next(), chars.next()) {
        return only.to_string();
    }
    if let Ok(place) = NAMES.binary_search_by_key(&name, |(name, _)| name) {
        return NAMES[place].1.to_owned();
    }
    if let Some(digits) = name.strip_prefix("uni").filter(|digits| digits.is_ascii()) {
        let fours = digits.as_bytes().chunks(4).filter_map(|four| std::str::from_utf8(four).ok());
        return fours.filter_map(code).collect();
    }
    if let Some(c) = name.strip_prefix('u').filter(|digits| digits.len() >= 4).and_then(code) {
        return c.to_string();
    }
    accented(name).map(String::from).unwrap_or_default()
}

/// `eacute`: a letter with an accent.
fn accented(name: &str) -> Option<char> {
    const ACCENTS: [(&str, char); 14] = [
        ("acute", '\u{301}'),
        ("breve", '\u{306}'),
        ("caron", '\u{30c}'),
        ("cedilla", '\u{327}'),
        ("circumflex", '\u{302}'),
        ("commaaccent", '\u{326}'),
        ("dieresis", '\u{308}'),
        ("dotaccent", '\u{307}'),
        ("grave", '\u{300}'),
        ("hungarumlaut", '\u{30b}'),
        ("macron", '\u{304}'),
        ("ogonek", '\u{328}'),
        ("ring", '\u{30a}'),
        ("tilde", '\u{303}'),
    ];
    let letter = name.chars().next().filter(char::is_ascii_alphabetic)?;
    let accent = name[1..].strip_suffix("small").unwrap_or(&name[1..]);
    let (_, mark) = ACCENTS.iter().find(|(name, _)| *name == accent)?;
    let mut composed = [letter, *mark].into_iter().nfc();
    composed.next().filter(|_| composed.next().is_none())
}

/// Ligatures are letters to whoever searches.
fn spelled_out(c: char) -> String {
    match c {
        'ﬁ' => "fi".to_owned(),
        'ﬂ' => "fl".to_owned(),
        c => c.to_string(),
    }
}

/// Names in the order of their bytes.
#[rustfmt::skip]
const NAMES: &[(&str, &str)] = &[
    ("AE", "Æ"), ("Alpha", "Α"), ("Beta", "Β"), ("Chi", "Χ"), ("Dcroat", "Đ"), ("Delta", "∆"),
    ("Epsilon", "Ε"), ("Eta", "Η"), ("Eth", "Ð"), ("Euro", "€"), ("Gamma", "Γ"), ("Iota", "Ι"),
    ("Kappa", "Κ"), ("Lambda", "Λ"), ("Lslash", "Ł"), ("Mu", "Μ"), ("Nu", "Ν"), ("OE", "Œ"),
    ("Omega", "Ω"), ("Omicron", "Ο"), ("Oslash", "Ø"), ("Phi", "Φ"), ("Pi", "Π"), ("Psi", "Ψ"),
    ("Rho", "Ρ"), ("Sigma", "Σ"), ("Tau", "Τ"), ("Theta", "Θ"), ("Thorn", "Þ"), ("Upsilon", "Υ"),
    ("Xi", "Ξ"), ("Zeta", "Ζ"), ("acute", "´"), ("ae", "æ"), ("alpha", "α"), ("ampersand", "&"),
    ("approxequal", "≈"), ("arrowdown", "↓"), ("arrowleft", "←"), ("arrowright", "→"),
    ("arrowup", "↑"), ("asciicircum", "^"), ("asciitilde", "~"), ("asterisk", "*"), ("at", "@"),
    ("backslash", "\\"), ("bar", "|"), ("beta", "β"), ("braceleft", "{"), ("braceright", "}"),
    ("bracketleft", "["), ("bracketright", "]"), ("breve", "˘"), ("brokenbar", "¦"),
    ("bullet", "•"), ("caron", "ˇ"), ("cedilla", "¸"), ("cent", "¢"), ("chi", "χ"),
    ("circumflex", "ˆ"), ("colon", ":"), ("comma", ","), ("copyright", "©"), ("currency", "¤"),
    ("dagger", "†"), ("daggerdbl", "‡"), ("dcroat", "đ"), ("degree", "°"), ("delta", "δ"),
    ("dieresis", "¨"), ("divide", "÷"), ("dollar", "$"), ("dotaccent", "˙"), ("dotlessi", "ı"),
    ("eight", "8"), ("ellipsis", "…"), ("emdash", "—"), ("endash", "–"), ("epsilon", "ε"),
    ("equal", "="), ("eta", "η"), ("eth", "ð"), ("exclam", "!"), ("exclamdown", "¡"), ("ff", "ff"),
    ("ffi", "ffi"), ("ffl", "ffl"), ("fi", "fi"), ("five", "5"), ("fl", "fl"), ("florin", "ƒ"),
    ("four", "4"), ("fraction", "⁄"), ("gamma", "γ"), ("germandbls", "ß"), ("grave", "`"),
    ("greater", ">"), ("greaterequal", "≥"), ("guillemotleft", "«"), ("guillemotright", "»"),
    ("guilsinglleft", "‹"), ("guilsinglright", "›"), ("hungarumlaut", "˝"), ("hyphen", "-"),
    ("infinity", "∞"), ("integral", "∫"), ("iota", "ι"), ("kappa", "κ"), ("lambda", "λ"),
    ("less", "<"), ("lessequal", "≤"), ("logicalnot", "¬"), ("lozenge", "◊"), ("lslash", "ł"),
    ("macron", "¯"), ("minus", "−"), ("mu", "µ"), ("multiply", "×"), ("nbspace", "\u{a0}"),
    ("nine", "9"), ("notequal", "≠"), ("nu", "ν"), ("numbersign", "#"), ("oe", "œ"),
    ("ogonek", "˛"), ("omega", "ω"), ("omicron", "ο"), ("one", "1"), ("onehalf", "½"),
    ("onequarter", "¼"), ("onesuperior", "¹"), ("ordfeminine", "ª"), ("ordmasculine", "º"),
    ("oslash", "ø"), ("paragraph", "¶"), ("parenleft", "("), ("parenright", ")"),
    ("partialdiff", "∂"), ("percent", "%"), ("period", "."), ("periodcentered", "·"),
    ("perthousand", "‰"), ("phi", "φ"), ("pi", "π"), ("plus", "+"), ("plusminus", "±"),
    ("product", "∏"), ("psi", "ψ"), ("question", "?"), ("questiondown", "¿"), ("quotedbl", "\""),
    ("quotedblbase", "„"), ("quotedblleft", "“"), ("quotedblright", "”"), ("quoteleft", "‘"),
    ("quoteright", "’"), ("quotesinglbase", "‚"), ("quotesingle", "'"), ("radical", "√"),
    ("registered", "®"), ("rho", "ρ"), ("ring", "˚"), ("section", "§"), ("semicolon", ";"),
    ("seven", "7"), ("sigma", "σ"), ("sigma1", "ς"), ("six", "6"), ("slash", "/"), ("space", " "),
    ("sterling", "£"), ("summation", "∑"), ("tau", "τ"), ("theta", "θ"), ("thorn", "þ"),
    ("three", "3"), ("threequarters", "¾"), ("threesuperior", "³"), ("tilde", "˜"),
    ("trademark", "™"), ("two", "2"), ("twosuperior", "²"), ("underscore", "_"), ("upsilon", "υ"),
    ("xi", "ξ"), ("yen", "¥"), ("zero", "0"), ("zeta", "ζ"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glyphs_are_found_by_name() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0), "the order of their bytes");
        let words = ["A", "eacute", "Scaron", "ntilde", "germandbls", "uni20AC", "u1F600", "f_i"];
        assert_eq!(words.map(of_name).concat(), "AéŠñß€😀fi");
        assert_eq!(of_name("g123"), "");
    }

    #[test]
    fn codes_are_found_in_the_encodings_that_fonts_name() {
        let all = |encoding, codes: &[usize]| -> String {
            codes.iter().map(|code| of_code(encoding, *code)).collect()
        };
        assert_eq!(all(Encoding::Windows, &[0x41, 0x80, 0xe4, 0x93]), "A€ä“");
        assert_eq!(all(Encoding::Mac, &[0x41, 0x80, 0xde, 0xff]), "AÄfiˇ");
        assert_eq!(all(Encoding::Standard, &[0x27, 0xae, 0xe1, 0xfb, 0xd1]), "’fiÆß");
    }
}
