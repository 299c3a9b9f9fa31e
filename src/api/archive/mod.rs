//! `/v1/buckets/{bucket}/objects/archive`: many objects as one file. Ours, beyond the public API.
//!
//! A browser downloads by a link, so a POST returns a link, and the archive is packed when
//! the link is followed.

mod kept;
mod names;
mod pack;
mod wire;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use jiff::SignedDuration;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::kept::Archives;
use self::{
    kept::Archive,
    wire::{ArchiveRequest, ArchiveResponse},
};
use super::{
    App,
    base::Base,
    buckets::{self, field_error},
    content::{self, links},
    error::{ApiError, FieldError},
    filters,
    json::{FromPath, Valid},
    scope::Scope,
};
use crate::{
    model::{ArchiveId, Condition, FieldPath, Filter, Test},
    store::{
        buckets::Bucket,
        objects::{
            chosen::{self, Chosen},
            query::Query,
        },
    },
};

/// The most objects of one archive, whose names are kept while it is packed.
const MAX_OBJECTS: u32 = 100_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(order)).routes(routes!(download))
}

/// Get a link to many objects as one zip archive
///
/// Packed while it is downloaded; what has been removed by then is named in a note inside.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/archive", tag = "bucket_objects",
    operation_id = "create_object_archive",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = ArchiveRequest,
    responses((status = 200, body = ArchiveResponse))
)]
async fn order(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<ArchiveRequest>,
) -> Result<Json<ArchiveResponse>, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let filename = format!("{}.zip", name(&bucket, &body));
    let objects = match body.object_ids {
        Some(_) => named(&app, &bucket, body).await?,
        None => matching(&app, &bucket, body).await?,
    };
    let now = app.now();
    let until = now + SignedDuration::from_secs(links::DEFAULT_SECS.cast_signed());
    let id = ArchiveId::generate();
    let path = format!("/v1/buckets/{}/archives/{id}", bucket.id);
    let answer = ArchiveResponse {
        archive_id: id.to_string(),
        url: base.url(&app.links.sign(&Method::GET, &path, scope.id.as_str(), until)),
        expires_at: until,
        filename: filename.clone(),
        objects: objects.len() as u64,
        bytes: objects.iter().map(|object| object.size).sum(),
    };
    app.archives.keep(Archive { id, bucket_key: bucket.key, filename, objects, until }, now);
    Ok(Json(answer))
}

/// What the file is called, without its ending.
fn name(bucket: &Bucket, request: &ArchiveRequest) -> String {
    let prefix = request.prefix.as_deref().unwrap_or_default();
    let folder = prefix.split('/').rfind(|part| !part.is_empty());
    let name = request.name.as_deref().or(folder).unwrap_or(&bucket.name);
    name.replace(['/', '\\'], "_")
}

/// The objects of these ids, each once.
async fn named(app: &App, bucket: &Bucket, body: ArchiveRequest) -> Result<Vec<Chosen>, ApiError> {
    let others = [
        ("prefix", body.prefix.is_some()),
        ("filters", body.filters.is_some()),
        ("search", body.search.is_some()),
    ];
    let wrong = others.into_iter().filter(|(_, is_there)| *is_there).map(|(field, _)| {
        FieldError::new(field, true, "cannot be combined with object_ids")
            .accepting("one of the two")
    });
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let (bucket_key, mut ids) = (bucket.key, body.object_ids.unwrap_or_default());
    let mut objects = app
        .engine
        .store
        .read(move |db| {
            let mut objects = Vec::with_capacity(ids.len());
            for (index, id) in ids.drain(..).enumerate() {
                match chosen::named(db, bucket_key, &id)? {
                    Some(object) => objects.push(object),
                    None => return Ok(Err(unknown(index, id))),
                }
            }
            Ok(Ok(objects))
        })
        .await??;
    objects.sort_by(|a, b| b.path.cmp(&a.path).then_with(|| a.id.as_str().cmp(b.id.as_str())));
    objects.dedup_by(|a, b| a.id == b.id);
    Ok(objects)
}

fn unknown(index: usize, id: String) -> ApiError {
    let field = format!("object_ids[{index}]");
    let words = "there is no such object in the bucket";
    ApiError::invalid_field(FieldError::new(field, id, words).accepting("ids of its objects"))
}

/// The objects that match.
async fn matching(
    app: &App,
    bucket: &Bucket,
    body: ArchiveRequest,
) -> Result<Vec<Chosen>, ApiError> {
    let (field, value) = narrowest(&body);
    let mut wanted = Vec::new();
    wanted.extend(body.filters.map(filters::filter).transpose()?);
    wanted.extend(body.prefix.as_deref().map(begins_with).transpose()?);
    let filter = (!wanted.is_empty()).then_some(Filter::All(wanted));
    let query = Query::new(bucket, filter.as_ref(), body.search.as_deref(), None)
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("filters"))))?;
    let objects =
        app.engine.store.read(move |db| chosen::matching(db, &query, MAX_OBJECTS + 1)).await?;
    let refuse = |words: String, accepted: &str| {
        Err(ApiError::invalid_field(FieldError::new(field, value, words).accepting(accepted)))
    };
    match objects.len() {
        0 => refuse("no object matches".to_owned(), "what at least one object matches"),
        count if count > MAX_OBJECTS as usize => refuse(
            format!("more than {MAX_OBJECTS} objects match: `catchment export` has no such bound"),
            "a narrower choice",
        ),
        _ => Ok(objects),
    }
}

/// What of a request to blame if it is not met.
fn narrowest(body: &ArchiveRequest) -> (&'static str, String) {
    match (&body.search, &body.filters, &body.prefix) {
        (Some(text), ..) => ("search", text.clone()),
        (None, Some(_), _) => ("filters", String::new()),
        (None, None, Some(prefix)) => ("prefix", prefix.clone()),
        (None, None, None) => ("", String::new()),
    }
}

fn begins_with(prefix: &str) -> Result<Filter, ApiError> {
    let field = FieldPath::parse("key_prefix")
        .map_err(|problem| ApiError::invalid_field(field_error(problem)))?;
    let test = Test::StartsWith(prefix.to_owned());
    Ok(Filter::Is(Condition { field, test, case_sensitive: true }))
}

/// Download an archive
///
/// By the signed link that the order returned, which needs no token.
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/archives/{archive_id}", tag = "bucket_objects",
    operation_id = "get_object_archive",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("archive_id" = String, Path, description = "Id"),
        ("namespace" = Option<String>, Query, description = "Of the signed link"),
        ("expires" = Option<i64>, Query, description = "Of the signed link"),
        ("signature" = Option<String>, Query, description = "Of the signed link"),
    ),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>))
)]
async fn download(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
) -> Result<Response, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let archive = app
        .archives
        .find(bucket.key, &id, app.now())
        .ok_or_else(|| ApiError::not_found("archive", &id))?;
    let place = app.archives.begin()?;
    let mut headers = content::headers::describe(Some("application/zip"), &archive.filename);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    let body = Body::from_stream(pack::stream(app, archive, place));
    Ok((headers, body).into_response())
}
