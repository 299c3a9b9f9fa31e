//! One message on its way to one address: signed as the public client documents it, and arrived
//! once the receiver says so.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;

use super::message::Message;
use crate::{
    model::{Channel, ChannelKind, ChannelSecrets},
    sources::http::post::{self, Post, PostError, Posted, Poster},
};

/// `t=<unix seconds>,v1=<hexadecimal HMAC-SHA256 of "<t>." and the body>`.
const SIGNATURE: HeaderName = HeaderName::from_static("x-mixpeek-signature");
/// Bytes of a response that are read; they are thrown away.
const RESPONSE_BYTES: usize = 64 * 1024;

/// The request that delivers a message.
///
/// # Errors
/// What the channel's settings or secrets lack.
pub(super) fn of(
    channel: &Channel,
    secrets: &ChannelSecrets,
    body: &str,
    message: &Message,
    now: Timestamp,
) -> Result<Post, String> {
    let url = match (&secrets.url, channel.kind) {
        (Some(url), _) => url,
        (None, ChannelKind::Webhook) => &channel.url,
        (None, ChannelKind::Slack) => return Err("its address is gone: enter it again".to_owned()),
    };
    let url = post::address(url)?;
    let body = match channel.kind {
        ChannelKind::Webhook => body.to_owned(),
        ChannelKind::Slack => for_slack(channel, message),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &secrets.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(secret) = &secrets.signing_secret {
        let signature = signature(secret, body.as_bytes(), now.as_second())?;
        let value = HeaderValue::from_str(&signature).map_err(|error| error.to_string())?;
        headers.insert(SIGNATURE, value);
    }
    Ok(Post {
        url,
        headers,
        body: Bytes::from(body),
        timeout: Duration::from_millis(channel.timeout_ms),
        limit: RESPONSE_BYTES,
    })
}

fn for_slack(channel: &Channel, message: &Message) -> String {
    // <https://api.slack.com/reference/surfaces/formatting#escaping>
    let text = message.line().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut body = channel.slack.clone();
    body.insert("text".to_owned(), text.into());
    Value::Object(body).to_string()
}

fn signature(secret: &str, body: &[u8], second: i64) -> Result<String, String> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(format!("{second}.").as_bytes());
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("t={second},v1={hex}"))
}

/// Sends it. `Ok` once the receiver has taken it.
///
/// # Errors
/// Why it has not, for people.
pub(super) async fn arrive(poster: &Poster, post: Post) -> Result<(), String> {
    match poster.send(post).await {
        // The status is what counts, however much follows it.
        Ok(Posted { status, .. }) | Err(PostError::TooLong { status, .. }) => {
            if status.is_success() { Ok(()) } else { Err(refused(status)) }
        }
        Err(error) => Err(error.to_string()),
    }
}

fn refused(status: StatusCode) -> String {
    match status.is_redirection() {
        true => format!("the receiver returned {status}; redirects are not followed"),
        false => format!("the receiver returned {status}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_signature_is_what_other_programs_compute_of_the_same() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let signed = signature("secret", b"{\"a\":1}", 1_700_000_000).unwrap();
        assert_eq!(
            signed,
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }
}
