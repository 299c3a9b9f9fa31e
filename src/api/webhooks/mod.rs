//! `/v1/organizations/webhooks`: who is notified of what happened. What is sent, and how, is in
//! [`crate::webhooks`].

mod channels;
mod wire;

use axum::{Json, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    channels::{After, Before},
    wire::{ListWebhooksRequest, ListWebhooksResponse, WebhookInput, WebhookOutput},
};
use super::{
    App,
    error::{ApiError, FieldError, JsonResult},
    json::{FromPath, Valid, ValidQuery},
    page::ListQuery,
};
use crate::{
    model::{ChannelSecrets, Credentials, EVENT_TYPES},
    store::{
        StoreError, secrets,
        webhooks::{self, ChannelSettings, Webhook, WebhookSettings},
    },
};

/// The most webhooks there may be: each reads the log for itself.
const MOST: usize = 100;
/// How often a request is tried again because keys were exchanged meanwhile.
const ATTEMPTS: usize = 3;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(list))
        .routes(routes!(get, update, delete))
}

/// Make a webhook
///
/// It is notified of what happens from now on. Deliveries are POSTs of
/// `{event_id, event_type, created_at, namespace_id, data}`; a signing secret adds
/// `X-Mixpeek-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>." and the body>`.
#[utoipa::path(
    post, path = "/v1/organizations/webhooks", tag = "webhooks",
    operation_id = "create_webhook_organizations",
    request_body = WebhookInput,
    responses((status = 200, body = WebhookOutput))
)]
async fn create(
    State(app): State<App>,
    Valid(body): Valid<WebhookInput>,
) -> JsonResult<WebhookOutput> {
    let id = new_id()?;
    let mut body = body;
    check_types(&body.event_types)?;
    let channels = channels::checked(std::mem::take(&mut body.channels), Vec::new())?;
    for _ in 1..ATTEMPTS {
        match insert(&app, &id, &body, channels.clone()).await {
            Err(Refusal::Store(StoreError::KeyRotated)) => {}
            outcome => return respond(&app, &id, outcome).await,
        }
    }
    let outcome = insert(&app, &id, &body, channels).await;
    respond(&app, &id, outcome).await
}

async fn insert(
    app: &App,
    id: &str,
    body: &WebhookInput,
    channels: Vec<After>,
) -> Result<(), Refusal> {
    let (wanted, now) = (wanted(app, id, body, channels).await?, app.now());
    app.engine
        .store
        .write(move |tx| {
            if webhooks::count(tx)? >= MOST {
                return Err(Refusal::Api(
                    ApiError::conflict(format!(
                        "there are {MOST} webhooks, which is the most: delete one first"
                    ))
                    .code("too_many"),
                ));
            }
            Ok(webhooks::insert(tx, &wanted, now)?)
        })
        .await
}

/// Why a webhook is not written.
#[derive(Debug)]
enum Refusal {
    Store(StoreError),
    Api(ApiError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => error.into(),
            Refusal::Api(error) => error,
        }
    }
}

async fn respond(app: &App, id: &str, outcome: Result<(), Refusal>) -> JsonResult<WebhookOutput> {
    outcome?;
    Ok(Json(found(app, id).await?.into()))
}

async fn found(app: &App, id: &str) -> Result<Webhook, ApiError> {
    let wanted = id.to_owned();
    let found = app.engine.store.read(move |db| webhooks::by_id(db, &wanted)).await?;
    found.ok_or_else(|| ApiError::not_found("webhook", id))
}

fn new_id() -> Result<String, ApiError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(ApiError::internal)?;
    Ok(format!("wh_{:016x}", u64::from_be_bytes(bytes)))
}

fn check_types(types: &[String]) -> Result<(), ApiError> {
    let wrong = types.iter().position(|name| !EVENT_TYPES.contains(&name.as_str()));
    match wrong {
        None => Ok(()),
        Some(index) => Err(ApiError::invalid_field(
            FieldError::new(
                format!("event_types[{index}]"),
                types[index].as_str(),
                "is no type of event",
            )
            .accepting(EVENT_TYPES.to_vec()),
        )),
    }
}

/// What is written of a request, with its secrets sealed.
async fn wanted(
    app: &App,
    id: &str,
    body: &WebhookInput,
    channels: Vec<After>,
) -> Result<WebhookSettings, ApiError> {
    let mut sealed = Vec::new();
    for After { key, channel, secrets } in channels {
        let envelope = match channel.has_secrets() {
            false => None,
            true => {
                let json = serde_json::to_string(&secrets).map_err(ApiError::internal)?;
                let secrets = Credentials::from_json(json);
                let sealed = app.engine.vault.seal_for(id, &secrets).await;
                Some(sealed.map_err(ApiError::internal)?)
            }
        };
        sealed.push(ChannelSettings { key, channel, sealed: envelope });
    }
    Ok(WebhookSettings {
        id: id.to_owned(),
        name: body.webhook_name.clone(),
        event_types: body.event_types.clone(),
        resource_types: body.resource_types.clone(),
        is_active: body.is_active.unwrap_or(true),
        channels: sealed,
    })
}

/// Get a webhook
#[utoipa::path(
    get, path = "/v1/organizations/webhooks/{identifier}", tag = "webhooks",
    operation_id = "get_webhook_organizations",
    params(("identifier" = String, Path, description = "Id")),
    responses((status = 200, body = WebhookOutput))
)]
async fn get(State(app): State<App>, FromPath(id): FromPath<String>) -> JsonResult<WebhookOutput> {
    Ok(Json(found(&app, &id).await?.into()))
}

/// Change a webhook
///
/// It becomes what the body says; secrets that are left out, or are the word `redacted`, stay.
#[utoipa::path(
    put, path = "/v1/organizations/webhooks/{identifier}", tag = "webhooks",
    operation_id = "update_webhook_organizations",
    params(("identifier" = String, Path, description = "Id")),
    request_body = WebhookInput,
    responses((status = 200, body = WebhookOutput))
)]
async fn update(
    State(app): State<App>,
    FromPath(id): FromPath<String>,
    Valid(body): Valid<WebhookInput>,
) -> JsonResult<WebhookOutput> {
    let mut body = body;
    check_types(&body.event_types)?;
    let before = found(&app, &id).await?;
    let kept = opened(&app, &before).await?;
    let channels = channels::checked(std::mem::take(&mut body.channels), kept)?;
    for _ in 1..ATTEMPTS {
        match replace(&app, &body, &before, channels.clone()).await {
            Err(Refusal::Store(StoreError::KeyRotated)) => {}
            outcome => return respond(&app, &id, outcome).await,
        }
    }
    let outcome = replace(&app, &body, &before, channels).await;
    respond(&app, &id, outcome).await
}

async fn replace(
    app: &App,
    body: &WebhookInput,
    before: &Webhook,
    channels: Vec<After>,
) -> Result<(), Refusal> {
    let (wanted, now) = (wanted(app, &before.id, body, channels).await?, app.now());
    app.engine
        .store
        .write(move |tx| {
            // It may have changed since it was read.
            let before = webhooks::by_id(tx, &wanted.id)?
                .ok_or_else(|| ApiError::not_found("webhook", &wanted.id))?;
            Ok::<_, Refusal>(webhooks::update(tx, &before, &wanted, now)?)
        })
        .await
}

/// The channels of a webhook with their secrets. Those that cannot be opened are to be entered
/// again.
async fn opened(app: &App, webhook: &Webhook) -> Result<Vec<Before>, ApiError> {
    let mut channels = Vec::new();
    for stored in &webhook.channels {
        let key = stored.key;
        let kept = app.engine.store.read(move |db| secrets::of_channel_key(db, key)).await?;
        let secrets = match kept {
            None => None,
            Some(kept) => match app.engine.vault.open(&kept).await {
                Ok(secrets) => secrets.read::<ChannelSecrets>().ok(),
                Err(error) => {
                    tracing::warn!(webhook = webhook.id, %error, "its secrets cannot be opened");
                    None
                }
            },
        };
        channels.push(Before {
            key,
            channel: stored.channel.clone(),
            secrets: secrets.unwrap_or_default(),
        });
    }
    Ok(channels)
}

/// Delete a webhook
#[utoipa::path(
    delete, path = "/v1/organizations/webhooks/{identifier}", tag = "webhooks",
    operation_id = "delete_webhook_organizations",
    params(("identifier" = String, Path, description = "Id")),
    responses((status = 204, description = "It is gone, or was not there"))
)]
async fn delete(
    State(app): State<App>,
    FromPath(id): FromPath<String>,
) -> Result<StatusCode, ApiError> {
    app.engine.store.write(move |tx| webhooks::remove(tx, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List webhooks
#[utoipa::path(
    post, path = "/v1/organizations/webhooks/list", tag = "webhooks",
    operation_id = "list_webhooks_organizations",
    params(ListQuery),
    request_body = ListWebhooksRequest,
    responses((status = 200, body = ListWebhooksResponse))
)]
async fn list(
    State(app): State<App>,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListWebhooksRequest>,
) -> JsonResult<ListWebhooksResponse> {
    const LIST: &str = "webhooks";
    let page = query.page()?;
    let behind = page.place::<i64>(LIST)?;
    let all = app.engine.store.read(webhooks::all).await?;
    // There are few: they are chosen here.
    let mut rows: Vec<(i64, WebhookOutput)> =
        all.into_iter().map(|webhook| (webhook.key, webhook.into())).collect();
    rows.retain(|(_, row)| {
        body.is_active.is_none_or(|wanted| row.is_active == wanted)
            && body.event_type.as_ref().is_none_or(|wanted| row.event_types.contains(wanted))
    });
    let total = rows.len() as u64;
    rows.retain(|(key, _)| behind.is_none_or(|behind| *key < behind));
    let mut rows = rows
        .into_iter()
        .skip(usize::try_from(page.offset).unwrap_or(usize::MAX))
        .take(page.fetch() as usize)
        .collect();
    let pagination = page.finish(&mut rows, Some(total), LIST, |(key, _)| *key);
    let results = rows.into_iter().map(|(_, row)| row).collect();
    Ok(Json(ListWebhooksResponse { results, pagination, total }))
}
