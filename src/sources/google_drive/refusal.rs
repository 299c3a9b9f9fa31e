//! What an error response means
//! (<https://developers.google.com/workspace/drive/api/guides/handle-errors>).

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Deserialize;

use crate::sources::{
    SourceError,
    http::headers::{clean, retry_after},
};

/// Where the API is switched on.
const CONSOLE: &str = "https://console.cloud.google.com/apis/library/drive.googleapis.com";

/// How long a file waits whose own download quota is used up.
const FILE_QUOTA: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a listing begins anew because its page token is refused.
pub(super) const RESTARTS: usize = 3;

/// What was asked for, which decides what a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The account, a drive, a folder that is listed: its refusals are the connection's.
    Root,
    /// A page of the change feed.
    Feed,
    /// One file.
    File,
}

/// An error response.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    message: String,
    retry_after: Option<Duration>,
}

/// What to do about an error response.
#[derive(Debug)]
pub(super) enum Meaning {
    /// The access token is not accepted (any more).
    Unauthorized(SourceError),
    /// Everybody has to slow down; `None`: for as long as seems right.
    SlowDown(Option<Duration>),
    /// The server stumbled.
    Stumbled(SourceError),
    /// The caller's business.
    Final(SourceError),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    error: Body,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    message: String,
    errors: Vec<Cause>,
    details: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

impl Body {
    fn reason(&self) -> String {
        let causes = self.errors.iter().chain(&self.details);
        let reason = causes.map(|cause| cause.reason.as_str()).find(|reason| !reason.is_empty());
        clean(reason.unwrap_or_default())
    }
}

/// The reason that an error response gives; nothing if it is not Google's.
pub(super) fn reason(body: &[u8]) -> String {
    let Document { error } = serde_json::from_slice(body).unwrap_or_default();
    error.reason()
}

impl Refusal {
    /// Reads as much as there is: proxies respond with anything.
    pub(super) fn parse(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Self {
        let Document { error } = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            reason: error.reason(),
            message: clean(&error.message),
            retry_after: retry_after(headers, now),
        }
    }

    fn words(&self) -> String {
        match (self.reason.as_str(), self.message.as_str()) {
            ("", "") => format!("Google responded with HTTP {}", self.status),
            ("", message) => format!("{message} (HTTP {})", self.status),
            (reason, message) => format!("{message} ({reason}, HTTP {})", self.status),
        }
    }

    /// See the module.
    pub(super) fn meaning(&self, subject: Subject, now: Timestamp) -> Meaning {
        let message = self.words();
        Meaning::Final(match (self.status.as_u16(), self.reason.as_str()) {
            (401, _) => return Meaning::Unauthorized(SourceError::Auth { message }),
            (_, "rateLimitExceeded" | "userRateLimitExceeded" | "RATE_LIMIT_EXCEEDED")
            | (429, _) => {
                return Meaning::SlowDown(self.retry_after);
            }
            (_, "dailyLimitExceeded" | "quotaExceeded") => {
                SourceError::Held { message, until: next_quota_day(now) }
            }
            (_, "downloadQuotaExceeded") => {
                SourceError::RateLimited { message, retry_after: Some(FILE_QUOTA) }
            }
            (_, "accessNotConfigured" | "SERVICE_DISABLED") => SourceError::Misconfigured {
                message: format!("{message}: switch the Drive API on at {CONSOLE}"),
            },
            (403, "insufficientPermissions" | "ACCESS_TOKEN_SCOPE_INSUFFICIENT") => {
                SourceError::Misconfigured {
                    message: format!(
                        "{message}: the sign-in does not cover reading files; sign in again and \
                         allow it"
                    ),
                }
            }
            (_, "domainPolicy") => SourceError::Misconfigured {
                message: format!(
                    "{message}: an administrator of this Google Workspace has to allow it"
                ),
            },
            (_, "cannotDownloadAbusiveFile") => SourceError::PermissionDenied {
                message: format!(
                    "{message}: Google considers this file malicious; the filter \
                     acknowledge_abuse downloads it all the same"
                ),
            },
            (_, "cannotExportFile" | "fileNotExportable" | "fileNotDownloadable") => {
                SourceError::Unsupported { message }
            }
            (_, "exportSizeLimitExceeded") => SourceError::TooLarge { message },
            (404, _) if subject == Subject::Root => SourceError::RootMissing { message },
            (404, _) if subject == Subject::File => SourceError::NotFound { message },
            (400 | 404 | 410, _) if subject == Subject::Feed => {
                SourceError::FeedExpired { message }
            }
            (403, _) if subject == Subject::File => SourceError::PermissionDenied { message },
            // A proxy's: Google's own have words.
            (403, "") if self.message.is_empty() => {
                return Meaning::Stumbled(SourceError::Transient { message });
            }
            (403, _) => SourceError::Auth { message },
            (412 | 416, _) => SourceError::Changed { message },
            (503, _) if self.retry_after.is_some() => return Meaning::SlowDown(self.retry_after),
            (500..=599 | 408, _) => {
                return Meaning::Stumbled(SourceError::Transient { message });
            }
            _ => SourceError::Permanent { message },
        })
    }
}

/// Quotas of a day begin anew at midnight Pacific time.
fn next_quota_day(now: Timestamp) -> Timestamp {
    let pacific = TimeZone::get("America/Los_Angeles")
        .unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(-8)));
    let tomorrow = now.to_zoned_datetime(pacific).start_of_day().and_then(|day| day.tomorrow());
    tomorrow.map_or_else(
        |_| now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(now),
        |day| day.timestamp(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn meaning(status: u16, reason: &str, subject: Subject) -> Meaning {
        let body = serde_json::json!({ "error": {
            "code": status, "message": "words", "errors": [{ "domain": "x", "reason": reason }],
        }});
        let now = "2026-01-15T20:00:00Z".parse().unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal::parse(status, &HeaderMap::new(), body.to_string().as_bytes(), now);
        refusal.meaning(subject, now)
    }

    fn error(status: u16, reason: &str) -> SourceError {
        match meaning(status, reason, Subject::File) {
            Meaning::Final(error) | Meaning::Unauthorized(error) | Meaning::Stumbled(error) => {
                error
            }
            Meaning::SlowDown(_) => panic!("slow down"),
        }
    }

    #[test]
    fn every_reason_to_slow_down_is_the_budgets_and_no_files() {
        for (status, reason) in
            [(403, "rateLimitExceeded"), (403, "userRateLimitExceeded"), (429, "")]
        {
            assert!(matches!(meaning(status, reason, Subject::File), Meaning::SlowDown(None)));
        }
        assert!(matches!(meaning(503, "backendError", Subject::File), Meaning::Stumbled(_)));
    }

    #[test]
    fn a_days_quota_holds_the_connection_until_midnight_in_california() {
        let SourceError::Held { until, .. } = error(403, "dailyLimitExceeded") else { panic!() };
        assert_eq!(until.to_string(), "2026-01-16T08:00:00Z");
    }

    #[test]
    fn what_concerns_one_file_is_not_the_connections_failure() {
        let quota = error(403, "downloadQuotaExceeded");
        assert!(matches!(quota, SourceError::RateLimited { retry_after: Some(FILE_QUOTA), .. }));
        for reason in
            ["insufficientFilePermissions", "cannotDownloadFile", "cannotDownloadAbusiveFile"]
        {
            let error = error(403, reason);
            assert!(matches!(error, SourceError::PermissionDenied { .. }), "{error:?}");
        }
        assert!(error(403, "cannotDownloadAbusiveFile").to_string().contains("acknowledge_abuse"));
        for reason in ["cannotExportFile", "fileNotExportable"] {
            assert!(matches!(error(403, reason), SourceError::Unsupported { .. }));
        }
        assert!(matches!(error(403, "exportSizeLimitExceeded"), SourceError::TooLarge { .. }));
        assert!(matches!(error(404, "notFound"), SourceError::NotFound { .. }));
    }

    #[test]
    fn what_the_account_lacks_is_a_configuration_error_with_the_way_out() {
        let error = error(403, "accessNotConfigured");
        assert!(matches!(error, SourceError::Misconfigured { .. }));
        assert!(error.to_string().contains(CONSOLE));
        for reason in ["insufficientPermissions", "domainPolicy"] {
            assert!(matches!(self::error(403, reason), SourceError::Misconfigured { .. }));
        }
    }

    #[test]
    fn a_missing_root_and_a_refused_token_are_distinguished_from_a_missing_file() {
        let of = |status, subject| match meaning(status, "notFound", subject) {
            Meaning::Final(error) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(of(404, Subject::Root), SourceError::RootMissing { .. }));
        for status in [400, 404, 410] {
            assert!(matches!(of(status, Subject::Feed), SourceError::FeedExpired { .. }));
        }
    }

    #[test]
    fn a_403_that_is_not_googles_is_a_proxys_and_blames_no_credentials() {
        let meaning = |body: &[u8]| {
            let now = "2026-01-15T20:00:00Z".parse().unwrap();
            let refusal = Refusal::parse(StatusCode::FORBIDDEN, &HeaderMap::new(), body, now);
            refusal.meaning(Subject::Feed, now)
        };
        let proxy = meaning(b"<html>Forbidden</html>");
        assert!(matches!(proxy, Meaning::Stumbled(SourceError::Transient { .. })), "{proxy:?}");
        let google = meaning(br#"{"error": {"message": "The caller may not do that"}}"#);
        assert!(matches!(google, Meaning::Final(SourceError::Auth { .. })), "{google:?}");
    }
}
