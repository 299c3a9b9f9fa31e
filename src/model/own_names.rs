//! The names that an object has itself, which none of its fields can have.

/// Names of an object's own.
const OWN: [&str; 19] = [
    "object_id",
    "bucket_id",
    "key_prefix",
    "path_bytes",
    "blobs",
    "source",
    "source_details",
    "edges",
    "status",
    "error",
    "created_at",
    "updated_at",
    "document_count",
    "consistency",
    "edited_fields",
    "released",
    "idempotency_key",
    "skip_duplicates",
    "_internal",
];

/// Why a field cannot have that name, if it cannot.
#[must_use]
pub fn reserved(name: &str) -> Option<&'static str> {
    (name.is_empty() || OWN.contains(&name))
        .then_some("is a name of the object's own, not of a field")
}
