//! Instants as the database keeps them.

use jiff::Timestamp;

/// Nanoseconds from 1970, either way, that are kept as they are: up to July of 2261.
const EXACT: i64 = 9_200_000_000_000_000_000;

/// Nanoseconds of a step in which instants beyond that are kept: a ten-thousandth of a second.
const STEP: i64 = 100_000;

/// Nanoseconds since 1970. What lies further away than these fit continues in coarser steps from
/// there, so that every instant is kept, and that their order is that of the numbers.
pub(super) fn to_ns(instant: Timestamp) -> i64 {
    let ns = instant.as_nanosecond();
    let within = ns.clamp(-i128::from(EXACT), i128::from(EXACT));
    let kept = within + (ns - within) / i128::from(STEP);
    // Even the last instant of the year 9999 fits.
    i64::try_from(kept).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// The instant that [`to_ns`] kept.
pub(super) fn from_ns(ns: i64) -> Timestamp {
    let within = ns.clamp(-EXACT, EXACT);
    let beyond = i128::from(ns - within) * i128::from(STEP);
    let instant = Timestamp::from_nanosecond(i128::from(within) + beyond);
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
        let edge = EXACT / 1_000_000_000;
        let seconds = prop_oneof![anywhere, near(edge), near(-edge), near(0)];
        (seconds, 0..1_000_000_000i64).prop_map(|(seconds, ns)| {
            Timestamp::from_nanosecond(i128::from(seconds) * 1_000_000_000 + i128::from(ns))
                .unwrap()
        })
    }

    proptest! {
        #[test]
        fn every_instant_is_kept_to_a_ten_thousandth_of_a_second_and_in_order(
            one in instants(),
            other in instants(),
        ) {
            let kept = from_ns(to_ns(one));
            let off = (kept.as_nanosecond() - one.as_nanosecond()).abs();
            prop_assert!(off < i128::from(STEP), "{one} became {kept}");
            if one.as_nanosecond().abs() <= i128::from(EXACT) {
                prop_assert_eq!(kept, one);
            }
            if one <= other {
                prop_assert!(to_ns(one) <= to_ns(other));
            }
        }
    }
}
