//! What a cell means: as canonical JSON, as a part of an id or path, and bound to a statement.
//!
//! Cells arrive as text whatever their type. A cell that does not read as its type is passed on as
//! the text that it is: nothing is lost, and nothing here can fail.

use std::{borrow::Cow, cmp::Ordering};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{columns::Kind, time, variant};

/// A cell in its canonical form.
enum Canonical<'a> {
    /// Stands in JSON as it is: a number, `true`, `false`.
    Bare(Cow<'a, str>),
    /// A JSON string.
    Text(Cow<'a, str>),
    /// JSON that has to be rewritten.
    Json(&'a str),
}

/// Appends a cell as canonical JSON.
pub(super) fn write_json(out: &mut Vec<u8>, kind: Kind, cell: &str) {
    match canonical(kind, cell) {
        Canonical::Bare(text) => out.extend_from_slice(text.as_bytes()),
        Canonical::Text(text) => variant::write_string(out, &text),
        Canonical::Json(text) => {
            if !variant::write(out, text) {
                variant::write_string(out, text);
            }
        }
    }
}

/// A cell of a key, as ids and paths show it.
pub(super) fn key_text(kind: Kind, cell: &str) -> Cow<'_, str> {
    match canonical(kind, cell) {
        Canonical::Bare(text) | Canonical::Text(text) => text,
        Canonical::Json(text) => text.into(),
    }
}

/// The cell that [`key_text`] shows as this text: what it does not show otherwise, it shows as it
/// is.
pub(super) fn cell_of_key(kind: Kind, text: &str) -> String {
    let cell = match kind {
        Kind::Binary => BASE64_STANDARD
            .decode(text)
            .ok()
            .map(|bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect()),
        Kind::Date => time::days(text).map(|days| days.to_string()),
        Kind::Time => time::nanos_of_clock(text).map(time::seconds),
        Kind::TimestampNtz => time::nanos_of_date_time(text).map(time::seconds),
        Kind::TimestampLtz => {
            text.strip_suffix('Z').and_then(time::nanos_of_date_time).map(time::seconds)
        }
        Kind::TimestampTz => time::zoned_of_text(text),
        _ => None,
    };
    cell.filter(|cell| key_text(kind, cell) == text).unwrap_or_else(|| text.to_owned())
}

/// What distinguishes a part of a key from one of another type that reads the same.
pub(super) const fn key_tag(kind: Kind) -> char {
    match kind {
        Kind::Integer | Kind::Decimal => 'n',
        Kind::Float => 'f',
        Kind::Text => 't',
        Kind::Binary => 'x',
        Kind::Boolean => 'b',
        Kind::Date => 'd',
        Kind::Time => 'c',
        Kind::TimestampNtz => 'w',
        Kind::TimestampLtz => 'l',
        Kind::TimestampTz => 'z',
        Kind::Json | Kind::Geo | Kind::File | Kind::Other => 'o',
    }
}

/// A cell as a bound value of the same column: exactly the value that was read. `None` where values
/// of this kind cannot be bound.
pub(super) fn bind_value(kind: Kind, cell: &str) -> Option<String> {
    match kind {
        Kind::Date => Some(cell.parse::<i64>().ok()?.checked_mul(86_400_000)?.to_string()),
        Kind::Time | Kind::TimestampNtz | Kind::TimestampLtz => {
            Some(time::nanos(cell)?.to_string())
        }
        Kind::TimestampTz => {
            let (_, offset) = cell.split_once(' ')?;
            Some(format!("{} {offset}", time::zoned(cell)?.0))
        }
        kind => kind.bind_type().map(|_| cell.to_owned()),
    }
}

/// Whether a watermark comes behind another in the order of its column.
pub(super) fn is_later(kind: Kind, cell: &str, than: &str) -> bool {
    match (place(kind, cell), place(kind, than)) {
        (Some(cell), Some(than)) => cell.compare(&than).is_gt(),
        (cell, than) => cell.is_some() && than.is_none(),
    }
}

/// How two cells of a column follow each other, NULL first; none where that cannot be told.
pub(super) fn compare(kind: Kind, cell: Option<&str>, with: Option<&str>) -> Option<Ordering> {
    match (cell, with) {
        (Some(cell), Some(with)) => Some(place(kind, cell)?.compare(&place(kind, with)?)),
        (cell, with) => Some(cell.is_some().cmp(&with.is_some())),
    }
}

/// Where a cell is in the order of its column.
enum Place<'a> {
    Number(i128),
    Double(f64),
    /// Byte by byte.
    Text(&'a str),
}

impl Place<'_> {
    /// Compares it with another one of the same column.
    fn compare(&self, with: &Self) -> Ordering {
        match (self, with) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Double(one), Self::Double(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

/// None where the cell does not read as its type.
fn place(kind: Kind, cell: &str) -> Option<Place<'_>> {
    match kind {
        Kind::Integer | Kind::Date => cell.parse().ok().map(Place::Number),
        // One column has one number of decimal places.
        Kind::Decimal => cell.replace('.', "").parse().ok().map(Place::Number),
        // Both zeros are the same.
        Kind::Float => cell.parse().ok().map(|number: f64| Place::Double(number + 0.0)),
        Kind::Time | Kind::TimestampNtz | Kind::TimestampLtz => {
            time::nanos(cell).map(Place::Number)
        }
        Kind::TimestampTz => time::zoned(cell).map(|(nanos, _)| Place::Number(nanos)),
        _ => Some(Place::Text(cell)),
    }
}

/// The cell that a moment would have in a column of this kind; none where it holds no moments.
pub(super) fn cell_of(kind: Kind, moment: jiff::Timestamp) -> Option<String> {
    let seconds = time::seconds(moment.as_nanosecond());
    match kind {
        Kind::Date => Some(moment.as_nanosecond().div_euclid(86_400_000_000_000).to_string()),
        Kind::TimestampNtz | Kind::TimestampLtz => Some(seconds),
        Kind::TimestampTz => Some(seconds + " 1440"),
        _ => None,
    }
}

fn canonical(kind: Kind, cell: &str) -> Canonical<'_> {
    let raw = || Canonical::Text(cell.into());
    let text = |text: Option<String>| text.map_or_else(raw, |text| Canonical::Text(text.into()));
    match kind {
        Kind::Integer => whole(cell).map_or_else(raw, Canonical::Bare),
        Kind::Float => float(cell).map_or_else(raw, |text| Canonical::Bare(text.into())),
        Kind::Boolean => match cell {
            "true" | "TRUE" | "1" => Canonical::Bare("true".into()),
            "false" | "FALSE" | "0" => Canonical::Bare("false".into()),
            _ => raw(),
        },
        Kind::Binary => text(base64_of_hex(cell)),
        Kind::Date => text(cell.parse().ok().and_then(time::date)),
        Kind::Time => text(time::nanos(cell).and_then(time::time_of_day)),
        Kind::TimestampNtz => text(time::nanos(cell).and_then(|nanos| time::date_time(nanos, 0))),
        Kind::TimestampLtz => {
            let utc = |nanos| Some(time::date_time(nanos, 0)? + "Z");
            text(time::nanos(cell).and_then(utc))
        }
        Kind::TimestampTz => text(time::zoned(cell).and_then(|(nanos, offset)| {
            Some(time::date_time(nanos, offset)? + &time::offset_text(offset))
        })),
        Kind::Json | Kind::Geo => Canonical::Json(cell),
        Kind::Decimal | Kind::Text | Kind::File | Kind::Other => raw(),
    }
}

/// An integer that 64 bits hold.
fn whole(cell: &str) -> Option<Cow<'_, str>> {
    // An i64 or a u64.
    let number = cell.parse::<i64>().map(i128::from);
    let number = number.or_else(|_| cell.parse::<u64>().map(i128::from)).ok()?;
    let is_canonical = match cell.strip_prefix('-').unwrap_or(cell).as_bytes() {
        [b'1'..=b'9', ..] => true,
        _ => cell == "0",
    };
    Some(if is_canonical { cell.into() } else { number.to_string().into() })
}

/// A double as JSON writes it; none for what JSON has no number for.
fn float(cell: &str) -> Option<String> {
    serde_json::Number::from_f64(cell.parse().ok()?).map(|number| number.to_string())
}

fn base64_of_hex(cell: &str) -> Option<String> {
    let digits = cell.as_bytes();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte_of_hex).collect();
    Some(BASE64_STANDARD.encode(bytes?))
}

fn byte_of_hex(pair: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(kind: Kind, cell: &str) -> String {
        let mut out = Vec::new();
        write_json(&mut out, kind, cell);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_has_its_exact_json() {
        let digits = "12345678901234567890123456789012345678";
        for (kind, cell, expected) in [
            (Kind::Integer, "42", "42"),
            (Kind::Integer, "-9223372036854775808", "-9223372036854775808"),
            (Kind::Integer, "18446744073709551615", "18446744073709551615"),
            (Kind::Integer, digits, &format!("{digits:?}")),
            (Kind::Decimal, "1.50", "\"1.50\""),
            (Kind::Decimal, "2.00", "\"2.00\""),
            (
                Kind::Decimal,
                "0.00000000000000000000000000000000000001",
                "\"0.00000000000000000000000000000000000001\"",
            ),
            (Kind::Float, "1.5", "1.5"),
            (Kind::Float, "1e3", "1000.0"),
            (Kind::Float, "1.7976931348623157E308", "1.7976931348623157e+308"),
            (Kind::Float, "NaN", "\"NaN\""),
            (Kind::Float, "inf", "\"inf\""),
            (Kind::Float, "-inf", "\"-inf\""),
            (Kind::Text, "a\"\\\n\u{1}é", r#""a\"\\\n\u0001é""#),
            (Kind::Text, "", "\"\""),
            (Kind::Text, "null", "\"null\""),
            (Kind::Binary, "48656C6C6F00fF", "\"SGVsbG8A/w==\""),
            (Kind::Binary, "", "\"\""),
            (Kind::Boolean, "true", "true"),
            (Kind::Boolean, "0", "false"),
            (Kind::Date, "19723", "\"2024-01-01\""),
            (Kind::Date, "-1", "\"1969-12-31\""),
            (Kind::Time, "82919.123456789", "\"23:01:59.123456789\""),
            (Kind::TimestampNtz, "1641008096.123456789", "\"2022-01-01T03:34:56.123456789\""),
            (Kind::TimestampLtz, "1641008096.123456789", "\"2022-01-01T03:34:56.123456789Z\""),
            (
                Kind::TimestampTz,
                "1641008096.123456789 960",
                "\"2021-12-31T19:34:56.123456789-08:00\"",
            ),
            (Kind::Json, "{\n \"a\": undefined\n}", r#"{"a":null}"#),
            (Kind::Json, "null", "null"),
            (Kind::Json, "{oops", "\"{oops\""),
            (
                Kind::Geo,
                "{ \"type\": \"Point\", \"coordinates\": [ 1.5, 2 ] }",
                r#"{"type":"Point","coordinates":[1.5,2]}"#,
            ),
            (Kind::Other, "P1Y", "\"P1Y\""),
            (Kind::File, "{\"STAGE\": 1}", r#""{\"STAGE\": 1}""#),
        ] {
            assert_eq!(json(kind, cell), expected, "{kind:?} {cell}");
        }
    }

    #[test]
    fn what_does_not_read_as_its_type_is_the_text_that_it_is() {
        for (kind, cell) in [
            (Kind::Integer, "1e5"),
            (Kind::Float, "one"),
            (Kind::Boolean, "maybe"),
            (Kind::Binary, "ABC"),
            (Kind::Binary, "zz"),
            (Kind::Date, "2024-01-01"),
            (Kind::Time, "90000"),
            (Kind::TimestampNtz, "infinity"),
            (Kind::TimestampTz, "1.5"),
        ] {
            assert_eq!(json(kind, cell), format!("{cell:?}"), "{kind:?}");
        }
    }

    #[test]
    fn a_bound_value_is_the_very_one_that_was_read() {
        for (kind, cell, expected) in [
            (
                Kind::Integer,
                "12345678901234567890123456789012345678",
                "12345678901234567890123456789012345678",
            ),
            (Kind::Text, "it's", "it's"),
            (Kind::Date, "-1", "-86400000"),
            (Kind::Time, "1.000000001", "1000000001"),
            (Kind::TimestampNtz, "1641008096.123456789", "1641008096123456789"),
            (Kind::TimestampLtz, "-0.000000001", "-1"),
            (Kind::TimestampTz, "1641008096.123456789 960", "1641008096123456789 960"),
        ] {
            assert_eq!(bind_value(kind, cell).as_deref(), Some(expected), "{kind:?}");
        }
        assert_eq!(bind_value(Kind::Json, "{}"), None);
    }

    #[test]
    fn watermarks_are_compared_as_their_column_orders_them() {
        for (kind, earlier, later) in [
            (Kind::Integer, "9", "10"),
            (Kind::Integer, "-10", "-9"),
            (
                Kind::Integer,
                "99999999999999999999999999999999999998",
                "99999999999999999999999999999999999999",
            ),
            (Kind::Decimal, "9.99", "10.00"),
            (Kind::Float, "9", "1e1"),
            (Kind::Text, "10", "9"),
            (Kind::Date, "-1", "0"),
            (Kind::TimestampNtz, "9.000000001", "9.000000002"),
            (Kind::TimestampLtz, "-1.5", "-1.4"),
            (Kind::TimestampTz, "1.0 1500", "1.000000001 1440"),
        ] {
            assert!(is_later(kind, later, earlier), "{kind:?}");
            assert!(!is_later(kind, earlier, later), "{kind:?}");
            assert!(!is_later(kind, later, later), "{kind:?}");
        }
        assert!(!is_later(Kind::TimestampTz, "1.0 1500", "1.0 1440"), "the same instant");
    }

    #[test]
    fn cells_follow_each_other_as_the_statement_orders_them() {
        use Ordering::{Equal, Greater, Less};
        for (kind, cell, with, expected) in [
            (Kind::Text, None, Some(""), Some(Less)),
            (Kind::Text, None, None, Some(Equal)),
            (Kind::Text, Some("a"), None, Some(Greater)),
            (Kind::Text, Some("Z"), Some("a"), Some(Less)),
            (Kind::Binary, Some("0A"), Some("A0"), Some(Less)),
            (Kind::Boolean, Some("false"), Some("true"), Some(Less)),
            (Kind::Float, Some("-0"), Some("0"), Some(Equal)),
            (Kind::Float, Some("NaN"), Some("inf"), Some(Greater)),
            (Kind::Integer, Some("10"), Some("9"), Some(Greater)),
            // DECFLOAT.
            (Kind::Decimal, Some("1.5E+40"), Some("2"), None),
        ] {
            assert_eq!(compare(kind, cell, with), expected, "{kind:?} {cell:?} {with:?}");
        }
    }

    #[test]
    fn a_moment_is_the_cell_that_reads_as_it() {
        let moment: jiff::Timestamp = "1969-12-31T23:59:59.25Z".parse().unwrap();
        assert_eq!(cell_of(Kind::TimestampNtz, moment).as_deref(), Some("-0.750000000"));
        assert_eq!(cell_of(Kind::TimestampTz, moment).as_deref(), Some("-0.750000000 1440"));
        assert_eq!(cell_of(Kind::Date, moment).as_deref(), Some("-1"));
        assert_eq!(cell_of(Kind::Integer, moment), None);
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        prop::sample::select(vec![
            Kind::Integer,
            Kind::Decimal,
            Kind::Float,
            Kind::Text,
            Kind::Binary,
            Kind::Boolean,
            Kind::Date,
            Kind::Time,
            Kind::TimestampNtz,
            Kind::TimestampLtz,
            Kind::TimestampTz,
            Kind::Json,
            Kind::Geo,
            Kind::File,
            Kind::Other,
        ])
    }

    proptest! {
        #[test]
        fn the_text_of_a_key_leads_back_to_its_cell(
            nanos in -62_135_596_800_000_000_000_i128..253_402_300_800_000_000_000,
            offset in 0..2880_i32,
            text in any::<String>(),
            bytes in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let moment = time::seconds(nanos);
            let days = nanos.div_euclid(86_400_000_000_000).to_string();
            let clock = time::seconds(nanos.rem_euclid(86_400_000_000_000));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            for (kind, cell) in [
                (Kind::TimestampNtz, moment.clone()),
                (Kind::TimestampLtz, moment.clone()),
                (Kind::TimestampTz, format!("{moment} {offset}")),
                (Kind::Date, days),
                (Kind::Time, clock),
                (Kind::Binary, hex),
                (Kind::Text, text.clone()),
                (Kind::TimestampNtz, text.clone()),
                (Kind::Binary, text),
            ] {
                let shown = key_text(kind, &cell).into_owned();
                let back = cell_of_key(kind, &shown);
                prop_assert_eq!(key_text(kind, &back), shown, "{:?}", kind);
            }
        }

        #[test]
        fn whatever_is_in_a_cell_the_outcome_is_json(kind in any_kind(), cell in any::<String>()) {
            let text = json(kind, &cell);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            let _ = (key_text(kind, &cell), bind_value(kind, &cell));
        }

        #[test]
        fn bytes_survive_base64(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            let text: String = serde_json::from_str(&json(Kind::Binary, &hex)).unwrap();
            prop_assert_eq!(BASE64_STANDARD.decode(text).unwrap(), bytes);
        }
    }
}
