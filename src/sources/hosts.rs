//! Where providers with an address of their own are reached, and to which hosts secrets may go.
//!
//! What does not live here: reading `config.toml` (`config`), and addresses that a connection
//! names.

use serde::Deserialize;
use url::Url;

/// Where providers with an address of their own are reached: `[hosts]` of `config.toml`, for
/// national clouds, proxies and tests. Never settable through the API, which must not send a secret
/// elsewhere. Each is a scheme and a host, without a slash at the end; `http` only to this machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hosts {
    /// Google's APIs: `/drive/v3/…`.
    pub google_api: Host,
    /// Google's token endpoint: `/token`.
    pub google_token: Host,
    /// Where people sign in with Google: `/o/oauth2/v2/auth`.
    pub google_accounts: Host,
    /// Microsoft Graph: `/v1.0/…`.
    pub microsoft_graph: Host,
    /// Where people and applications sign in with Microsoft: `/TENANT/oauth2/v2.0/…`.
    pub microsoft_login: Host,
    /// One host for every Snowflake account; `None`: `https://ACCOUNT.snowflakecomputing.com`.
    pub snowflake: Option<Host>,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            google_api: Host("https://www.googleapis.com".into()),
            google_token: Host("https://oauth2.googleapis.com".into()),
            google_accounts: Host("https://accounts.google.com".into()),
            microsoft_graph: Host("https://graph.microsoft.com".into()),
            microsoft_login: Host("https://login.microsoftonline.com".into()),
            snowflake: None,
        }
    }
}

/// A scheme and a host with its port, to which requests with secrets may go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Host(String);

impl Host {
    /// The address of a path there, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = Url::parse(&self.0).ok();
        match host.as_ref().and_then(Url::host) {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let url = Url::parse(&text).map_err(|error| format!("{text:?} is no address: {error}"))?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !is_bare || !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{text:?}: write a scheme and a host, as in https://example.org"));
        }
        let host = Self(text.trim_end_matches('/').to_owned());
        match url.scheme() {
            "https" => Ok(host),
            "http" if host.is_loopback() => Ok(host),
            _ => Err(format!("{text:?}: write https://…; http:// only leads to this machine")),
        }
    }
}
