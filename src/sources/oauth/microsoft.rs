//! Microsoft's authorization server: applications with a secret, and people's refresh tokens
//! (<https://learn.microsoft.com/entra/identity-platform/v2-protocols>).

use std::sync::Arc;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Authority,
    authority::{Form, Refusal, common_meaning, reason},
    sign_in::{Client, Server, SignIn},
};
use crate::{
    model::Credentials,
    sources::{
        SourceError,
        hosts::{Host, Hosts},
    },
};

/// What stands for itself in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// See the module.
#[derive(Clone, Debug)]
pub struct Microsoft {
    /// Where it is reached.
    pub hosts: Arc<Hosts>,
}

/// The credentials that Microsoft's providers take.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Secrets {
    ClientCredentials {
        tenant_id: String,
        client_id: String,
        client_secret: SecretString,
    },
    Delegated {
        tenant_id: String,
        client_id: String,
        /// Absent for a public client, which must not send one (AADSTS700025).
        client_secret: Option<SecretString>,
        refresh_token: SecretString,
    },
}

impl Authority for Microsoft {
    fn scope_of_use(&self) -> String {
        let Hosts { microsoft_login: login, microsoft_graph: graph, .. } = &*self.hosts;
        format!("{} {}", login.as_str(), graph.as_str())
    }

    fn request(
        &self,
        credentials: &Credentials,
        _now: Timestamp,
    ) -> Result<(String, Form), SourceError> {
        let (tenant_id, form) = match read(credentials)? {
            Secrets::ClientCredentials { tenant_id, client_id, client_secret } => {
                let form = Form::default()
                    .with("grant_type", "client_credentials")
                    .with("client_id", &client_id)
                    .with("client_secret", client_secret.expose_secret())
                    .with("scope", &format!("{}/.default", resource(&self.hosts.microsoft_graph)));
                (tenant_id, form)
            }
            Secrets::Delegated { tenant_id, client_id, client_secret, refresh_token } => {
                // Without a scope the token has those that were consented to.
                let form = Form::default()
                    .with("grant_type", "refresh_token")
                    .with("client_id", &client_id)
                    .with_some("client_secret", client_secret.as_ref())
                    .with("refresh_token", refresh_token.expose_secret());
                (tenant_id, form)
            }
        };
        Ok((endpoint(&self.hosts, &tenant_id, "token"), form))
    }

    fn meaning(&self, refusal: &Refusal, credentials: &Credentials) -> SourceError {
        let why = reason(refusal);
        let has = |code| refusal.codes.contains(&code);
        let new_secret = |what: &str| SourceError::SignInAgain {
            message: format!("{what}{why}"),
            way_out: "make a new secret for the application at https://entra.microsoft.com (App \
                      registrations, Certificates & secrets) and enter the new secret here"
                .to_owned(),
        };
        if has(7_000_222) {
            return new_secret("the client secret has expired");
        }
        if has(7_000_215) || has(7_000_216) || has(7_000_218) {
            return new_secret("Microsoft refuses the client secret");
        }
        if has(700_025) {
            let message = format!(
                "the application is a public client and must not send a secret{why}: leave \
                 client_secret out"
            );
            return SourceError::Misconfigured { message };
        }
        if let Some(error) = common_meaning(refusal) {
            return error;
        }
        match (refusal.error.as_str(), read(credentials)) {
            ("invalid_client", _) => new_secret("Microsoft refuses the client secret"),
            (
                "unauthorized_client" | "invalid_scope" | "invalid_request" | "invalid_resource",
                _,
            ) => {
                let message = format!(
                    "Microsoft refuses the application{why}: check the tenant, the client id and \
                     the permissions that were granted to it"
                );
                SourceError::Misconfigured { message }
            }
            (_, Ok(Secrets::ClientCredentials { .. })) => SourceError::SignInAgain {
                message: format!("Microsoft refuses the application{why}"),
                way_out: "let an administrator consent to its permissions again, or enter a new \
                              secret"
                    .to_owned(),
            },
            _ => SourceError::SignInAgain {
                message: format!("Microsoft no longer accepts this sign-in{why}"),
                way_out: "sign in again".to_owned(),
            },
        }
    }
}

/// Signing in with Microsoft, by a client of the platform "Mobile and desktop applications"
/// (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>).
#[derive(Debug)]
pub struct WithMicrosoft;

/// Tenants whose people may have personal accounts.
const WITH_PERSONAL_ACCOUNTS: [&str; 2] = ["common", "consumers"];

impl SignIn for WithMicrosoft {
    fn with(&self) -> &'static str {
        "Microsoft"
    }

    /// The portal refuses addresses; for `localhost` any port is accepted
    /// (<https://learn.microsoft.com/entra/identity-platform/reply-url>).
    fn redirect_host(&self) -> &'static str {
        "localhost"
    }

    fn how_to_register(&self) -> &'static str {
        "Catchment signs in through an application of your own with Microsoft:\n  \
         1. Register one: https://entra.microsoft.com (App registrations, New registration)\n  \
         2. Add the platform \"Mobile and desktop applications\" with the address \
         http://localhost/oauth/callback (Authentication)\n  \
         3. To sign in on another device, allow public client flows (Authentication, Settings)\n  \
         4. Copy the \"Application (client) ID\" from its overview"
    }

    fn takes_public_clients(&self) -> bool {
        true
    }

    fn has_tenants(&self) -> bool {
        true
    }

    fn server(&self, client: &Client, hosts: &Hosts) -> Server {
        let tenant = client.tenant.as_deref().unwrap_or(ANY_TENANT);
        let graph = resource(&hosts.microsoft_graph);
        let mut scope = format!("{graph}/Files.Read.All {graph}/User.Read offline_access");
        // Personal accounts have no sites, and cannot agree to it.
        if !WITH_PERSONAL_ACCOUNTS.contains(&tenant) {
            scope.push_str(&format!(" {graph}/Sites.Read.All"));
        }
        Server {
            authorize_url: endpoint(hosts, tenant, "authorize"),
            token_url: endpoint(hosts, tenant, "token"),
            device_url: Some(endpoint(hosts, tenant, "devicecode")),
            scope,
            parameters: &[("prompt", "select_account")],
        }
    }

    fn credentials(&self, client: &Client, refresh_token: &str) -> Map<String, Value> {
        let secret = client.secret.as_ref().map(|secret| secret.expose_secret());
        let all = [
            ("type", Some("delegated")),
            ("tenant_id", Some(client.tenant.as_deref().unwrap_or(ANY_TENANT))),
            ("client_id", Some(&*client.id)),
            ("client_secret", secret),
            ("refresh_token", Some(refresh_token)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
    }
}

/// Whoever has a work or a personal account.
const ANY_TENANT: &str = "common";

/// The address of an endpoint of a tenant.
pub(super) fn endpoint(hosts: &Hosts, tenant: &str, name: &str) -> String {
    let tenant = utf8_percent_encode(tenant, SEGMENT);
    hosts.microsoft_login.url(&format!("/{tenant}/oauth2/v2.0/{name}"))
}

/// What application permissions are asked of: Graph itself, whichever way it is reached through
/// this machine.
fn resource(graph: &Host) -> &str {
    match graph.is_loopback() {
        true => "https://graph.microsoft.com",
        false => graph.as_str(),
    }
}

fn read(credentials: &Credentials) -> Result<Secrets, SourceError> {
    let read = credentials.read();
    read.map_err(|error| SourceError::Misconfigured { message: error.to_string() })
}
