//! Where a listing or the changes of a library continue.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Cursor;

/// How long the search may take to know of a change.
const INDEX_LAG: SignedDuration = SignedDuration::from_mins(10);

/// Most assets that are still arriving and are looked at again by the next changes pass; a full
/// pass looks at all.
pub(super) const MOST_ARRIVING: usize = 1000;

/// The token of a feed whose walk has yet to be made.
const FROM_WALK: &[u8] = b"walk";

/// Where changes continue: everything from a date on, less what the search may have been late with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Token {
    /// The newest `date_modified` that was listed, as the API spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// Assets whose files were still arriving.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) arriving: Vec<String>,
    /// What the first page from there was like, where there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Window>,
}

/// The first of several pages: the same again means that nothing has changed behind it either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) total: u64,
    pub(super) digest: i64,
}

impl Token {
    /// The token that a walk is replaced by.
    pub(super) fn of_walk() -> Cursor {
        Cursor(FROM_WALK.to_vec())
    }

    /// Reads a token; `None` if it stands for a walk.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(cursor: &Cursor) -> Result<Option<Self>, String> {
        if cursor.0 == FROM_WALK {
            return Ok(None);
        }
        serde_json::from_slice(&cursor.0).map(Some).map_err(|error| error.to_string())
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The date that the search begins at, inclusive.
    pub(super) fn from(&self) -> Option<String> {
        let since = self.since.as_deref()?;
        let from = instant(since)?.checked_sub(INDEX_LAG).ok()?;
        let zone = since.rfind(['Z', '+']).map_or("", |at| &since[at..]);
        let utc = ["", "Z", "+00:00", "+0000"].contains(&zone);
        Some(format!("{}{}", from.strftime("%Y-%m-%dT%H:%M:%S"), if utc { zone } else { "Z" }))
    }
}

/// Behind which object a search continues: the values that it was sorted by.
pub(super) fn read_after(cursor: &Cursor) -> Option<Vec<Value>> {
    serde_json::from_slice(&cursor.0).ok()
}

pub(super) fn after_cursor(after: &[Value]) -> Cursor {
    Cursor(serde_json::to_vec(after).unwrap_or_default())
}

/// A time as the API spells it: with a zone, or in UTC without one.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    zoned.or_else(|| {
        let civil: DateTime = text.trim_end_matches('Z').parse().ok()?;
        Some(civil.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp())
    })
}

/// The later of two times as the API spells them.
pub(super) fn later(a: Option<String>, b: Option<String>) -> Option<String> {
    let at = |text: &Option<String>| text.as_deref().and_then(instant);
    if at(&b) > at(&a) { b } else { a.or(b) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn changes_begin_ten_minutes_before_the_newest_date_in_its_own_spelling() {
        for (since, from) in [
            ("2026-05-01T10:05:00.123456+00:00", "2026-05-01T09:55:00+00:00"),
            ("2026-05-01T10:05:00Z", "2026-05-01T09:55:00Z"),
            ("2026-05-01T10:05:00.5", "2026-05-01T09:55:00"),
            ("2026-05-01T12:05:00+02:00", "2026-05-01T09:55:00Z"),
        ] {
            let token = Token { since: Some(since.into()), ..Token::default() };
            assert_eq!(token.from().unwrap(), from);
        }
        assert_eq!(Token::default().from(), None);
    }

    #[test]
    fn tokens_and_cursors_are_read_as_they_were_written() {
        let window = Some(Window { total: 2000, digest: -5 });
        let token = Token { since: Some("x".into()), arriving: vec!["a".into()], window };
        assert_eq!(Token::read(&token.cursor()).unwrap(), Some(token));
        assert_eq!(Token::read(&Token::of_walk()).unwrap(), None);
        assert!(Token::read(&Cursor(b"nonsense".to_vec())).is_err());
        let after = vec![Value::from(1_700_000_000_000_u64), "id".into()];
        assert_eq!(read_after(&after_cursor(&after)).unwrap(), after);
    }

    #[test]
    fn the_later_time_is_the_later_instant() {
        let text = |text: &str| Some(text.to_owned());
        let (early, late) = ("2026-05-01T10:00:00+02:00", "2026-05-01T09:00:00Z");
        assert_eq!(later(text(early), text(late)), text(late));
        assert_eq!(later(None, text(early)), text(early));
        assert_eq!(later(text(early), None), text(early));
    }
}
