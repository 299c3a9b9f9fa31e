//! What makes a group of a value: the value itself, a time cut down, a part of a time, a range.

use jiff::{
    RoundMode, Timestamp, ToSpan as _, Unit,
    civil::{Date, DateTime, DateTimeRound, Time},
    tz::Offset,
};
use serde_json::Value;

use super::{
    plan::Grouping,
    wire::{DatePartUnit, DateTruncUnit, RangeBucket},
};

/// The group that a value is in.
pub(super) fn grouped(value: &Value, how: &Grouping) -> Value {
    match how {
        Grouping::Value => value.clone(),
        Grouping::Trunc(unit) => instant(value)
            .and_then(|at| truncated(&at, *unit))
            .and_then(|at| Offset::UTC.to_timestamp(at).ok())
            .map_or(Value::Null, |at| at.to_string().into()),
        Grouping::Part(unit) => instant(value).map_or(Value::Null, |at| part(&at, *unit).into()),
        Grouping::Range(range) => in_range(value, range).into(),
    }
}

/// A time in UTC; a day is its beginning.
fn instant(value: &Value) -> Option<DateTime> {
    let text = value.as_str()?;
    let day = || text.parse::<Date>().ok().map(|day| day.to_datetime(Time::midnight()));
    text.parse::<Timestamp>().ok().map(|at| Offset::UTC.to_datetime(at)).or_else(day)
}

fn truncated(at: &DateTime, unit: DateTruncUnit) -> Option<DateTime> {
    let down = |unit| at.round(DateTimeRound::new().smallest(unit).mode(RoundMode::Trunc)).ok();
    let day = at.start_of_day();
    match unit {
        DateTruncUnit::Year => Some(day.first_of_year()),
        DateTruncUnit::Month => Some(day.first_of_month()),
        DateTruncUnit::Week => {
            day.checked_sub(i64::from(at.weekday().to_monday_zero_offset()).days()).ok()
        }
        DateTruncUnit::Day => Some(day),
        DateTruncUnit::Hour => down(Unit::Hour),
        DateTruncUnit::Minute => down(Unit::Minute),
        DateTruncUnit::Second => down(Unit::Second),
    }
}

fn part(at: &DateTime, unit: DatePartUnit) -> i64 {
    match unit {
        DatePartUnit::Year => at.year().into(),
        DatePartUnit::Month => at.month().into(),
        DatePartUnit::Week => at.date().iso_week_date().week().into(),
        DatePartUnit::Day => at.day().into(),
        DatePartUnit::DayOfWeek => at.weekday().to_sunday_one_offset().into(),
        DatePartUnit::DayOfYear => at.day_of_year().into(),
        DatePartUnit::Hour => at.hour().into(),
        DatePartUnit::Minute => at.minute().into(),
        DatePartUnit::Second => at.second().into(),
    }
}

/// The name of the range that a number is in: `<0`, `0-10`, `>10`.
fn in_range(value: &Value, range: &RangeBucket) -> String {
    let Some(number) = value.as_f64() else {
        return range.default_bucket.clone().unwrap_or_else(|| "other".to_owned());
    };
    let bounds = &range.boundaries;
    match bounds.iter().position(|bound| number <= *bound) {
        // The first boundary is the least value of the first range, where there is one.
        Some(0) if bounds.len() > 1 && number >= bounds[0] => {
            format!("{}-{}", bounds[0], bounds[1])
        }
        Some(0) => format!("<{}", bounds[0]),
        Some(at) => format!("{}-{}", bounds[at - 1], bounds[at]),
        None => format!(">{}", bounds[bounds.len() - 1]),
    }
}
