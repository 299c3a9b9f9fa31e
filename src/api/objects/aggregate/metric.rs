//! What is counted of a group.

use std::{cmp::Ordering, collections::HashMap};

use serde_json::{Number, Value};

use super::wire::AggregationFunction;

/// Values of different kinds in one order: nothing, false, true, numbers, text, the rest.
pub(super) fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ if rank(a) != rank(b) => rank(a).cmp(&rank(b)),
        _ => a.to_string().cmp(&b.to_string()),
    }
}

/// Which kind of value comes before which.
pub(super) const fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// Something that is being counted.
pub(super) enum Metric {
    Count(u64),
    Distinct(HashMap<String, ()>),
    Sum { whole: i128, real: f64, is_whole: bool, count: u64, average: bool },
    Least(Option<Value>),
    Greatest(Option<Value>),
    First(Option<Value>),
    Last(Option<Value>),
    All(Vec<Value>),
    Each(Vec<Value>, HashMap<String, ()>),
}

impl Metric {
    /// Nothing counted yet.
    pub(super) fn new(function: AggregationFunction) -> Self {
        let sum = |average| Self::Sum { whole: 0, real: 0.0, is_whole: true, count: 0, average };
        match function {
            AggregationFunction::Count => Self::Count(0),
            AggregationFunction::CountDistinct => Self::Distinct(HashMap::new()),
            AggregationFunction::Sum => sum(false),
            AggregationFunction::Avg => sum(true),
            AggregationFunction::Min => Self::Least(None),
            AggregationFunction::Max => Self::Greatest(None),
            AggregationFunction::First => Self::First(None),
            AggregationFunction::Last => Self::Last(None),
            AggregationFunction::Push => Self::All(Vec::new()),
            AggregationFunction::AddToSet => Self::Each(Vec::new(), HashMap::new()),
        }
    }

    /// Adds the value of so many rows; returns how many more values are kept for it.
    pub(super) fn take(&mut self, value: &Value, times: u64) -> usize {
        if value.is_null() {
            return 0;
        }
        match self {
            Self::Count(count) => *count += times,
            Self::Distinct(seen) => {
                return usize::from(seen.insert(value.to_string(), ()).is_none());
            }
            Self::Sum { whole, real, is_whole, count, .. } => {
                let Value::Number(number) = value else { return 0 };
                *count += 1;
                *real += number.as_f64().unwrap_or(0.0);
                match number.as_i128() {
                    Some(number) => *whole = whole.saturating_add(number),
                    None => *is_whole = false,
                }
            }
            Self::Least(least) => {
                if least.as_ref().is_none_or(|least| order(value, least).is_lt()) {
                    *least = Some(value.clone());
                }
            }
            Self::Greatest(greatest) => {
                if greatest.as_ref().is_none_or(|greatest| order(value, greatest).is_gt()) {
                    *greatest = Some(value.clone());
                }
            }
            Self::First(first) => {
                first.get_or_insert_with(|| value.clone());
            }
            Self::Last(last) => *last = Some(value.clone()),
            Self::All(all) => {
                all.push(value.clone());
                return 1;
            }
            Self::Each(all, seen) => {
                if seen.insert(value.to_string(), ()).is_none() {
                    all.push(value.clone());
                    return 1;
                }
            }
        }
        0
    }

    /// What was counted.
    pub(super) fn finish(self) -> Value {
        let number = |real: f64| Number::from_f64(real).map_or(Value::Null, Value::Number);
        match self {
            Self::Count(count) => count.into(),
            Self::Distinct(seen) => seen.len().into(),
            Self::Sum { count: 0, average: true, .. } => Value::Null,
            Self::Sum { real, count, average: true, .. } => number(real / count as f64),
            Self::Sum { whole, real, is_whole, .. } => match i64::try_from(whole) {
                Ok(whole) if is_whole => whole.into(),
                _ => number(real),
            },
            Self::Least(value) | Self::Greatest(value) | Self::First(value) | Self::Last(value) => {
                value.unwrap_or_default()
            }
            Self::All(all) | Self::Each(all, _) => all.into(),
        }
    }
}
