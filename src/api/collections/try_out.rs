//! A collection tried on a few objects: what its documents would be. Nothing is kept.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    JsonResult,
    response::{TriedObjectResponse, TryCollectionResponse},
    settings,
    wire::FeatureExtractorConfig,
};
use crate::{
    api::{
        App, buckets,
        error::{ApiError, FieldError},
        json::Valid,
        scope::Scope,
    },
    processing,
    store::objects::record,
};

/// What is tried.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TryRequest {
    /// The bucket of the objects, by id or name.
    pub bucket_id: String,
    /// The objects.
    #[schema(min_items = 1, max_items = 5)]
    pub object_ids: Vec<String>,
    /// Through what they go.
    pub feature_extractor: FeatureExtractorConfig,
}

/// Try an extractor on a few objects, without keeping anything
#[utoipa::path(
    post, path = "/v1/collections/try", tag = "collections", operation_id = "try_collection",
    request_body = TryRequest,
    responses((status = 200, description = "What came of each object", body = TryCollectionResponse))
)]
pub(super) async fn try_out(
    State(app): State<App>,
    scope: Scope,
    Valid(body): Valid<TryRequest>,
) -> JsonResult {
    let bucket = buckets::find(&app, &scope, &body.bucket_id).await?;
    let (extractor, kept) =
        settings::extractor(&app.extractors, Some(body.feature_extractor), None)?;
    let mut results = Vec::new();
    for id in body.object_ids {
        let (wanted, key) = (id.clone(), bucket.key);
        let object = app.engine.store.read(move |db| record::by_id(db, key, &wanted)).await?;
        let Some(object) = object else {
            return Err(ApiError::invalid_field(
                FieldError::new("object_ids", id, "is no object of the bucket").accepting("ids"),
            ));
        };
        let tried =
            processing::try_out(&app.engine, &app.extractors, &extractor, &kept, &bucket, &object)
                .await;
        let (documents, error, error_type) = match tried.outcome {
            Ok(documents) => (documents, None, None),
            Err(failure) => {
                (Vec::new(), Some(failure.message.clone()), Some(failure.class.as_str()))
            }
        };
        results.push(TriedObjectResponse {
            object_id: object.id.to_string(),
            key_prefix: object.path.to_json_text(),
            documents,
            error,
            error_type,
            duration_ms: tried.took_ms,
            memory_bytes: tried.memory,
            log: tried.log,
        });
    }
    Ok(Json(json!(TryCollectionResponse { results })))
}
