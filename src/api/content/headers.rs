//! What surrounds bytes on their way to a browser: which kind they are, what it may do with them,
//! and whether it needs them at all.
//!
//! Bytes come from anywhere, and this server's origin can do everything: nothing that a browser
//! would run is shown in place.

use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::headers::{
    ETag, HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince,
    LastModified, Range,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::blobs::Window;

/// The characters that RFC 8187 allows in an extended value.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Types that a browser only shows, and runs nothing that is in them. Text, which it shows as it
/// is; pictures other than SVG, sound and film; and PDF, whose scripts run in the viewer's own
/// sandbox (<https://www.rfc-editor.org/rfc/rfc9110#section-8.3>, Chromium's and Firefox's
/// viewers). What is not here is handed over as a file.
const PASSIVE: &[&str] = &[
    "application/json",
    "application/pdf",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/wav",
    "audio/webm",
    "audio/x-flac",
    "audio/x-m4a",
    "audio/x-wav",
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/tiff",
    "image/vnd.microsoft.icon",
    "image/webp",
    "image/x-icon",
    "text/csv",
    "text/markdown",
    "text/plain",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
    "video/x-m4v",
];

/// A media type as RFC 9110, section 8.3.1, spells it: its essence in lower case, and its charset.
/// Other parameters are left out; what is spelled otherwise is none, because browsers make
/// different things of it.
fn parse(mime: &str) -> Option<(String, Option<&str>)> {
    let is_token = |text: &str| {
        let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        !text.is_empty() && text.len() <= 127 && text.bytes().all(is_char)
    };
    let mut parts = mime.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let mut charset = None;
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = plain.unwrap_or(value);
        if !is_token(name) || !is_token(value) {
            return None;
        }
        if name.eq_ignore_ascii_case("charset") {
            charset = Some(value);
        }
    }
    Some((format!("{kind}/{subtype}").to_ascii_lowercase(), charset))
}

/// The headers that say what the bytes are and how they may be displayed.
pub(in crate::api) fn describe(mime: Option<&str>, filename: &str) -> HeaderMap {
    let (essence, charset) =
        mime.and_then(parse).unwrap_or_else(|| ("application/octet-stream".to_owned(), None));
    let mut headers = HeaderMap::new();
    let set = |headers: &mut HeaderMap, name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    match charset.or_else(|| essence.starts_with("text/").then_some("utf-8")) {
        Some(charset) => {
            set(&mut headers, header::CONTENT_TYPE, &format!("{essence}; charset={charset}"));
        }
        None => set(&mut headers, header::CONTENT_TYPE, &essence),
    }
    let how = if PASSIVE.contains(&essence.as_str()) { "inline" } else { "attachment" };
    set(&mut headers, header::CONTENT_DISPOSITION, &disposition(how, filename));
    set(&mut headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let policy = match essence.as_str() {
        // A sandboxed PDF is not shown at all. The browser's viewer shows it within our own page.
        "application/pdf" => {
            set(&mut headers, header::X_FRAME_OPTIONS, "SAMEORIGIN");
            "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; \
             form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
        }
        _ => {
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; \
             media-src 'self'; form-action 'none'; base-uri 'none'"
        }
    };
    let policy = match how {
        "attachment" => "sandbox; default-src 'none'; form-action 'none'; base-uri 'none'",
        _ => policy,
    };
    set(&mut headers, header::CONTENT_SECURITY_POLICY, policy);
    set(&mut headers, header::ACCEPT_RANGES, "bytes");
    set(&mut headers, header::CACHE_CONTROL, "private, no-cache");
    headers
}

/// RFC 6266: a plain name for old readers, the exact one for others. No separator, quotation mark
/// or control character of a hostile name gets through.
fn disposition(how: &str, filename: &str) -> String {
    let name = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = match name.trim_matches(['.', ' ']) {
        "" => "download",
        _ => name.as_str(),
    };
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    let exact = utf8_percent_encode(name, ATTR_CHAR);
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// What to respond with, by what the client has and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// All of it.
    Whole,
    /// This stretch.
    Part(Window),
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: it is not the version that the client expects.
    Failed,
    /// Nothing: the stretch lies behind the end.
    Unsatisfiable,
}

/// Reads the conditions of a request in the order of RFC 9110, section 13.2.2.
pub(super) fn wanted(
    request: &HeaderMap,
    etag: &ETag,
    modified: Option<LastModified>,
    size: u64,
) -> Requested {
    let changed = modified.map(std::time::SystemTime::from);
    if let Some(condition) = request.typed_get::<IfMatch>() {
        if !condition.precondition_passes(etag) {
            return Requested::Failed;
        }
    } else if let (Some(condition), Some(changed)) =
        (request.typed_get::<IfUnmodifiedSince>(), changed)
        && !condition.precondition_passes(changed)
    {
        return Requested::Failed;
    }
    if let Some(condition) = request.typed_get::<IfNoneMatch>() {
        if !condition.precondition_passes(etag) {
            return Requested::NotModified;
        }
    } else if let (Some(condition), Some(changed)) =
        (request.typed_get::<IfModifiedSince>(), changed)
        && !condition.is_modified(changed)
    {
        return Requested::NotModified;
    }
    if let Some(condition) = request.typed_get::<IfRange>()
        && condition.is_modified(Some(etag), modified.as_ref())
    {
        return Requested::Whole;
    }
    match request.typed_get::<Range>() {
        Some(range) => part(&range, size, request),
        None => Requested::Whole,
    }
}

/// One range; a request for several gets all of it, as section 14.2 permits.
fn part(range: &Range, size: u64, request: &HeaderMap) -> Requested {
    use std::ops::Bound;
    let several = request.get(header::RANGE).is_some_and(|value| value.as_bytes().contains(&b','));
    if several {
        return Requested::Whole;
    }
    // More than there is from the end is all of it (section 14.1.2).
    let suffix = request
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok()?.trim().strip_prefix("bytes=-")?.parse::<u64>().ok());
    if let Some(suffix) = suffix.filter(|suffix| *suffix > 0 && size > 0) {
        let start = size.saturating_sub(suffix);
        return Requested::Part(Window { start, len: size - start });
    }
    let Some((from, to)) = range.satisfiable_ranges(size).next() else {
        return Requested::Unsatisfiable;
    };
    let start = match from {
        Bound::Included(start) => start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match to {
        Bound::Included(last) => last.saturating_add(1).min(size),
        Bound::Excluded(end) => end.min(size),
        Bound::Unbounded => size,
    };
    match start < end {
        true => Requested::Part(Window { start, len: end - start }),
        false => Requested::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ask(pairs: &[(&'static str, &str)]) -> Requested {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        wanted(&headers, &"\"abc\"".parse().unwrap(), None, 10)
    }

    const fn window(start: u64, len: u64) -> Requested {
        Requested::Part(Window { start, len })
    }

    #[test]
    fn a_range_is_clipped_to_what_there_is() {
        assert_eq!(ask(&[("range", "bytes=2-4")]), window(2, 3));
        assert_eq!(ask(&[("range", "bytes=8-99")]), window(8, 2));
        assert_eq!(ask(&[("range", "bytes=3-")]), window(3, 7));
        assert_eq!(ask(&[("range", "bytes=-4")]), window(6, 4));
        assert_eq!(ask(&[("range", "bytes=-99")]), window(0, 10));
        assert_eq!(ask(&[("range", "bytes=10-")]), Requested::Unsatisfiable);
        assert_eq!(ask(&[("range", "bytes=0-1,4-5")]), Requested::Whole);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        assert_eq!(ask(&[("if-none-match", "\"abc\"")]), Requested::NotModified);
        assert_eq!(ask(&[("if-none-match", "\"abd\"")]), Requested::Whole);
        assert_eq!(ask(&[("if-match", "\"abd\"")]), Requested::Failed);
        assert_eq!(ask(&[("range", "bytes=0-0"), ("if-range", "\"abd\"")]), Requested::Whole);
        assert_eq!(ask(&[("range", "bytes=0-0"), ("if-range", "\"abc\"")]), window(0, 1));
    }

    #[test]
    fn what_a_browser_would_run_is_saved_not_shown() {
        let how = |mime: &str| {
            let headers = describe(Some(mime), "a");
            headers[header::CONTENT_DISPOSITION]
                .to_str()
                .unwrap()
                .split(';')
                .next()
                .unwrap()
                .to_owned()
        };
        for active in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/xhtml+xml",
            "text/javascript",
            "TEXT/HTML; charset=x",
            "application/octet-stream",
        ] {
            assert_eq!(how(active), "attachment", "{active}");
        }
        for passive in ["text/plain", "image/png", "video/mp4", "audio/ogg", "application/pdf"] {
            assert_eq!(how(passive), "inline", "{passive}");
        }
    }

    #[test]
    fn a_pdf_alone_is_shown_within_a_page_and_only_within_ours() {
        let frame = |mime| {
            let headers = describe(Some(mime), "a");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            (headers.get(header::X_FRAME_OPTIONS).cloned(), policy)
        };
        let (options, policy) = frame("application/pdf");
        assert_eq!(options.unwrap(), "SAMEORIGIN");
        assert!(policy.contains("frame-ancestors 'self'"), "{policy}");
        for mime in ["text/html", "image/png", "image/svg+xml"] {
            let (options, policy) = frame(mime);
            assert_eq!(options, None, "{mime}");
            assert!(policy.contains("sandbox"), "{mime}: {policy}");
        }
    }

    #[test]
    fn a_hostile_name_says_nothing_but_a_name() {
        let name = "../x\";\r\nSet-Cookie: a=b; filename=\"grüße.html";
        let value = disposition("attachment", name);
        assert!(!value.contains(['\r', '\n', '/']));
        assert_eq!(value.matches('"').count(), 2);
        assert!(value.contains("gr%C3%BC%C3%9Fe.html"));
        assert!(disposition("inline", "..").contains("\"download\""));
    }
}
