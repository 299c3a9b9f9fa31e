//! Times as files write them.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

/// A time in RFC 3339 and UTC; `None` where it is none, or one that only stands for nothing.
/// Without a zone it counts as UTC. EXIF writes days with colons.
pub(super) fn utc(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let mut tidy = text.to_owned();
    if text.len() >= 10 && text.is_char_boundary(10) && text[..10].matches(':').count() == 2 {
        tidy = text[..10].replace(':', "-") + &text[10..];
    }
    let at = tidy.parse::<Timestamp>().ok().or_else(|| {
        let local: DateTime = tidy.parse().ok()?;
        Offset::UTC.to_timestamp(local).ok()
    })?;
    (at.as_second() > -2_208_988_800).then(|| at.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::utc;

    #[test]
    fn times_are_read_as_cameras_write_them() {
        assert_eq!(utc("2024:05:06 07:08:09").unwrap(), "2024-05-06T07:08:09Z");
        assert_eq!(utc("2024-05-06T07:08:09+02:00").unwrap(), "2024-05-06T05:08:09Z");
        assert_eq!(utc("0000:00:00 00:00:00"), None);
        assert_eq!(utc("yesterday"), None);
    }
}
