//! Sign-ins on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::pending::{Connected, Shown, Started};
use crate::api::connections::StorageProvider;

/// What to sign in to, and by which client of yours.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInRequest {
    /// Where the connection leads.
    pub provider_type: StorageProvider,
    /// What to call the connection, unique; by default after whom one signs in with.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// The connection that is to get a new sign-in, by id or name, instead of a new connection.
    pub connection_id: Option<String>,
    /// The id of your client; by default that of the connection that is renewed.
    #[schema(min_length = 1, max_length = 1000)]
    pub client_id: Option<String>,
    /// Its secret, unless it is a public client.
    #[schema(format = Password, min_length = 1, max_length = 1000)]
    pub client_secret: Option<String>,
    /// Microsoft: the tenant, or `common`, `organizations` or `consumers`; `common` by default.
    #[schema(max_length = 200)]
    pub tenant_id: Option<String>,
    /// Settings of the connection, without credentials.
    pub provider_config: Option<Map<String, Value>>,
    /// Sign in on another device, by a code.
    pub device: Option<bool>,
}

/// A sign-in that waits for a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignInStarted {
    pub sign_in_id: String,
    /// Where the person signs in; null on another device.
    pub authorize_url: Option<String>,
    /// Where the provider sends the browser back to; null on another device.
    pub redirect_uri: Option<String>,
    /// Where to enter the code on another device.
    pub verification_url: Option<String>,
    /// The code to enter there.
    pub user_code: Option<String>,
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
}

impl SignInStarted {
    pub(super) fn of(started: &Started) -> Self {
        Self {
            sign_in_id: started.id.clone(),
            authorize_url: started.authorize_url.clone(),
            redirect_uri: started.redirect_uri.clone(),
            verification_url: started.verification_url.clone(),
            user_code: started.user_code.clone(),
            expires_at: started.expires_at,
        }
    }
}

/// How a sign-in stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SignInStatus {
    /// For the person.
    Waiting,
    /// The connection is made, or renewed.
    Done,
    /// `error` says why.
    Failed,
    /// Nobody signed in in time.
    Expired,
}

/// A sign-in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignInModel {
    pub sign_in_id: String,
    pub status: SignInStatus,
    /// Why it failed, in the provider's words; of one that is done, why the connection does not
    /// work.
    pub error: Option<String>,
    /// The connection that came of it.
    pub connection_id: Option<String>,
}

impl SignInModel {
    pub(super) fn of(id: &str, shown: Shown) -> Self {
        let (status, error, connection_id) = match shown {
            Shown::Waiting => (SignInStatus::Waiting, None, None),
            Shown::Done(Connected { id, problem }) => {
                (SignInStatus::Done, problem, Some(id.to_string()))
            }
            Shown::Failed(why) => (SignInStatus::Failed, Some(why), None),
            Shown::Expired => (SignInStatus::Expired, None, None),
        };
        Self { sign_in_id: id.to_owned(), status, error, connection_id }
    }
}

/// Where a browser on another computer ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInAnswerRequest {
    /// The whole address.
    #[schema(format = Password, min_length = 1, max_length = 16384)]
    pub url: String,
}
