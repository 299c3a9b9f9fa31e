//! Google's authorization server: refresh tokens of people, and service accounts that sign for
//! themselves (<https://developers.google.com/identity/protocols/oauth2>).

use std::sync::Arc;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    Authority,
    authority::{Form, Refusal, common_meaning, reason},
    sign_in::{Client, Needed, Server, SignIn},
};
use crate::{
    model::Credentials,
    sources::{SourceError, hosts::Hosts},
};

/// What Catchment may do: read what the account sees.
pub const SCOPE: &str = "https://www.googleapis.com/auth/drive.readonly";

/// Whom a service account's assertion is for, whichever host it is sent through
/// (<https://developers.google.com/identity/protocols/oauth2/service-account>).
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";

/// How long an assertion is good, in seconds; the most that Google takes.
const ASSERTION_LIFE: i64 = 3600;

/// See the module.
#[derive(Clone, Debug)]
pub struct Google {
    /// Where it is reached.
    pub hosts: Arc<Hosts>,
    /// The person that a service account acts for (domain-wide delegation).
    pub subject: Option<String>,
}

/// The credentials that Google's providers take.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Secrets {
    ServiceAccount {
        private_key_id: String,
        private_key: SecretString,
        client_email: String,
        client_id: String,
    },
    Oauth {
        client_id: String,
        client_secret: Option<SecretString>,
        refresh_token: SecretString,
    },
}

impl Authority for Google {
    fn scope_of_use(&self) -> String {
        format!("{} {}", self.hosts.google_token.as_str(), self.subject.as_deref().unwrap_or("-"))
    }

    fn request(
        &self,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<(String, Form), SourceError> {
        let form = match read(credentials)? {
            Secrets::Oauth { client_id, client_secret, refresh_token } => Form::default()
                .with("grant_type", "refresh_token")
                .with("client_id", &client_id)
                .with_some("client_secret", client_secret.as_ref())
                .with("refresh_token", refresh_token.expose_secret()),
            Secrets::ServiceAccount { private_key_id, private_key, client_email, .. } => {
                let claims = json!({
                    "iss": client_email,
                    "sub": self.subject,
                    "scope": SCOPE,
                    "aud": AUDIENCE,
                    "iat": now.as_second(),
                    "exp": now.as_second() + ASSERTION_LIFE,
                });
                Form::default()
                    .with("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .with("assertion", &assertion(&private_key_id, &private_key, claims)?)
            }
        };
        Ok((self.hosts.google_token.url("/token"), form))
    }

    fn meaning(&self, refusal: &Refusal, credentials: &Credentials) -> SourceError {
        let why = reason(refusal);
        if let Some(error) = common_meaning(refusal) {
            return error;
        }
        let secrets = read(credentials);
        match (refusal.error.as_str(), secrets) {
            ("unauthorized_client", Ok(Secrets::ServiceAccount { client_id, .. })) => {
                SourceError::Misconfigured {
                    message: format!(
                        "the service account may not act for {}{why}: an administrator has to \
                         grant domain-wide delegation to the client id {client_id} for the scope \
                         {SCOPE}, at https://admin.google.com/ac/owl/domainwidedelegation",
                        self.subject.as_deref().unwrap_or("anybody"),
                    ),
                }
            }
            ("invalid_scope" | "invalid_request" | "unsupported_grant_type", _) => {
                SourceError::Misconfigured { message: format!("Google refuses to sign in{why}") }
            }
            (_, Ok(Secrets::ServiceAccount { client_email, .. })) => SourceError::SignInAgain {
                message: format!("Google refuses the key of {client_email}{why}"),
                way_out: "check this computer's clock, or make a new key for it and enter the new \
                          secret here"
                    .to_owned(),
            },
            ("invalid_client" | "unauthorized_client" | "deleted_client", _) => {
                SourceError::SignInAgain {
                    message: format!("Google no longer knows the client, or its secret{why}"),
                    way_out: "sign in again with a client that exists, and its new secret"
                        .to_owned(),
                }
            }
            _ => SourceError::SignInAgain {
                message: format!("Google no longer accepts this sign-in{why}"),
                way_out: "sign in again".to_owned(),
            },
        }
    }
}

/// Signing in with Google, by a client of the type "Desktop app"
/// (<https://developers.google.com/identity/protocols/oauth2/native-app>).
#[derive(Debug)]
pub struct WithGoogle;

impl SignIn for WithGoogle {
    fn with(&self) -> &'static str {
        "Google"
    }

    fn redirect_host(&self) -> &'static str {
        "127.0.0.1"
    }

    fn how_to_register(&self) -> &'static str {
        "Catchment signs in through a client of your own with Google:\n  \
         1. Make or choose a project: https://console.cloud.google.com/projectcreate\n  \
         2. Switch the Drive API on: https://console.cloud.google.com/apis/library/drive.googleapis.com\n  \
         3. Set up the consent screen, \"Internal\" or \"In production\" (a sign-in of \"Testing\" \
         ends after 7 days): https://console.cloud.google.com/auth/audience\n  \
         4. Make a client of the type \"Desktop app\": https://console.cloud.google.com/auth/clients"
    }

    /// Desktop clients have a secret, and Google wants it.
    fn takes_public_clients(&self) -> bool {
        false
    }

    /// Google's page has a box for it, which is not ticked.
    fn needs(&self) -> Option<Needed> {
        Some(Needed { scope: SCOPE, called: "See and download all your Google Drive files" })
    }

    /// The console's file `client_secret_….json`.
    fn client_in(&self, file: &Map<String, Value>) -> Option<Client> {
        let client = file.get("installed").or_else(|| file.get("web"))?;
        let text = |name: &str| client.get(name).and_then(Value::as_str);
        Some(Client {
            id: text("client_id")?.to_owned(),
            secret: text("client_secret").map(SecretString::from),
            tenant: None,
        })
    }

    fn server(&self, _: &Client, hosts: &Hosts) -> Server {
        Server {
            authorize_url: hosts.google_accounts.url("/o/oauth2/v2/auth"),
            token_url: hosts.google_token.url("/token"),
            // <https://developers.google.com/identity/protocols/oauth2/limited-input-device#allowedscopes>
            device_url: None,
            scope: SCOPE.to_owned(),
            // Without `consent` a person who agreed before gets no refresh token.
            parameters: &[("access_type", "offline"), ("prompt", "consent")],
        }
    }

    fn credentials(&self, client: &Client, refresh_token: &str) -> Map<String, Value> {
        let secret = client.secret.as_ref().map(|secret| secret.expose_secret());
        let all = [
            ("type", Some("oauth")),
            ("client_id", Some(&*client.id)),
            ("client_secret", secret),
            ("refresh_token", Some(refresh_token)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
    }
}

fn read(credentials: &Credentials) -> Result<Secrets, SourceError> {
    let read = credentials.read();
    read.map_err(|error| SourceError::Misconfigured { message: error.to_string() })
}

/// A signed JSON Web Token (RFC 7515, RFC 7523).
fn assertion(
    key_id: &str,
    private_key: &SecretString,
    mut claims: serde_json::Value,
) -> Result<String, SourceError> {
    if let Some(claims) = claims.as_object_mut() {
        claims.retain(|_, value| !value.is_null());
    }
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
    let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let key = key_pair(private_key.expose_secret()).ok_or_else(|| SourceError::Misconfigured {
        message: "the service account's private_key is no RSA key in PEM format (PKCS #8): enter \
                  the whole key file as it was downloaded"
            .to_owned(),
    })?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(
        |_| SourceError::Misconfigured {
            message: "the service account's private_key cannot sign".to_owned(),
        },
    )?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// The key in a PEM file (RFC 7468), whose line breaks may have been written as `\n`.
fn key_pair(pem: &str) -> Option<RsaKeyPair> {
    let pem = Zeroizing::new(pem.replace("\\n", "\n"));
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (base64, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let base64: Zeroizing<String> = Zeroizing::new(base64.split_whitespace().collect());
    let der = Zeroizing::new(BASE64_STANDARD.decode(base64.as_bytes()).ok()?);
    RsaKeyPair::from_pkcs8(&der).ok()
}
