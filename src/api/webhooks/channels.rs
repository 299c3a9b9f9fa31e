//! The channels of a request, checked: what is kept of each, what is secret of it, and what it
//! keeps of the channel that it was.
//!
//! Secrets are never returned, so a request that changes something else leaves them out, or repeats
//! the word that stands for them. Headers may be tokens: they are kept only for the server that
//! they were given for, else whoever may change a webhook could have them sent elsewhere.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::wire::{ChannelName, REDACTED, SlackConfig, WebhookChannelInput, WebhookConfig};
use crate::{
    api::error::{ApiError, FieldError},
    model::{Channel, ChannelKind, ChannelSecrets},
    sources::http::post,
};

/// The longest address, header value and secret, in bytes.
const LONGEST: usize = 4096;
/// Headers of one channel.
const HEADERS: usize = 20;
/// Headers that are ours or HTTP's.
const OURS: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::HOST,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("x-mixpeek-signature"),
];

/// A channel as it was.
#[derive(Clone, Debug)]
pub(super) struct Before {
    /// Internal key.
    pub(super) key: i64,
    /// What was kept of it.
    pub(super) channel: Channel,
    /// Its secrets.
    pub(super) secrets: ChannelSecrets,
}

/// A channel as it is to be.
#[derive(Clone, Debug)]
pub(super) struct After {
    /// The one that it was; `None`: it is new.
    pub(super) key: Option<i64>,
    /// What is kept of it.
    pub(super) channel: Channel,
    /// Its secrets.
    pub(super) secrets: ChannelSecrets,
}

/// The channels that a request wants, given those that there are.
///
/// # Errors
/// 422, which names the field and no secret.
pub(super) fn checked(
    wanted: Vec<WebhookChannelInput>,
    mut before: Vec<Before>,
) -> Result<Vec<After>, ApiError> {
    let mut after = Vec::new();
    for (index, input) in wanted.into_iter().enumerate() {
        let field = format!("channels[{index}]");
        after.push(match input.channel {
            ChannelName::Webhook => webhook(&field, input.configs, &mut before)?,
            ChannelName::Slack => slack(&field, input.configs, &mut before)?,
            ChannelName::Email => {
                return Err(ApiError::invalid_field(
                    FieldError::new(
                        format!("{field}.channel"),
                        json!(input.channel),
                        "there is no mail server here; a webhook can lead to one",
                    )
                    .accepting(vec!["webhook", "slack"]),
                ));
            }
        });
    }
    Ok(after)
}

fn webhook(field: &str, configs: Value, before: &mut Vec<Before>) -> Result<After, ApiError> {
    let config: WebhookConfig = read(field, configs, "WebhookConfig")?;
    refuse_template(&format!("{field}.configs.payload_template"), config.payload_template)?;
    let url = address(&format!("{field}.configs.url"), &config.url)?;
    let known =
        take(before, |it| it.channel.kind == ChannelKind::Webhook && it.channel.url == config.url)
            .or_else(|| take(before, |it| it.channel.kind == ChannelKind::Webhook));
    let headers = headers(field, config.headers, &url, known.as_ref())?;
    let signing_secret = match config.signing_secret.as_deref() {
        None | Some(REDACTED) => {
            known.as_ref().and_then(|known| known.secrets.signing_secret.clone())
        }
        Some("") => None,
        Some(secret) if secret.len() > LONGEST => {
            return Err(too_long(format!("{field}.configs.signing_secret")));
        }
        Some(secret) => Some(secret.to_owned()),
    };
    let timeout = config.timeout.unwrap_or(10.0);
    if !(1.0..=30.0).contains(&timeout) {
        return Err(ApiError::invalid_field(
            FieldError::new(format!("{field}.configs.timeout"), timeout, "is out of range")
                .accepting("1 to 30 seconds"),
        ));
    }
    let channel = Channel {
        header_names: headers.keys().cloned().collect(),
        is_signed: signing_secret.is_some(),
        timeout_ms: (timeout * 1000.0) as u64,
        ..Channel::plain(config.url)
    };
    let secrets = ChannelSecrets { signing_secret, headers, url: None };
    Ok(After { key: known.map(|known| known.key), channel, secrets })
}

fn slack(field: &str, configs: Value, before: &mut Vec<Before>) -> Result<After, ApiError> {
    let config: SlackConfig = read(field, configs, "SlackConfig")?;
    refuse_template(&format!("{field}.configs.blocks_template"), config.blocks_template)?;
    let place = format!("{field}.configs.webhook_url");
    let wanted = &config.webhook_url;
    let known = take(before, |it| {
        it.channel.kind == ChannelKind::Slack
            && (it.channel.url == *wanted || it.secrets.url.as_ref() == Some(wanted))
    })
    .or_else(|| take(before, |it| it.channel.kind == ChannelKind::Slack));
    let kept = known.as_ref().filter(|known| known.channel.url == *wanted);
    let url = match kept.and_then(|known| known.secrets.url.clone()) {
        Some(kept) => kept,
        None if wanted.ends_with(&format!("/{REDACTED}")) => {
            return Err(ApiError::invalid_field(
                FieldError::secret(place, "is the word for an address that is not known: enter it")
                    .accepting("the address of an incoming webhook"),
            ));
        }
        None => wanted.clone(),
    };
    let parsed = secret_address(&place, &url)?;
    let told = [
        ("channel", config.channel),
        ("username", config.username),
        ("icon_emoji", config.icon_emoji),
        ("icon_url", config.icon_url),
    ];
    let channel = Channel {
        kind: ChannelKind::Slack,
        url: format!("{}/{REDACTED}", parsed.origin().ascii_serialization()),
        slack: told
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect(),
        ..Channel::plain(String::new())
    };
    let secrets = ChannelSecrets { url: Some(url), ..ChannelSecrets::default() };
    Ok(After { key: known.map(|known| known.key), channel, secrets })
}

/// Settings of a channel; what is wrong with them is said without values, some of which are secret.
fn read<T: DeserializeOwned>(field: &str, configs: Value, name: &str) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(configs).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!(".{path}") };
        let text = error.into_inner().to_string();
        // Serde names unknown and missing fields; other errors may repeat a value.
        let message = match text.starts_with("unknown field") || text.starts_with("missing field") {
            true => text,
            false => "has an invalid value".to_owned(),
        };
        ApiError::invalid_field(
            FieldError::secret(format!("{field}.configs{place}"), message)
                .accepting(format!("the fields of a {name}")),
        )
    })
}

fn refuse_template(field: &str, template: Option<Value>) -> Result<(), ApiError> {
    match template {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(ApiError::invalid_field(
            FieldError::secret(field, "there are no templates here: bodies are as documented")
                .accepting(Value::Null),
        )),
    }
}

fn address(field: &str, text: &str) -> Result<Url, ApiError> {
    if text.len() > LONGEST {
        return Err(too_long(field.to_owned()));
    }
    post::address(text).map_err(|why| {
        ApiError::invalid_field(FieldError::new(field, text, why).accepting(ADDRESSES))
    })
}

fn secret_address(field: &str, text: &str) -> Result<Url, ApiError> {
    if text.len() > LONGEST {
        return Err(too_long(field.to_owned()));
    }
    post::address(text)
        .map_err(|why| ApiError::invalid_field(FieldError::secret(field, why).accepting(ADDRESSES)))
}

const ADDRESSES: &str = "http:// or https://, without a user name, and no link-local address";

fn too_long(field: String) -> ApiError {
    ApiError::invalid_field(
        FieldError::secret(field, "is too long").accepting(format!("at most {LONGEST} bytes")),
    )
}

fn headers(
    field: &str,
    wanted: Option<BTreeMap<String, String>>,
    url: &Url,
    known: Option<&Before>,
) -> Result<BTreeMap<String, String>, ApiError> {
    let place = format!("{field}.configs.headers");
    let is_same_server = known.is_some_and(|known| {
        Url::parse(&known.channel.url).is_ok_and(|before| before.origin() == url.origin())
    });
    let kept = known.map(|known| &known.secrets.headers);
    let elsewhere = |place: String| {
        ApiError::invalid_field(
            FieldError::secret(
                place,
                "is kept for the server that it was given for, which this address is not: enter it \
                 again",
            )
            .accepting("the value, or {} for no headers"),
        )
    };
    let Some(wanted) = wanted else {
        let kept = kept.cloned().unwrap_or_default();
        return match kept.is_empty() || is_same_server {
            true => Ok(kept),
            false => Err(elsewhere(place)),
        };
    };
    if wanted.len() > HEADERS {
        return Err(ApiError::invalid_field(
            FieldError::new(place, wanted.len(), "are too many").accepting(HEADERS),
        ));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in wanted {
        let place = format!("{place}.{name}");
        let parsed = HeaderName::from_bytes(name.as_bytes());
        if !parsed.is_ok_and(|name| !OURS.contains(&name)) {
            return Err(ApiError::invalid_field(
                FieldError::secret(place, "cannot be the name of a header here")
                    .accepting("names of HTTP headers, without those of the request itself"),
            ));
        }
        let value = match (value.as_str(), kept.and_then(|kept| kept.get(&name))) {
            (REDACTED, Some(_)) if !is_same_server => return Err(elsewhere(place)),
            (REDACTED, Some(kept)) => kept.clone(),
            _ => value,
        };
        if value.len() > LONGEST {
            return Err(too_long(place));
        }
        if HeaderValue::from_str(&value).is_err() {
            return Err(ApiError::invalid_field(
                FieldError::secret(place, "cannot be the value of a header")
                    .accepting("visible characters"),
            ));
        }
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Takes the first that is like this out of those that there are.
fn take(before: &mut Vec<Before>, is_like: impl Fn(&Before) -> bool) -> Option<Before> {
    let place = before.iter().position(is_like)?;
    Some(before.remove(place))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn wanted(configs: Value) -> Vec<WebhookChannelInput> {
        vec![WebhookChannelInput { channel: ChannelName::Webhook, configs }]
    }

    fn before() -> Vec<Before> {
        let configs = json!({"url": "https://a.example/x", "signing_secret": "s",
                             "headers": {"Authorization": "Bearer t"}});
        let after = checked(wanted(configs), Vec::new()).unwrap().remove(0);
        vec![Before { key: 1, channel: after.channel, secrets: after.secrets }]
    }

    #[test]
    fn what_is_left_out_or_redacted_stays_for_the_same_server() {
        for configs in [
            json!({"url": "https://a.example/y"}),
            json!({"url": "https://a.example/y", "signing_secret": "redacted",
                   "headers": {"Authorization": "redacted"}}),
        ] {
            let after = checked(wanted(configs), before()).unwrap().remove(0);
            assert_eq!(after.key, Some(1));
            assert_eq!(after.secrets.signing_secret.as_deref(), Some("s"));
            assert_eq!(after.secrets.headers["Authorization"], "Bearer t");
        }
        let removed = json!({"url": "https://a.example/x", "signing_secret": "", "headers": {}});
        let after = checked(wanted(removed), before()).unwrap().remove(0);
        assert_eq!(after.secrets, ChannelSecrets::default());
    }

    #[test]
    fn headers_are_not_taken_to_another_server() {
        for configs in [
            json!({"url": "https://b.example/"}),
            json!({"url": "https://a.example:444/", "headers": {"Authorization": "redacted"}}),
            json!({"url": "http://a.example/x", "headers": {"Authorization": "redacted"}}),
        ] {
            assert!(checked(wanted(configs.clone()), before()).is_err(), "{configs}");
        }
    }
}
