//! Checks an AWS Signature Version 4, from Amazon's description of it and independent of the code
//! that makes ours: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use aws_lc_rs::{digest, hmac};

use super::wire::{self, Request};

/// Credentials that a server knows.
#[derive(Clone, Debug)]
pub struct Account {
    /// The access key id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The session token that must come with it: temporary credentials.
    pub session_token: Option<String>,
}

/// What the server makes of the date of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// It must be within fifteen minutes of now, as at Amazon.
    Checked,
    /// Any date will do.
    Ignored,
}

/// Why a request is refused: HTTP status, S3's code, and a word for whoever debugs the test.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// S3's error code.
    pub code: &'static str,
    /// What was expected.
    pub detail: String,
}

fn refuse(status: u16, code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal { status, code, detail: detail.into() }
}

/// Who signed `request`, or why it is refused.
pub fn verify<'a>(
    request: &Request,
    accounts: &'a [Account],
    clock: Clock,
) -> Result<&'a Account, Refusal> {
    let header = request
        .header("authorization")
        .ok_or_else(|| refuse(403, "AccessDenied", "no signature"))?;
    let fields = header
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| refuse(400, "AuthorizationHeaderMalformed", header))?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| refuse(400, "AuthorizationHeaderMalformed", header))
    };
    let (access_key, scope) = field("Credential")?
        .split_once('/')
        .ok_or_else(|| refuse(400, "AuthorizationHeaderMalformed", header))?;
    let account = accounts
        .iter()
        .find(|account| account.access_key == access_key)
        .ok_or_else(|| refuse(403, "InvalidAccessKeyId", access_key))?;
    if request.header("x-amz-security-token") != account.session_token.as_deref() {
        return Err(refuse(400, "InvalidToken", "another session token"));
    }
    if clock == Clock::Checked {
        check_date(request)?;
    }
    check_payload(request)?;

    let signed_headers = field("SignedHeaders")?;
    must_sign(request, signed_headers)?;
    let canonical = canonical_request(request, signed_headers);
    let date = request.header("x-amz-date").unwrap_or_default();
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex_sha256(canonical.as_bytes()));
    let expected = hex(&hmac_sha256(&signing_key(&account.secret_key, scope), to_sign.as_bytes()));
    if field("Signature")? == expected {
        Ok(account)
    } else {
        Err(refuse(403, "SignatureDoesNotMatch", canonical))
    }
}

fn check_date(request: &Request) -> Result<(), Refusal> {
    let text = request.header("x-amz-date").unwrap_or_default();
    let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text)
        .and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date))
        .map_err(|error| refuse(403, "AccessDenied", format!("x-amz-date {text:?}: {error}")))?;
    let apart = jiff::Timestamp::now().as_second() - date.as_second();
    if apart.abs() > 15 * 60 {
        return Err(refuse(403, "RequestTimeTooSkewed", text));
    }
    Ok(())
}

/// The hash that was signed is the hash of what came. Only S3 carries it in a header.
fn check_payload(request: &Request) -> Result<(), Refusal> {
    match request.header("x-amz-content-sha256") {
        None | Some("UNSIGNED-PAYLOAD") => Ok(()),
        Some(hash) if hash == hex_sha256(&request.body) => Ok(()),
        other => Err(refuse(400, "XAmzContentSHA256Mismatch", format!("{other:?}"))),
    }
}

/// `host` and every `x-amz-*` header must be under the signature.
fn must_sign(request: &Request, signed_headers: &str) -> Result<(), Refusal> {
    let unsigned = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name == "host" || name.starts_with("x-amz-"))
        .find(|name| !signed_headers.split(';').any(|signed| signed == *name));
    match unsigned {
        None => Ok(()),
        Some(name) => Err(refuse(403, "AccessDenied", format!("{name} is not signed"))),
    }
}

fn canonical_request(request: &Request, signed_headers: &str) -> String {
    let mut query: Vec<(String, String)> = request
        .raw_query()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (uri_encode(&wire::decode(name), true), uri_encode(&wire::decode(value), true))
        })
        .collect();
    query.sort();
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let payload = match request.header("x-amz-content-sha256") {
        Some(hash) => hash.to_owned(),
        None => hex_sha256(&request.body),
    };
    let headers: String = signed_headers
        .split(';')
        .map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_default().trim()))
        .collect();
    [
        request.method.as_str(),
        &uri_encode(&wire::decode(request.raw_path()), false),
        &query.join("&"),
        &headers,
        signed_headers,
        &payload,
    ]
    .join("\n")
}

/// Amazon's `UriEncode`.
fn uri_encode(bytes: &[u8], slash: bool) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(*byte).to_string()
            }
            b'/' if !slash => "/".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn signing_key(secret: &str, scope: &str) -> Vec<u8> {
    scope
        .split('/')
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()))
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
