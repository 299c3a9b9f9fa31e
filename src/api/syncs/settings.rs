//! From what is sent in to a sync's settings: defaults, limits that depend on each other or on the
//! provider, and every mistake said at once with its field. Pure; nothing is asked or stored here.

use serde_json::{Map, Value};

use super::wire::{MaxDeleteSetting, ReconcileSettings, SyncUpdateRequest, TaskStatusEnum};
use crate::{
    api::{error::FieldError, json::Patch},
    engine::filter::{Filter, FilterError},
    model::{
        FieldProblem, FileFilters, MaxDelete, Pace, Processing, ProviderName, Reconcile,
        SchemaMapping, SyncMode, SyncOptions,
    },
    sources::{self, ProviderFilterError},
};

/// Keys that a sync's metadata may have.
const MAX_METADATA: usize = 50;

/// The settings of a sync that says nothing about them.
#[must_use]
pub(super) fn defaults() -> SyncOptions {
    SyncOptions {
        skip_duplicates: true,
        pace: Pace { mode: SyncMode::Continuous, ..Pace::default() },
        ..SyncOptions::default()
    }
}

/// What a request asks of a sync besides settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// To pause.
    Pause,
    /// To resume.
    Resume,
}

impl SyncUpdateRequest {
    /// What `status` commands.
    ///
    /// # Errors
    /// When it is a state that cannot be ordered.
    pub(super) fn command(&self) -> Result<Option<Command>, FieldError> {
        match self.status {
            Patch::Missing | Patch::Null => Ok(None),
            Patch::Value(TaskStatusEnum::Suspended) => Ok(Some(Command::Pause)),
            Patch::Value(TaskStatusEnum::Active) => Ok(Some(Command::Resume)),
            Patch::Value(other) => {
                let value = serde_json::to_value(other).unwrap_or_default();
                let message = "this state cannot be set; SUSPENDED pauses, ACTIVE resumes";
                Err(FieldError::new("status", value, message)
                    .accepting(Value::from_iter(["ACTIVE", "SUSPENDED"])))
            }
        }
    }

    /// Writes the settings that were sent into `options`. Answers every field that is wrong.
    pub(super) fn apply(
        self,
        provider: &ProviderName,
        options: &mut SyncOptions,
    ) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        let usual = defaults();
        self.description.apply(&mut options.description);
        set(self.metadata, &mut options.metadata, Map::new());
        set(self.create_object_on_confirm, &mut options.create_object_on_confirm, true);
        set(self.skip_duplicates, &mut options.skip_duplicates, usual.skip_duplicates);
        set(self.file_filters, &mut options.filters, FileFilters::default());
        set(self.provider_filters, &mut options.provider_filters, Map::new());
        set(self.follow_symlinks, &mut options.follow_symlinks, false);
        set(self.symlinks_may_leave_root, &mut options.symlinks_may_leave_root, false);
        reconcile(self.reconcile, &mut options.reconcile);
        mapping(self.schema_mapping, &mut options.mapping, &mut wrong);
        max_delete(self.max_delete, &mut options.max_delete, &mut wrong);

        let (pace, usual) = (&mut options.pace, usual.pace);
        set(self.sync_mode, &mut pace.mode, usual.mode);
        set(
            self.polling_interval_seconds,
            &mut pace.polling_interval_seconds,
            usual.polling_interval_seconds,
        );
        set(self.batch_size, &mut pace.batch_size, usual.batch_size);
        self.sync_concurrency.apply(&mut pace.sync_concurrency);
        set(self.max_objects_per_run, &mut pace.max_objects_per_run, usual.max_objects_per_run);
        set(self.resume_enabled, &mut pace.resume_enabled, usual.resume_enabled);
        set(
            self.resume_checkpoint_frequency,
            &mut pace.resume_checkpoint_frequency,
            usual.resume_checkpoint_frequency,
        );

        let (after, usual) = (&mut options.processing, Processing::default());
        set(self.skip_batch_submission, &mut after.skip_batch_submission, false);
        set(self.batch_chunk_size, &mut after.batch_chunk_size, usual.batch_chunk_size);
        set(self.max_batch_chunk_size, &mut after.max_batch_chunk_size, usual.max_batch_chunk_size);
        self.batch_collection_ids.apply(&mut after.batch_collection_ids);
        after.batch_collection_ids =
            after.batch_collection_ids.take().filter(|ids| !ids.is_empty());
        match self.ingest_filter {
            Patch::Missing => {}
            Patch::Null => after.ingest_filter = None,
            Patch::Value(filter) => after.ingest_filter = serde_json::to_value(filter).ok(),
        }
        check(provider, options, &mut wrong);
        wrong
    }
}

/// Changes `field` as the patch says; null gives back the default.
fn set<T>(patch: Patch<T>, field: &mut T, default: T) {
    match patch {
        Patch::Missing => {}
        Patch::Null => *field = default,
        Patch::Value(value) => *field = value,
    }
}

fn reconcile(patch: Patch<ReconcileSettings>, settings: &mut Reconcile) {
    match patch {
        Patch::Missing => {}
        Patch::Null => *settings = Reconcile::default(),
        Patch::Value(sent) => {
            let flag = |sent: Option<bool>, flag: &mut bool| *flag = sent.unwrap_or(*flag);
            flag(sent.on_delete, &mut settings.on_delete);
            flag(sent.on_update, &mut settings.on_update);
            flag(sent.on_filter_drift, &mut settings.on_filter_drift);
            flag(sent.re_extract_on_update, &mut settings.re_extract_on_update);
            if let Some(fields) = sent.re_extract_fields {
                settings.re_extract_fields = fields;
            }
        }
    }
}

fn mapping(patch: Patch<Value>, mapping: &mut Option<SchemaMapping>, wrong: &mut Vec<FieldError>) {
    match patch {
        Patch::Missing => {}
        Patch::Null => *mapping = None,
        Patch::Value(json) => match SchemaMapping::parse(&json) {
            Ok(parsed) => {
                let reserved = parsed.reserved_targets().into_iter();
                wrong.extend(reserved.map(|problem| field_error_in("schema_mapping", problem)));
                *mapping = Some(parsed);
            }
            Err(problems) => {
                wrong.extend(
                    problems.into_iter().map(|problem| field_error_in("schema_mapping", problem)),
                );
            }
        },
    }
}

fn max_delete(
    patch: Patch<MaxDeleteSetting>,
    limit: &mut Option<MaxDelete>,
    wrong: &mut Vec<FieldError>,
) {
    match patch {
        Patch::Missing => {}
        Patch::Null => *limit = None,
        Patch::Value(MaxDeleteSetting::Count(count)) => *limit = Some(MaxDelete::Count(count)),
        Patch::Value(MaxDeleteSetting::Text(text)) => match text.parse() {
            Ok(parsed) => *limit = Some(parsed),
            Err(error) => wrong.push(
                FieldError::new("max_delete", text.as_str(), ToString::to_string(&error))
                    .accepting("a count such as 25, or a share such as \"12.5%\""),
            ),
        },
    }
}

/// What cannot be checked for one field alone.
fn check(provider: &ProviderName, options: &SyncOptions, wrong: &mut Vec<FieldError>) {
    let (chunk, most) =
        (options.processing.batch_chunk_size, options.processing.max_batch_chunk_size);
    if options.metadata.len() > MAX_METADATA {
        let message = format!("has {} keys", options.metadata.len());
        wrong.push(
            FieldError::new("metadata", Value::Null, message)
                .accepting(format!("an object of at most {MAX_METADATA} keys")),
        );
    }
    if chunk > most {
        let message = format!("is above max_batch_chunk_size ({most})");
        wrong.push(
            FieldError::new("batch_chunk_size", chunk, message)
                .accepting(format!("an integer from 1 to {most}")),
        );
    }
    if let Err(FilterError(problems)) = Filter::compile(&options.filters) {
        wrong.extend(problems.into_iter().map(|problem| field_error_in("file_filters", problem)));
    }
    let reader = sources::reader(provider);
    if let Some(mapping) = &options.mapping {
        let offered = reader.map_or(&[][..], |reader| reader.offers());
        let problems = mapping.problems_with(provider, offered);
        wrong.extend(problems.into_iter().map(|problem| field_error_in("schema_mapping", problem)));
    }
    if let Err(problems) = sources::provider_filters(provider, &options.provider_filters) {
        wrong.extend(problems.into_iter().map(|problem| filter_problem(problem, options)));
    }
    for (field, on) in [
        ("follow_symlinks", options.follow_symlinks),
        ("symlinks_may_leave_root", options.symlinks_may_leave_root),
    ] {
        if on && !reader.is_some_and(|reader| reader.has_symlinks()) {
            let message = format!("{provider} has no symbolic links");
            wrong.push(FieldError::new(field, true, message).accepting("false"));
        }
    }
}

/// A filter that the provider does not have, or that cannot be, seen from the request.
fn filter_problem(problem: ProviderFilterError, options: &SyncOptions) -> FieldError {
    match problem {
        ProviderFilterError::Unknown { key, provider, accepted } => {
            let value = options.provider_filters.get(&key).cloned().unwrap_or_default();
            let message = format!("{provider} knows no such filter");
            let mut error = FieldError::new(format!("provider_filters.{key}"), value, message)
                .accepting(accepted.iter().copied().collect::<Value>());
            error.kind = "extra_forbidden";
            error
        }
        ProviderFilterError::WrongValue { field, value, problem, accepted } => {
            FieldError::new(field, value, problem).accepting(accepted)
        }
    }
}

/// A problem of some settings, seen from the request.
pub(super) fn field_error_in(outer: &str, problem: FieldProblem) -> FieldError {
    let mut field = outer.to_owned();
    for part in problem.field.split('.').filter(|part| !part.is_empty()) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            field.push_str(&format!("[{part}]"));
        } else {
            field.push('.');
            field.push_str(part);
        }
    }
    let is_missing = problem.value.is_none();
    let mut error = FieldError::new(field, problem.value.unwrap_or_default(), problem.message);
    if is_missing {
        error.value = None;
        error.kind = "missing";
    }
    match problem.accepted {
        Some(accepted) => error.accepting(accepted),
        None => error,
    }
}
