//! Instants as the database keeps them.

use jiff::Timestamp;

/// Nanoseconds since 1970, at the ends of `i64` for what lies beyond (the years 1677 and 2262).
pub(super) fn to_ns(instant: Timestamp) -> i64 {
    let ns = instant.as_nanosecond();
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// The instant that [`to_ns`] kept.
pub(super) fn from_ns(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default()
}

/// The instant of a column in milliseconds.
pub(super) fn from_ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}
