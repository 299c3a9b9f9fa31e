//! Bytes to text: UTF-8, UTF-16 with its mark, else the Western European encoding that everything
//! else most often is.

use super::super::{Stop, permanent};

/// What the bytes 0x80 to 0x9f are in windows-1252:
/// <https://encoding.spec.whatwg.org/index-windows-1252.txt>.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The character of a byte in windows-1252.
pub(super) fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// The text that bytes are.
///
/// # Errors
/// When they are no text in any encoding that is known here.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, Stop> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return Ok(utf_16(rest, u16::from_le_bytes));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return Ok(utf_16(rest, u16::from_be_bytes));
    }
    if bytes.contains(&0) {
        return Err(permanent("these bytes are no text in any encoding that is read here"));
    }
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(windows_1252).collect());
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::decode;

    #[test]
    fn text_is_read_in_the_encodings_that_people_have() {
        let read = |bytes: &[u8]| decode(bytes.to_vec()).unwrap();
        assert_eq!(read("grüße €".as_bytes()), "grüße €");
        assert_eq!(read(b"\xef\xbb\xbfmark"), "mark");
        assert_eq!(read(b"gr\xfc\xdfe \x80"), "grüße €");
        assert_eq!(read(b"\xff\xfeg\0r\0\xfc\0"), "grü");
        assert_eq!(read(b"\xfe\xff\0g\0r\0\xfc"), "grü");
        assert!(decode(b"\0\x01\x02".to_vec()).is_err());
    }
}
