//! Public ids: a type for each noun, so that a bucket's id is never taken for a job's.
//!
//! An id is its noun's prefix and a ULID: random, never reused, and roughly ordered by time, which
//! keeps the indexes over ids append-mostly.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A fresh id, never given out before.
            #[must_use]
            pub fn generate() -> Self {
                Self(format!(concat!($prefix, "{}"), ulid::Ulid::generate()))
            }

            /// Restores an id that was stored earlier.
            #[must_use]
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// The id as text, prefix included.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a connection: credentials and address of a provider.
    ConnectionId, "conn_"
);
id!(
    /// Names a bucket.
    BucketId, "bkt_"
);
id!(
    /// Names a sync: a standing order from a source to a bucket.
    SyncId, "sync_"
);
id!(
    /// Names a job: one run of a sync.
    JobId, "job_"
);
id!(
    /// Names an object: one record in a bucket.
    ObjectId, "obj_"
);
id!(
    /// Names one blob of an object.
    BlobId, "blob_"
);
id!(
    /// Names a namespace.
    NamespaceId, "ns_"
);
id!(
    /// Names an upload: bytes handed in for an object to come.
    UploadId, "upl_"
);
id!(
    /// Names an archive: objects that somebody may download as one file.
    ArchiveId, "arc_"
);
id!(
    /// Names a batch: objects that are processed together.
    BatchId, "btch_"
);
id!(
    /// Names a task: work that takes a while.
    TaskId, "task_"
);
id!(
    /// Names a collection: objects through an extractor into documents.
    CollectionId, "col_"
);
id!(
    /// Names a document.
    DocumentId, "doc_"
);
id!(
    /// Names a dead letter.
    DeadLetterId, "dlq_"
);

impl BlobId {
    /// The id of a blob whose row keeps none, which is that of every blob that a sync brings: the
    /// object's own number for its `content`, the property that is the file itself, and for others
    /// a number made of the object's id and the property. The same at every call.
    #[must_use]
    pub fn derived(object: &ObjectId, property: &str, content: &str) -> Self {
        if property == content {
            let number = object.as_str().strip_prefix("obj_").unwrap_or(object.as_str());
            return Self(format!("blob_{number}"));
        }
        let hash = blake3::hash(format!("{object}/{property}").as_bytes());
        let mut number = [0; 16];
        number.copy_from_slice(&hash.as_bytes()[..16]);
        Self(format!("blob_{}", ulid::Ulid::from(u128::from_be_bytes(number))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blobs_of_an_object_have_ids_that_differ_and_stay() {
        let object = ObjectId::from_stored("obj_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned());
        let id = |property| BlobId::derived(&object, property, "content").to_string();
        assert_eq!(id("content"), "blob_01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_ne!(id("preview"), id("poster"));
        assert_eq!(id("preview"), id("preview"));
        assert_eq!(id("preview").len(), id("content").len());
    }
}
