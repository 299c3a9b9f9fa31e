//! A trigger: batches of all that a collection has not extracted as it is now.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::Value;

use super::{found, response::TriggerCollectionResponse, settings, wire::TriggerCollectionRequest};
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
            Digest, batches,
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
    responses((status = 202, description = "What was begun", body = TriggerCollectionResponse))
)]
pub(super) async fn trigger(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<TriggerCollectionRequest>,
) -> Result<(StatusCode, Json<TriggerCollectionResponse>), ApiError> {
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
    let recipe = recipe_of(&app, &collection)?;
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
            response_of(tx, &collection, namespace_key, &id)
        })
        .await?;
    app.processor.nudge();
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// The recipe of a collection that can extract.
///
/// # Errors
/// 409 where it is disabled, or its extractor is gone.
pub(super) fn recipe_of(app: &App, collection: &Collection) -> Result<Digest, ApiError> {
    if !collection.is_enabled {
        return Err(ApiError::conflict("the collection is disabled: enable it first")
            .code("collection_disabled"));
    }
    let extractor = &collection.settings.extractor;
    let known = app.extractors.find(&extractor.name, &extractor.version).ok_or_else(|| {
        ApiError::conflict(format!("the extractor {:?} is not here any more", extractor.name))
    })?;
    Ok(digest::recipe(&known, extractor))
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

/// What a trigger has begun so far.
pub(super) fn response_of(
    db: &Connection,
    collection: &Collection,
    namespace_key: i64,
    id: &TaskId,
) -> Result<TriggerCollectionResponse, ApiError> {
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
    let batch_ids: Vec<String> = made.iter().map(|batch| batch.id.to_string()).collect();
    let message = match (made.is_empty(), trigger.is_made) {
        (true, _) => "Everything is extracted already",
        (false, true) => "Extraction has begun",
        (false, false) => "Extraction has begun; the task makes further batches",
    };
    Ok(TriggerCollectionResponse {
        batch_id: batch_ids.first().cloned(),
        task_id: id.to_string(),
        collection_id: collection.id.to_string(),
        source_bucket_ids: bucket_ids,
        source_collection_ids: upstream_ids,
        object_count: trigger.objects,
        batch_ids,
        task_ids: vec![id.to_string()],
        batch_count: made.len() as u64,
        document_count: None,
        total_tiers: tiers.max(1) as u64,
        message: message.to_owned(),
        estimate: None,
    })
}
