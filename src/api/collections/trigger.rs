//! A trigger: batches of all that a collection has not extracted as it is now.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::{found, settings, wire::TriggerCollectionRequest};
use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
        json::{FromPath, Valid},
        scope::Scope,
    },
    model::TaskId,
    processing::{
        chores::{self, Trigger},
        digest,
    },
    store::{
        Connection, buckets,
        processing::{
            batches,
            collections::{self, Collection, Upstream},
            tasks,
        },
    },
};

/// Extract what a collection has not extracted
#[utoipa::path(
    post, path = "/v1/collections/{collection_identifier}/trigger", tag = "collections",
    operation_id = "trigger_collection",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = TriggerCollectionRequest,
    responses((status = 202, description = "What was begun", body = Object))
)]
pub(super) async fn trigger(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<TriggerCollectionRequest>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let collection = found(&app, &scope, &named).await?;
    if body.reembed.is_some() {
        return Err(ApiError::invalid_field(
            FieldError::new(
                "reembed",
                (),
                "is a matter of retrievers, which there are none of here",
            )
            .accepting(Value::Null),
        ));
    }
    if !collection.is_enabled {
        return Err(ApiError::conflict("the collection is disabled: enable it first")
            .code("collection_disabled"));
    }
    let extractor = &collection.settings.extractor;
    let known = app.extractors.find(&extractor.name, &extractor.version).ok_or_else(|| {
        ApiError::conflict(format!("the extractor {:?} is not here any more", extractor.name))
    })?;
    let recipe = digest::recipe(&known, extractor);
    let filter = body.source_filters.as_ref().map(settings::source_filter).transpose()?;
    let wanted = Trigger {
        dedup: body.dedup_strategy.unwrap_or_default(),
        only_outdated: body.only_outdated.unwrap_or(false),
        object_ids: body.object_ids,
        filter: filter.map(|(filter, _)| filter),
        ..Trigger::default()
    };
    let (now, namespace_key) = (app.now(), scope.namespace_key);
    let (buckets, through) = (body.include_buckets, body.include_collections);
    let answer = app
        .engine
        .store
        .write(move |tx| {
            let buckets = narrowed(tx, &collection, namespace_key, buckets, through)?;
            let wanted = Trigger { buckets, ..wanted };
            let id =
                chores::begin_trigger(tx, namespace_key, collection.key, &wanted, &recipe, now)?;
            to_json(tx, &collection, namespace_key, &id)
        })
        .await?;
    app.processor.nudge();
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// The buckets that a trigger goes through.
fn narrowed(
    db: &Connection,
    collection: &Collection,
    namespace_key: i64,
    wanted: Option<Vec<String>>,
    through: Option<Vec<String>>,
) -> Result<Vec<i64>, ApiError> {
    let mut roots = collections::root_buckets(db, collection.key)?;
    if let Some(names) = through {
        let mut reached = Vec::new();
        for name in names {
            let upstream = collections::named(db, namespace_key, &name)?
                .ok_or_else(|| ApiError::not_found("collection", &name))?;
            let sources = collections::sources(db, collection.key)?;
            if !sources.contains(&Upstream::Collection(upstream.key)) {
                return Err(not_a_source("include_collections", &name));
            }
            reached.extend(collections::root_buckets(db, upstream.key)?);
        }
        roots.retain(|key| reached.contains(key));
    }
    if let Some(names) = wanted {
        let mut named = Vec::new();
        for name in names {
            let bucket = buckets::named(db, namespace_key, &name)?
                .ok_or_else(|| ApiError::not_found("bucket", &name))?;
            if !roots.contains(&bucket.key) {
                return Err(not_a_source("include_buckets", &name));
            }
            named.push(bucket.key);
        }
        roots = named;
    }
    Ok(roots)
}

fn not_a_source(field: &str, name: &str) -> ApiError {
    ApiError::invalid_field(
        FieldError::new(field, name, "is nothing that the collection takes from")
            .accepting("its sources"),
    )
}

fn to_json(
    db: &Connection,
    collection: &Collection,
    namespace_key: i64,
    id: &TaskId,
) -> Result<Value, ApiError> {
    let task = tasks::by_id(db, namespace_key, id.as_str())?
        .ok_or_else(|| ApiError::internal("the task of a trigger is gone"))?;
    let made = batches::of_trigger(db, task.key)?;
    let trigger: Trigger =
        serde_json::from_value(task.detail.clone()).map_err(ApiError::internal)?;
    let mut bucket_ids = Vec::new();
    for key in &trigger.buckets {
        bucket_ids.extend(collections::bucket_id(db, *key)?);
    }
    let mut upstream_ids = Vec::new();
    for source in collections::sources(db, collection.key)? {
        if let Upstream::Collection(key) = source {
            upstream_ids.extend(collections::by_key(db, key)?.map(|it| it.id.to_string()));
        }
    }
    let tiers = collections::tiers(db, &[collection.key])?.len();
    let batch_ids: Vec<&str> = made.iter().map(|batch| batch.id.as_str()).collect();
    let message = match (made.is_empty(), trigger.is_made) {
        (true, _) => "Everything is extracted already",
        (false, true) => "Extraction has begun",
        (false, false) => "Extraction has begun; the task makes further batches",
    };
    Ok(json!({
        "batch_id": batch_ids.first(),
        "task_id": id,
        "collection_id": collection.id,
        "source_bucket_ids": bucket_ids,
        "source_collection_ids": upstream_ids,
        "object_count": trigger.objects,
        "batch_ids": batch_ids,
        "task_ids": [id],
        "batch_count": made.len(),
        "document_count": null,
        "total_tiers": tiers.max(1),
        "message": message,
        "estimate": null,
    }))
}
