//! Collections as they are returned.

use serde_json::{Map, Value, json};

use crate::{
    model::{ExtractorSettings, SchemaValidation},
    processing::{
        digest,
        extract::{Extractor, Extractors},
    },
    store::{
        Connection, Result,
        processing::{
            collections::{self, Backlog, Collection, Upstream},
            documents, pauses,
        },
    },
};

/// A collection with all that is answered of it.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) collection: Collection,
    standing: Backlog,
    bucket_ids: Vec<String>,
    upstream_ids: Vec<String>,
    root_ids: Vec<String>,
    vectors: Vec<(String, u64)>,
    paused: Option<String>,
}

/// Everything that is answered of a collection.
pub(super) fn details_of(
    db: &Connection,
    extractors: &Extractors,
    collection: Collection,
) -> Result<Details> {
    let settings = &collection.settings.extractor;
    let recipe = extractors
        .find(&settings.name, &settings.version)
        .map_or([0; 16], |extractor| digest::recipe(&extractor, settings));
    let paused = pauses::all(db)?
        .into_iter()
        .find(|pause| pause.name == settings.name)
        .map(|pause| pause.reason);
    let (mut bucket_ids, mut upstream_ids) = (Vec::new(), Vec::new());
    for source in collections::sources(db, collection.key)? {
        match source {
            Upstream::Bucket(key) => bucket_ids.extend(collections::bucket_id(db, key)?),
            Upstream::Collection(key) => {
                upstream_ids.extend(collections::by_key(db, key)?.map(|it| it.id.to_string()));
            }
        }
    }
    let mut root_ids = Vec::new();
    for key in collections::root_buckets(db, collection.key)? {
        root_ids.extend(collections::bucket_id(db, key)?);
    }
    Ok(Details {
        standing: collections::backlog(db, collection.key, &recipe)?,
        vectors: documents::vector_names(db, collection.key)?,
        bucket_ids,
        upstream_ids,
        root_ids,
        paused,
        collection,
    })
}

impl Details {
    /// The answer.
    pub(super) fn to_json(&self, extractors: &Extractors) -> Value {
        let Collection { settings, .. } = &self.collection;
        let extractor = &settings.extractor;
        let known = extractors.find(&extractor.name, &extractor.version);
        let output = output_schema(known.as_deref(), extractor);
        let response = extractor_to_json(extractor);
        let source = self.source_told();
        let lineage = json!([{
            "source_config": source, "feature_extractor": response, "output_schema": output,
        }]);
        let vectors: Vec<Value> = self
            .vectors
            .iter()
            .map(|(name, dimensions)| {
                json!({"name": name, "type": "dense", "feature_uri": null,
                       "index": {"dimensions": dimensions}, "source": "extractor"})
            })
            .collect();
        let mut answer = json!({
            "collection_id": self.collection.id,
            "collection_name": self.collection.name,
            "description": settings.description,
            "input_schema": settings.input_schema,
            "output_schema": output,
            "feature_extractor": response,
            "source": source,
            "source_bucket_schemas": null,
            "source_lineage": lineage,
            "index_map": null,
            "vector_indexes": vectors,
            "payload_indexes": [],
            "embedding_task": null,
            "enabled": self.collection.is_enabled,
            "disabled_reason": self.collection.disabled,
            "metadata": settings.metadata,
            "schedule": settings.schedule.as_ref().map(|schedule| json!({
                "trigger_type": "interval",
                "schedule_config": {
                    "interval_seconds": schedule.interval_seconds,
                    "start_immediately": schedule.start_immediately,
                },
                "description": schedule.description,
            })),
            "trigger_id": null,
            "created_at": self.collection.created_at,
            "updated_at": self.collection.updated_at,
            "lifecycle_state": "active",
            "document_count": self.collection.document_count,
            "schema_version": 1,
            "schema_sync_enabled": true,
            "document_schema": settings.document_schema,
            "schema_validation": settings.schema_validation.as_str(),
            "taxonomy_applications": [],
            "cluster_applications": [],
            "alert_applications": [],
            "retriever_enrichments": [],
        });
        let more = json!({
            "s3_vector_index": null,
            "last_lifecycle_transition": null,
            "tiering_rules": null,
            "tiering": null,
            "last_schema_sync": null,
            "retriever_transform": null,
            "vector_count": null,
            "taxonomy_count": 0,
            "retriever_count": 0,
            "indexing_status": "READY",
            "indexing_status_scoped": null,
            "warnings": self.warnings(known.is_some()),
            "waiting": self.standing.waiting,
            "failed": self.standing.failed,
            "outdated": self.standing.outdated,
            "paused_reason": self.paused,
            "next_run_at": self.collection.next_run_at,
        });
        if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
            answer.extend(more);
        }
        answer
    }

    fn warnings(&self, is_known: bool) -> Vec<String> {
        let name = &self.collection.settings.extractor.name;
        let mut warnings = Vec::new();
        if !is_known {
            warnings.push(format!("the extractor {name:?} is not here any more"));
        }
        let invalid = self.collection.settings.schema_validation;
        if invalid != SchemaValidation::Off && self.collection.settings.document_schema.is_none() {
            warnings.push("schema_validation has no document_schema to go by".to_owned());
        }
        warnings
    }

    fn source_told(&self) -> Value {
        let source = &self.collection.settings.source;
        let is_bucket = self.upstream_ids.is_empty();
        json!({
            "type": if is_bucket { "bucket" } else { "collection" },
            "bucket_ids": is_bucket.then_some(&self.bucket_ids),
            "source_namespace_id": null,
            "collection_id": match self.upstream_ids.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            "collection_ids": (!is_bucket).then_some(&self.upstream_ids),
            "inherited_bucket_ids": (!is_bucket).then_some(&self.root_ids),
            "source_filters": source.source_filters.as_ref().map(|raw| json!({"filters": raw})),
            "field_map": source.field_map,
        })
    }
}

/// An extractor's settings as the client reads them: parameters carry the extractor's name.
pub(super) fn extractor_to_json(settings: &ExtractorSettings) -> Value {
    let parameters = settings.parameters.clone().map(|mut parameters| {
        parameters.insert("extractor_type".to_owned(), settings.name.clone().into());
        parameters
    });
    let passthrough: Vec<Value> = settings
        .passthrough
        .iter()
        .map(|field| {
            json!({"source_path": field.source, "target_path": field.target,
                   "default": field.default, "required": field.required})
        })
        .collect();
    json!({
        "feature_extractor_name": settings.name,
        "version": settings.version,
        "feature_extractor_id": format!("{}_{}", settings.name, settings.version),
        "params": settings.params,
        "parameters": parameters,
        "input_mappings": settings.input_mappings,
        "field_passthrough": passthrough,
        "include_all_source_fields": settings.all_fields,
    })
}

/// The fields of a collection's documents, in the words of a bucket's schema.
pub(super) fn output_schema(known: Option<&Extractor>, settings: &ExtractorSettings) -> Value {
    let mut properties = Map::new();
    for field in &settings.passthrough {
        properties.insert(field.target.clone(), json!({"type": "string"}));
    }
    for field in known.map(|known| known.fields.as_slice()).unwrap_or_default() {
        let response = json!({"type": field.kind, "description": field.description});
        properties.insert(field.name.clone(), response);
    }
    json!({"properties": properties})
}

/// An extractor, for people who choose one.
pub(super) fn extractor_listed(extractor: &Extractor) -> Value {
    json!({
        "feature_extractor_id": format!("{}_{}", extractor.name, extractor.version),
        "feature_extractor_name": extractor.name,
        "version": extractor.version,
        "description": extractor.description,
        "source": if extractor.is_builtin() { "builtin" } else { "own" },
        "accepts": extractor.accepts,
        "parameter_schema": extractor.parameters,
        "output_schema": output_schema(Some(extractor), &ExtractorSettings::default()),
        "not_confined": match extractor.is_service() {
            true => vec!["service"],
            false => crate::processing::extract::confine::missing(),
        },
    })
}
