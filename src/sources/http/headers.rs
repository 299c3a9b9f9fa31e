//! What the headers of a response say.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;

/// The longest wait that a provider is believed to ask for: some ask for more seconds than a clock
/// can count.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Retry-After, in seconds or as a date, at most [`LONGEST_WAIT`]
/// (<https://www.rfc-editor.org/rfc/rfc9110#name-retry-after>).
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = text_of(headers, header::RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let until = http_date(text)?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default().min(LONGEST_WAIT))
}

/// A date as HTTP headers spell it.
#[must_use]
pub fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// A header's value, if it is text.
#[must_use]
pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A provider's words, short and without anything that controls a terminal.
#[must_use]
pub fn clean(text: &str) -> String {
    const MOST: usize = 300;
    let words: Vec<&str> = text
        .split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(MOST).collect()
}
