//! Numbers in text, taken only where nothing of them is lost.

use serde_json::{Number, Value};

/// The number that text spells, unless we could not give it back.
pub(crate) fn number_in(text: &str) -> Option<Number> {
    let text = text.trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    let spelled = Decimal::of(text)?;
    let float: f64 = text.parse().ok()?;
    // What a float prints is the shortest text that reads as that float.
    let kept = Decimal::of(&format!("{float:e}"))?;
    (spelled == kept).then(|| Number::from_f64(float)).flatten()
}

/// A whole number, whatever its spelling.
pub(super) fn whole(value: Value) -> Option<Value> {
    let Value::Number(number) = &value else { return None };
    if number.is_i64() || number.is_u64() {
        return Some(value);
    }
    // Beyond 2^53 a float stands for more than one whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64()?;
    if float.fract() != 0.0 || float.abs() > EXACT {
        return None;
    }
    format!("{float:.0}").parse::<i64>().ok().map(Value::from)
}

/// What a number in text says: sign, digits without zeros at either end, and the power of ten of
/// the last one.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_end_matches('0');
        let dropped = i64::try_from(all.len() - digits.len()).ok()?;
        let fraction = i64::try_from(fraction.len()).ok()?;
        let digits = digits.trim_start_matches('0').to_owned();
        match digits.is_empty() {
            true => Some(Self { is_negative: false, digits, exponent: 0 }),
            false => Some(Self {
                is_negative,
                digits,
                exponent: i64::from(exponent) - fraction + dropped,
            }),
        }
    }
}
