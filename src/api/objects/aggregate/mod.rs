//! Counting objects in groups. The rows come one at a time from the store; what is kept here is a
//! group each, and there is a bound on these.

mod groups;
mod keys;
mod metric;
mod plan;
mod wire;

use axum::{Json, extract::State};

pub(in crate::api) use self::wire::{DocumentAggregationRequest, ObjectAggregationResponse};
use self::{groups::Groups, plan::Plan, wire::ObjectAggregationRequest};
use crate::{
    api::{
        App,
        buckets::{self, field_error},
        error::{ApiError, FieldError},
        filters,
        json::{FromPath, Valid},
        scope::Scope,
    },
    store::{
        objects::{query::Query, rows},
        processing::documents::query::Query as DocumentQuery,
    },
};

/// The most groups, and values collected in them, that one request may make.
const MAX_KEPT: usize = 100_000;

/// Count objects in groups
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/aggregate", tag = "bucket_objects",
    operation_id = "aggregate_objects_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = ObjectAggregationRequest,
    responses((status = 200, body = ObjectAggregationResponse))
)]
pub(in crate::api) async fn aggregate(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<ObjectAggregationRequest>,
) -> Result<Json<ObjectAggregationResponse>, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let plan = Plan::new(&body)?;
    let filter = body.filters.as_ref().map(filters::filter_of).transpose()?;
    let query = Query::new(&bucket, filter.as_ref(), None, None)
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("filters"))))?;
    let counted = app
        .engine
        .store
        .read(move |db| {
            let mut groups = Groups::default();
            let (columns, unwind) = (plan.columns.clone(), plan.unwind.clone());
            rows::each(db, &bucket, &query, &columns, unwind.as_ref(), |row| {
                groups.take(&plan, &row, 1);
                Ok(())
            })?;
            Ok(groups)
        })
        .await?;
    if counted.kept > MAX_KEPT {
        return Err(too_many_groups());
    }
    Ok(Json(counted.finish(&body)))
}

/// Counts documents in groups: the same as of objects.
///
/// # Errors
/// 422 with everything in the request that cannot be.
pub(in crate::api) async fn of_documents(
    app: &App,
    body: DocumentAggregationRequest,
    query: DocumentQuery,
) -> Result<Json<serde_json::Value>, ApiError> {
    let body = ObjectAggregationRequest::from(body);
    let plan = Plan::new(&body)?;
    let counted = app
        .engine
        .store
        .read_or(move |db| {
            let mut groups = Groups::default();
            let (columns, unwind) = (plan.columns.clone(), plan.unwind.clone());
            query.each(db, &columns, unwind.as_ref(), plan.only_counts(), |row, count| {
                groups.take(&plan, &row, count);
                Ok(())
            })?;
            Ok::<_, ApiError>(groups)
        })
        .await?;
    if counted.kept > MAX_KEPT {
        return Err(too_many_groups());
    }
    serde_json::to_value(counted.finish(&body)).map(Json).map_err(ApiError::internal)
}

fn too_many_groups() -> ApiError {
    ApiError::invalid_field(
        FieldError { value: None, ..FieldError::new("group_by", (), "makes too many groups") }
            .accepting(format!("at most {MAX_KEPT} groups and collected values")),
    )
}
