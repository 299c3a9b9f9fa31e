//! From a request to a new object: blobs decoded and stored, fields checked against the schema.

use axum::http::StatusCode;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{
    response,
    wire::{CreateBlobRequest, CreateObjectRequest},
};
use crate::{
    api::{
        App,
        buckets::InsertionPolicy,
        content::links::hex,
        error::{ApiError, FieldError},
        json::Patch,
    },
    blobs::{Blobs, INLINE_MAX},
    model::{BlobHash, FieldType, PartProblem, UniqueKey},
    store::{
        buckets::Bucket,
        commit::Stored,
        objects::write::{BlobBytes, CreateOutcome, NewBlob, NewObject, Policy},
        uploads,
    },
};

/// Bytes of a blob, and what came with them.
struct Decoded {
    bytes: Vec<u8>,
    mime: Option<String>,
    filename: Option<String>,
}

/// Reads a request into a new object. Its blobs are durable when this returns.
pub(super) async fn new_object(
    app: &App,
    bucket: &Bucket,
    request: CreateObjectRequest,
) -> Result<NewObject, ApiError> {
    let mut wrong = response::reserved(&request.fields);
    let blobs = request.blobs.unwrap_or_default();
    for (index, blob) in blobs.iter().enumerate() {
        if blobs[..index].iter().any(|other| other.property == blob.property) {
            let place = format!("blobs[{index}].property");
            wrong.push(
                FieldError::new(
                    place,
                    blob.property.as_str(),
                    "is also the property of another blob",
                )
                .accepting("a property of its own"),
            );
        }
        wrong.extend(misfit(bucket, index, blob));
    }
    if let Some(path) =
        request.key_prefix.as_deref().filter(|path| path.is_empty() || path.len() > 4096)
    {
        wrong.push(
            FieldError::new("key_prefix", path, "is not a path")
                .accepting("1 to 4096 bytes of text"),
        );
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let mut fields: Map<String, Value> = request.fields.into_iter().collect();
    promote(&blobs, &mut fields);
    let properties: Vec<&str> = blobs.iter().map(|blob| blob.property.as_str()).collect();
    let fields = conform(bucket, fields, &properties)?;
    let unique_key = unique_key(bucket, &fields)?;
    let mut ready = Vec::new();
    for (index, blob) in blobs.into_iter().enumerate() {
        ready.push(take(app, bucket, index, blob, request.key_prefix.as_deref()).await?);
    }
    Ok(NewObject {
        path: request.key_prefix,
        fields,
        edges: request.edges.map(|edges| serde_json::json!(edges)),
        unique_key,
        idempotency_key: request.idempotency_key,
        blobs: ready,
    })
}

/// A blob of another type than the schema says.
fn misfit(bucket: &Bucket, index: usize, blob: &CreateBlobRequest) -> Option<FieldError> {
    let schema = bucket.settings.bucket_schema.as_ref()?;
    let field = schema.properties.get(&blob.property)?;
    (field.kind != blob.kind).then(|| {
        let words =
            format!("{:?} is {} in the bucket's schema", blob.property, field.kind.as_str());
        FieldError::new(format!("blobs[{index}].type"), blob.kind.as_str(), words)
            .accepting(field.kind.as_str())
    })
}

/// What is said of blobs becomes fields; the object's own go before, then the first blob's.
fn promote(blobs: &[CreateBlobRequest], fields: &mut Map<String, Value>) {
    for (name, value) in blobs.iter().flat_map(|blob| blob.metadata.iter().flatten()) {
        let named = [(name.clone(), value.clone())].into_iter().collect();
        if !fields.contains_key(name) && response::reserved(&named).is_empty() {
            fields.insert(name.clone(), value.clone());
        }
    }
}

/// Fields as the bucket's schema has them.
pub(super) fn conform(
    bucket: &Bucket,
    fields: Map<String, Value>,
    blobs: &[&str],
) -> Result<Map<String, Value>, ApiError> {
    let Some(schema) = &bucket.settings.bucket_schema else { return Ok(fields) };
    schema.conform(fields, blobs).map_err(|mismatch| {
        ApiError::invalid_field(
            FieldError {
                value: None,
                ..FieldError::new(mismatch.field.as_str(), (), mismatch.reason())
            }
            .accepting("what the bucket's schema says"),
        )
    })
}

/// Fields that come with an upload, as the bucket's schema has them.
pub(in crate::api) fn fields(
    bucket: &Bucket,
    fields: Map<String, Value>,
    blobs: &[&str],
) -> Result<Map<String, Value>, ApiError> {
    let named = fields.clone().into_iter().collect();
    let wrong = response::reserved(&named);
    if wrong.is_empty() { conform(bucket, fields, blobs) } else { Err(ApiError::invalid(wrong)) }
}

/// The values of the bucket's unique key, as its index has them.
pub(in crate::api) fn unique_key(
    bucket: &Bucket,
    fields: &Map<String, Value>,
) -> Result<Option<String>, ApiError> {
    let Some(key) = &bucket.settings.unique_key else { return Ok(None) };
    let mut values = Vec::new();
    let mut wrong = Vec::new();
    for name in &key.fields {
        let value = fields.get(name);
        match UniqueKey::part(value) {
            Ok(value) => values.push(value.clone()),
            Err(PartProblem::Length) => wrong.push(
                FieldError::new(name, value.cloned(), "cannot be part of the unique key")
                    .accepting("1 to 255 characters"),
            ),
            Err(PartProblem::Missing) => wrong.push(
                FieldError::new(name, value.cloned(), "is part of the bucket's unique key")
                    .accepting("text, a number, true or false")
                    .of_kind("missing"),
            ),
        }
    }
    if wrong.is_empty() {
        Ok(Some(Value::Array(values).to_string()))
    } else {
        Err(ApiError::invalid(wrong))
    }
}

/// What to do about an object that has the same unique key.
pub(in crate::api) fn policy(
    bucket: &Bucket,
    wanted: Option<InsertionPolicy>,
) -> Result<Policy, ApiError> {
    let Some(key) = &bucket.settings.unique_key else { return Ok(Policy::Insert) };
    let wanted = match (wanted, key.default_policy.as_deref()) {
        (Some(InsertionPolicy::Insert), _) | (None, Some("insert")) => Policy::Insert,
        (Some(InsertionPolicy::Update), _) | (None, Some("update")) => Policy::Update,
        (Some(InsertionPolicy::Upsert), _) | (None, Some("upsert")) => Policy::Upsert,
        (None, _) => {
            let words = "the bucket has a unique key and no default policy: say what to do about an \
                         object whose key is taken";
            return Err(ApiError::invalid_field(
                FieldError { value: None, ..FieldError::new("policy", (), words) }
                    .accepting(vec!["insert", "update", "upsert"])
                    .of_kind("missing"),
            ));
        }
    };
    Ok(wanted)
}

async fn take(
    app: &App,
    bucket: &Bucket,
    index: usize,
    blob: CreateBlobRequest,
    object_path: Option<&str>,
) -> Result<NewBlob, ApiError> {
    let place = |field: &str| format!("blobs[{index}].{field}");
    let data = match blob.data {
        Patch::Missing | Patch::Null => None,
        Patch::Value(value) => Some(value),
    };
    let file =
        |path: &str| path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
    let named = blob.key_prefix.as_deref().and_then(file);
    let (bytes, mime, filename) = match (data, blob.upload_id) {
        (Some(data), None) => {
            let decoded = decode(blob.kind, &data).map_err(|(words, accepted)| {
                ApiError::invalid_field(
                    FieldError::new(place("data"), crate::api::error::excerpt(&data), words)
                        .accepting(accepted),
                )
            })?;
            check(blob.checksum.as_deref(), &decoded.bytes, &place("checksum"))?;
            let filename = decoded.filename.or(named).or_else(|| object_path.and_then(file));
            let guess =
                || mime_guess::from_path(filename.as_deref()?).first_raw().map(str::to_owned);
            let mime = decoded.mime.or_else(guess);
            (BlobBytes::Stored(store(&app.engine.blobs, decoded.bytes).await?), mime, filename)
        }
        (None, Some(id)) => {
            let (bucket_key, wanted) = (bucket.key, id.clone());
            let upload =
                app.engine.store.read(move |db| uploads::by_id(db, bucket_key, &wanted)).await?;
            let refuse = |words: &str| {
                ApiError::invalid_field(
                    FieldError::new(place("upload_id"), id.as_str(), words)
                        .accepting("an upload of this bucket that was confirmed"),
                )
            };
            let upload = upload.ok_or_else(|| refuse("no such upload in this bucket"))?;
            if upload.status != crate::model::UploadStatus::Completed || upload.bytes.is_none() {
                return Err(refuse("the upload is not confirmed, or its bytes were deleted"));
            }
            let settings = upload.settings;
            (BlobBytes::Upload(upload.key), Some(settings.content_type), Some(settings.filename))
        }
        (given, _) => {
            let words =
                if given.is_some() { "cannot be combined with upload_id" } else { "is missing" };
            return Err(ApiError::invalid_field(
                FieldError { value: None, ..FieldError::new(place("data"), (), words) }
                    .accepting("data or upload_id, one of them"),
            ));
        }
    };
    Ok(NewBlob {
        property: blob.property,
        bytes,
        kind: blob.kind.as_str().to_owned(),
        filename,
        mime,
        metadata: blob.metadata,
    })
}

type Refusal = (&'static str, &'static str);

/// The bytes that `data` stands for.
fn decode(kind: FieldType, data: &Value) -> Result<Decoded, Refusal> {
    let plain = |bytes: Vec<u8>, mime: Option<&str>| Decoded {
        bytes,
        mime: mime.map(str::to_owned),
        filename: None,
    };
    let base64 = |text: &str| {
        let text: String = text.split_ascii_whitespace().collect();
        BASE64_STANDARD.decode(text).map_err(|_| ("is not base64", "base64 with padding"))
    };
    const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
    const JSON: Option<&str> = Some("application/json");
    match data {
        Value::String(text) if is_address(text) => Err(ADDRESS),
        Value::String(text) if text.starts_with("data:") => data_uri(text),
        Value::String(text) => match kind {
            FieldType::Image
            | FieldType::Audio
            | FieldType::Video
            | FieldType::Pdf
            | FieldType::Excel => base64(text).map(|bytes| plain(bytes, None)),
            _ => Ok(plain(text.clone().into_bytes(), TEXT)),
        },
        Value::Object(object) => {
            let text = |key: &str| object.get(key).and_then(Value::as_str);
            if let Some(encoded) = text("base64") {
                return Ok(Decoded {
                    bytes: base64(encoded)?,
                    mime: text("mime_type").map(str::to_owned),
                    filename: text("filename").map(str::to_owned),
                });
            }
            match (text("url"), text("text")) {
                (Some(_), _) if object.len() == 1 => Err(ADDRESS),
                (_, Some(text)) if object.len() == 1 => Ok(plain(text.as_bytes().to_vec(), TEXT)),
                _ => Ok(plain(data.to_string().into_bytes(), JSON)),
            }
        }
        other => Ok(plain(other.to_string().into_bytes(), JSON)),
    }
}

const ADDRESS: Refusal = (
    "is an address, and this server fetches none for a request",
    "bytes: text, a data: URI, base64, or upload_id; or a sync",
);

fn is_address(text: &str) -> bool {
    ["http://", "https://", "s3://", "file://"].iter().any(|scheme| text.starts_with(scheme))
}

/// `data:[type][;base64],…` (RFC 2397).
fn data_uri(text: &str) -> Result<Decoded, Refusal> {
    let wrong = ("is not a data: URI", "data:TYPE;base64,BYTES");
    let (head, body) =
        text.strip_prefix("data:").and_then(|rest| rest.split_once(',')).ok_or(wrong)?;
    let (mime, bytes) = match head.strip_suffix(";base64") {
        Some(mime) => (mime, BASE64_STANDARD.decode(body).map_err(|_| wrong)?),
        None => (head, percent_decode_str(body).collect()),
    };
    let mime = if mime.is_empty() { "text/plain;charset=US-ASCII" } else { mime };
    Ok(Decoded { bytes, mime: Some(mime.to_owned()), filename: None })
}

/// Holds bytes against what they should hash to.
fn check(checksum: Option<&str>, bytes: &[u8], place: &str) -> Result<(), ApiError> {
    let Some(checksum) = checksum else { return Ok(()) };
    let (algorithm, expected) = checksum.split_once(':').unwrap_or(("sha256", checksum));
    let actual = match algorithm {
        "sha256" => hex(&Sha256::digest(bytes)),
        "blake3" => BlobHash::of(bytes).to_hex(),
        _ => String::new(),
    };
    if actual.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let words = match actual.is_empty() {
        true => "is of a kind that is not known".to_owned(),
        false => format!("is not that of the {} bytes that came", bytes.len()),
    };
    Err(ApiError::invalid_field(
        FieldError::new(place, checksum, words)
            .accepting("sha256:64 hex digits, or blake3:64 hex digits"),
    ))
}

/// Puts bytes where their size belongs.
pub(in crate::api) async fn store(blobs: &Blobs, bytes: Vec<u8>) -> Result<Stored, ApiError> {
    let size = bytes.len() as u64;
    if size <= INLINE_MAX {
        let bytes = Bytes::from(bytes);
        return Ok(Stored { hash: BlobHash::of(&bytes), size, inline: Some(bytes) });
    }
    let room = blobs.reserve(size).map_err(disk)?;
    let blobs = blobs.clone();
    let written = tokio::task::spawn_blocking(move || {
        let mut stage = blobs.stage()?;
        stage.write(&bytes)?;
        stage.finish()
    });
    let hash = written.await.map_err(ApiError::internal)?.map_err(disk)?;
    drop(room);
    Ok(Stored { hash, size, inline: None })
}

/// A disk that is full is not our fault; anything else of it is.
pub(in crate::api) fn disk(error: crate::blobs::BlobError) -> ApiError {
    match error {
        crate::blobs::BlobError::Full { .. } => ApiError::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "disk_full",
            "the disk of the data directory is full; nothing of this request was kept",
        ),
        error => ApiError::internal(error),
    }
}

/// The key of the object that an outcome is about, or why there is none.
pub(in crate::api) fn object_key_of(
    outcome: CreateOutcome,
) -> Result<(i64, Option<&'static str>), ApiError> {
    match outcome {
        CreateOutcome::Created(key) | CreateOutcome::Updated(key) => Ok((key, None)),
        CreateOutcome::Repeated(key) => Ok((key, Some("idempotency_key"))),
        CreateOutcome::Equal(key) => Ok((key, Some("skip_duplicates"))),
        CreateOutcome::Taken(id) => {
            Err(ApiError::conflict("an object of the bucket has the same unique key")
                .code("unique_key_taken")
                .detail("object_id", id))
        }
        CreateOutcome::Absent => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no object of the bucket has this unique key",
        )),
        CreateOutcome::Synced(id) => Err(synced(&id)),
        CreateOutcome::NoBytes(property) => Err(ApiError::conflict(format!(
            "the bytes for {property:?} were deleted: send them again"
        ))
        .code("bytes_gone")),
    }
}

/// Path and bytes of an object that a sync made are the sync's to change.
pub(super) fn synced(id: &str) -> ApiError {
    ApiError::conflict("a sync made this object: its path and its bytes change at the source")
        .code("synced_object")
        .detail("object_id", id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn bytes(kind: FieldType, data: Value) -> Vec<u8> {
        decode(kind, &data).map_err(|(words, _)| words).unwrap().bytes
    }

    #[test]
    fn data_is_what_its_form_says() {
        assert_eq!(bytes(FieldType::Text, json!("aGFsbG8=")), b"aGFsbG8=");
        assert_eq!(bytes(FieldType::Image, json!("aGFsbG8=")), b"hallo");
        assert_eq!(bytes(FieldType::Image, json!("data:image/png;base64,aGFsbG8=")), b"hallo");
        assert_eq!(bytes(FieldType::Text, json!("data:,a%20b")), b"a b");
        assert_eq!(bytes(FieldType::Pdf, json!({"base64": "aGFsbG8="})), b"hallo");
        assert_eq!(bytes(FieldType::Text, json!({"text": "hallo"})), b"hallo");
        assert_eq!(bytes(FieldType::Object, json!({"a": [1]})), br#"{"a":[1]}"#);
        assert_eq!(bytes(FieldType::Number, json!(4.5)), b"4.5");
        assert!(decode(FieldType::Image, &json!("nö")).is_err());
        assert!(decode(FieldType::Text, &json!("https://example.com/a")).is_err());
    }
}
