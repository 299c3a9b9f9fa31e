//! A path as its source spells it: bytes, not text.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// The path of an entry from its sync's root, exactly as the source names it.
///
/// S3 keys and Unix names are bytes with few rules: `a//b`, `..`, a leading `/`, newlines and
/// invalid UTF-8 all occur. A path is therefore opaque; it never names a place on this disk.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Takes the bytes as they are.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What stands behind the last `/`: the file's name.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// The text form for JSON: the path itself where it is UTF-8, else with each byte that is not
    /// part of valid UTF-8 as `%XX`. [`EntryPath::base64_if_not_utf8`] then carries the exact
    /// bytes.
    #[must_use]
    pub fn to_json_text(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                text.push_str(percent_encoding::percent_encode_byte(*byte));
            }
        }
        text
    }

    /// The exact bytes in base64, where [`EntryPath::to_json_text`] had to alter them.
    #[must_use]
    pub fn base64_if_not_utf8(&self) -> Option<String> {
        match str::from_utf8(&self.0) {
            Ok(_) => None,
            Err(_) => Some(BASE64_STANDARD.encode(&self.0)),
        }
    }

    /// The MIME type that the file's extension suggests, if it suggests one.
    #[must_use]
    pub fn mime_guess(&self) -> Option<&'static str> {
        let name = str::from_utf8(self.file_name()).ok()?;
        let (_, extension) = name.rsplit_once('.')?;
        mime_guess::from_ext(extension).first_raw()
    }
}

/// Bytes that would move a terminal's cursor or hide text, besides invalid UTF-8.
const TERMINAL_UNSAFE: &AsciiSet = &CONTROLS.add(0x7f);

/// For people: control characters, bidirectional overrides and invalid bytes are shown as `%XX`, so
/// that a hostile name cannot steer a terminal.
impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || is_bidi_control(c) {
                    let mut buffer = [0; 4];
                    for byte in c.encode_utf8(&mut buffer).bytes() {
                        f.write_str(percent_encoding::percent_encode_byte(byte))?;
                    }
                } else {
                    fmt::Write::write_char(f, c)?;
                }
            }
            write!(f, "{}", percent_encode(chunk.invalid(), TERMINAL_UNSAFE))?;
        }
        Ok(())
    }
}

/// Unicode's explicit directional marks (UAX #9), which reorder what is shown.
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_utf8_keeps_its_exact_bytes_in_base64() {
        let path = EntryPath::new(b"caf\xe9.txt".as_slice());
        assert_eq!(path.to_json_text(), "caf%E9.txt");
        assert_eq!(path.base64_if_not_utf8().as_deref(), Some("Y2Fm6S50eHQ="));
        assert_eq!(EntryPath::new("a%b".as_bytes()).base64_if_not_utf8(), None);
    }

    #[test]
    fn a_hostile_name_cannot_steer_a_terminal() {
        let path = EntryPath::new("a\x1b[2J\u{202e}gpj.exe\n".as_bytes());
        assert_eq!(path.to_string(), "a%1B[2J%E2%80%AEgpj.exe%0A");
    }
}
