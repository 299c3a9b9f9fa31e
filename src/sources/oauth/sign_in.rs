//! A person signs in: with a browser (authorization code with PKCE, RFC 7636), or on another device
//! (RFC 8628). What comes of it are a connection's credentials.
//!
//! The client is the person's own: Catchment has no client id of its own.

use std::{fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    Grants,
    authority::{Refusal, reason},
    endpoint::{Failure, Form, Tokens},
};
use crate::sources::{SourceError, hosts::Hosts};

/// Where a provider sends the browser back to.
pub const CALLBACK: &str = "/oauth/callback";

/// Least wait between two questions whether somebody has signed in on another device.
const DEVICE_INTERVAL: u64 = 5;

/// How people sign in to a provider.
pub trait SignIn: fmt::Debug + Send + Sync {
    /// Whom they sign in with, as in "Google".
    fn with(&self) -> &'static str;

    /// The host of this machine that the provider sends browsers back to.
    fn redirect_host(&self) -> &'static str;

    /// How a person registers a client, for the terminal.
    fn how_to_register(&self) -> &'static str;

    /// Whether a client may be used that has no secret.
    fn takes_public_clients(&self) -> bool;

    /// Whether the client belongs to a tenant.
    fn has_tenants(&self) -> bool {
        false
    }

    /// What a person may refuse while signing in and nothing works without; `None` where all is
    /// granted or nothing.
    fn needs(&self) -> Option<Needed> {
        None
    }

    /// The client that a file describes which the provider offers for download; `None` where it is
    /// no such file.
    fn client_in(&self, file: &Map<String, Value>) -> Option<Client> {
        let _ = file;
        None
    }

    /// The authorization server for that client.
    fn server(&self, client: &Client, hosts: &Hosts) -> Server;

    /// The credentials that a refresh token makes.
    fn credentials(&self, client: &Client, refresh_token: &str) -> Map<String, Value>;
}

/// A permission that a person ticks or leaves.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// Its name in the response.
    pub scope: &'static str,
    /// What its box says on the provider's page.
    pub called: &'static str,
}

/// The client that a person has registered with the provider.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its public id.
    pub id: String,
    /// Its secret, unless it is a public client.
    pub secret: Option<SecretString>,
    /// The tenant whose people sign in.
    pub tenant: Option<String>,
}

/// An authorization server, and what it is asked for.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where people agree.
    pub authorize_url: String,
    /// Where codes are exchanged for tokens.
    pub token_url: String,
    /// Where another device is signed in; `None` where that does not give enough.
    pub device_url: Option<String>,
    /// What is asked for, separated by spaces.
    pub scope: String,
    /// Parameters of its own for the address where people agree.
    pub parameters: &'static [(&'static str, &'static str)],
}

/// Why nobody is signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    /// The person, or the provider, said no.
    #[error("{0}")]
    Refused(String),
    /// The provider gave no refresh token.
    #[error(
        "{0} gave no lasting sign-in (no refresh token): sign in once more, and agree to offline \
         access"
    )]
    NotLasting(&'static str),
    /// The person signed in and left out what Catchment needs.
    #[error(
        "{with} signed you in, but Catchment may not read your files: sign in again, and tick the \
         box \"{called}\" on the page of {with}"
    )]
    NotGranted {
        /// Whom the person signed in with.
        with: &'static str,
        /// What the box says.
        called: &'static str,
    },
    /// The provider could not be asked, or this machine failed.
    #[error("{0}")]
    Failed(String),
}

/// A sign-in with a browser that has begun: what is needed to end it.
pub struct Begun {
    with: &'static dyn SignIn,
    client: Client,
    server: Server,
    redirect_uri: String,
    state: SecretString,
    verifier: SecretString,
}

impl Begun {
    /// Begins a sign-in that comes back to `port` of this machine.
    ///
    /// # Errors
    /// When this machine gives no random numbers.
    pub fn new(
        with: &'static dyn SignIn,
        client: Client,
        hosts: &Hosts,
        port: u16,
    ) -> Result<Self, SignInError> {
        Ok(Self {
            with,
            server: with.server(&client, hosts),
            client,
            redirect_uri: format!("http://{}:{port}{CALLBACK}", with.redirect_host()),
            state: random()?,
            verifier: random()?,
        })
    }

    /// The address at which the person signs in and agrees.
    #[must_use]
    pub fn authorize_url(&self) -> String {
        let challenge = Sha256::digest(self.verifier.expose_secret());
        let Ok(mut url) = Url::parse(&self.server.authorize_url) else {
            return self.server.authorize_url.clone();
        };
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.server.scope)
            .append_pair("state", self.state.expose_secret())
            .append_pair("code_challenge", &BASE64_URL_SAFE_NO_PAD.encode(challenge))
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(self.server.parameters);
        url.into()
    }

    /// Whom the person signs in with.
    #[must_use]
    pub fn with(&self) -> &'static dyn SignIn {
        self.with
    }

    /// Where the provider sends the browser back to.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// What distinguishes this sign-in when the browser comes back.
    #[must_use]
    pub fn expose_state(&self) -> &str {
        self.state.expose_secret()
    }

    /// Exchanges the code that the browser came back with for credentials.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn finish(
        &self,
        grants: &Grants,
        code: &str,
    ) -> Result<Map<String, Value>, SignInError> {
        let form = Form::default()
            .with("grant_type", "authorization_code")
            .with("client_id", &self.client.id)
            .with_some("client_secret", self.client.secret.as_ref())
            .with("code", code)
            .with("redirect_uri", &self.redirect_uri)
            .with("code_verifier", self.verifier.expose_secret());
        let tokens: Result<Tokens, _> = grants.endpoint().post(&self.server.token_url, &form).await;
        match tokens {
            Ok(tokens) => credentials(self.with, &self.client, tokens),
            Err(failure) => Err(failed(self.with, failure)),
        }
    }
}

/// Names whom it is with, not what it is kept by.
impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("with", &self.with).finish_non_exhaustive()
    }
}

/// A sign-in on another device that has begun.
pub struct OnDevice {
    with: &'static dyn SignIn,
    client: Client,
    server: Server,
    code: SecretString,
    interval: Duration,
    /// What the person types there.
    pub user_code: String,
    /// Where.
    pub verification_url: String,
    /// For how long that is good.
    pub life: Duration,
}

/// How a sign-in on another device stands.
pub enum Poll {
    /// Nobody has agreed yet: ask again after so long.
    Waiting(Duration),
    /// These are the credentials.
    Done(Map<String, Value>),
}

impl OnDevice {
    /// Begins a sign-in on another device.
    ///
    /// # Errors
    /// When the provider has none, or refuses.
    pub async fn begin(
        with: &'static dyn SignIn,
        client: Client,
        hosts: &Hosts,
        grants: &Grants,
    ) -> Result<Self, SignInError> {
        /// RFC 8628, section 3.2.
        #[derive(Deserialize)]
        struct Given {
            device_code: SecretString,
            user_code: String,
            verification_uri: String,
            expires_in: u64,
            interval: Option<u64>,
        }
        let server = with.server(&client, hosts);
        let Some(url) = &server.device_url else {
            return Err(SignInError::Failed(format!(
                "{} offers no sign-in on another device for what Catchment reads: sign in with a \
                 browser, and paste the address at which it ends",
                with.with()
            )));
        };
        let form = Form::default().with("client_id", &client.id).with("scope", &server.scope);
        let given: Result<Given, _> = grants.endpoint().post(url, &form).await;
        let given = given.map_err(|failure| failed(with, failure))?;
        Ok(Self {
            code: given.device_code,
            interval: Duration::from_secs(given.interval.unwrap_or(DEVICE_INTERVAL).clamp(1, 60)),
            user_code: super::endpoint::sanitized(&given.user_code),
            verification_url: web_address(&given.verification_uri)?,
            life: Duration::from_secs(given.expires_in.min(60 * 60)),
            with,
            client,
            server,
        })
    }

    /// Polls once whether somebody has signed in.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn poll(&mut self, grants: &Grants) -> Result<Poll, SignInError> {
        let form = Form::default()
            .with("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
            .with("client_id", &self.client.id)
            .with_some("client_secret", self.client.secret.as_ref())
            .with("device_code", self.code.expose_secret());
        let tokens: Result<Tokens, _> = grants.endpoint().post(&self.server.token_url, &form).await;
        match tokens {
            Ok(tokens) => credentials(self.with, &self.client, tokens).map(Poll::Done),
            Err(Failure::Refused(refusal)) if refusal.error == "authorization_pending" => {
                Ok(Poll::Waiting(self.interval))
            }
            Err(Failure::Refused(refusal)) if refusal.error == "slow_down" => {
                self.interval += Duration::from_secs(DEVICE_INTERVAL);
                Ok(Poll::Waiting(self.interval))
            }
            Err(Failure::Failed(SourceError::Transient { .. } | SourceError::Timeout { .. })) => {
                Ok(Poll::Waiting(self.interval * 2))
            }
            Err(failure) => Err(failed(self.with, failure)),
        }
    }

    /// How long to wait before the first question.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }
}

/// Names whom it is with, not what it is kept by.
impl fmt::Debug for OnDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDevice").field("with", &self.with).finish_non_exhaustive()
    }
}

fn credentials(
    with: &'static dyn SignIn,
    client: &Client,
    tokens: Tokens,
) -> Result<Map<String, Value>, SignInError> {
    if let (Some(needed), Some(granted)) = (with.needs(), &tokens.scope)
        && !granted.split(' ').any(|scope| scope == needed.scope)
    {
        return Err(SignInError::NotGranted { with: with.with(), called: needed.called });
    }
    match tokens.refresh_token {
        Some(token) => Ok(with.credentials(client, token.expose_secret())),
        None => Err(SignInError::NotLasting(with.with())),
    }
}

fn failed(with: &'static dyn SignIn, failure: Failure) -> SignInError {
    match failure {
        Failure::Refused(refusal) => SignInError::Refused(refused(with, &refusal)),
        Failure::Failed(error) => SignInError::Failed(error.to_string()),
    }
}

fn refused(with: &'static dyn SignIn, refusal: &Refusal) -> String {
    let way_out = match refusal.error.as_str() {
        "invalid_client" | "unauthorized_client" => ": check the client id and the secret",
        "access_denied" | "authorization_declined" => "",
        "expired_token" => ": nobody signed in in time; begin again",
        _ => ": begin again",
    };
    format!("{} did not sign you in{}{way_out}", with.with(), reason(refusal))
}

/// What a provider says of a person who came back without a code.
#[must_use]
pub fn declined(with: &'static dyn SignIn, error: &str, description: &str) -> String {
    let (error, description) =
        (super::endpoint::sanitized(error), super::endpoint::sanitized(description));
    match description.as_str() {
        "" => format!("{} did not sign you in: {error}", with.with()),
        description => format!("{} did not sign you in: {error} ({description})", with.with()),
    }
}

/// An address that a person may be sent to.
fn web_address(text: &str) -> Result<String, SignInError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "https" | "http") => Ok(url.into()),
        _ => Err(SignInError::Failed("the provider names no address to sign in at".to_owned())),
    }
}

/// 256 random bits as text.
fn random() -> Result<SecretString, SignInError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| SignInError::Failed(format!("no random numbers: {error}")))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes).into())
}
