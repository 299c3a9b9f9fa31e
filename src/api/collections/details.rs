//! Collections as they are returned.

use serde_json::{Map, Value, json};

use super::{
    response::{
        CollectionExtractorResponse, CollectionLineageResponse, CollectionResponse,
        CollectionSchemaResponse, CollectionSourceResponse, CollectionVectorIndexResponse,
        DisabledReasonResponse, ExtractorResponse, FieldPassthroughResponse, SourceFiltersResponse,
        VectorDimensionsResponse,
    },
    wire::{CollectionScheduleConfig, SourceType},
};

use crate::{
    model::{Disabled, ExtractorSettings, Schedule, SchemaValidation},
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

/// A collection with everything that is returned of it.
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

/// Everything that is returned of a collection.
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
        json!(self.response(extractors))
    }

    fn response(&self, extractors: &Extractors) -> CollectionResponse {
        let Collection { settings, .. } = &self.collection;
        let extractor = &settings.extractor;
        let known = extractors.find(&extractor.name, &extractor.version);
        let output_schema = output_schema(known.as_deref(), extractor);
        let feature_extractor = extractor_response(extractor);
        let source = self.source();
        let lineage = CollectionLineageResponse {
            source_config: source.clone(),
            feature_extractor: feature_extractor.clone(),
            output_schema: output_schema.clone(),
        };
        CollectionResponse {
            collection_id: self.collection.id.to_string(),
            collection_name: self.collection.name.clone(),
            description: settings.description.clone(),
            input_schema: settings.input_schema.clone(),
            output_schema,
            feature_extractor,
            source,
            source_bucket_schemas: None,
            source_lineage: vec![lineage],
            index_map: None,
            vector_indexes: self.vector_indexes(),
            payload_indexes: Vec::new(),
            embedding_task: None,
            enabled: self.collection.is_enabled,
            disabled_reason: self.collection.disabled.clone().map(disabled_response),
            metadata: settings.metadata.clone(),
            schedule: settings.schedule.as_ref().map(schedule_response),
            trigger_id: None,
            created_at: self.collection.created_at,
            updated_at: self.collection.updated_at,
            lifecycle_state: "active",
            document_count: self.collection.document_count,
            schema_version: 1,
            schema_sync_enabled: true,
            document_schema: settings.document_schema.clone(),
            schema_validation: settings.schema_validation.as_str(),
            taxonomy_applications: Vec::new(),
            cluster_applications: Vec::new(),
            alert_applications: Vec::new(),
            retriever_enrichments: Vec::new(),
            s3_vector_index: None,
            last_lifecycle_transition: None,
            tiering_rules: None,
            tiering: None,
            last_schema_sync: None,
            retriever_transform: None,
            vector_count: None,
            taxonomy_count: 0,
            retriever_count: 0,
            indexing_status: "READY",
            indexing_status_scoped: None,
            warnings: self.warnings(known.is_some()),
            waiting: self.standing.waiting,
            failed: self.standing.failed,
            outdated: self.standing.outdated,
            paused_reason: self.paused.clone(),
            next_run_at: self.collection.next_run_at,
        }
    }

    fn vector_indexes(&self) -> Vec<CollectionVectorIndexResponse> {
        let vectors = self.vectors.iter().map(|(name, dimensions)| CollectionVectorIndexResponse {
            name: name.clone(),
            kind: "dense",
            feature_uri: None,
            index: VectorDimensionsResponse { dimensions: *dimensions },
            source: "extractor",
        });
        vectors.collect()
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

    fn source(&self) -> CollectionSourceResponse {
        let source = &self.collection.settings.source;
        let is_bucket = self.upstream_ids.is_empty();
        let filters = source.source_filters.clone();
        CollectionSourceResponse {
            kind: if is_bucket { SourceType::Bucket } else { SourceType::Collection },
            bucket_ids: is_bucket.then(|| self.bucket_ids.clone()),
            source_namespace_id: None,
            collection_id: match self.upstream_ids.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
            collection_ids: (!is_bucket).then(|| self.upstream_ids.clone()),
            inherited_bucket_ids: (!is_bucket).then(|| self.root_ids.clone()),
            source_filters: filters.map(|filters| SourceFiltersResponse { filters }),
            field_map: source.field_map.clone(),
        }
    }
}

fn schedule_response(schedule: &Schedule) -> CollectionScheduleConfig {
    let config = [
        ("interval_seconds".to_owned(), schedule.interval_seconds.into()),
        ("start_immediately".to_owned(), schedule.start_immediately.into()),
    ];
    CollectionScheduleConfig {
        trigger_type: "interval".to_owned(),
        schedule_config: config.into_iter().collect(),
        description: schedule.description.clone(),
    }
}

fn disabled_response(disabled: Disabled) -> DisabledReasonResponse {
    DisabledReasonResponse {
        code: disabled.code,
        message: disabled.message,
        source_collection_id: disabled.source_collection_id,
        source_collection_name: disabled.source_collection_name,
        disabled_at: disabled.disabled_at,
    }
}

/// An extractor's settings as the client reads them: parameters carry the extractor's name.
fn extractor_response(settings: &ExtractorSettings) -> CollectionExtractorResponse {
    let parameters = settings.parameters.clone().map(|mut parameters| {
        parameters.insert("extractor_type".to_owned(), settings.name.clone().into());
        parameters
    });
    let passthrough = settings.passthrough.iter().map(|field| FieldPassthroughResponse {
        source_path: field.source.clone(),
        target_path: field.target.clone(),
        default: field.default.clone(),
        required: field.required,
    });
    CollectionExtractorResponse {
        feature_extractor_name: settings.name.clone(),
        version: settings.version.clone(),
        feature_extractor_id: format!("{}_{}", settings.name, settings.version),
        params: settings.params.clone(),
        parameters,
        input_mappings: settings.input_mappings.clone(),
        field_passthrough: passthrough.collect(),
        include_all_source_fields: settings.all_fields,
    }
}

/// The fields of a collection's documents, in the words of a bucket's schema.
pub(super) fn output_schema(
    known: Option<&Extractor>,
    settings: &ExtractorSettings,
) -> CollectionSchemaResponse {
    let mut properties = Map::new();
    for field in &settings.passthrough {
        properties.insert(field.target.clone(), json!({"type": "string"}));
    }
    for field in known.map(|known| known.fields.as_slice()).unwrap_or_default() {
        let response = json!({"type": field.kind, "description": field.description});
        properties.insert(field.name.clone(), response);
    }
    CollectionSchemaResponse { properties }
}

/// An extractor, for people who choose one.
pub(super) fn extractor_listed(extractor: &Extractor) -> ExtractorResponse {
    ExtractorResponse {
        feature_extractor_id: format!("{}_{}", extractor.name, extractor.version),
        feature_extractor_name: extractor.name.clone(),
        version: extractor.version.clone(),
        description: extractor.description.clone(),
        source: if extractor.is_builtin() { "builtin" } else { "own" },
        accepts: extractor.accepts.clone(),
        parameter_schema: extractor.parameters.clone(),
        output_schema: output_schema(Some(extractor), &ExtractorSettings::default()),
        not_confined: match extractor.is_service() {
            true => vec!["service"],
            false => crate::processing::extract::confine::missing(),
        },
        network: extractor.reaches_network(),
    }
}
