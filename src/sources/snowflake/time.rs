//! Dates and times as cells carry them: days, or seconds with up to nine decimals, since 1970, with
//! the offset behind where there is one. Exact to the nanosecond, from the year 1 to 9999.

use jiff::{Span, Timestamp, civil::Date};

const NANOS: i128 = 1_000_000_000;
const DAY_SECONDS: i128 = 86_400;

/// What a cell adds to the offset of a `TIMESTAMP_TZ`, in minutes, so that it is never negative.
const OFFSET_BIAS: i32 = 1440;

/// From here on a number without decimals counts nanoseconds: as seconds it would be beyond the
/// year 9999, as nanoseconds it is more than a quarter of an hour after 1970.
const LEAST_NANOS: i128 = 1_000_000_000_000;

/// A number of nanoseconds, in a cell of a TIME or TIMESTAMP.
pub(super) fn nanos(cell: &str) -> Option<i128> {
    let (negative, digits) = match cell.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, cell),
    };
    let magnitude = match digits.split_once('.') {
        Some((seconds, fraction)) => {
            if fraction.is_empty() || fraction.len() > 9 || !is_digits(fraction) {
                return None;
            }
            let scale = 10_i128.pow(9 - u32::try_from(fraction.len()).ok()?);
            whole(seconds)?.checked_mul(NANOS)? + whole(fraction)? * scale
        }
        None => match whole(digits)? {
            count if count >= LEAST_NANOS => count,
            seconds => seconds * NANOS,
        },
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// The nanoseconds and the minutes east of Greenwich, in a cell of a `TIMESTAMP_TZ`.
pub(super) fn zoned(cell: &str) -> Option<(i128, i32)> {
    let (instant, offset) = cell.split_once(' ')?;
    let offset = offset.parse::<i32>().ok()?.checked_sub(OFFSET_BIAS)?;
    (offset.abs() <= OFFSET_BIAS).then_some((nanos(instant)?, offset))
}

/// `YYYY-MM-DD` of a number of days since 1970.
pub(super) fn date(days: i64) -> Option<String> {
    let since = Span::new().try_days(days).ok()?;
    let day = Date::constant(1970, 1, 1).checked_add(since).ok()?;
    (day.year() >= 0).then(|| format!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day()))
}

/// `HH:MM:SS.nnnnnnnnn` of nanoseconds since midnight.
pub(super) fn time_of_day(nanos: i128) -> Option<String> {
    (0..DAY_SECONDS * NANOS).contains(&nanos).then(|| clock(nanos))
}

/// `YYYY-MM-DDTHH:MM:SS.nnnnnnnnn` of nanoseconds since 1970, of a clock that is `offset` minutes
/// east of where they are counted.
pub(super) fn date_time(nanos: i128, offset: i32) -> Option<String> {
    let local = nanos.checked_add(i128::from(offset) * 60 * NANOS)?;
    let days = i64::try_from(local.div_euclid(DAY_SECONDS * NANOS)).ok()?;
    let mut text = date(days)?;
    text.push('T');
    text.push_str(&clock(local.rem_euclid(DAY_SECONDS * NANOS)));
    Some(text)
}

/// `+HH:MM` of minutes.
pub(super) fn offset_text(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// The instant, where it is one that an entry can have.
pub(super) fn instant(nanos: i128) -> Option<Timestamp> {
    Timestamp::from_nanosecond(nanos).ok()
}

/// Seconds with nine decimals, as cells have them.
pub(super) fn seconds(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// The days that [`date`] writes as this text.
pub(super) fn days(text: &str) -> Option<i64> {
    let day: Date = text.parse().ok()?;
    let since = Date::constant(1970, 1, 1).until((jiff::Unit::Day, day)).ok()?;
    Some(i64::from(since.get_days()))
}

/// The nanoseconds that [`time_of_day`] writes as this text.
pub(super) fn nanos_of_clock(text: &str) -> Option<i128> {
    let mut parts = text.splitn(3, ':');
    let (hours, minutes) = (whole(parts.next()?)?, whole(parts.next()?)?);
    let (seconds, fraction) = parts.next()?.split_once('.')?;
    Some(((hours * 60 + minutes) * 60 + whole(seconds)?) * NANOS + whole(fraction)?)
}

/// The nanoseconds that [`date_time`] writes as this text, without an offset.
pub(super) fn nanos_of_date_time(text: &str) -> Option<i128> {
    let (day, clock) = text.split_once('T')?;
    Some(i128::from(days(day)?) * DAY_SECONDS * NANOS + nanos_of_clock(clock)?)
}

/// The cell of a `TIMESTAMP_TZ` that is written as this text, with its offset behind.
pub(super) fn zoned_of_text(text: &str) -> Option<String> {
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let minutes = i32::try_from(whole(hours)? * 60 + whole(minutes)?).ok()?;
    let minutes = if offset.starts_with('-') { -minutes } else { minutes };
    let nanos = nanos_of_date_time(local)? - i128::from(minutes) * 60 * NANOS;
    Some(format!("{} {}", seconds(nanos), minutes + OFFSET_BIAS))
}

/// Of nanoseconds within a day.
fn clock(nanos: i128) -> String {
    // They fit, and 128 bits are slow to print.
    let nanos = u64::try_from(nanos).unwrap_or_default();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    format!("{:02}:{:02}:{:02}.{fraction:09}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn whole(digits: &str) -> Option<i128> {
    match digits.len() {
        // 64 bits hold them, and are faster.
        ..=18 if is_digits(digits) => digits.parse::<u64>().ok().map(i128::from),
        19..=30 if is_digits(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_with_decimals_and_plain_nanoseconds_mean_the_same_instant() {
        assert_eq!(nanos("1641008096.123456789"), Some(1_641_008_096_123_456_789));
        assert_eq!(nanos("1641008096123456789"), Some(1_641_008_096_123_456_789));
        assert_eq!(nanos("1641008096"), nanos("1641008096.000000000"));
        assert_eq!(nanos("-0.000000001"), Some(-1));
        assert_eq!(nanos("0.5"), Some(500_000_000));
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".1",
            "1e9",
            "1.0000000001",
            "x",
            "--1",
            "+1",
            "9".repeat(40).as_str(),
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn the_ends_of_time_are_written_in_full() {
        assert_eq!(date_time(0, 0).unwrap(), "1970-01-01T00:00:00.000000000");
        assert_eq!(date_time(-1, 0).unwrap(), "1969-12-31T23:59:59.999999999");
        let last = nanos("253402300799.999999999").unwrap();
        assert_eq!(date_time(last, 0).unwrap(), "9999-12-31T23:59:59.999999999");
        assert_eq!(date_time(last, 1), None);
        assert_eq!(date(-719_162).unwrap(), "0001-01-01");
        assert_eq!(date(i64::MAX), None);
        assert_eq!(instant(last), None);
    }

    #[test]
    fn an_offset_is_taken_from_its_bias() {
        assert_eq!(zoned("1627846261.233222111 1020"), Some((1_627_846_261_233_222_111, -420)));
        let (instant, offset) = zoned("0.000000000 1770").unwrap();
        assert_eq!(date_time(instant, offset).unwrap(), "1970-01-01T05:30:00.000000000");
        assert_eq!(offset_text(offset), "+05:30");
        assert_eq!(offset_text(-90), "-01:30");
        assert_eq!(zoned("0.0"), None);
        assert_eq!(zoned("0.0 9999"), None);
    }

    proptest! {
        #[test]
        fn no_nanosecond_is_lost(seconds in -62_135_596_800_i64..253_402_300_800, fraction in 0..1_000_000_000_i64) {
            let expected = i128::from(seconds) * NANOS + i128::from(fraction) * if seconds < 0 { -1 } else { 1 };
            let sign = if seconds < 0 { "-" } else { "" };
            prop_assert_eq!(nanos(&format!("{sign}{}.{fraction:09}", seconds.abs())), Some(expected));
            if expected.abs() >= LEAST_NANOS {
                prop_assert_eq!(nanos(&expected.to_string()), Some(expected));
            }
        }

        #[test]
        fn no_cell_panics(cell in ".{0,30}") {
            let _ = (nanos(&cell), zoned(&cell));
        }
    }
}
