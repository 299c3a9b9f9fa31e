//! `/v1/namespaces`: drawers that keep buckets apart. The oldest one is the default, and stays.

mod hosted;
mod wire;

use axum::{Json, extract::State};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::wire::{
    CreateNamespaceRequest, DeleteNamespaceQuery, DeletedNamespace, Direction,
    ListNamespacesRequest, ListNamespacesResponse, NamespaceFilters, NamespaceListQuery,
    NamespaceListStats, NamespaceModel, NamespaceSort, NamespaceSortField,
    NamespaceStatsBatchRequest, NamespaceStatsBatchResponse, NamespaceStatsResponse,
    PatchNamespaceRequest, PayloadIndexConfig, UpdateNamespaceRequest,
};
use super::{
    App,
    buckets::field_error,
    error::{ApiError, FieldError, JsonResult},
    json::{FromPath, Listing, Patch, Valid, ValidQuery},
    page::{InBody, ListQuery, Page},
};
use crate::{
    model::{FieldPath, NamespaceId},
    store::{
        bucket_deletion, buckets,
        namespaces::{self, Namespace},
        processing::collections,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(search))
        .routes(routes!(stats_of_several))
        .routes(routes!(get, patch, put, delete))
        .routes(routes!(stats))
}

/// Create a namespace
#[utoipa::path(
    post, path = "/v1/namespaces", tag = "namespaces", operation_id = "create_namespace",
    request_body = CreateNamespaceRequest,
    responses((status = 200, body = NamespaceModel))
)]
async fn create(
    State(app): State<App>,
    Valid(body): Valid<CreateNamespaceRequest>,
) -> JsonResult<NamespaceModel> {
    check_indexes(body.payload_indexes.as_deref().unwrap_or_default())?;
    let id = body.namespace_id.map_or_else(NamespaceId::generate, NamespaceId::from_stored);
    let name = body.namespace_name;
    let expires_at = match (body.ttl_seconds, body.expires_at) {
        (Some(seconds), given) => Some(end_of(&app, seconds, given)?),
        (None, given) => given,
    };
    let settings = kept(json!({
        "description": body.description,
        "mode": body.mode,
        "namespace_type": body.namespace_type,
        "scope": body.scope,
        "features": body.features,
        "feature_extractors": body.feature_extractors,
        "vector_configs": body.vector_configs,
        "payload_indexes": body.payload_indexes,
        "auto_create_indexes": body.auto_create_indexes,
        "adaptive_indexing": body.adaptive_indexing,
        "tiering": body.tiering,
        "spend_budget": body.spend_budget,
        "cost_cap_override": body.cost_cap_override,
        "infrastructure": body.infrastructure,
        "trusted_issuers": body.trusted_issuers,
        "pinned": body.pinned,
        "ttl_seconds": body.ttl_seconds,
        "expires_at": expires_at,
    }));
    let (now, wanted) = (app.now(), (id.clone(), name.clone()));
    let made = app
        .engine
        .store
        .write(move |tx| namespaces::insert(tx, &wanted.0, &wanted.1, &settings, now))
        .await?;
    if !made {
        return Err(ApiError::taken("namespace", name));
    }
    found(&app, id.to_string()).await.map(|namespace| Json(namespace.into()))
}

/// List namespaces
#[utoipa::path(
    get, path = "/v1/namespaces", tag = "namespaces", operation_id = "list_namespaces",
    params(ListQuery),
    responses((status = 200, body = ListNamespacesResponse))
)]
async fn list(
    State(app): State<App>,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> JsonResult<ListNamespacesResponse> {
    page_of(&app, query.page()?, ListNamespacesRequest::default()).await
}

/// List namespaces that match
#[utoipa::path(
    post, path = "/v1/namespaces/list", tag = "namespaces", operation_id = "search_namespaces",
    params(ListQuery, NamespaceListQuery),
    request_body = ListNamespacesRequest,
    responses((status = 200, body = ListNamespacesResponse))
)]
async fn search(
    State(app): State<App>,
    query: Listing<NamespaceListQuery>,
    Valid(body): Valid<ListNamespacesRequest>,
) -> JsonResult<ListNamespacesResponse> {
    let in_body = InBody {
        limit: body.limit,
        page_size: body.page_size,
        offset: body.offset,
        page: body.page,
    };
    page_of(&app, query.list.page_with(in_body)?, body).await
}

/// Get a namespace
#[utoipa::path(
    get, path = "/v1/namespaces/{namespace_identifier}", tag = "namespaces",
    operation_id = "get_namespace",
    params(("namespace_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, body = NamespaceModel))
)]
async fn get(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
) -> JsonResult<NamespaceModel> {
    found(&app, named).await.map(|namespace| Json(namespace.into()))
}

/// Change parts of a namespace
#[utoipa::path(
    patch, path = "/v1/namespaces/{namespace_identifier}", tag = "namespaces",
    operation_id = "patch_namespace",
    params(("namespace_identifier" = String, Path, description = "Id or name")),
    request_body = PatchNamespaceRequest,
    responses((status = 200, body = NamespaceModel))
)]
async fn patch(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<PatchNamespaceRequest>,
) -> JsonResult<NamespaceModel> {
    if let Patch::Value(indexes) = &body.payload_indexes {
        check_indexes(indexes)?;
    }
    let (mut ttl, mut end) = (body.ttl_seconds, body.expires_at);
    match &ttl {
        Patch::Value(seconds) => end = Patch::Value(end_of(&app, *seconds, end.value())?),
        Patch::Null if end.is_missing() => end = Patch::Null,
        Patch::Missing if !end.is_missing() => ttl = Patch::Null,
        Patch::Missing | Patch::Null => {}
    }
    change(&app, named, body.namespace_name, move |settings| {
        set(settings, "ttl_seconds", ttl);
        set(settings, "expires_at", end);
        set(settings, "mode", body.mode);
        set(settings, "namespace_type", body.namespace_type);
        set(settings, "scope", body.scope);
        set(settings, "features", body.features);
        set(settings, "vector_configs", body.vector_configs);
        set(settings, "cost_cap_override", body.cost_cap_override);
        set(settings, "infrastructure", body.infrastructure);
        set(settings, "trusted_issuers", body.trusted_issuers);
        set(settings, "description", body.description);
        set(settings, "feature_extractors", body.feature_extractors);
        set(settings, "payload_indexes", body.payload_indexes);
        set(settings, "auto_create_indexes", body.auto_create_indexes);
        set(settings, "adaptive_indexing", body.adaptive_indexing);
        set(settings, "tiering", body.tiering);
        set(settings, "spend_budget", body.spend_budget);
        set(settings, "pinned", body.pinned);
    })
    .await
}

/// Change a namespace
#[utoipa::path(
    put, path = "/v1/namespaces/{namespace_identifier}", tag = "namespaces",
    operation_id = "update_namespace",
    params(("namespace_identifier" = String, Path, description = "Id or name")),
    request_body = UpdateNamespaceRequest,
    responses((status = 200, body = NamespaceModel))
)]
async fn put(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<UpdateNamespaceRequest>,
) -> JsonResult<NamespaceModel> {
    check_indexes(body.payload_indexes.as_deref().unwrap_or_default())?;
    change(&app, named, body.namespace_name, move |settings| {
        set(settings, "payload_indexes", body.payload_indexes.map_or(Patch::Null, Patch::Value));
    })
    .await
}

/// Delete a namespace
///
/// Refused while there are buckets or collections in it, unless these are to go with it. The
/// default one stays.
#[utoipa::path(
    delete, path = "/v1/namespaces/{namespace_identifier}", tag = "namespaces",
    operation_id = "delete_namespace",
    params(
        ("namespace_identifier" = String, Path, description = "Id or name"),
        DeleteNamespaceQuery
    ),
    responses((status = 200, body = DeletedNamespace))
)]
async fn delete(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<DeleteNamespaceQuery>,
) -> JsonResult<DeletedNamespace> {
    let (now, is_forced) = (app.now(), query.force.unwrap_or(false));
    let (namespace, going) = app
        .engine
        .store
        .write(move |tx| {
            let namespace = namespaces::named(tx, &named)?
                .ok_or_else(|| ApiError::not_found("namespace", named))?;
            if namespaces::default(tx)?.key == namespace.key {
                return Err(ApiError::conflict("the default namespace cannot be deleted")
                    .code("default_namespace"));
            }
            if namespace.bucket_count + namespace.collection_count > 0 && !is_forced {
                return Err(not_empty(&namespace));
            }
            for collection in collections::of_namespace(tx, namespace.key)? {
                collections::begin_removal(tx, &collection, now)?;
            }
            let going = buckets::of_namespace(tx, namespace.key)?;
            for bucket in &going {
                bucket_deletion::begin(tx, bucket, now)?;
            }
            namespaces::delete(tx, namespace.key)?;
            Ok((namespace, going))
        })
        .await?;
    super::buckets::delete_in_background(&app, going);
    app.processor.nudge();
    Ok(Json(DeletedNamespace {
        success: true,
        namespace_id: namespace.id.to_string(),
        message: format!("namespace {:?} is deleted", namespace.name),
    }))
}

fn not_empty(namespace: &Namespace) -> ApiError {
    ApiError::conflict(format!(
        "there are {} buckets and {} collections in namespace {:?}: delete these first, or add \
         ?force=true",
        namespace.bucket_count, namespace.collection_count, namespace.name
    ))
    .code("namespace_not_empty")
    .detail("bucket_count", namespace.bucket_count)
    .detail("collection_count", namespace.collection_count)
}

/// Count what is in a namespace
#[utoipa::path(
    get, path = "/v1/namespaces/{namespace_identifier}/stats", tag = "namespaces",
    operation_id = "get_namespace_stats",
    params(("namespace_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, body = NamespaceStatsResponse))
)]
async fn stats(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
) -> JsonResult<NamespaceStatsResponse> {
    found(&app, named).await.map(|namespace| Json((&namespace).into()))
}

/// Count what is in several namespaces
#[utoipa::path(
    post, path = "/v1/namespaces/stats/batch", tag = "namespaces",
    operation_id = "get_namespace_stats_batch",
    request_body = NamespaceStatsBatchRequest,
    responses((status = 200, body = NamespaceStatsBatchResponse))
)]
async fn stats_of_several(
    State(app): State<App>,
    Valid(body): Valid<NamespaceStatsBatchRequest>,
) -> JsonResult<NamespaceStatsBatchResponse> {
    let all = app.engine.store.read(namespaces::all).await?;
    let stats = body.namespace_ids.into_iter().filter_map(|wanted| {
        let namespace =
            all.iter().find(|known| known.id.as_str() == wanted || known.name == wanted)?;
        Some((wanted, namespace.into()))
    });
    Ok(Json(NamespaceStatsBatchResponse { stats: stats.collect() }))
}

async fn found(app: &App, named: String) -> Result<Namespace, ApiError> {
    let wanted = named.clone();
    let found = app.engine.store.read(move |db| namespaces::named(db, &wanted)).await?;
    found.ok_or_else(|| ApiError::not_found("namespace", named))
}

/// Changes name and settings in one transaction, so that two changes at once both stay.
async fn change(
    app: &App,
    named: String,
    name: Option<String>,
    change: impl FnOnce(&mut Map<String, Value>) + Send + 'static,
) -> JsonResult<NamespaceModel> {
    let now = app.now();
    let id = app
        .engine
        .store
        .write(move |tx| {
            let mut namespace = namespaces::named(tx, &named)?
                .ok_or_else(|| ApiError::not_found("namespace", named))?;
            change(&mut namespace.settings);
            let name = name.unwrap_or(namespace.name);
            match namespaces::update(tx, namespace.key, &name, &namespace.settings, now)? {
                true => Ok(namespace.id),
                false => Err(ApiError::taken("namespace", name)),
            }
        })
        .await?;
    found(app, id.to_string()).await.map(|changed| Json(changed.into()))
}

/// Each field once, and each a path.
fn check_indexes(indexes: &[PayloadIndexConfig]) -> Result<(), ApiError> {
    let mut wrong = Vec::new();
    for (index, config) in indexes.iter().enumerate() {
        let (name, place) = (&config.field_name, format!("payload_indexes[{index}].field_name"));
        if let Err(problem) = FieldPath::parse(name) {
            wrong.push(FieldError { field: place, ..field_error(problem) });
        } else if indexes[..index].iter().any(|other| other.field_name == *name) {
            let problem = FieldError::new(place, name.as_str(), "is indexed twice");
            wrong.push(problem.accepting("each field once"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}

/// When so many seconds are over. `given`: the end, where that was sent, too.
fn end_of(app: &App, seconds: u64, given: Option<Timestamp>) -> Result<Timestamp, ApiError> {
    if let Some(given) = given {
        let words = "cannot be combined with ttl_seconds";
        let wrong = FieldError::new("expires_at", given.to_string(), words);
        return Err(ApiError::invalid_field(wrong.accepting("one of the two")));
    }
    let wait = SignedDuration::from_secs(seconds.cast_signed());
    app.now().checked_add(wait).map_err(|error| {
        let wrong = FieldError::new("ttl_seconds", seconds, error.to_string());
        ApiError::invalid_field(wrong.accepting("a time in the future"))
    })
}

/// The fields of an object that are not null.
fn kept(fields: Value) -> Map<String, Value> {
    match fields {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

fn set<T: serde::Serialize>(settings: &mut Map<String, Value>, name: &str, patch: Patch<T>) {
    match patch {
        Patch::Missing => {}
        Patch::Null => {
            settings.remove(name);
        }
        Patch::Value(value) => {
            settings.insert(name.to_owned(), json!(value));
        }
    }
}

/// There are few namespaces: they are chosen and ordered here.
async fn page_of(
    app: &App,
    page: Page,
    wanted: ListNamespacesRequest,
) -> JsonResult<ListNamespacesResponse> {
    let mut rows = app.engine.store.read(namespaces::all).await?;
    let filters = wanted.filters.unwrap_or_default();
    rows.retain(|row| matches(row, &filters, wanted.search.as_deref(), wanted.case_sensitive));
    let sort = wanted
        .sort
        .or_else(|| wanted.sorts.as_ref().and_then(|sorts| sorts.first().copied()))
        .unwrap_or(NamespaceSort { field: NamespaceSortField::CreatedAt, direction: None });
    let is_descending = sort.direction != Some(Direction::Asc);
    let in_order = |a: &(String, i64), b: &(String, i64)| {
        if is_descending { b.cmp(a) } else { a.cmp(b) }
    };
    rows.sort_by(|a, b| in_order(&rank(a, sort.field), &rank(b, sort.field)));

    let stats = summed_up(&rows);
    let total = rows.len() as u64;
    let list = format!("namespaces/{:?}/{is_descending}", sort.field);
    if let Some(behind) = page.place::<(String, i64)>(&list)? {
        rows.retain(|row| in_order(&rank(row, sort.field), &behind).is_gt());
    }
    let mut rows: Vec<_> =
        rows.into_iter().skip(page.offset as usize).take(page.fetch() as usize).collect();
    let pagination = page.finish(&mut rows, Some(total), &list, |row| rank(row, sort.field));
    Ok(Json(ListNamespacesResponse {
        results: rows.into_iter().map(NamespaceModel::from).collect(),
        pagination,
        total_count: total,
        stats,
    }))
}

/// What a namespace is sorted by, with its key as the tie-breaker.
fn rank(row: &Namespace, field: NamespaceSortField) -> (String, i64) {
    // Milliseconds of one width compare as text.
    let time = |at: jiff::Timestamp| format!("{:020}", at.as_millisecond());
    let value = match field {
        NamespaceSortField::CreatedAt => time(row.created_at),
        NamespaceSortField::UpdatedAt => time(row.updated_at),
        NamespaceSortField::NamespaceName => row.name.clone(),
    };
    (value, row.key)
}

fn matches(
    row: &Namespace,
    filters: &NamespaceFilters,
    search: Option<&str>,
    case_sensitive: Option<bool>,
) -> bool {
    let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|w| w == value);
    let has = |text: &str| match (search, case_sensitive) {
        (None, _) => true,
        (Some(wanted), Some(true)) => text.contains(wanted),
        (Some(wanted), _) => text.to_lowercase().contains(&wanted.to_lowercase()),
    };
    let description = row.settings.get("description").and_then(Value::as_str).unwrap_or_default();
    is(&filters.namespace_id, row.id.as_str())
        && is(&filters.namespace_name, &row.name)
        && (has(&row.name) || has(row.id.as_str()) || has(description))
}

fn summed_up(rows: &[Namespace]) -> NamespaceListStats {
    NamespaceListStats {
        total_documents_complete: true,
        total_buckets: rows.iter().map(|row| row.bucket_count).sum(),
        total_objects: rows.iter().map(|row| row.object_count).sum(),
        ..NamespaceListStats::default()
    }
}
