//! `/v1/sign-ins` and `/oauth/callback`: people sign in to a provider, and a connection comes of
//! it. Ours, beyond the public API.
//!
//! - [`pending`]: the sign-ins that are under way, in memory only
//! - [`returned`]: what a browser brings back
//! - [`callback`]: where the provider sends the browser back to
//!
//! What does not live here: what a provider is asked (`sources::oauth`). No code, token or secret
//! is in any log, response, address of ours or event.

pub mod callback;
pub mod pending;
pub mod returned;
mod wire;

use axum::{Json, extract::State};
use secrecy::SecretString;
use serde_json::{Map, Value};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    pending::{Target, Way},
    returned::Returned,
    wire::{SignInAnswerRequest, SignInModel, SignInRequest, SignInStarted},
};
use super::{
    App,
    base::Base,
    connections::{invalid, usable},
    error::{ApiError, FieldError, JsonResult},
    json::{FromPath, Valid},
};
use crate::{
    engine::connections::NewName,
    model::ProviderName,
    sources::{
        self,
        oauth::sign_in::{Client, SignIn, SignInError},
    },
    store::connections::{self, StoredConnection},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(start)).routes(routes!(get)).routes(routes!(answer))
}

/// Sign in to a provider
///
/// The person opens `authorize_url`, signs in and agrees; the provider sends the browser back here,
/// and the connection is made, or the one that `connection_id` names is renewed. With `device` the
/// person enters `user_code` on any other device instead.
#[utoipa::path(
    post, path = "/v1/sign-ins", tag = "sign_ins", operation_id = "start_sign_in",
    request_body = SignInRequest,
    responses((status = 200, body = SignInStarted))
)]
async fn start(
    State(app): State<App>,
    base: Base,
    Valid(body): Valid<SignInRequest>,
) -> JsonResult<SignInStarted> {
    let provider = body.provider_type.0.clone();
    let with = sign_in_of(&provider)?;
    let renewed = match &body.connection_id {
        Some(named) => Some(renewable(&app, named, &provider).await?),
        None => None,
    };
    let stored = match &renewed {
        Some(connection) => stored_credentials(&app, connection).await?,
        None => Map::new(),
    };
    let client = client(&body, with, &stored)?;
    let target = target(&app, &body, with, &client, renewed).await?;
    let way = match body.device {
        Some(true) => Way::Device,
        _ => Way::Browser { port: base.port().unwrap_or(app.config.serve.listen.port()) },
    };
    let back_to = base.url("");
    let started = app
        .sign_ins
        .start(&app.engine, with, client, target, way, back_to)
        .await
        .map_err(refused)?;
    Ok(Json(SignInStarted::of(&started)))
}

/// How a sign-in stands
#[utoipa::path(
    get, path = "/v1/sign-ins/{sign_in_id}", tag = "sign_ins", operation_id = "get_sign_in",
    params(("sign_in_id" = String, Path, description = "Id")),
    responses((status = 200, body = SignInModel))
)]
async fn get(State(app): State<App>, FromPath(id): FromPath<String>) -> JsonResult<SignInModel> {
    respond(&app, &id)
}

/// Hand in the address at which the browser ended
///
/// For a browser on another computer, which cannot reach this one: the person copies the address
/// that it shows in the end, whether a page came or not.
#[utoipa::path(
    post, path = "/v1/sign-ins/{sign_in_id}/answer", tag = "sign_ins",
    operation_id = "answer_sign_in",
    params(("sign_in_id" = String, Path, description = "Id")),
    request_body = SignInAnswerRequest,
    responses((status = 200, body = SignInModel))
)]
async fn answer(
    State(app): State<App>,
    FromPath(id): FromPath<String>,
    Valid(body): Valid<SignInAnswerRequest>,
) -> JsonResult<SignInModel> {
    drop(respond(&app, &id)?);
    let not_it = |message: &str| {
        let accepted = "the whole address that the browser shows after signing in: \
                        http://…/oauth/callback?state=…&code=…";
        Err(ApiError::invalid_field(FieldError::secret("url", message).accepting(accepted)))
    };
    let Some((_, query)) = body.url.trim().split_once('?') else {
        return not_it("this address has nothing behind a question mark");
    };
    let query = query.split('#').next().unwrap_or_default();
    let Some(returned) = Returned::of(query) else {
        return not_it("this is not an address at which a sign-in ends");
    };
    if !app.sign_ins.is_of(&id, &returned) {
        return not_it("this address belongs to another sign-in, or was used already");
    }
    callback::finish(&app.sign_ins, &app.engine, returned).await;
    app.scheduler.nudge();
    respond(&app, &id)
}

fn respond(app: &App, id: &str) -> JsonResult<SignInModel> {
    let standing = app.sign_ins.standing(id, app.now());
    let standing = standing.ok_or_else(|| ApiError::not_found("sign-in", id))?;
    Ok(Json(SignInModel::of(id, standing)))
}

/// How people sign in to a provider.
fn sign_in_of(provider: &ProviderName) -> Result<&'static dyn SignIn, ApiError> {
    let found = sources::registry::provider(provider).and_then(|found| found.sign_in());
    found.ok_or_else(|| {
        let able = sources::providers().filter(|provider| provider.sign_in().is_some());
        let able: Vec<&str> = able.map(|provider| provider.name()).collect();
        let message = "nobody signs in to this provider: make a connection with its credentials";
        ApiError::invalid_field(
            FieldError::new("provider_type", provider.as_str(), message).accepting(able),
        )
    })
}

/// A connection whose sign-in can be renewed.
async fn renewable(
    app: &App,
    named: &str,
    provider: &ProviderName,
) -> Result<StoredConnection, ApiError> {
    let connection = usable(app, named).await?;
    if connection.settings.provider != *provider {
        let message = format!("this is a connection to {}", connection.provider);
        return Err(ApiError::invalid_field(
            FieldError::new("connection_id", named, message)
                .accepting(format!("a connection to {provider}")),
        ));
    }
    Ok(connection)
}

/// The credentials that a connection has now; none where they cannot be opened any more, which is a
/// reason to sign in again.
async fn stored_credentials(
    app: &App,
    connection: &StoredConnection,
) -> Result<Map<String, Value>, ApiError> {
    match app.engine.vault.credentials(connection.key).await {
        Ok(credentials) => {
            Ok(credentials.and_then(|credentials| credentials.read().ok()).unwrap_or_default())
        }
        Err(crate::secrets::SecretsError::Store(error)) => Err(error.into()),
        Err(_) => Ok(Map::new()),
    }
}

/// The client to sign in with: what was sent, else that of the connection that is renewed.
fn client(
    body: &SignInRequest,
    with: &'static dyn SignIn,
    stored: &Map<String, Value>,
) -> Result<Client, ApiError> {
    let own = |name: &str| stored.get(name).and_then(Value::as_str).map(str::to_owned);
    let missing = |field: &str, message: String| {
        Err(ApiError::invalid_field(FieldError::secret(field, message).of_kind("missing")))
    };
    let Some(id) = body.client_id.clone().or_else(|| own("client_id")) else {
        return missing("client_id", format!("the id of your client with {}", with.with()));
    };
    if body.tenant_id.is_some() && !with.has_tenants() {
        let message = format!("{} has no tenants", with.with());
        return Err(ApiError::invalid_field(
            FieldError::new("tenant_id", body.tenant_id.as_deref(), message).accepting("nothing"),
        ));
    }
    // A stored secret belongs to the stored client.
    let is_stored = own("client_id").as_deref() == Some(&id);
    let stored_secret = || own("client_secret").filter(|_| is_stored).map(SecretString::from);
    let secret = body.client_secret.clone().map(SecretString::from).or_else(stored_secret);
    if secret.is_none() && !with.takes_public_clients() {
        return missing("client_secret", format!("the secret of your client with {}", with.with()));
    }
    let tenant = body.tenant_id.clone().or_else(|| own("tenant_id").filter(|_| is_stored));
    Ok(Client { id, secret, tenant: tenant.filter(|tenant| !tenant.is_empty()) })
}

/// What is to come of the sign-in; what can be checked now is checked now.
async fn target(
    app: &App,
    body: &SignInRequest,
    with: &'static dyn SignIn,
    client: &Client,
    renewed: Option<StoredConnection>,
) -> Result<Target, ApiError> {
    let config = body.provider_config.clone().unwrap_or_default();
    if config.contains_key("credentials") {
        let message = "the sign-in makes the credentials";
        return Err(ApiError::invalid_field(
            FieldError::secret("provider_config.credentials", message).accepting("nothing"),
        ));
    }
    let target = match renewed {
        Some(connection) => Target::Renewed { connection: Box::new(connection), config },
        None => {
            let provider = body.provider_type.0.clone();
            let name = match &body.name {
                Some(name) => NewName::Exactly(name.clone()),
                None => NewName::Like(with.with().to_owned()),
            };
            Target::New { provider, name, config }
        }
    };
    target.accept(with.credentials(client, "a refresh token")).map_err(invalid)?;
    if let Some(name) = body.name.clone().filter(|_| body.connection_id.is_none()) {
        let wanted = name.clone();
        let found = app.engine.store.read(move |db| connections::named(db, &wanted)).await?;
        if found.is_some() {
            return Err(ApiError::taken("connection", name));
        }
    }
    Ok(target)
}

fn refused(error: SignInError) -> ApiError {
    match error {
        SignInError::Refused(_) | SignInError::NotLasting(_) | SignInError::NotGranted { .. } => {
            ApiError::invalid_field(
                FieldError::secret("client_id", error.to_string())
                    .accepting("a client that may ask"),
            )
        }
        SignInError::Failed(_) => ApiError::conflict(error.to_string()).code("sign_in_failed"),
    }
}
