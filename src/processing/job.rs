//! One call of an extractor, planned: what it is given, and what its documents take over.

use serde_json::{Map, Value};

use super::view::Blob;

/// One call of an extractor.
#[derive(Debug)]
pub(super) struct JobPlan {
    pub(super) inputs: Vec<(String, InputPlan)>,
    pub(super) carried: Map<String, Value>,
    pub(super) upstream: Option<UpstreamOf>,
    pub(super) content_hash: Option<String>,
}

/// The document that a job is of.
#[derive(Clone, Debug)]
pub(super) struct UpstreamOf {
    pub(super) document_id: String,
    pub(super) collection_id: String,
    pub(super) body: Value,
}

/// An input, found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum InputPlan {
    Blob(Blob),
    Value(Value),
}
