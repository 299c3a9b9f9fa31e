//! The JSON in a cell of a VARIANT, made canonical: no spaces, strings escaped one way, numbers as
//! they are while a 64-bit integer or a double holds them exactly, else their text.
//!
//! Snowflake's JSON is not quite JSON: arrays may hold `undefined`, which becomes `null`, and
//! numbers may be `NaN` and infinite, which become their text.

use std::borrow::Cow;

/// Deeper than this, a value is passed on as text: whatever reads it may have a shallower stack.
const MAX_DEPTH: usize = 100;

/// Appends the canonical form of a value to `out`; leaves `out` as it was where the text is no
/// JSON.
pub(super) fn write(out: &mut Vec<u8>, text: &str) -> bool {
    let start = out.len();
    let mut reader = Reader { rest: text, out };
    let is_whole = reader.value(0).is_some() && reader.skip_spaces().is_empty();
    if !is_whole {
        out.truncate(start);
    }
    is_whole
}

/// Appends a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

struct Reader<'a, 'out> {
    rest: &'a str,
    out: &'out mut Vec<u8>,
}

impl<'a> Reader<'a, '_> {
    fn skip_spaces(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.skip_spaces().as_bytes().first()? {
            b'{' => self.list(b'{', b'}', |reader| {
                reader.string()?;
                reader.take(":")?;
                reader.out.push(b':');
                reader.value(depth + 1)
            }),
            b'[' => self.list(b'[', b']', |reader| reader.value(depth + 1)),
            b'"' => self.string(),
            _ => self.word(),
        }
    }

    /// Members between brackets.
    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut member: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.rest = &self.rest[1..];
        self.out.push(open);
        if self.skip_spaces().as_bytes().first() == Some(&close) {
            self.rest = &self.rest[1..];
            self.out.push(close);
            return Some(());
        }
        loop {
            member(self)?;
            let next = *self.skip_spaces().as_bytes().first()?;
            self.rest = self.rest.get(1..)?;
            self.out.push(next);
            match next {
                b',' => (),
                next => return (next == close).then_some(()),
            }
        }
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.skip_spaces().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let text = self.skip_spaces();
        let inner = text.strip_prefix('"')?;
        let mut is_escaped = false;
        let end = inner.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        })?;
        let (token, behind) = text.split_at(end + 2);
        let value: Cow<'_, str> = serde_json::from_str::<String>(token).ok()?.into();
        write_string(self.out, &value);
        self.rest = behind;
        Some(())
    }

    /// A number or a name.
    fn word(&mut self) -> Option<()> {
        let end = self.rest.find([',', ']', '}', ' ', '\t', '\n', '\r', ':', '"', '{', '[']);
        let (word, behind) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        match word {
            "true" | "false" | "null" => self.out.extend_from_slice(word.as_bytes()),
            "undefined" => self.out.extend_from_slice(b"null"),
            "NaN" | "inf" | "-inf" | "Infinity" | "-Infinity" => write_string(self.out, word),
            number if is_number(number) => match is_held_exactly(number) {
                true => self.out.extend_from_slice(number.as_bytes()),
                false => write_string(self.out, number),
            },
            _ => return None,
        }
        self.rest = behind;
        Some(())
    }
}

/// The grammar of JSON's numbers.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|text| is_digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

/// Whether every reader with 64-bit numbers reads the number that the text says.
fn is_held_exactly(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    let Ok(value) = number.parse::<f64>() else { return false };
    let written = significant(number);
    match written.len() {
        0 => true,
        1..=17 => {
            value.is_finite() && significant(&format!("{value:.*e}", written.len() - 1)) == written
        }
        _ => false,
    }
}

/// The digits of a number from its first that is not 0 to its last.
fn significant(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn canonical(text: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let is_json = write(&mut out, text);
        let text = String::from_utf8(out.split_off(6)).unwrap();
        assert_eq!(out, b"before");
        assert!(is_json || text.is_empty());
        is_json.then_some(text)
    }

    #[test]
    fn spaces_go_and_the_order_of_keys_stays() {
        let text =
            "{\n  \"b\": [ 1, 2.5,\ttrue ],\n  \"a\": { },\n  \"\\u0041/\\/\": \"\\u00e9\"\n}";
        assert_eq!(canonical(text).unwrap(), r#"{"b":[1,2.5,true],"a":{},"A//":"é"}"#);
        assert_eq!(canonical(" null ").unwrap(), "null");
        assert_eq!(canonical("\"x\"").unwrap(), "\"x\"");
    }

    #[test]
    fn undefined_is_null_and_what_is_no_number_is_text() {
        let text = "[undefined,null,NaN,-inf,Infinity]";
        assert_eq!(canonical(text).unwrap(), r#"[null,null,"NaN","-inf","Infinity"]"#);
    }

    #[test]
    fn a_number_that_a_double_would_change_is_its_text() {
        for (number, stays) in [
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("12345678901234567890123456789012345678", false),
            ("0.1", true),
            ("1.000000000000000e+00", true),
            ("3.141592653589793", true),
            ("0.12345678901234567890123456789", false),
            ("9007199254740993.5", false),
            ("1e400", false),
            ("0.0", true),
            ("-0.00", true),
        ] {
            let expected = if stays { number.to_owned() } else { format!("{number:?}") };
            assert_eq!(canonical(number).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_json_is_left_to_be_text() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "tru",
            "\"a",
            "1 2",
            "[1}",
            "\"\\ud800\"",
            "{,}",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
        assert_eq!(canonical(&"[".repeat(100_000)), None);
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canonical(&deep(100)).is_some());
        assert_eq!(canonical(&deep(102)), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop::num::f64::NORMAL.prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_json_comes_out_as_it_was_without_its_spaces(value in any_json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(canonical(&pretty).unwrap(), value.to_string());
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]{}\",:\\\\0-9a-z. -]{0,40}") {
            let _ = canonical(&text);
        }
    }
}
