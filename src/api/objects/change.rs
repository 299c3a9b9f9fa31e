//! Changing objects: fields set, fields cleared, another path.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde_json::{Map, Value};

use super::{
    JsonResult, create,
    response::{self, ObjectResponse, View},
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
        edits::Edits,
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
) -> JsonResult<ObjectResponse> {
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
) -> JsonResult<ObjectResponse> {
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
) -> JsonResult<ObjectResponse> {
    let mut wrong = response::reserved(&fields);
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
            let Merged { fields, edits, unique_key } =
                merged(&in_bucket, &record, fields, metadata)?;
            let change = Change { path, fields, edits, unique_key };
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

/// An object with the fields that are set.
struct Merged {
    fields: Map<String, Value>,
    edits: Option<Edits>,
    unique_key: Option<String>,
}

/// The fields of an object with those that are set; null clears. Those of an object of a sync are
/// kept apart from what the sync gives, and null takes them back.
fn merged(
    bucket: &Bucket,
    record: &Record,
    set: BTreeMap<String, Value>,
    metadata: Map<String, Value>,
) -> Result<Merged, ApiError> {
    let set = at_root(record, set, metadata);
    let named: BTreeMap<String, Value> = set.clone().into_iter().collect();
    let wrong = response::reserved(&named);
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let is_synced = record.source.is_some();
    let given = || Edits { given: record.fields.clone(), ..Edits::default() };
    let mut edits = is_synced.then(|| record.edits.clone().unwrap_or_else(given));
    let mut fields = record.fields.clone();
    for (name, value) in set {
        match (&mut edits, value) {
            (Some(edits), value) => edits.write(name, value),
            (None, Value::Null) => drop(fields.remove(&name)),
            (None, value) => drop(fields.insert(name, value)),
        }
    }
    if let Some(edits) = &edits {
        fields = edits.merged();
    }
    let blobs: Vec<&str> = record.blobs.iter().map(|blob| blob.property.as_str()).collect();
    let fields = create::conform(bucket, fields, &blobs)?;
    for (name, value) in edits.iter_mut().flat_map(|edits| edits.edited.iter_mut()) {
        // As the bucket's schema has it: a number that came as text, for one.
        if let Some(conformed) = fields.get(name).filter(|_| !value.is_null()) {
            value.clone_from(conformed);
        }
    }
    let has_key = !is_synced
        || bucket
            .settings
            .unique_key
            .as_ref()
            .is_some_and(|key| key.fields.iter().all(|field| fields.contains_key(field)));
    let unique_key = if has_key { create::unique_key(bucket, &fields)? } else { None };
    Ok(Merged { fields, edits, unique_key })
}

/// What is set, by the names of fields at the root: `metadata` changes what is in the object's own
/// field of that name, where it has one.
fn at_root(
    record: &Record,
    set: BTreeMap<String, Value>,
    metadata: Map<String, Value>,
) -> Map<String, Value> {
    let mut root: Map<String, Value> = set.into_iter().collect();
    let mut own = record.fields.get("metadata").and_then(Value::as_object).cloned();
    let mut is_changed = false;
    for (name, value) in metadata {
        match own.as_mut().and_then(|own| own.get_mut(&name)) {
            Some(place) => {
                *place = value;
                is_changed = true;
            }
            None => drop(root.insert(name, value)),
        }
    }
    if let Some(own) = own.filter(|_| is_changed) {
        root.entry("metadata").or_insert(Value::Object(own));
    }
    root
}
