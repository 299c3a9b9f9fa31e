//! What callers see of an extractor, whether it comes with Catchment or is the owner's.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};

use super::{builtin::Builtin, program::Program, service::Service};

/// How long an extractor of ours may take over one object.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a child of ours without work is kept.
const IDLE: Duration = Duration::from_secs(30);

/// An extractor.
#[derive(Clone, Debug)]
pub struct Extractor {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, for people.
    pub description: String,
    /// Whether an object without anything that is mapped is nothing for it.
    pub needs_input: bool,
    /// Whether its documents take over all fields unless somebody says otherwise.
    pub carries_fields: bool,
    /// MIME types that it takes, `type/*` and `*/*` among them.
    pub accepts: Vec<String>,
    /// What it is given where a collection does not say: fields or blobs by its names for them.
    pub inputs: BTreeMap<String, String>,
    /// The fields of its documents, in the words of a bucket's schema.
    pub fields: Vec<Field>,
    /// The JSON Schema of its parameters.
    pub parameters: Value,
    /// What parameters are where a collection does not say; ours know that themselves.
    pub(super) defaults: Map<String, Value>,
    /// How long it may take over one object.
    pub timeout: Duration,
    /// How long a process of it that has no work is kept.
    pub(super) idle: Duration,
    /// How many objects it may have at once; `None`: as many as there are places.
    pub concurrency: Option<usize>,
    /// The digest of the owner's definition, which is part of the recipe; `None`: it is ours, whose
    /// version says it all.
    pub definition: Option<[u8; 16]>,
    /// Words that must not show up in what is shown of it.
    pub(super) secrets: Vec<String>,
    pub(super) how: How,
}

/// A field of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What it says.
    pub description: String,
}

/// What runs an extractor.
#[derive(Clone, Debug)]
pub(super) enum How {
    Builtin(&'static Builtin),
    Program(Program),
    Service(Box<Service>),
}

impl Extractor {
    /// Whether it comes with Catchment.
    #[must_use]
    pub const fn is_builtin(&self) -> bool {
        matches!(self.how, How::Builtin(_))
    }

    /// Whether it is a service, which runs where it runs and is not confined by us.
    #[must_use]
    pub const fn is_service(&self) -> bool {
        matches!(self.how, How::Service(_))
    }

    /// Whether objects may leave this computer by it: it is a service, wherever that runs, or a
    /// program that is let use the network.
    #[must_use]
    pub const fn reaches_network(&self) -> bool {
        match &self.how {
            How::Builtin(_) => false,
            How::Program(program) => program.network,
            How::Service(_) => true,
        }
    }

    /// The text without what must not show up in it.
    pub(super) fn blanked(&self, mut text: String) -> String {
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "[redacted]");
        }
        text
    }
}

impl From<&'static Builtin> for Extractor {
    fn from(builtin: &'static Builtin) -> Self {
        let field = |field: &super::builtin::Field| Field {
            name: field.name.to_owned(),
            kind: field.kind.to_owned(),
            description: field.description.to_owned(),
        };
        Self {
            name: builtin.name.to_owned(),
            version: builtin.version.to_owned(),
            description: builtin.description.to_owned(),
            needs_input: builtin.needs_input,
            carries_fields: builtin.carries_fields,
            accepts: builtin.accepts.iter().map(|kind| (*kind).to_owned()).collect(),
            inputs: BTreeMap::from([("file".to_owned(), crate::model::CONTENT.to_owned())]),
            fields: builtin.fields.iter().map(field).collect(),
            parameters: (builtin.parameters)(),
            defaults: Map::new(),
            timeout: TIMEOUT,
            idle: IDLE,
            concurrency: None,
            definition: None,
            secrets: Vec::new(),
            how: How::Builtin(builtin),
        }
    }
}
