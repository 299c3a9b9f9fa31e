//! Answers that are no success, and what they mean for the caller.

use std::error::Error;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::{address::is_region, xml};
use crate::sources::{
    SourceError,
    http::headers::{clean, retry_after, text_of},
};

/// Why a request brought nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The caller's business.
    #[error(transparent)]
    Final(#[from] SourceError),
    /// The bucket is in another region, which the server names.
    #[error("the bucket is in region {region}")]
    Elsewhere {
        /// The region.
        region: String,
        /// Whether another host is to be asked, rather than this one with another signature.
        other_host: bool,
        /// What it means where the region is not followed.
        error: SourceError,
    },
    /// The credentials have expired; others may work.
    #[error(transparent)]
    Expired(SourceError),
    /// The answer is a success and not what was asked for, which another way to ask may bring.
    #[error("{error}")]
    NotAsAsked {
        /// What it is not.
        what: Unlike,
        /// What it means where no other way does.
        error: SourceError,
    },
}

/// In what an answer is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unlike {
    /// All of the object, or nothing, instead of a range of it.
    Range,
    /// It has another length.
    Length,
    /// It does not say its length.
    NoLength,
}

impl Refusal {
    /// What it means where no region is followed (any more).
    pub(super) fn give_up(self) -> SourceError {
        match self {
            Self::Final(error)
            | Self::Expired(error)
            | Self::Elsewhere { error, .. }
            | Self::NotAsAsked { error, .. } => error,
        }
    }

    /// Finds the refusal among the causes of an error that came through `object_store`.
    pub(super) fn within(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<Self>() {
                return refusal.clone();
            }
            cause = error.source();
        }
        Self::Final(SourceError::Permanent { message: error.to_string() })
    }
}

/// What was asked for, which decides what a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The bucket: its refusals are the connection's.
    Listing,
    /// One object.
    Object,
}

/// An error document (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

impl Document {
    /// Reads as much as there is: proxies answer with anything, and HEAD with nothing.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut document = Self::default();
        let Ok(text) = str::from_utf8(body) else { return document };
        let whole = xml::fields(text, |path, value| match path {
            ["Error", "Code"] => document.code = clean(&value),
            ["Error", "Message"] => document.message = clean(&value),
            ["Error", "Region"] => document.region = Some(value).filter(|text| is_region(text)),
            ["Error", "Endpoint"] => document.endpoint = Some(clean(&value)),
            _ => {}
        });
        if whole.is_err() && document.code.is_empty() {
            document = Self { message: clean(text), ..Self::default() };
        }
        document
    }
}

/// What an answer without success means. `body` may be cut short.
pub(super) fn refusal(
    subject: Subject,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Refusal {
    let document = Document::parse(body);
    let message = describe(status, headers, &document);
    if let Some(error) = redirection(subject, status, headers, &document, &message) {
        return error;
    }
    let error = classify(subject, status, headers, &document.code, message, now);
    match EXPIRED.contains(&document.code.as_str()) {
        true => Refusal::Expired(error),
        false => Refusal::Final(error),
    }
}

/// What is said of temporary credentials behind their end.
const EXPIRED: [&str; 3] = ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"];

/// Code, message and request id: what the provider's support would ask for.
fn describe(status: StatusCode, headers: &HeaderMap, document: &Document) -> String {
    let mut whence = format!("HTTP {status}");
    if let Some(id) = text_of(headers, "x-amz-request-id") {
        whence.push_str(", request ");
        whence.push_str(&clean(id));
    }
    match (document.code.as_str(), document.message.as_str()) {
        ("", "") => whence,
        (one, "") | ("", one) => format!("{one} ({whence})"),
        (code, message) => format!("{code}: {message} ({whence})"),
    }
}

/// No redirect is followed: credentials stay with the host that they were meant for. A region that
/// the server names is another matter, for the caller to decide on.
fn redirection(
    subject: Subject,
    status: StatusCode,
    headers: &HeaderMap,
    document: &Document,
    message: &str,
) -> Option<Refusal> {
    let other_host = status.is_redirection()
        || ["PermanentRedirect", "TemporaryRedirect"].contains(&document.code.as_str());
    // HEAD has no body, so there a bare 400 with a region has to do.
    let malformed = status == StatusCode::BAD_REQUEST
        && (document.code == "AuthorizationHeaderMalformed" || document.code.is_empty());
    let region = text_of(headers, "x-amz-bucket-region")
        .filter(|region| is_region(region))
        .map(str::to_owned)
        .or_else(|| document.region.clone());
    let target = || {
        text_of(headers, header::LOCATION.as_str())
            .and_then(|location| location.parse::<http::Uri>().ok()?.host().map(clean))
            .or_else(|| document.endpoint.clone())
            .unwrap_or_else(|| "another host".to_owned())
    };
    let explained = if other_host {
        format!(
            "the server redirects to {}, which is not followed because credentials stay with the \
             host they were meant for: use --region or --endpoint-url ({message})",
            target()
        )
    } else if malformed {
        format!("the signature was made for another region: use --region ({message})")
    } else {
        return None;
    };
    let error = match subject {
        Subject::Listing => SourceError::Misconfigured { message: explained },
        // The bucket was listed where it is: what is elsewhere is this object.
        Subject::Object => SourceError::Permanent { message: explained },
    };
    match region {
        Some(region) => Some(Refusal::Elsewhere { region, other_host, error }),
        None if other_host || document.code == "AuthorizationHeaderMalformed" => {
            Some(Refusal::Final(error))
        }
        None => None,
    }
}

/// The meanings are those of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList>; a code says
/// more than a status, and other servers often send only the latter.
fn classify(
    subject: Subject,
    status: StatusCode,
    headers: &HeaderMap,
    code: &str,
    message: String,
    now: Timestamp,
) -> SourceError {
    match code {
        "NoSuchBucket" => return SourceError::RootMissing { message },
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidSecurity"
        | "AccountProblem"
        | "NotSignedUp"
        | "AllAccessDisabled" => return SourceError::Auth { message },
        "RequestTimeTooSkewed" => {
            return SourceError::Auth {
                message: format!("the clock of this computer is wrong, set it first: {message}"),
            };
        }
        "InvalidObjectState" => {
            return SourceError::Permanent {
                message: format!("it is archived, restore it first: {message}"),
            };
        }
        "SlowDown"
        | "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "BandwidthLimitExceeded" => {
            return SourceError::RateLimited { message, retry_after: retry_after(headers, now) };
        }
        "RequestTimeout"
        | "IncompleteBody"
        | "InternalError"
        | "OperationAborted"
        | "ConditionalRequestConflict" => return SourceError::Transient { message },
        _ => {}
    }
    match (status, subject) {
        (StatusCode::UNAUTHORIZED, _) => SourceError::Auth { message },
        // The credentials are good, for other things than this.
        (StatusCode::FORBIDDEN, _) => SourceError::PermissionDenied { message },
        (StatusCode::NOT_FOUND, Subject::Listing) => SourceError::RootMissing { message },
        (StatusCode::NOT_FOUND | StatusCode::GONE, Subject::Object) => {
            SourceError::NotFound { message }
        }
        (StatusCode::PRECONDITION_FAILED, _) => SourceError::Changed { message },
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => {
            SourceError::RateLimited { message, retry_after: retry_after(headers, now) }
        }
        (StatusCode::NOT_IMPLEMENTED, _) => SourceError::Permanent { message },
        // A success that turned out to be an error document with a code unknown to us.
        (StatusCode::OK | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT, _) => {
            SourceError::Transient { message }
        }
        (status, _) if status.is_server_error() => SourceError::Transient { message },
        _ => SourceError::Permanent { message },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn answer(
        subject: Subject,
        status: u16,
        headers: &[(&'static str, &str)],
        code: &str,
    ) -> Refusal {
        let body = match code {
            "" => String::new(),
            code => format!(
                "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>m</Message></Error>"
            ),
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        refusal(subject, StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), now)
    }

    fn object(status: u16, code: &str) -> SourceError {
        answer(Subject::Object, status, &[], code).give_up()
    }

    #[test]
    fn credentials_that_do_not_work_are_the_connections_failure() {
        for code in [
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "RequestTimeTooSkewed",
        ] {
            assert!(matches!(object(403, code), SourceError::Auth { .. }), "{code}");
        }
        assert!(matches!(object(400, "ExpiredToken"), SourceError::Auth { .. }));
        assert!(matches!(object(401, ""), SourceError::Auth { .. }));
    }

    #[test]
    fn access_denied_is_one_objects_failure_or_the_whole_listings() {
        assert!(matches!(object(403, "AccessDenied"), SourceError::PermissionDenied { .. }));
        let listing = answer(Subject::Listing, 403, &[], "AccessDenied").give_up();
        assert!(matches!(listing, SourceError::PermissionDenied { .. }));
    }

    #[test]
    fn a_bucket_that_is_not_there_is_a_missing_root_and_a_key_a_missing_entry() {
        assert!(matches!(object(404, "NoSuchBucket"), SourceError::RootMissing { .. }));
        assert!(matches!(object(404, "NoSuchKey"), SourceError::NotFound { .. }));
        assert!(matches!(object(404, ""), SourceError::NotFound { .. }));
    }

    #[test]
    fn errors_that_a_retry_may_fix_are_distinguished_from_those_it_cannot() {
        assert!(matches!(object(500, "InternalError"), SourceError::Transient { .. }));
        assert!(matches!(object(502, ""), SourceError::Transient { .. }));
        assert!(matches!(object(400, "RequestTimeout"), SourceError::Transient { .. }));
        assert!(matches!(object(200, "InternalError"), SourceError::Transient { .. }));
        assert!(matches!(object(412, "PreconditionFailed"), SourceError::Changed { .. }));
        assert!(matches!(object(400, "InvalidRequest"), SourceError::Permanent { .. }));
        assert!(matches!(object(501, "NotImplemented"), SourceError::Permanent { .. }));
    }

    #[test]
    fn an_archived_object_is_refused_by_name() {
        let error = object(403, "InvalidObjectState");
        assert!(matches!(error, SourceError::Permanent { .. }));
        assert!(error.to_string().contains("archived"));
    }

    #[test]
    fn a_slow_down_says_how_long_in_seconds_or_as_a_date() {
        let wait =
            |value: &str| match answer(Subject::Object, 503, &[("retry-after", value)], "SlowDown")
                .give_up()
            {
                SourceError::RateLimited { retry_after, .. } => retry_after,
                other => panic!("{other:?}"),
            };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Thu, 01 Jan 2026 00:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("Wed, 31 Dec 2025 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn a_redirect_is_an_error_that_names_the_host_and_the_way_out() {
        let headers = [("location", "https://evil.example/x")];
        for subject in [Subject::Listing, Subject::Object] {
            let error = answer(subject, 307, &headers, "TemporaryRedirect").give_up();
            assert!(error.to_string().contains("evil.example"), "{error}");
            assert!(error.to_string().contains("--endpoint-url"), "{error}");
            match subject {
                Subject::Listing => assert!(matches!(error, SourceError::Misconfigured { .. })),
                Subject::Object => assert!(matches!(error, SourceError::Permanent { .. })),
            }
        }
    }

    #[test]
    fn a_region_is_taken_from_the_header_unless_it_could_name_a_host() {
        let elsewhere = |region: &str| {
            answer(Subject::Listing, 301, &[("x-amz-bucket-region", region)], "PermanentRedirect")
        };
        assert!(matches!(elsewhere("eu-west-1"), Refusal::Elsewhere { other_host: true, .. }));
        assert!(matches!(elsewhere("evil.example/"), Refusal::Final(_)));
        let head = answer(Subject::Object, 400, &[("x-amz-bucket-region", "eu-west-1")], "");
        assert!(matches!(head, Refusal::Elsewhere { other_host: false, .. }));
    }

    #[test]
    fn a_providers_words_are_short_and_cannot_steer_a_terminal() {
        let refusal = refusal(
            Subject::Object,
            StatusCode::BAD_GATEWAY,
            &HeaderMap::new(),
            format!("<html>\x1b[2J{}", "x".repeat(9999)).as_bytes(),
            Timestamp::UNIX_EPOCH,
        );
        let text = refusal.give_up().to_string();
        assert!(text.len() < 400 && !text.contains('\x1b'), "{text}");
    }
}
