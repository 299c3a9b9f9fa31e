//! `/v1/collections`: which objects go through which extractor. Named by id or by name in the
//! request's namespace.

mod details;
mod failures;
mod response;
mod settings;
mod trigger;
mod try_out;
mod wire;

use axum::{Json, extract::State};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    details::{Details, details_of},
    response::{
        CollectionResponse, CollectionsStats, DeletedCollectionResponse, ExtractorResponse,
        ListCollectionsResponse, ListExtractorsResponse,
    },
    wire::{
        CollectionSearch, CreateCollectionRequest, DeleteCollectionQuery, ListCollectionsRequest,
        PatchCollectionRequest,
    },
};
use super::{
    App,
    buckets::SortDirection,
    error::{ApiError, FieldError, JsonResult},
    json::{FromPath, Listing, Patch, Valid, ValidQuery},
    page::{InBody, ListQuery, Page},
    scope::Scope,
};
use crate::{
    model::CollectionSettings,
    store::{
        events::{self, About, EventKind},
        namespaces,
        processing::{
            batches,
            collections::{self, Collection},
        },
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(search))
        .routes(routes!(extractors))
        .routes(routes!(extractor))
        .routes(routes!(try_out::try_out))
        .routes(routes!(get, patch, delete))
        .routes(routes!(trigger::trigger))
        .routes(routes!(failures::list))
        .routes(routes!(failures::retry))
}

/// The collection of that id or name in the namespace.
pub(super) async fn found(app: &App, scope: &Scope, named: &str) -> Result<Collection, ApiError> {
    let (namespace_key, wanted) = (scope.namespace_key, named.to_owned());
    app.engine
        .store
        .read(move |db| collections::named(db, namespace_key, &wanted))
        .await?
        .ok_or_else(|| ApiError::not_found("collection", named))
}

async fn respond(app: &App, collection: Collection) -> JsonResult {
    let extractors = app.extractors.clone();
    let details = app.engine.store.read(move |db| details_of(db, &extractors, collection)).await?;
    Ok(Json(details.to_json(&app.extractors)))
}

/// Make a collection
#[utoipa::path(
    post, path = "/v1/collections", tag = "collections", operation_id = "create_collection",
    request_body = CreateCollectionRequest,
    responses((status = 200, description = "The collection", body = CollectionResponse))
)]
async fn create(
    State(app): State<App>,
    scope: Scope,
    Valid(body): Valid<CreateCollectionRequest>,
) -> JsonResult {
    settings::refuse_applications(&[
        ("taxonomy_applications", body.taxonomy_applications.as_deref()),
        ("cluster_applications", body.cluster_applications.as_deref()),
        ("alert_applications", body.alert_applications.as_deref()),
        ("retriever_enrichments", body.retriever_enrichments.as_deref()),
    ])?;
    if body.retriever_transform.is_some() || body.embedding_task.is_some() {
        let field =
            if body.embedding_task.is_some() { "embedding_task" } else { "retriever_transform" };
        return Err(ApiError::invalid_field(
            FieldError::new(field, (), "needs retrievers, which there are none of here")
                .accepting(Value::Null),
        ));
    }
    check_name(&body.collection_name)?;
    let (_, extractor) =
        settings::extractor(&app.extractors, body.feature_extractor, body.features.as_deref())?;
    let (sources, source) = settings::source(&app, scope.namespace_key, &body.source).await?;
    let kept = CollectionSettings {
        description: body.description,
        extractor,
        source,
        metadata: body.metadata.unwrap_or_default(),
        schedule: body.schedule.as_ref().map(settings::schedule).transpose()?,
        document_schema: body.document_schema.map(checked_schema).transpose()?,
        schema_validation: body.schema_validation.unwrap_or_default(),
        input_schema: body.input_schema,
    };
    let (name, now) = (body.collection_name, app.now());
    let wanted = name.clone();
    let is_enabled = body.enabled.unwrap_or(true);
    let made = app
        .engine
        .store
        .write(move |tx| {
            let made = collections::insert(
                tx,
                scope.namespace_key,
                &wanted,
                &kept,
                is_enabled,
                &sources,
                now,
            )?;
            if let Some(made) = &made {
                emit(tx, made, "created", now)?;
            }
            Ok::<_, ApiError>(made)
        })
        .await?;
    app.processor.nudge();
    match made {
        Some(made) => respond(&app, made).await,
        None => Err(ApiError::taken("collection", name)),
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if name.trim().is_empty() || name.contains('/') || name.chars().any(char::is_control) {
        return Err(ApiError::invalid_field(
            FieldError::new("collection_name", name, "cannot be the name of a collection")
                .accepting("3 to 100 characters without slashes and control characters"),
        ));
    }
    Ok(())
}

fn checked_schema(schema: Value) -> Result<Value, ApiError> {
    match jsonschema::validator_for(&schema) {
        Ok(_) => Ok(schema),
        Err(error) => Err(ApiError::invalid_field(
            FieldError::new("document_schema", schema, format!("is no JSON Schema: {error}"))
                .accepting("a JSON Schema"),
        )),
    }
}

fn emit(
    tx: &crate::store::Transaction<'_>,
    collection: &Collection,
    what: &str,
    now: jiff::Timestamp,
) -> crate::store::Result<()> {
    let detail = json!({"collection_id": collection.id, "name": collection.name, "change": what});
    events::append(tx, EventKind::CollectionChanged, About::default(), &detail, now)
}

/// Show a collection
#[utoipa::path(
    get, path = "/v1/collections/{collection_identifier}", tag = "collections",
    operation_id = "get_collection",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The collection", body = CollectionResponse))
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
) -> JsonResult {
    let collection = found(&app, &scope, &named).await?;
    respond(&app, collection).await
}

/// Change parts of a collection
///
/// Another extractor, version or parameters make what is there outdated, and rerun nothing.
#[utoipa::path(
    patch, path = "/v1/collections/{collection_identifier}", tag = "collections",
    operation_id = "patch_collection",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = PatchCollectionRequest,
    responses((status = 200, description = "The collection", body = CollectionResponse))
)]
async fn patch(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<PatchCollectionRequest>,
) -> JsonResult {
    settings::refuse_applications(&[
        ("taxonomy_applications", body.taxonomy_applications.as_deref()),
        ("cluster_applications", body.cluster_applications.as_deref()),
        ("alert_applications", body.alert_applications.as_deref()),
        ("retriever_enrichments", body.retriever_enrichments.as_deref()),
    ])?;
    let collection = found(&app, &scope, &named).await?;
    let mut kept = collection.settings.clone();
    body.description.apply(&mut kept.description);
    match body.metadata {
        Patch::Missing => {}
        Patch::Null => kept.metadata.clear(),
        Patch::Value(metadata) => kept.metadata = metadata,
    }
    match body.schedule {
        Patch::Missing => {}
        Patch::Null => kept.schedule = None,
        Patch::Value(config) => kept.schedule = Some(settings::schedule(&config)?),
    }
    match body.document_schema {
        Patch::Missing => {}
        Patch::Null => kept.document_schema = None,
        Patch::Value(schema) => kept.document_schema = Some(checked_schema(schema)?),
    }
    kept.schema_validation = body.schema_validation.unwrap_or(kept.schema_validation);
    let changes_work = body.feature_extractor.is_some() || !body.source_filters.is_missing();
    if let Some(config) = body.feature_extractor {
        kept.extractor = settings::extractor(&app.extractors, Some(config), None)?.1;
    }
    match body.source_filters {
        Patch::Missing => {}
        Patch::Null => (kept.source.filter, kept.source.source_filters) = (None, None),
        Patch::Value(given) => {
            let (filter, raw) = settings::source_filter(&given)?;
            kept.source.filter = Some(filter);
            kept.source.source_filters = Some(json!(raw));
        }
    }
    let name = body.collection_name.unwrap_or_else(|| collection.name.clone());
    check_name(&name)?;
    let (wanted, now) = (name.clone(), app.now());
    let is_enabled = body.enabled.unwrap_or(collection.is_enabled);
    let (namespace_key, id) = (scope.namespace_key, collection.id.to_string());
    let changed = app
        .engine
        .store
        .write(move |tx| {
            if changes_work && batches::runs_for(tx, collection.key)? {
                return Err(busy("its settings can change once that has ended"));
            }
            if is_enabled && collections::sources(tx, collection.key)?.is_empty() {
                return Err(ApiError::conflict(
                    "what it took from is gone: make another collection",
                ));
            }
            if !collections::update(tx, &collection, &wanted, &kept, is_enabled, now)? {
                return Err(ApiError::taken("collection", &wanted));
            }
            emit(tx, &collection, "updated", now)?;
            Ok::<_, ApiError>(collections::named(tx, namespace_key, &id)?)
        })
        .await?;
    app.processor.nudge();
    match changed {
        Some(changed) => respond(&app, changed).await,
        None => Err(ApiError::not_found("collection", named)),
    }
}

fn busy(what: &str) -> ApiError {
    ApiError::conflict(format!("a batch of this collection is under way: {what}"))
        .code("batch_runs")
}

/// Delete a collection with its documents
#[utoipa::path(
    delete, path = "/v1/collections/{collection_identifier}", tag = "collections",
    operation_id = "delete_collection",
    params(("collection_identifier" = String, Path, description = "Id or name"), DeleteCollectionQuery),
    responses((status = 200, description = "It is gone", body = DeletedCollectionResponse))
)]
async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<DeleteCollectionQuery>,
) -> JsonResult {
    let collection = found(&app, &scope, &named).await?;
    let (now, is_forced) = (app.now(), query.force.unwrap_or(false));
    let id = collection.id.to_string();
    app.engine
        .store
        .write(move |tx| {
            if !is_forced && batches::runs_for(tx, collection.key)? {
                return Err(busy("wait for its end, cancel it, or add ?force=true"));
            }
            collections::begin_removal(tx, &collection, now)?;
            emit(tx, &collection, "deleted", now)?;
            Ok::<_, ApiError>(())
        })
        .await?;
    app.processor.nudge();
    Ok(Json(json!(DeletedCollectionResponse {
        message: "Successfully deleted",
        success: true,
        collection_id: id,
    })))
}

/// List collections
#[utoipa::path(
    get, path = "/v1/collections", tag = "collections", operation_id = "list_collections_get",
    params(ListQuery, CollectionSearch),
    responses((status = 200, description = "Collections", body = ListCollectionsResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    query: Listing<CollectionSearch>,
) -> JsonResult {
    let wanted = ListCollectionsRequest { search: query.more.search, ..Default::default() };
    let namespace_key = match query.more.namespace_id {
        None => scope.namespace_key,
        Some(name) => {
            let wanted = name.clone();
            let found = app.engine.store.read(move |db| namespaces::named(db, &wanted)).await?;
            found.ok_or_else(|| ApiError::not_found("namespace", name))?.key
        }
    };
    page_of(&app, namespace_key, query.list.page()?, wanted).await
}

/// List collections that match
#[utoipa::path(
    post, path = "/v1/collections/list", tag = "collections", operation_id = "list_collections",
    params(ListQuery),
    request_body = ListCollectionsRequest,
    responses((status = 200, description = "Collections", body = ListCollectionsResponse))
)]
async fn search(
    State(app): State<App>,
    scope: Scope,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListCollectionsRequest>,
) -> JsonResult {
    let in_body = InBody {
        limit: body.limit,
        page_size: body.page_size,
        offset: body.offset,
        page: body.page,
    };
    page_of(&app, scope.namespace_key, query.page_with(in_body)?, body).await
}

/// There are few collections: they are chosen and ordered here.
async fn page_of(
    app: &App,
    namespace_key: i64,
    page: Page,
    wanted: ListCollectionsRequest,
) -> JsonResult {
    let extractors = app.extractors.clone();
    let mut rows = app
        .engine
        .store
        .read(move |db| {
            collections::of_namespace(db, namespace_key)?
                .into_iter()
                .map(|collection| details_of(db, &extractors, collection))
                .collect::<crate::store::Result<Vec<Details>>>()
        })
        .await?;
    rows.retain(|row| matches(&row.collection, &row.to_json(&app.extractors), &wanted));
    let sort = wanted.sorts.as_ref().and_then(|sorts| sorts.first()).or(wanted.sort.as_ref());
    let field = sort.map_or("created_at", |sort| sort.field.as_str()).to_owned();
    let is_ascending = sort.is_some_and(|sort| sort.direction != Some(SortDirection::Desc));
    rows.sort_by_key(|row| rank(&row.collection, &field));
    if !is_ascending {
        rows.reverse();
    }
    let total = rows.len() as u64;
    let documents: u64 = rows.iter().map(|row| row.collection.document_count).sum();
    let list = format!("collections/{field}/{is_ascending}");
    if let Some((rank_behind, key)) = page.place::<(String, i64)>(&list)? {
        let behind = (rank_behind, key);
        rows.retain(|row| match is_ascending {
            true => rank(&row.collection, &field) > behind,
            false => rank(&row.collection, &field) < behind,
        });
    }
    let mut rows: Vec<Details> = rows
        .into_iter()
        .skip(usize::try_from(page.offset).unwrap_or(usize::MAX))
        .take(page.limit as usize + 1)
        .collect();
    let pagination =
        page.finish(&mut rows, Some(total), &list, |row| rank(&row.collection, &field));
    #[expect(clippy::cast_precision_loss, reason = "an average needs no 53 bits")]
    let average = if total == 0 { 0.0 } else { documents as f64 / total as f64 };
    Ok(Json(json!(ListCollectionsResponse {
        results: rows.iter().map(|row| row.to_json(&app.extractors)).collect(),
        pagination,
        total_count: total,
        stats: CollectionsStats {
            total_documents: documents,
            avg_documents_per_collection: average,
            collections_with_taxonomies: 0,
            total_feature_extractors: total,
            total_taxonomies: 0,
            total_retrievers: 0,
        },
        warnings: Vec::new(),
    })))
}

fn rank(collection: &Collection, field: &str) -> (String, i64) {
    let text = match field {
        "collection_name" => collection.name.clone(),
        "updated_at" => format!("{:020}", collection.updated_at.as_millisecond()),
        "document_count" => format!("{:020}", collection.document_count),
        _ => format!("{:020}", collection.created_at.as_millisecond()),
    };
    (text, collection.key)
}

fn matches(collection: &Collection, response: &Value, wanted: &ListCollectionsRequest) -> bool {
    let is_exact = wanted.case_sensitive.unwrap_or(false);
    let fold = |text: &str| if is_exact { text.to_owned() } else { text.to_lowercase() };
    let is_found = wanted.search.as_ref().is_none_or(|search| {
        let description = collection.settings.description.as_deref().unwrap_or_default();
        [collection.name.as_str(), description, collection.id.as_str()]
            .iter()
            .any(|text| fold(text).contains(&fold(search)))
    });
    let filters = wanted.filters.iter().flatten();
    is_found
        && filters.into_iter().all(|(field, value)| {
            let place = match field.as_str() {
                "feature_extractor_name" => "/feature_extractor/feature_extractor_name".to_owned(),
                "bucket_id" => {
                    return response["source"]["bucket_ids"]
                        .as_array()
                        .is_some_and(|ids| ids.contains(value));
                }
                other => format!("/{}", other.replace('.', "/")),
            };
            response.pointer(&place) == Some(value)
        })
}

/// List the extractors that are here
#[utoipa::path(
    get, path = "/v1/collections/features/extractors", tag = "collections",
    operation_id = "list_feature_extractors",
    responses((status = 200, description = "Extractors", body = ListExtractorsResponse))
)]
async fn extractors(State(app): State<App>) -> JsonResult {
    let results = app
        .extractors
        .all()
        .iter()
        .map(|extractor| details::extractor_listed(extractor))
        .collect::<Vec<_>>();
    // Why not is for whoever can read the files: they name programs and addresses.
    let unusable: Vec<String> = app.extractors.unusable().into_iter().map(|it| it.name).collect();
    let total = results.len() as u64;
    Ok(Json(json!(ListExtractorsResponse { results, total, unusable })))
}

/// Show an extractor
#[utoipa::path(
    get, path = "/v1/collections/features/extractors/{feature_extractor_id}", tag = "collections",
    operation_id = "get_feature_extractor",
    params(("feature_extractor_id" = String, Path, description = "Name, or name and version")),
    responses((status = 200, description = "The extractor", body = ExtractorResponse))
)]
async fn extractor(State(app): State<App>, FromPath(named): FromPath<String>) -> JsonResult {
    app.extractors
        .all()
        .into_iter()
        .find(|known| known.name == named || format!("{}_{}", known.name, known.version) == named)
        .ok_or_else(|| ApiError::not_found("extractor", &named))
        .map(|extractor| Json(json!(details::extractor_listed(&extractor))))
}
