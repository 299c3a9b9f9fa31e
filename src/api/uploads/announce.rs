//! Announcing uploads: what is kept of a request, and the address that its bytes go to.

use axum::http::{HeaderValue, Method};
use jiff::SignedDuration;

use super::{
    content_path, to_response,
    wire::{CreateUploadRequest, UploadResponse},
};
use crate::{
    api::{
        App,
        base::Base,
        content::links,
        error::{ApiError, FieldError},
        scope::Scope,
    },
    model::{FieldType, UploadSettings},
    store::{buckets::Bucket, uploads},
};

/// Makes an upload, unless its bytes are known.
pub(super) async fn announced(
    app: &App,
    scope: &Scope,
    base: &Base,
    bucket: &Bucket,
    request: CreateUploadRequest,
) -> Result<UploadResponse, ApiError> {
    let settings = settings(bucket, request)?;
    let (key, now) = (bucket.key, app.now());
    let until = now + SignedDuration::from_secs(settings.expiration_secs.cast_signed());
    let (upload, is_duplicate) = app
        .engine
        .store
        .write(move |tx| {
            let known = match &settings.file_hash {
                Some(hash) if settings.skip_duplicates => uploads::with_hash(tx, key, hash)?,
                _ => None,
            };
            match known {
                Some(known) => Ok::<_, ApiError>((known, true)),
                None => Ok((uploads::insert(tx, key, &settings, until, now)?, false)),
            }
        })
        .await?;
    let put = (!is_duplicate).then(|| {
        let path = content_path(bucket, &upload);
        base.url(&app.links.sign(&Method::PUT, &path, scope.id.as_str(), until))
    });
    let mut answer = to_response(bucket, upload, put);
    if is_duplicate {
        answer.is_duplicate = true;
        answer.duplicate_of_upload_id = Some(answer.upload_id.clone());
        answer.message =
            Some("these bytes were uploaded before; there is no need to send them".to_owned());
    }
    Ok(answer)
}

/// What is kept of a request, if it can be.
pub(super) fn settings(
    bucket: &Bucket,
    request: CreateUploadRequest,
) -> Result<UploadSettings, ApiError> {
    let mut wrong = Vec::new();
    let name = &request.filename;
    if name.contains(['/', '\\'])
        || name.chars().any(char::is_control)
        || name == ".."
        || name == "."
    {
        wrong.push(
            FieldError::new("filename", name.as_str(), "is not a file name")
                .accepting("a name without a path"),
        );
    }
    let mime = &request.content_type;
    if !mime.contains('/') || HeaderValue::from_str(mime).is_err() {
        wrong.push(
            FieldError::new("content_type", mime.as_str(), "is not a MIME type")
                .accepting("type/subtype, such as video/mp4"),
        );
    }
    let creates = request.create_object_on_confirm.unwrap_or(true);
    let property = request.blob_property.or_else(|| default_property(bucket, name));
    if creates && property.is_none() {
        wrong.push(
            FieldError {
                value: None,
                ..FieldError::new("blob_property", (), "cannot be derived from the file name")
            }
            .accepting("letters, digits and underscores")
            .of_kind("missing"),
        );
    }
    let kind = request.blob_type.unwrap_or_else(|| FieldType::of_mime(Some(mime)));
    let schema = bucket.settings.bucket_schema.as_ref();
    let field = schema.and_then(|schema| schema.properties.get(property.as_deref()?));
    if let Some(field) = field.filter(|field| creates && field.kind != kind) {
        wrong.push(
            FieldError::new(
                "blob_type",
                kind.as_str(),
                "is of another type in the bucket's schema",
            )
            .accepting(field.kind.as_str()),
        );
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    Ok(UploadSettings {
        filename: request.filename,
        content_type: request.content_type,
        file_size_bytes: request.file_size_bytes,
        expiration_secs: request.presigned_url_expiration.unwrap_or(links::DEFAULT_SECS),
        metadata: request.metadata,
        create_object_on_confirm: creates,
        object_metadata: request.object_metadata,
        blob_property: property,
        blob_type: Some(kind.as_str().to_owned()),
        file_hash: request.file_hash.map(|hash| hash.to_ascii_lowercase()),
        skip_duplicates: request.skip_duplicates.unwrap_or(true),
        ..UploadSettings::default()
    })
}

/// The schema's only blob, else the file's name without its extension, where that can be a
/// property.
fn default_property(bucket: &Bucket, filename: &str) -> Option<String> {
    let schema = bucket.settings.bucket_schema.as_ref();
    let mut blobs = schema
        .into_iter()
        .flat_map(|schema| &schema.properties)
        .filter(|(_, field)| field.kind.is_blob());
    if let (Some((only, _)), None) = (blobs.next(), blobs.next()) {
        return Some(only.clone());
    }
    let stem = filename.rsplit_once('.').map_or(filename, |(stem, _)| stem);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!stem.is_empty() && stem.len() <= 100 && stem.chars().all(is_plain)).then(|| stem.to_owned())
}
