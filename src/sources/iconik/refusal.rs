//! What an error response means.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    model::{Entry, EntryKind},
    sources::{
        ErrorClass, Outline, Placed, SourceError,
        http::headers::{clean, retry_after},
    },
};

/// Where tokens are made.
const NEW_TOKEN: &str = "make a new application token in Iconik under Admin, Settings, Application \
                         Tokens, and enter it";

/// What was asked for, which decides what a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A search, or the connection itself.
    Search,
    /// A search that continues behind `search_after`.
    Page,
    /// The collection that is synced.
    Root,
    /// One asset, one of its files, or a collection on the way.
    Item,
    /// The view of metadata that the connection names.
    View,
}

/// What to do about an error response.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Everybody has to slow down; `None`: for as long as seems right.
    SlowDown(Option<Duration>),
    /// The server stumbled.
    Stumbled(SourceError),
    /// The caller's business.
    Final(SourceError),
}

/// What a response says that is no success.
pub(super) fn meaning(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    about: About,
    now: Timestamp,
) -> Meaning {
    let message = words(status, body);
    Meaning::Final(match (status.as_u16(), about) {
        (429, _) => return Meaning::SlowDown(retry_after(headers, now)),
        (408 | 500..=599, _) => return Meaning::Stumbled(SourceError::Transient { message }),
        (401, _) => SourceError::SignInAgain { message, way_out: NEW_TOKEN.to_owned() },
        (403, About::Item) => SourceError::PermissionDenied { message },
        (403, _) => SourceError::Misconfigured {
            message: format!(
                "{message}: the token's user may not see this; let them, or {NEW_TOKEN}"
            ),
        },
        (400, About::Page) => SourceError::FeedExpired { message },
        (404 | 410, About::Item) => SourceError::NotFound { message },
        (404 | 410, About::Root) => SourceError::RootMissing {
            message: format!("the collection that is synced is not there: {message}"),
        },
        (404, About::View) => SourceError::Misconfigured {
            message: format!("metadata_view_id names no view that there is: {message}"),
        },
        (404, _) => SourceError::Misconfigured {
            message: format!("base_url does not lead to Iconik: {message}"),
        },
        _ => SourceError::Permanent { message },
    })
}

/// The server's own words: `{"errors": […]}`, or whatever a proxy says.
fn words(status: StatusCode, body: &[u8]) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["errors", "detail", "message"].iter().find_map(|name| {
        let text = match document.get(name)? {
            Value::String(text) => text.clone(),
            Value::Array(all) => {
                all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
            }
            other => other.to_string(),
        };
        (!text.is_empty()).then_some(text)
    });
    match said {
        Some(said) => format!("{} (HTTP {status})", clean(&said)),
        None => format!("Iconik responded with HTTP {status}"),
    }
}

/// An asset that cannot be asked for its files is one that failed, and no reason to stop; one that
/// is gone has no entries.
pub(super) fn unreadable(
    outline: &Outline,
    placed: &Placed,
    error: SourceError,
) -> Result<Vec<Entry>, SourceError> {
    match error.class() {
        class if class.ends_run() => Err(error),
        ErrorClass::Gone => Ok(Vec::new()),
        _ => Ok(vec![Entry {
            id: outline.id.clone(),
            path: outline.id.clone(),
            parent: Some(placed.folder.clone()),
            kind: EntryKind::Unreadable {
                error_type: error.error_type(),
                message: error.to_string(),
            },
        }]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(status: u16, about: About) -> Meaning {
        let status = StatusCode::from_u16(status).unwrap();
        let body = br#"{"errors": ["some\u0007 words"]}"#;
        meaning(status, &HeaderMap::new(), body, about, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn each_status_means_what_it_is_about() {
        let error = |status, about| match of(status, about) {
            Meaning::Final(error) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(of(429, About::Item), Meaning::SlowDown(None)));
        assert!(matches!(of(503, About::Search), Meaning::Stumbled(_)));
        let refused = error(401, About::Search);
        assert!(matches!(refused, SourceError::SignInAgain { .. }));
        assert!(refused.to_string().contains("application token"), "{refused}");
        assert!(matches!(error(403, About::Item), SourceError::PermissionDenied { .. }));
        assert!(matches!(error(403, About::Search), SourceError::Misconfigured { .. }));
        assert!(matches!(error(400, About::Page), SourceError::FeedExpired { .. }));
        assert!(matches!(error(400, About::Search), SourceError::Permanent { .. }));
        assert!(matches!(error(404, About::Item), SourceError::NotFound { .. }));
        assert!(matches!(error(404, About::Root), SourceError::RootMissing { .. }));
        assert_eq!(error(400, About::Item).to_string(), "some words (HTTP 400 Bad Request)");
    }
}
