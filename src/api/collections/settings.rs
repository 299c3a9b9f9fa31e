//! From what is sent to what is kept of a collection, with everything that is wrong with it named.

use std::{collections::BTreeMap, sync::Arc};

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::{Map, Value, json};

use super::wire::{
    CollectionScheduleConfig, FeatureExtractorConfig, FieldPassthrough, SourceConfig, SourceType,
};
use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
        filters,
    },
    model::{
        ExtractorSettings, Filter, InputFrom, InputSlot, Passthrough, Schedule, SourceSettings,
    },
    processing::{
        RESERVED,
        extract::{Extractor, Extractors},
    },
    store::{
        buckets, namespaces,
        objects::query::Query,
        processing::{
            collections::{self, Upstream},
            documents::query::Query as DocumentQuery,
        },
    },
};

/// The extractor that is asked for, by its configuration or by one word.
pub(super) fn extractor(
    extractors: &Extractors,
    config: Option<FeatureExtractorConfig>,
    features: Option<&[String]>,
) -> Result<(Arc<Extractor>, ExtractorSettings), ApiError> {
    let config = match (config, features) {
        (Some(config), None) => config,
        (Some(_), Some([])) | (None, None | Some([])) => {
            return Err(missing(extractors));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_field(
                FieldError::new("features", (), "stands beside feature_extractor")
                    .accepting("one of them"),
            ));
        }
        (None, Some([feature, ..])) => {
            let name = feature.strip_prefix("custom:").unwrap_or(feature).to_owned();
            let version = extractors
                .all()
                .into_iter()
                .find(|known| known.name == name)
                .map_or_else(|| "v1".to_owned(), |known| known.version.clone());
            FeatureExtractorConfig {
                feature_extractor_name: name,
                version,
                params: None,
                parameters: None,
                input_mappings: None,
                field_passthrough: None,
                include_all_source_fields: None,
                feature_extractor_id: None,
            }
        }
    };
    let name = config.feature_extractor_name.as_str();
    let Some(found) = extractors.find(name, &config.version) else {
        return Err(unknown(extractors, name, &config.version));
    };
    check_parameters(&found, config.parameters.as_ref())?;
    let settings = ExtractorSettings {
        name: name.to_owned(),
        version: config.version,
        params: config.params,
        parameters: config.parameters,
        inputs: inputs(&found, config.input_mappings.as_ref())?,
        input_mappings: config.input_mappings,
        passthrough: passthrough(
            "feature_extractor.field_passthrough",
            config.field_passthrough.as_deref().unwrap_or_default(),
        )?,
        all_fields: config.include_all_source_fields.unwrap_or(false),
    };
    Ok((found, settings))
}

fn missing(extractors: &Extractors) -> ApiError {
    ApiError::invalid_field(
        FieldError {
            value: None,
            ..FieldError::new("feature_extractor", (), "say which extractor, here or in features")
        }
        .accepting(names(extractors))
        .of_kind("missing"),
    )
}

fn names(extractors: &Extractors) -> Vec<String> {
    extractors.all().iter().map(|known| known.name.clone()).collect()
}

fn unknown(extractors: &Extractors, name: &str, version: &str) -> ApiError {
    let known = names(extractors);
    if let Some(found) = extractors.all().into_iter().find(|known| known.name == name) {
        return ApiError::invalid_field(
            FieldError::new(
                "feature_extractor.version",
                version,
                format!("{name} has no such version"),
            )
            .accepting(vec![found.version.clone()]),
        );
    }
    ApiError::invalid_field(
        FieldError::new(
            "feature_extractor.feature_extractor_name",
            name,
            format!(
                "{name} needs a model of Mixpeek's cloud, or is not known. Here: {}. A file \
                 extractors/{}.toml of the data directory can provide it",
                known.join(", "),
                plain(name)
            ),
        )
        .accepting(known),
    )
}

/// A name as far as it can be one of a file.
fn plain(name: &str) -> String {
    let is_plain = |it: &char| it.is_ascii_alphanumeric() || *it == '_' || *it == '-';
    let plain: String = name.chars().filter(is_plain).take(64).collect();
    if plain.is_empty() { "NAME".to_owned() } else { plain }
}

fn check_parameters(
    extractor: &Extractor,
    parameters: Option<&Map<String, Value>>,
) -> Result<(), ApiError> {
    let Some(parameters) = parameters else { return Ok(()) };
    let schema = &extractor.parameters;
    let validator = jsonschema::validator_for(schema).map_err(ApiError::internal)?;
    let value = Value::Object(parameters.clone());
    let wrong: Vec<FieldError> = validator
        .iter_errors(&value)
        .flat_map(|error| {
            let place = error.instance_path().to_string().replace('/', ".");
            let place = format!("feature_extractor.parameters{place}");
            if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
                return unknown_parameters(&place, unexpected, known_beside(schema, &error));
            }
            let value = error.instance().clone().into_owned();
            let wrong = FieldError::new(place, value, error.to_string());
            vec![wrong.accepting(schema["properties"].clone())]
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}

/// The names of the parameters that a schema knows where it found others.
fn known_beside(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    let place = error.schema_path().to_string();
    let place = place.rsplit_once('/').map_or("", |(outer, _)| outer);
    let known = schema.pointer(place).and_then(|outer| outer["properties"].as_object());
    known.map(|known| known.keys().cloned().collect()).unwrap_or_default()
}

fn unknown_parameters(place: &str, unknown: &[String], known: Vec<String>) -> Vec<FieldError> {
    let wrong = unknown.iter().map(|name| {
        let message = format!("there is no such parameter; there are: {}", known.join(", "));
        let wrong = FieldError::secret(format!("{place}.{name}"), message);
        wrong.accepting(known.clone()).of_kind("extra_forbidden")
    });
    wrong.collect()
}

/// What an extractor is given; what it asks for itself, if nobody says.
fn inputs(extractor: &Extractor, mappings: Option<&Value>) -> Result<Vec<InputSlot>, ApiError> {
    let field = "feature_extractor.input_mappings";
    let refuse = |value: &Value| {
        ApiError::invalid_field(
            FieldError::new(field, value.clone(), "is no mapping of inputs").accepting(
                "{input: \"field or blob\"}, {input: [fields]}, or a list of {input_key, \
                 source_type: payload, literal or blob, path, override}",
            ),
        )
    };
    match mappings {
        None | Some(Value::Null) => Ok(extractor
            .inputs
            .iter()
            .map(|(name, path)| InputSlot {
                name: name.clone(),
                from: InputFrom::Field(path.clone()),
            })
            .collect()),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, value)| {
                let from = match value {
                    Value::String(path) => InputFrom::Field(path.clone()),
                    Value::Array(paths) => InputFrom::Fields(
                        paths
                            .iter()
                            .map(|path| path.as_str().map(str::to_owned))
                            .collect::<Option<_>>()
                            .ok_or_else(|| refuse(value))?,
                    ),
                    other => from_one(other).ok_or_else(|| refuse(other))?,
                };
                Ok(InputSlot { name: name.clone(), from })
            })
            .collect(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                let name = item.get("input_key").and_then(Value::as_str);
                match (name, from_one(item)) {
                    (Some(name), Some(from)) => Ok(InputSlot { name: name.to_owned(), from }),
                    _ => Err(refuse(item)),
                }
            })
            .collect(),
        Some(other) => Err(refuse(other)),
    }
}

fn from_one(item: &Value) -> Option<InputFrom> {
    let path =
        || item.get("path").and_then(Value::as_str).map(|path| InputFrom::Field(path.to_owned()));
    match item.get("source_type").and_then(Value::as_str) {
        Some("literal" | "constant") => {
            let value = item.get("override").or_else(|| item.get("value"))?;
            Some(InputFrom::Literal(value.clone()))
        }
        Some("payload" | "blob" | "source_blob" | "document_field") | None => path(),
        Some(_) => None,
    }
}

/// The fields that documents take over.
pub(super) fn passthrough(
    place: &str,
    fields: &[FieldPassthrough],
) -> Result<Vec<Passthrough>, ApiError> {
    let mut taken: Vec<Passthrough> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let last = field.source_path.rsplit('.').next().unwrap_or(&field.source_path);
        let target = field.target_path.as_deref().unwrap_or(last).to_owned();
        if RESERVED.contains(&target.as_str()) || target.is_empty() {
            return Err(ApiError::invalid_field(
                FieldError::new(
                    format!("{place}[{index}].target_path"),
                    target,
                    "is a field of ours",
                )
                .accepting("any other name"),
            ));
        }
        if taken.iter().any(|other| other.target == target) {
            return Err(ApiError::invalid_field(
                FieldError::new(
                    format!("{place}[{index}].target_path"),
                    target,
                    "is there twice: rename one of them",
                )
                .accepting("each name once"),
            ));
        }
        taken.push(Passthrough {
            source: field.source_path.clone(),
            target,
            default: field.default.clone(),
            required: field.required.unwrap_or(false),
        });
    }
    Ok(taken)
}

/// When a collection is triggered by itself.
pub(super) fn schedule(config: &CollectionScheduleConfig) -> Result<Schedule, ApiError> {
    if config.trigger_type != "interval" {
        return Err(ApiError::invalid_field(
            FieldError::new(
                "schedule.trigger_type",
                config.trigger_type.as_str(),
                "only intervals are known here: changes are taken as they come, and this tries again \
                 what failed",
            )
            .accepting(vec!["interval"]),
        ));
    }
    let seconds = config.schedule_config.get("interval_seconds").and_then(Value::as_u64);
    let Some(seconds) = seconds.and_then(|it| u32::try_from(it).ok()).filter(|it| *it >= 60) else {
        let value = config.schedule_config.get("interval_seconds").cloned();
        return Err(ApiError::invalid_field(
            FieldError::new(
                "schedule.schedule_config.interval_seconds",
                value.unwrap_or_default(),
                "is no interval",
            )
            .accepting("whole seconds, 60 or more"),
        ));
    };
    let start = config.schedule_config.get("start_immediately").and_then(Value::as_bool);
    Ok(Schedule {
        interval_seconds: seconds,
        start_immediately: start.unwrap_or(false),
        description: config.description.clone(),
    })
}

/// The filter that source filters are: `{"filters": {…}}`, or the filters themselves.
pub(super) fn source_filter(
    given: &Map<String, Value>,
) -> Result<(Filter, Map<String, Value>), ApiError> {
    let inner = match given.get("filters") {
        Some(Value::Object(inner)) if given.len() == 1 => inner.clone(),
        Some(Value::Null) if given.len() == 1 => Map::new(),
        _ => given.clone(),
    };
    Ok((filters::filter_of(&inner)?, inner))
}

/// What a collection takes from: found, and asked whether it can be filtered so.
pub(super) async fn source(
    app: &App,
    namespace_key: i64,
    config: &SourceConfig,
) -> Result<(Vec<Upstream>, SourceSettings), ApiError> {
    let filter = config.source_filters.as_ref().map(source_filter).transpose()?;
    let field_map = match &config.field_map {
        None => None,
        Some(map) => {
            let value = serde_json::to_value(map).map_err(ApiError::internal)?;
            value.as_object().cloned()
        }
    };
    let chosen = fields_by_source(config.field_map.as_ref())?;
    let (named, place) = match config.kind {
        SourceType::Bucket => {
            let named = config.bucket_ids.clone().unwrap_or_default().into_iter();
            (named.chain(config.bucket_id.clone()).collect::<Vec<_>>(), "source.bucket_ids")
        }
        SourceType::Collection => {
            let named = config.collection_ids.clone().unwrap_or_default().into_iter();
            (named.chain(config.collection_id.clone()).collect(), "source.collection_ids")
        }
    };
    if named.is_empty() {
        return Err(ApiError::invalid_field(
            FieldError { value: None, ..FieldError::new(place, (), "say what it takes from") }
                .accepting("ids or names")
                .of_kind("missing"),
        ));
    }
    if let Some(stranger) = chosen.keys().find(|name| !named.contains(name)) {
        return Err(ApiError::invalid_field(
            FieldError::new(
                format!("source.field_map.{stranger}"),
                stranger.as_str(),
                "is none of the sources",
            )
            .accepting(named),
        ));
    }
    let (kind, other) = (config.kind, config.source_namespace_id.clone());
    let condition = filter.as_ref().map(|(filter, _)| filter.clone());
    let found = app
        .engine
        .store
        .read_or(move |db| -> Result<(Vec<Upstream>, BySource), ApiError> {
            let namespace_key = match other {
                None => namespace_key,
                Some(name) => {
                    namespaces::named(db, &name)?
                        .ok_or_else(|| ApiError::not_found("namespace", name))?
                        .key
                }
            };
            let (mut found, mut by_source) = (Vec::new(), BySource::new());
            for name in named {
                let mut chosen = chosen.get(&name).cloned();
                let problem = match kind {
                    SourceType::Bucket => {
                        let bucket = buckets::named(db, namespace_key, &name)?
                            .filter(|bucket| !bucket.is_deleting)
                            .ok_or_else(|| ApiError::not_found("bucket", &name))?;
                        found.push(Upstream::Bucket(bucket.key));
                        by_source.extend(chosen.take().map(|it| (bucket.id.to_string(), it)));
                        Query::new(&bucket, condition.as_ref(), None, None).err()
                    }
                    SourceType::Collection => {
                        let upstream = collections::named(db, namespace_key, &name)?
                            .ok_or_else(|| ApiError::not_found("collection", &name))?;
                        found.push(Upstream::Collection(upstream.key));
                        let (key, id) = (upstream.key, upstream.id.to_string());
                        by_source.extend(chosen.take().map(|it| (id.clone(), it)));
                        DocumentQuery::new(key, &id, condition.as_ref(), None, None).err()
                    }
                };
                if let Some(problem) = problem {
                    let problem = problem.within("source.source_filters");
                    return Err(ApiError::invalid_field(crate::api::buckets::field_error(problem)));
                }
            }
            found.sort_unstable();
            found.dedup();
            Ok((found, by_source))
        })
        .await?;
    let (found, by_source) = found;
    let (filter, raw) = filter.unzip();
    let source_filters = raw.map(|raw| json!(raw));
    Ok((found, SourceSettings { filter, source_filters, field_map, by_source }))
}

/// The fields that are taken over of each source.
type BySource = BTreeMap<String, Vec<Passthrough>>;

/// The fields that are taken over of each source, by the name that the request has for it. No two
/// sources give a field of the same name: neither would be it.
fn fields_by_source(
    map: Option<&BTreeMap<String, Vec<FieldPassthrough>>>,
) -> Result<BySource, ApiError> {
    let mut by_source = BySource::new();
    for (source, fields) in map.into_iter().flatten() {
        let place = format!("source.field_map.{source}");
        let fields = passthrough(&place, fields)?;
        for (index, field) in fields.iter().enumerate() {
            let other = by_source
                .iter()
                .find(|(_, taken)| taken.iter().any(|taken| taken.target == field.target));
            if let Some((other, _)) = other {
                return Err(ApiError::invalid_field(
                    FieldError::new(
                        format!("{place}[{index}].target_path"),
                        field.target.as_str(),
                        format!("is given by {other} and by {source}: rename one of them"),
                    )
                    .accepting("each name once"),
                ));
            }
        }
        by_source.insert(source.clone(), fields);
    }
    Ok(by_source)
}

/// A field of a request, and what it lists.
type Applications<'a> = (&'a str, Option<&'a [Map<String, Value>]>);

/// Refuses what there is none of here.
pub(super) fn refuse_applications(lists: &[Applications<'_>]) -> Result<(), ApiError> {
    let wrong: Vec<FieldError> = lists
        .iter()
        .filter(|(_, list)| list.is_some_and(|list| !list.is_empty()))
        .map(|(name, list)| {
            FieldError::new(*name, json!(list), "needs retrievers, which there are none of here")
                .accepting("none")
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}
