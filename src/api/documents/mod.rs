//! `/v1/collections/{collection}/documents`: what extractors made, and what people wrote.

mod change;
mod details;
mod wire;

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    details::{Details, DistinctValueResponse, View, details_of, found},
    wire::{DistinctValuesRequest, DocumentsQuery, GetDocumentQuery, ListDocumentsRequest},
};
use super::{
    App,
    base::Base,
    buckets::{SortDirection, field_error},
    collections,
    content::{self, Shown},
    error::{ApiError, FieldError, JsonResult},
    filters::{self, LogicalOperatorInput, SortOption},
    json::{FromPath, Listing, Valid, ValidQuery},
    objects::aggregate::{self, DocumentAggregationRequest},
    page::{ListQuery, PaginationResponse},
    scope::Scope,
};
use crate::{
    model::{FieldPath, Filter},
    store::{
        RowPosition,
        processing::{
            collections::Collection,
            documents::{self, query::Query},
        },
    },
};

/// Documents of a collection, or groups of them.
#[derive(Debug, Serialize, ToSchema)]
struct ListDocumentsResponse {
    /// A page of them; null with `group_by`.
    #[schema(value_type = Option<Vec<details::DocumentResponse>>)]
    results: Option<Vec<Value>>,
    /// With `group_by`: each value with `count` and its first `documents`.
    groups: Option<Vec<Value>>,
    /// Always empty.
    unknown_collection_ids: Vec<String>,
    /// Where the page is.
    pagination: PaginationResponse,
    /// Always empty.
    warnings: Vec<String>,
    /// How many there are, where that was counted.
    total_documents: Option<u64>,
    /// Counts.
    #[schema(value_type = Object)]
    stats: Value,
    /// The field that they are grouped by.
    group_by_field: Option<String>,
}

/// Documents that one group of a list names.
const IN_GROUP: usize = 10;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, change::create))
        .routes(routes!(search))
        .routes(routes!(count))
        .routes(routes!(distinct))
        .routes(routes!(aggregate_documents))
        .routes(routes!(change::delete_many, change::update_many))
        .routes(routes!(change::bulk))
        .routes(routes!(get, change::put_document, change::patch, change::delete))
        .routes(routes!(download))
        .routes(routes!(blob_content))
}

/// What is wanted of a collection's documents, checked.
pub(super) fn query_of(
    collection: &Collection,
    filter: Option<&Filter>,
    search: Option<&str>,
    sort: Option<&SortOption>,
) -> Result<Query, ApiError> {
    let sort = sort.map(filters::sort).transpose()?;
    let search = search.filter(|text| !text.trim().is_empty());
    Query::new(collection.key, collection.id.as_str(), filter, search, sort.as_ref())
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("filters"))))
}

/// List documents
#[utoipa::path(
    get, path = "/v1/collections/{collection_identifier}/documents", tag = "collection_documents",
    operation_id = "list_documents_get",
    params(("collection_identifier" = String, Path, description = "Id or name"), ListQuery, DocumentsQuery),
    responses((status = 200, description = "Documents", body = ListDocumentsResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(collection): FromPath<String>,
    query: Listing<DocumentsQuery>,
    Valid(body): Valid<ListDocumentsRequest>,
) -> JsonResult {
    page_of(&app, &scope, &base, &collection, query, body).await
}

/// List documents that match
#[utoipa::path(
    post, path = "/v1/collections/{collection_identifier}/documents/list",
    tag = "collection_documents", operation_id = "list_documents",
    params(("collection_identifier" = String, Path, description = "Id or name"), ListQuery, DocumentsQuery),
    request_body = ListDocumentsRequest,
    responses((status = 200, description = "Documents", body = ListDocumentsResponse))
)]
async fn search(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(collection): FromPath<String>,
    query: Listing<DocumentsQuery>,
    Valid(body): Valid<ListDocumentsRequest>,
) -> JsonResult {
    page_of(&app, &scope, &base, &collection, query, body).await
}

/// What body and query say together; the body wins.
fn together(
    mut body: ListDocumentsRequest,
    query: &DocumentsQuery,
) -> Result<ListDocumentsRequest, ApiError> {
    body.return_presigned_urls = body.return_presigned_urls.or(query.return_presigned_urls);
    body.return_vectors = body.return_vectors.or(query.return_vectors);
    body.search = body.search.or_else(|| query.search.clone());
    let unreadable = |field: &str, text: &str| {
        ApiError::invalid_field(FieldError::new(field, text, "is no JSON object").accepting("JSON"))
    };
    if let (None, Some(text)) = (&body.filters, &query.filters) {
        let filters: LogicalOperatorInput =
            serde_json::from_str(text).map_err(|_| unreadable("filters", text))?;
        body.filters = Some(filters);
    }
    if let (None, Some(text)) = (&body.sort, &query.sort) {
        body.sort = Some(if text.starts_with('{') {
            serde_json::from_str(text).map_err(|_| unreadable("sort", text))?
        } else {
            let field = text.trim_start_matches('-').to_owned();
            let is_descending = text.starts_with('-');
            let direction = if is_descending { SortDirection::Desc } else { SortDirection::Asc };
            SortOption { field, direction: Some(direction) }
        });
    }
    Ok(body)
}

async fn page_of(
    app: &App,
    scope: &Scope,
    base: &Base,
    named: &str,
    query: Listing<DocumentsQuery>,
    body: ListDocumentsRequest,
) -> JsonResult {
    let collection = collections::found(app, scope, named).await?;
    let body = together(body, &query.more)?;
    let mut paging = query.list;
    paging.limit = body.limit.or(paging.limit).or(paging.page_size).or(Some(10));
    paging.cursor = body.cursor.clone().or(paging.cursor);
    if paging.cursor.is_none() {
        paging.offset = body.offset.or(paging.offset);
    }
    paging.include_total = body.include_total.or(paging.include_total);
    let page = paging.page()?;
    let filter = body.filters.clone().map(filters::filter).transpose()?;
    let mut wanted =
        query_of(&collection, filter.as_ref(), body.search.as_deref(), body.sort.as_ref())?;
    if let Some(part) = body.partition {
        if part.index >= part.count {
            return Err(ApiError::invalid_field(
                FieldError::new("partition.index", part.index, "is no part")
                    .accepting(format!("0 to {}", part.count - 1)),
            ));
        }
        wanted = wanted.part(part.index, part.count);
    }
    let view = view_of(scope, &body)?;
    if let Some(field) = &body.group_by {
        return grouped(app, base, wanted, field, &view, page.limit).await;
    }
    let list = format!("documents/{}/{:?}", collection.id, body.sort);
    let after: Option<RowPosition> = page.place(&list)?;
    let (limit, skip, counts) = (page.fetch(), page.offset, page.include_total);
    let (for_read, key, asked) = (view.clone(), collection.key, page.clone());
    let (mut places, all_details, total) = app
        .engine
        .store
        .read_or(move |db| {
            let places = wanted.keys(db, after.as_ref(), skip, limit)?;
            let total = match (counts, wanted.wants_all()) {
                (false, _) => None,
                (true, true) => crate::store::processing::collections::by_key(db, key)?
                    .map(|collection| collection.document_count),
                (true, false) => match asked.total_at_end(places.len()) {
                    Some(total) => Some(total),
                    None => Some(wanted.count(db)?),
                },
            };
            let shown = places.iter().take(limit as usize - 1).map(RowPosition::key);
            let all_details = documents::by_keys(db, shown)?
                .into_iter()
                .map(|document| details_of(db, document, &for_read))
                .collect::<crate::store::Result<Vec<Details>>>()?;
            Ok::<_, ApiError>((places, all_details, total))
        })
        .await?;
    let pagination = page.finish(&mut places, total, &list, Clone::clone);
    let results: Vec<Value> =
        all_details.iter().map(|details| details.to_json(app, base, &view)).collect();
    Ok(Json(json!(ListDocumentsResponse {
        results: Some(results),
        groups: None,
        unknown_collection_ids: Vec::new(),
        pagination,
        warnings: Vec::new(),
        total_documents: total,
        stats: json!({"total_documents": total, "avg_blobs_per_document": 0.0}),
        group_by_field: None,
    })))
}

fn view_of(scope: &Scope, body: &ListDocumentsRequest) -> Result<View, ApiError> {
    let names = match &body.return_vector_names {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::Bool(true)) => Some(vec![details::ALL_NAMES.to_owned()]),
        Some(Value::String(name)) => Some(vec![name.clone()]),
        Some(Value::Array(names)) => {
            Some(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
        }
        Some(other) => {
            return Err(ApiError::invalid_field(
                FieldError::new("return_vector_names", other.clone(), "is no name")
                    .accepting("a name, or a list of names"),
            ));
        }
    };
    Ok(View {
        namespace_id: scope.id.to_string(),
        signs: body.return_presigned_urls.unwrap_or(false),
        vectors: body.return_vectors.unwrap_or(false) || names.is_some(),
        vector_names: names,
        expand: body.expand.clone().unwrap_or_default(),
        select: body.select.clone(),
    })
}

async fn grouped(
    app: &App,
    base: &Base,
    wanted: Query,
    field: &str,
    view: &View,
    limit: u32,
) -> JsonResult {
    let path = FieldPath::parse(field)
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("group_by"))))?;
    let for_read = view.clone();
    let (groups, total) = app
        .engine
        .store
        .read_or(move |db| {
            let distinct = wanted.distinct(db, &path, limit)?;
            let mut groups = Vec::new();
            for (value, count) in distinct.values {
                let of = wanted.clone().with_value(&path, &value);
                let limit = u32::try_from(IN_GROUP).unwrap_or(u32::MAX);
                let places = of.keys(db, None, 0, limit)?;
                let all_details = documents::by_keys(db, places.iter().map(RowPosition::key))?
                    .into_iter()
                    .map(|document| details_of(db, document, &for_read))
                    .collect::<crate::store::Result<Vec<Details>>>()?;
                groups.push((value, count, all_details));
            }
            Ok::<_, ApiError>((groups, distinct.total))
        })
        .await?;
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(value, count, all_details)| {
            let documents: Vec<Value> =
                all_details.iter().map(|details| details.to_json(app, base, view)).collect();
            json!({"group_key": value, "count": count, "documents": documents})
        })
        .collect();
    Ok(Json(json!(ListDocumentsResponse {
        results: None,
        unknown_collection_ids: Vec::new(),
        pagination: PaginationResponse {
            total: Some(groups.len() as u64),
            page: Some(1),
            page_size: Some(limit),
            total_pages: Some(1),
            ..PaginationResponse::default()
        },
        warnings: Vec::new(),
        total_documents: Some(total),
        stats: json!({"total_documents": total, "total_groups": groups.len()}),
        group_by_field: Some(field.to_owned()),
        groups: Some(groups),
    })))
}

/// Show a document
#[utoipa::path(
    get, path = "/v1/collections/{collection_identifier}/documents/{document_id}",
    tag = "collection_documents", operation_id = "get_document",
    params(("collection_identifier" = String, Path, description = "Id or name"),
           ("document_id" = String, Path, description = "Id"), GetDocumentQuery),
    responses((status = 200, description = "The document", body = details::DocumentResponse))
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((collection, id)): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<GetDocumentQuery>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &collection).await?;
    let view = View {
        namespace_id: scope.id.to_string(),
        signs: query.return_presigned_urls.unwrap_or(false),
        vectors: query.return_vectors.unwrap_or(false) || query.return_vector_names.is_some(),
        vector_names: query.return_vector_names.map(split),
        expand: query.expand.map(split).unwrap_or_default(),
        select: None,
    };
    respond(&app, &base, collection.key, id, view).await
}

/// Values that were sent one by one, or several with commas between them.
fn split(values: Vec<String>) -> Vec<String> {
    let parts = values.iter().flat_map(|value| value.split(','));
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A document as it is returned.
async fn respond(
    app: &App,
    base: &Base,
    collection_key: i64,
    id: String,
    view: View,
) -> JsonResult {
    let for_read = view.clone();
    let details = app
        .engine
        .store
        .read_or(move |db| {
            Ok::<_, ApiError>(details_of(db, found(db, collection_key, &id)?, &for_read)?)
        })
        .await?;
    Ok(Json(details.to_json(app, base, &view)))
}

/// Count the documents of a collection
#[utoipa::path(
    get, path = "/v1/collections/{collection_identifier}/documents/count",
    tag = "collection_documents", operation_id = "count_documents",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, description = "How many", body = details::CountDocumentsResponse))
)]
async fn count(
    State(app): State<App>,
    scope: Scope,
    FromPath(collection): FromPath<String>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &collection).await?;
    Ok(Json(json!(details::CountDocumentsResponse {
        collection_id: collection.id.to_string(),
        count: collection.document_count,
    })))
}

/// List the values of a field
#[utoipa::path(
    post, path = "/v1/collections/{collection_identifier}/documents/distinct",
    tag = "collection_documents", operation_id = "distinct_document_values",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = DistinctValuesRequest,
    responses((status = 200, description = "Values, the most frequent first",
         body = details::DistinctValuesResponse))
)]
async fn distinct(
    State(app): State<App>,
    scope: Scope,
    FromPath(collection): FromPath<String>,
    Valid(body): Valid<DistinctValuesRequest>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &collection).await?;
    let path = FieldPath::parse(&body.field)
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("field"))))?;
    let filter = body.filters.as_ref().map(filters::filter_of).transpose()?;
    let wanted = query_of(&collection, filter.as_ref(), None, None)?;
    let limit = body.limit.unwrap_or(1000);
    let distinct = app.engine.store.read(move |db| wanted.distinct(db, &path, limit)).await?;
    let values = distinct.values.into_iter();
    Ok(Json(json!(details::DistinctValuesResponse {
        field: body.field,
        values: values.map(|(value, count)| DistinctValueResponse { value, count }).collect(),
        total_distinct: distinct.count,
        query_info: Map::new(),
    })))
}

/// Count documents in groups
#[utoipa::path(
    post, path = "/v1/collections/{collection_identifier}/documents/aggregate",
    tag = "collection_documents", operation_id = "aggregate_documents",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = DocumentAggregationRequest,
    responses((status = 200, description = "Groups", body = aggregate::ObjectAggregationResponse))
)]
async fn aggregate_documents(
    State(app): State<App>,
    scope: Scope,
    FromPath(collection): FromPath<String>,
    Valid(body): Valid<DocumentAggregationRequest>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &collection).await?;
    let filter = body.filters.as_ref().map(filters::filter_of).transpose()?;
    let wanted = query_of(&collection, filter.as_ref(), None, None)?;
    aggregate::of_documents(&app, body, wanted).await
}

/// Download the clip of a document
#[utoipa::path(
    get, path = "/v1/collections/{collection_identifier}/documents/{document_id}/download",
    tag = "collection_documents", operation_id = "download_document_scene",
    params(("collection_identifier" = String, Path, description = "Id or name"),
           ("document_id" = String, Path, description = "Id")),
    responses((status = 200, description = "A link to the clip", body = details::DownloadResponse))
)]
async fn download(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((collection, id)): FromPath<(String, String)>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &collection).await?;
    let view = View { namespace_id: scope.id.to_string(), signs: true, ..View::default() };
    let Json(response) = respond(&app, &base, collection.key, id, view).await?;
    let none = Vec::new();
    let blobs = response["document_blobs"].as_array().unwrap_or(&none);
    let clip = blobs.iter().find(|blob| blob["purpose"] == "clip");
    let times = |name: &str| response.get(name).and_then(Value::as_f64);
    match clip {
        Some(clip) => Ok(Json(json!(details::DownloadResponse {
            download_url: clip["presigned_url"].as_str().unwrap_or_default().to_owned(),
            cached: true,
            start_time: times("start_time").unwrap_or(0.0),
            end_time: times("end_time").unwrap_or(0.0),
        }))),
        None => Err(ApiError::invalid_field(
            FieldError::new(
                "document_id",
                response["document_id"].clone(),
                "has no clip, and nothing is cut here",
            )
            .accepting("a document whose extractor keeps one"),
        )
        .detail("source", response["_internal"]["lineage"].clone())
        .detail("start_time", json!(times("start_time")))
        .detail("end_time", json!(times("end_time")))),
    }
}

/// Read a file of a document
#[utoipa::path(
    get, path = "/v1/collections/{collection_identifier}/documents/{document_id}/blobs/{ordinal}/content",
    tag = "collection_documents", operation_id = "get_document_blob_content",
    params(("collection_identifier" = String, Path, description = "Id or name"),
           ("document_id" = String, Path, description = "Id"),
           ("ordinal" = u32, Path, description = "Which of the document's"),
           ("namespace" = Option<String>, Query, description = "Of a signed link"),
           ("expires" = Option<i64>, Query, description = "Of a signed link"),
           ("signature" = Option<String>, Query, description = "Of a signed link")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>))
)]
async fn blob_content(
    State(app): State<App>,
    scope: Scope,
    FromPath((collection, id, ordinal)): FromPath<(String, String, u32)>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let collection = collections::found(&app, &scope, &collection).await?;
    let document = app.engine.store.read_or(move |db| found(db, collection.key, &id)).await?;
    let blob = document
        .blobs
        .iter()
        .find(|blob| blob.ordinal == ordinal)
        .ok_or_else(|| ApiError::not_found("blob", ordinal.to_string()))?;
    let shown = Shown {
        hash: blob.hash,
        size: blob.size,
        mime: blob.mime.clone(),
        filename: blob.field.clone(),
        modified: document.updated_at,
        owner: format!("document {}", document.id),
    };
    content::answer(&app, &shown, &request).await
}

/// A filter of a body, checked for documents.
pub(super) fn filter_of(input: Option<LogicalOperatorInput>) -> Result<Option<Filter>, ApiError> {
    input.map(filters::filter).transpose()
}

/// Fields that nobody may write.
pub(super) fn check_names(place: &str, fields: &Map<String, Value>) -> Result<(), ApiError> {
    let wrong: Vec<FieldError> = fields
        .keys()
        .filter(|name| crate::processing::RESERVED.contains(&name.as_str()))
        .map(|name| {
            FieldError::new(format!("{place}{name}"), fields[name].clone(), "is a field of ours")
                .accepting("any other name")
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}
