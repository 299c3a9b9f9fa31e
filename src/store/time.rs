//! Instants as the database keeps them.

use jiff::Timestamp;

/// Seconds from 1970, either way, within which nanoseconds fit a column: up to July of 2261.
const EXACT_SECONDS: i64 = 9_200_000_000;

const NANOSECONDS: i64 = 1_000_000_000;

/// Steps in which instants beyond that are kept: a ten-thousandth of a second.
const STEPS: i64 = 10_000;

/// Nanoseconds since 1970. What lies further away than these fit goes on in coarser steps from
/// there, so that every instant is kept, and that their order is that of the numbers.
pub(super) fn to_ns(instant: Timestamp) -> i64 {
    let (seconds, rest) = (instant.as_second(), i64::from(instant.subsec_nanosecond()));
    let beyond = seconds.unsigned_abs().saturating_sub(EXACT_SECONDS.unsigned_abs());
    if beyond == 0 {
        return seconds * NANOSECONDS + rest;
    }
    let edge = EXACT_SECONDS * seconds.signum();
    edge * NANOSECONDS + (seconds - edge) * STEPS + rest / (NANOSECONDS / STEPS)
}

/// The instant that [`to_ns`] kept.
pub(super) fn from_ns(ns: i64) -> Timestamp {
    let edge = EXACT_SECONDS * NANOSECONDS;
    let instant = if ns.abs_diff(0) <= edge.unsigned_abs() {
        Timestamp::from_nanosecond(i128::from(ns))
    } else {
        let steps = ns - edge * ns.signum();
        let nanoseconds = i128::from(steps) * i128::from(NANOSECONDS / STEPS);
        let from = i128::from(edge) * i128::from(ns.signum());
        Timestamp::from_nanosecond(from + nanoseconds)
    };
    // Older versions kept the ends of the column for what lies beyond it.
    instant.unwrap_or(if ns < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// The instant of a column in milliseconds.
pub(super) fn from_ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn instants() -> impl Strategy<Value = Timestamp> {
        let (first, last) = (Timestamp::MIN.as_second() + 1, Timestamp::MAX.as_second() - 1);
        let anywhere = first..last;
        let near = |at: i64| at - 3..at + 3;
        let seconds = prop_oneof![anywhere, near(EXACT_SECONDS), near(-EXACT_SECONDS), near(0)];
        (seconds, 0..NANOSECONDS as i32).prop_map(|(s, ns)| Timestamp::new(s, ns).unwrap())
    }

    proptest! {
        #[test]
        fn every_instant_is_kept_to_a_ten_thousandth_of_a_second_and_in_order(
            one in instants(),
            other in instants(),
        ) {
            let kept = from_ns(to_ns(one));
            let off = (kept.as_nanosecond() - one.as_nanosecond()).abs();
            prop_assert!(off < i128::from(NANOSECONDS / STEPS), "{one} became {kept}");
            if one.as_second().abs() < EXACT_SECONDS {
                prop_assert_eq!(kept, one);
            }
            if one <= other {
                prop_assert!(to_ns(one) <= to_ns(other));
            }
        }
    }
}
