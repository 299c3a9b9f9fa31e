//! Folders of a bucket on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::json::query_parameters,
    model::EntryPath,
    store::tree::{Leaf, Twin},
};

/// Which folder, and which of its objects.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TreeQuery {
    /// The folder, with the slash at its end; absent: all.
    #[schema(max_length = 4096)]
    pub prefix: Option<String>,
    /// How many objects to return; 0: none, only the folders and the number of objects.
    #[schema(minimum = 0, maximum = 1000)]
    pub limit: Option<u32>,
    /// Which page of them, from 1.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub page: Option<u32>,
}
query_parameters!(TreeQuery);

/// A folder, or a page of its objects.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TreeResponse {
    /// The folder.
    prefix: String,
    /// The folders right in it; null on a page of objects.
    folders: Option<Vec<TreeFolder>>,
    /// Whether there are more folders than are returned.
    folders_truncated: bool,
    /// How many objects lie right in it; null on a page of objects.
    object_count: Option<u64>,
    /// Objects right in it, by path.
    objects: Vec<TreeObject>,
}

/// A folder in a folder.
#[derive(Debug, Serialize, ToSchema)]
struct TreeFolder {
    /// From the bucket's root, with the slash at its end.
    path: String,
    /// Its last part, with the slash.
    name: String,
}

/// An object in a line.
#[derive(Debug, Serialize, ToSchema)]
struct TreeObject {
    /// Its id.
    object_id: String,
    /// Its whole path.
    key_prefix: String,
    /// Its bytes.
    size_bytes: u64,
    /// What kind of file it is.
    mime_type: Option<String>,
    /// When it was modified at its source, else when it came here.
    #[schema(value_type = String, format = DateTime)]
    modified_at: Timestamp,
}

impl TreeResponse {
    /// The folder as it is entered.
    pub(super) fn opening(prefix: String, folders: &[EntryPath], cut: bool, count: u64) -> Self {
        let folder = |path: &EntryPath| TreeFolder {
            name: EntryPath::new(&path.as_bytes()[prefix.len()..]).to_json_text(),
            path: path.to_json_text(),
        };
        Self {
            folders: Some(folders.iter().map(folder).collect()),
            folders_truncated: cut,
            object_count: Some(count),
            objects: Vec::new(),
            prefix,
        }
    }

    /// A page of its objects.
    pub(super) fn page(prefix: String, leaves: Vec<Leaf>) -> Self {
        let object = |leaf: Leaf| TreeObject {
            object_id: leaf.id,
            key_prefix: leaf.path.to_json_text(),
            size_bytes: leaf.size,
            mime_type: leaf.mime,
            modified_at: leaf.modified,
        };
        Self {
            prefix,
            folders: None,
            folders_truncated: false,
            object_count: None,
            objects: leaves.into_iter().map(object).collect(),
        }
    }
}

/// How many to return.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TwinsQuery {
    /// At most so many.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}
query_parameters!(TwinsQuery);

/// Objects that share bytes with one.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TwinsResponse {
    /// The oldest first.
    pub results: Vec<TwinModel>,
}

/// An object that shares bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TwinModel {
    /// Its id.
    object_id: String,
    /// Its bucket.
    bucket_id: String,
    /// Its path.
    key_prefix: String,
}

impl From<Twin> for TwinModel {
    fn from(twin: Twin) -> Self {
        Self { object_id: twin.id, bucket_id: twin.bucket_id, key_prefix: twin.path.to_json_text() }
    }
}
