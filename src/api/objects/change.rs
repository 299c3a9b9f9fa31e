//! Changing objects: fields set, fields cleared, another path.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde_json::{Map, Value};

use super::{
    Answer,
    answer::{self, ObjectResponse, View},
    create,
    wire::{PatchObjectRequest, UpdateObjectRequest},
};
use crate::{
    api::{
        App,
        base::Base,
        buckets,
        error::{ApiError, FieldError},
        json::{FromPath, Valid},
        scope::Scope,
    },
    store::{
        buckets::Bucket,
        objects::{
            record::{self, Record},
            write::{self, Change},
        },
    },
};

/// Change parts of an object
#[utoipa::path(
    patch, path = "/v1/buckets/{bucket_identifier}/objects/{object_identifier}",
    tag = "bucket_objects", operation_id = "patch_object_buckets",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("object_identifier" = String, Path, description = "Id"),
    ),
    request_body = PatchObjectRequest,
    responses((status = 200, body = ObjectResponse))
)]
pub(super) async fn patch(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((bucket, id)): FromPath<(String, String)>,
    Valid(body): Valid<PatchObjectRequest>,
) -> Answer<ObjectResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    if let Some(metadata) = body.fields.get("metadata").filter(|value| !value.is_object()) {
        return Err(ApiError::invalid_field(
            FieldError::new("metadata", metadata.clone(), "is not an object")
                .accepting("an object"),
        ));
    }
    change(&app, &scope, base, bucket, id, body.key_prefix, body.fields, Map::new()).await
}

/// Change an object
#[utoipa::path(
    put, path = "/v1/buckets/{bucket_identifier}/objects/{object_identifier}",
    tag = "bucket_objects", operation_id = "update_object_buckets",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("object_identifier" = String, Path, description = "Id"),
    ),
    request_body = UpdateObjectRequest,
    responses((status = 200, body = ObjectResponse))
)]
pub(super) async fn put(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((bucket, id)): FromPath<(String, String)>,
    Valid(body): Valid<UpdateObjectRequest>,
) -> Answer<ObjectResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let metadata = body.metadata.unwrap_or_default();
    change(&app, &scope, base, bucket, id, body.key_prefix, body.fields, metadata).await
}

/// Sets fields, in one transaction, so that two changes at once both stay.
#[allow(clippy::too_many_arguments)]
async fn change(
    app: &App,
    scope: &Scope,
    base: Base,
    bucket: Bucket,
    id: String,
    path: Option<String>,
    fields: BTreeMap<String, Value>,
    metadata: Map<String, Value>,
) -> Answer<ObjectResponse> {
    let mut wrong = answer::reserved(&fields);
    if let Some(path) = path.as_deref().filter(|path| path.is_empty() || path.len() > 4096) {
        let error = FieldError::new("key_prefix", path, "is not a path");
        wrong.push(error.accepting("1 to 4096 bytes of text"));
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let (now, in_bucket) = (app.now(), bucket.clone());
    let changed = app
        .engine
        .store
        .write(move |tx| {
            let Some(record) = record::by_id(tx, in_bucket.key, &id)? else {
                return Err(ApiError::not_found("object", id));
            };
            if path.is_some() && record.source.is_some() {
                return Err(create::synced(&id));
            }
            let (fields, unique_key) = merged(&in_bucket, &record, fields, metadata)?;
            let change = Change { path, fields, unique_key };
            match write::change(tx, in_bucket.key, record.key, &change, now)? {
                Some(other) => Err(ApiError::conflict("another object has this unique key")
                    .code("unique_key_taken")
                    .detail("object_id", other)),
                None => Ok(record::by_key(tx, record.key)?),
            }
        })
        .await?;
    let view = View::new(app, base, scope, &bucket.id, false);
    Ok(Json(view.object(changed).alone()))
}

/// The fields of an object with those that are set; null clears.
fn merged(
    bucket: &Bucket,
    record: &Record,
    set: BTreeMap<String, Value>,
    metadata: Map<String, Value>,
) -> Result<(Map<String, Value>, Option<String>), ApiError> {
    let mut fields = record.fields.clone();
    let mut root: Map<String, Value> = set.into_iter().collect();
    for (name, value) in metadata {
        let own = fields.get_mut("metadata").and_then(Value::as_object_mut);
        match own.and_then(|own| own.get_mut(&name)) {
            Some(place) => *place = value,
            None => {
                root.insert(name, value);
            }
        }
    }
    let named: BTreeMap<String, Value> = root.clone().into_iter().collect();
    let wrong = answer::reserved(&named);
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    for (name, value) in root {
        match value {
            Value::Null => fields.remove(&name),
            value => fields.insert(name, value),
        };
    }
    let blobs: Vec<&str> = record.blobs.iter().map(|blob| blob.property.as_str()).collect();
    let fields = create::conform(bucket, fields, &blobs)?;
    let has_key = record.source.is_none()
        || bucket
            .settings
            .unique_key
            .as_ref()
            .is_some_and(|key| key.fields.iter().all(|field| fields.contains_key(field)));
    let unique_key = if has_key { create::unique_key(bucket, &fields)? } else { None };
    Ok((fields, unique_key))
}
