//! `/v1/buckets`: sets of objects. Named by id or by name in the request's namespace.

mod deletion;
mod processing;
mod response;
mod wire;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::deletion::{delete_in_background, resume as resume_deletions};
pub(super) use self::wire::{InsertionPolicy, SortDirection};
use self::{
    processing::SourceAdapterConfig,
    response::{BucketListStats, BucketResponse, DeletedBucket, ListBucketsResponse, kept},
    wire::{
        BucketCreateRequest, BucketPatchRequest, BucketSearch, BucketSort, BucketSortField,
        BucketUpdateRequest, ChangeQuery, DeleteQuery, ListBucketsRequest,
    },
};
use super::{
    App,
    error::{ApiError, FieldError, JsonResult},
    json::{FromPath, Listing, Patch, Valid, ValidQuery},
    page::{InBody, ListQuery, Page},
    scope::Scope,
};
use crate::{
    model::{self, BucketName, BucketSchema, BucketSettings, FieldProblem, UniqueKey},
    store::{
        buckets::{self, Bucket},
        dead_letters,
        processing::batches,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(search))
        .routes(routes!(get, patch, put, delete))
}

/// The bucket of that id or name in the request's namespace; one that is being deleted is not
/// found.
pub(super) async fn find(app: &App, scope: &Scope, named: &str) -> Result<Bucket, ApiError> {
    let (namespace_key, wanted) = (scope.namespace_key, named.to_owned());
    let found = app.engine.store.read(move |db| buckets::named(db, namespace_key, &wanted)).await?;
    match found {
        Some(bucket) if !bucket.is_deleting => Ok(bucket),
        _ => Err(ApiError::not_found("bucket", named)),
    }
}

async fn respond(app: &App, bucket: Bucket) -> JsonResult<BucketResponse> {
    let key = bucket.key;
    let (extremes, batches) = app
        .engine
        .store
        .read(move |db| Ok((buckets::extremes(db, key)?, batches::by_status(db, key)?)))
        .await?;
    Ok(Json(BucketResponse::of(bucket, extremes, &batches, app.now())))
}

/// Create a bucket
#[utoipa::path(
    post, path = "/v1/buckets", tag = "buckets", operation_id = "create_bucket",
    request_body = BucketCreateRequest,
    responses((status = 200, body = BucketResponse))
)]
async fn create(
    State(app): State<App>,
    scope: Scope,
    Valid(body): Valid<BucketCreateRequest>,
) -> JsonResult<BucketResponse> {
    let settings = BucketSettings {
        description: body.description,
        bucket_schema: Some(body.bucket_schema),
        unique_key: body.unique_key.map(UniqueKey::from),
        metadata: body.metadata,
        storage_class: body.storage_class.and_then(|class| kept(class).as_str().map(str::to_owned)),
        destination: body.destination.map(kept),
        ingest_filter: body.ingest_filter.map(kept),
        source_adapter: body.source_adapter.map(without_secrets).transpose()?.map(kept),
        trash_days: body.trash_days,
        trash_synced: body.trash_synced.unwrap_or(false),
    };
    check_field_names(&settings)?;
    check(Some(&body.bucket_name), &settings)?;
    let (name, now) = (body.bucket_name, app.now());
    let wanted = name.clone();
    let made = app
        .engine
        .store
        .write(move |tx| buckets::insert(tx, scope.namespace_key, &wanted, &settings, now))
        .await?;
    match made {
        Some(bucket) => respond(&app, bucket).await,
        None => Err(ApiError::taken("bucket", name)),
    }
}

/// Get a bucket
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}", tag = "buckets", operation_id = "get_bucket",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, body = BucketResponse))
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
) -> JsonResult<BucketResponse> {
    let wanted = named.clone();
    let found = app
        .engine
        .store
        .read(move |db| buckets::named(db, scope.namespace_key, &wanted))
        .await?
        .ok_or_else(|| ApiError::not_found("bucket", named))?;
    respond(&app, found).await
}

/// Change parts of a bucket
#[utoipa::path(
    patch, path = "/v1/buckets/{bucket_identifier}", tag = "buckets",
    operation_id = "patch_bucket",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ChangeQuery),
    request_body = BucketPatchRequest,
    responses((status = 200, body = BucketResponse))
)]
async fn patch(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<ChangeQuery>,
    Valid(body): Valid<BucketPatchRequest>,
) -> JsonResult<BucketResponse> {
    change(&app, &scope, named, &query, body).await
}

/// Change a bucket
#[utoipa::path(
    put, path = "/v1/buckets/{bucket_identifier}", tag = "buckets",
    operation_id = "update_bucket",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ChangeQuery),
    request_body = BucketUpdateRequest,
    responses((status = 200, body = BucketResponse))
)]
async fn put(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<ChangeQuery>,
    Valid(body): Valid<BucketUpdateRequest>,
) -> JsonResult<BucketResponse> {
    change(&app, &scope, named, &query, body.into()).await
}

/// Changes a bucket in one transaction, so that two changes at once both stay.
async fn change(
    app: &App,
    scope: &Scope,
    named: String,
    query: &ChangeQuery,
    body: BucketPatchRequest,
) -> JsonResult<BucketResponse> {
    let adapter = match body.source_adapter {
        Patch::Missing => Patch::Missing,
        Patch::Null => Patch::Null,
        Patch::Value(adapter) => Patch::Value(kept(without_secrets(adapter)?)),
    };
    let (namespace_key, now) = (scope.namespace_key, app.now());
    let is_forced = query.force_schema_break.unwrap_or(false);
    let changed = app
        .engine
        .store
        .write(move |tx| {
            let bucket = match buckets::named(tx, namespace_key, &named)? {
                Some(bucket) if !bucket.is_deleting => bucket,
                _ => return Err(ApiError::not_found("bucket", named)),
            };
            let mut settings = bucket.settings.clone();
            body.description.apply(&mut settings.description);
            let has_new_schema = !body.bucket_schema.is_missing();
            body.bucket_schema.apply(&mut settings.bucket_schema);
            mapped(body.unique_key, UniqueKey::from).apply(&mut settings.unique_key);
            body.metadata.apply(&mut settings.metadata);
            mapped(body.storage_class, |class| kept(class).as_str().unwrap_or_default().to_owned())
                .apply(&mut settings.storage_class);
            mapped(body.destination, kept).apply(&mut settings.destination);
            mapped(body.ingest_filter, kept).apply(&mut settings.ingest_filter);
            adapter.apply(&mut settings.source_adapter);
            body.trash_days.apply(&mut settings.trash_days);
            if !body.trash_synced.is_missing() {
                settings.trash_synced = body.trash_synced.value().unwrap_or(false);
            }
            if has_new_schema {
                check_field_names(&settings)?;
            }
            // An older name may be one that is not given any more.
            check(body.bucket_name.as_deref().filter(|name| *name != bucket.name), &settings)?;
            let name = body.bucket_name.unwrap_or_else(|| bucket.name.clone());
            check_change(&bucket, &settings, is_forced)?;
            if !buckets::update(tx, &bucket, &name, &settings, now)? {
                return Err(ApiError::taken("bucket", name));
            }
            if settings.bucket_schema != bucket.settings.bucket_schema {
                dead_letters::make_due_in(tx, bucket.key, now)?;
            }
            let changed = buckets::named(tx, namespace_key, bucket.id.as_str())?;
            changed.ok_or_else(|| ApiError::not_found("bucket", named))
        })
        .await?;
    respond(app, changed).await
}

fn mapped<T, U>(patch: Patch<T>, map: impl FnOnce(T) -> U) -> Patch<U> {
    match patch {
        Patch::Missing => Patch::Missing,
        Patch::Null => Patch::Null,
        Patch::Value(value) => Patch::Value(map(value)),
    }
}

/// Secrets are kept with connections, which seal them; here they would lie open.
fn without_secrets(adapter: SourceAdapterConfig) -> Result<SourceAdapterConfig, ApiError> {
    let credentials = adapter.connection.as_ref().is_some_and(|place| place.credentials.is_some());
    let fields = [
        (adapter.webhook_secret.is_some(), "source_adapter.webhook_secret"),
        (credentials, "source_adapter.connection.credentials"),
    ];
    let refused: Vec<_> = fields
        .into_iter()
        .filter(|(is_given, _)| *is_given)
        .map(|(_, field)| {
            FieldError::secret(field, "a bucket keeps no secrets: make a connection and name it")
                .accepting("source_adapter.connection_id")
        })
        .collect();
    if refused.is_empty() { Ok(adapter) } else { Err(ApiError::invalid(refused)) }
}

/// Refuses a schema with fields whose names are an object's own.
fn check_field_names(settings: &BucketSettings) -> Result<(), ApiError> {
    let schema = settings.bucket_schema.iter();
    let wrong: Vec<_> = schema
        .flat_map(|schema| schema.properties.keys())
        .filter_map(|name| {
            let place = format!("bucket_schema.properties.{name}");
            let error = FieldError::new(place, name.as_str(), model::reserved(name)?);
            Some(error.accepting("any other name").of_kind("reserved"))
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}

/// What is wrong with settings in themselves.
fn check(name: Option<&str>, settings: &BucketSettings) -> Result<(), ApiError> {
    let mut wrong = Vec::new();
    if let Some(name) = name
        && let Err(error) = name.parse::<BucketName>()
    {
        let accepted = "1 to 100 characters, no '/', no control characters, not beginning with '-' \
                        or '.'";
        let shown = name.chars().take(200).collect::<String>();
        wrong.push(FieldError::new("bucket_name", shown, error.to_string()).accepting(accepted));
    }
    if let Some(schema) = &settings.bucket_schema {
        let problems = schema.problems().into_iter().map(|problem| problem.within("bucket_schema"));
        wrong.extend(problems.map(field_error));
    }
    if let Some(key) = &settings.unique_key {
        let schema = settings.bucket_schema.as_ref();
        for field in &key.fields {
            let known = schema.and_then(|schema| schema.properties.get(field));
            let is_scalar = known.is_some_and(|field| {
                !field.kind.is_blob() && !matches!(field.kind.as_str(), "object" | "array")
            });
            if !is_scalar {
                let words = "is not a scalar field of the bucket's schema";
                let error = FieldError::new("unique_key.fields", field.as_str(), words);
                wrong.push(error.accepting(scalar_fields(schema)));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}

fn scalar_fields(schema: Option<&BucketSchema>) -> Vec<String> {
    let all = schema.into_iter().flat_map(|schema| &schema.properties);
    all.filter(|(_, field)| !field.kind.is_blob()).map(|(name, _)| name.clone()).collect()
}

/// A problem found by the model, as the API reports it.
pub(super) fn field_error(problem: FieldProblem) -> FieldError {
    FieldError {
        field: problem.field,
        value: problem.value,
        message: problem.message,
        accepted: problem.accepted.into(),
        kind: "value_error",
    }
}

/// What cannot change while there are objects.
fn check_change(bucket: &Bucket, new: &BucketSettings, is_forced: bool) -> Result<(), ApiError> {
    if bucket.object_count == 0 {
        return Ok(());
    }
    let fields = |key: &Option<UniqueKey>| key.as_ref().map(|key| key.fields.clone());
    if fields(&bucket.settings.unique_key) != fields(&new.unique_key) {
        return Err(ApiError::conflict(
            "the unique key of a bucket that has objects cannot change: make another bucket",
        )
        .code("unique_key_fixed"));
    }
    let none = BucketSchema::default();
    let old = bucket.settings.bucket_schema.as_ref().unwrap_or(&none);
    let breaks = breaks(old, new.bucket_schema.as_ref().unwrap_or(&none));
    if breaks.is_empty() || is_forced {
        return Ok(());
    }
    Err(ApiError::conflict(format!(
        "objects that are there may not fit the new schema ({}): add ?force_schema_break=true if \
         this is intended",
        breaks.join("; ")
    ))
    .code("schema_break")
    .detail("breaks", breaks))
}

/// What objects that fit the old schema may not have in the new one.
fn breaks(old: &BucketSchema, new: &BucketSchema) -> Vec<String> {
    let mut breaks = Vec::new();
    for (name, field) in &old.properties {
        match new.properties.get(name) {
            None => breaks.push(format!("{name} was removed")),
            Some(changed) if changed.kind != field.kind => breaks.push(format!(
                "{name} was {} and is {}",
                field.kind.as_str(),
                changed.kind.as_str()
            )),
            Some(_) => {}
        }
    }
    for (name, field) in &new.properties {
        let was_required =
            old.properties.get(name).is_some_and(|field| field.required == Some(true));
        if field.required == Some(true) && !was_required {
            breaks.push(format!("{name} is required"));
        }
    }
    breaks
}

/// List buckets
#[utoipa::path(
    get, path = "/v1/buckets", tag = "buckets", operation_id = "list_buckets_get",
    params(ListQuery, BucketSearch),
    responses((status = 200, body = ListBucketsResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    query: Listing<BucketSearch>,
) -> JsonResult<ListBucketsResponse> {
    let wanted = ListBucketsRequest { search: query.more.search, ..Default::default() };
    page_of(&app, &scope, query.list.page()?, wanted).await
}

/// List buckets that match
#[utoipa::path(
    post, path = "/v1/buckets/list", tag = "buckets", operation_id = "list_buckets",
    params(ListQuery),
    request_body = ListBucketsRequest,
    responses((status = 200, body = ListBucketsResponse))
)]
async fn search(
    State(app): State<App>,
    scope: Scope,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListBucketsRequest>,
) -> JsonResult<ListBucketsResponse> {
    let in_body = InBody {
        limit: body.limit,
        page_size: body.page_size,
        offset: body.offset,
        page: body.page,
    };
    page_of(&app, &scope, query.page_with(in_body)?, body).await
}

/// There are few buckets: they are chosen and ordered here.
async fn page_of(
    app: &App,
    scope: &Scope,
    page: Page,
    wanted: ListBucketsRequest,
) -> JsonResult<ListBucketsResponse> {
    let namespace_key = scope.namespace_key;
    let mut rows =
        app.engine.store.read(move |db| buckets::of_namespace(db, namespace_key)).await?;
    rows.retain(|bucket| matches(bucket, &wanted));
    let sort = wanted.sorts.as_ref().and_then(|sorts| sorts.first().copied()).or(wanted.sort);
    let sort = sort.unwrap_or(BucketSort { field: BucketSortField::CreatedAt, direction: None });
    let is_descending = sort.direction != Some(SortDirection::Asc);
    let in_order = |a: &(String, i64), b: &(String, i64)| match is_descending {
        true => b.cmp(a),
        false => a.cmp(b),
    };
    rows.sort_by(|a, b| in_order(&rank(a, sort.field), &rank(b, sort.field)));
    let stats = summed_up(&rows);
    let total = rows.len() as u64;
    let list = format!("buckets/{:?}/{is_descending}", sort.field);
    if let Some(behind) = page.place::<(String, i64)>(&list)? {
        rows.retain(|row| in_order(&rank(row, sort.field), &behind).is_gt());
    }
    let skip = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let mut rows: Vec<_> = rows.into_iter().skip(skip).take(page.fetch() as usize).collect();
    let pagination = page
        .finish(&mut rows, page.include_total.then_some(total), &list, |row| rank(row, sort.field));
    let now = app.now();
    let results = app
        .engine
        .store
        .read(move |db| {
            let with_extremes = |bucket: Bucket| {
                let extremes = buckets::extremes(db, bucket.key)?;
                let batches = batches::by_status(db, bucket.key)?;
                Ok(BucketResponse::of(bucket, extremes, &batches, now))
            };
            rows.into_iter().map(with_extremes).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    Ok(Json(ListBucketsResponse { results, total_count: total, pagination, stats, warnings: None }))
}

fn matches(bucket: &Bucket, wanted: &ListBucketsRequest) -> bool {
    let case_sensitive = wanted.case_sensitive.unwrap_or(false);
    let has = |text: &str| match wanted.search.as_deref() {
        None => true,
        Some(search) if case_sensitive => text.contains(search),
        Some(search) => text.to_lowercase().contains(&search.to_lowercase()),
    };
    let is = |wanted: Option<&String>, value: &str| wanted.is_none_or(|wanted| wanted == value);
    let filters = wanted.filters.as_ref();
    let description = bucket.settings.description.as_deref().unwrap_or_default();
    is(filters.and_then(|filters| filters.bucket_id.as_ref()), bucket.id.as_str())
        && is(filters.and_then(|filters| filters.bucket_name.as_ref()), &bucket.name)
        && (has(&bucket.name) || has(bucket.id.as_str()) || has(description))
}

/// What a bucket is sorted by, with its key as the tie-breaker.
fn rank(bucket: &Bucket, field: BucketSortField) -> (String, i64) {
    // Numbers of one width compare as text.
    let time = |at: jiff::Timestamp| format!("{:020}", at.as_millisecond());
    let value = match field {
        BucketSortField::CreatedAt => time(bucket.created_at),
        BucketSortField::UpdatedAt => time(bucket.updated_at),
        BucketSortField::BucketName => bucket.name.clone(),
        BucketSortField::ObjectCount => format!("{:020}", bucket.object_count),
        BucketSortField::TotalSizeBytes => format!("{:020}", bucket.object_bytes),
    };
    (value, bucket.key)
}

fn summed_up(rows: &[Bucket]) -> BucketListStats {
    let objects: u64 = rows.iter().map(|bucket| bucket.object_count).sum();
    let bytes: u64 = rows.iter().map(|bucket| bucket.object_bytes).sum();
    let average = |sum: u64| if rows.is_empty() { 0.0 } else { sum as f64 / rows.len() as f64 };
    BucketListStats {
        total_objects: objects,
        total_size_bytes: bytes,
        avg_objects_per_bucket: average(objects),
        avg_size_per_bucket: average(bytes),
    }
}

/// Delete a bucket
///
/// With everything in it. Refused while syncs are active, unless these are to be stopped.
#[utoipa::path(
    delete, path = "/v1/buckets/{bucket_identifier}", tag = "buckets",
    operation_id = "delete_bucket",
    params(("bucket_identifier" = String, Path, description = "Id or name"), DeleteQuery),
    responses((status = 200, body = DeletedBucket))
)]
async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<DeleteQuery>,
) -> JsonResult<DeletedBucket> {
    let is_forced = query.force_foreclose.or(query.force).unwrap_or(false);
    deletion::delete(&app, &scope, named, is_forced).await.map(Json)
}
