//! The trash of a bucket: what is in it, restoring, purging. Ours, beyond the public API.

use axum::{Json, extract::State};

use super::{
    JsonResult, collect_soon,
    response::{ListTrashResponse, Purged, RestoreRefusal, Restored, TrashedObject, View},
    wire::{ListTrashRequest, TrashRequest},
};
use crate::{
    api::{
        App,
        base::Base,
        buckets::{self, field_error},
        error::{ApiError, FieldError},
        filters::{self, LogicalOperatorInput},
        json::{FromPath, Valid, ValidQuery},
        page::ListQuery,
        scope::Scope,
    },
    store::{
        RowPosition, StoreError,
        buckets::Bucket,
        objects::record,
        trash::{self, Query},
    },
};

/// Objects that one transaction restores or purges.
const STEP: u32 = 500;

/// Of those that cannot be restored, how many are listed with the reason.
const LISTED: usize = 100;

/// List the objects in the trash
///
/// The last deleted first. They are in no other list. Filters know `deleted_at`, `purge_at` and
/// `deleted_by` (`person` or `sync`) besides the fields of objects.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/trash/list", tag = "bucket_objects",
    operation_id = "list_trash",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ListQuery),
    request_body = ListTrashRequest,
    responses((status = 200, body = ListTrashResponse))
)]
pub(super) async fn list(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListTrashRequest>,
) -> JsonResult<ListTrashResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let mut page = query.page()?;
    page.include_total |= body.include_total.unwrap_or(false);
    let list = format!("trash/{}", bucket.id);
    let place = page.place::<RowPosition>(&list)?;
    let query =
        query_of(&bucket, body.object_ids.as_deref(), body.filters, body.search.as_deref())?;
    let (skip, limit, counts) = (page.offset, page.fetch(), page.include_total);
    let (in_all, asked) = (bucket.trash_count, page.clone());
    let (mut rows, records, total) = app
        .engine
        .store
        .read(move |db| {
            let rows = query.page(db, place.as_ref(), skip, limit)?;
            let shown = rows.iter().take(limit as usize - 1);
            let records = record::by_keys(db, shown.map(|(_, facts)| facts.object_key))?;
            let total = match (counts, query.wants_all()) {
                (false, _) => None,
                (true, true) => Some(in_all),
                (true, false) => match asked.total_at_end(rows.len()) {
                    Some(total) => Some(total),
                    None => Some(query.count(db)?),
                },
            };
            Ok((rows, records, total))
        })
        .await?;
    let pagination = page.finish(&mut rows, total, &list, |(place, _)| place.clone());
    let view = View::new(&app, base, &scope, &bucket.id, false);
    let facts = rows.into_iter().map(|(_, facts)| facts);
    let results = records
        .into_iter()
        .zip(facts)
        .map(|(record, facts)| TrashedObject::of(view.object(record), facts))
        .collect();
    Ok(Json(ListTrashResponse {
        results,
        pagination,
        trash_count: bucket.trash_count,
        trash_bytes: bucket.trash_bytes,
    }))
}

/// Restore objects from the trash
///
/// They are back with their ids, fields and bytes. An object whose entry is gone from its source is
/// kept as `released`.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/trash/restore", tag = "bucket_objects",
    operation_id = "restore_trash",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = TrashRequest,
    responses((status = 200, body = Restored))
)]
pub(super) async fn restore(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<TrashRequest>,
) -> JsonResult<Restored> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let query = chosen(&bucket, body)?;
    let now = app.now();
    let (mut outcome, mut after) = (Restored::default(), Some(i64::MIN));
    while let Some(from) = after {
        let (query, bucket) = (query.clone(), bucket.clone());
        let (restored, last) = app
            .engine
            .store
            .write(move |tx| {
                let keys = query.keys(tx, from, STEP)?;
                Ok::<_, StoreError>((
                    trash::restore(tx, &bucket, &keys, now)?,
                    keys.last().copied(),
                ))
            })
            .await?;
        outcome.restored += restored.ids.len() as u64;
        outcome.refused += restored.refused.len() as u64;
        let room = LISTED.saturating_sub(outcome.errors.len());
        let refused = restored.refused.into_iter().take(room);
        outcome
            .errors
            .extend(refused.map(|(object_id, message)| RestoreRefusal { object_id, message }));
        after = last;
    }
    Ok(Json(outcome))
}

/// Purge objects from the trash
///
/// They are gone for good, with the bytes that nothing else needs.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/trash/purge", tag = "bucket_objects",
    operation_id = "purge_trash",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = TrashRequest,
    responses((status = 200, body = Purged))
)]
pub(super) async fn purge(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<TrashRequest>,
) -> JsonResult<Purged> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let query = chosen(&bucket, body)?;
    let (bucket_key, now) = (bucket.key, app.now());
    let mut purged = 0;
    loop {
        let query = query.clone();
        let step = app
            .engine
            .store
            .write(move |tx| {
                let keys = query.keys(tx, i64::MIN, STEP)?;
                if !keys.is_empty() {
                    trash::purge(tx, bucket_key, &keys, now)?;
                }
                Ok::<_, StoreError>(keys.len() as u64)
            })
            .await?;
        purged += step;
        if step == 0 {
            break;
        }
    }
    collect_soon(&app);
    Ok(Json(Purged { purged }))
}

/// What a request to restore or purge names: ids, or a filter, or everything.
fn chosen(bucket: &Bucket, body: TrashRequest) -> Result<Query, ApiError> {
    let all = body.all.unwrap_or(false);
    let given = usize::from(body.object_ids.is_some()) + usize::from(body.filters.is_some());
    if given + usize::from(all) != 1 {
        let words = match given {
            0 => "names no objects",
            _ => "cannot be combined: give one of object_ids, filters and all",
        };
        let field = if given == 0 { "object_ids" } else { "filters" };
        let error = FieldError::new(field, serde_json::Value::Null, words);
        return Err(ApiError::invalid_field(
            error.accepting("object_ids, or filters, or all: true"),
        ));
    }
    query_of(bucket, body.object_ids.as_deref(), body.filters, None)
}

fn query_of(
    bucket: &Bucket,
    ids: Option<&[String]>,
    filters: Option<LogicalOperatorInput>,
    search: Option<&str>,
) -> Result<Query, ApiError> {
    if ids.is_some() && filters.is_some() {
        let error = FieldError::new("filters", serde_json::Value::Null, "comes with object_ids");
        return Err(ApiError::invalid_field(error.accepting("object_ids or filters, not both")));
    }
    let filter = filters.map(filters::filter).transpose()?;
    Query::new(bucket, ids, filter.as_ref(), search)
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("filters"))))
}
