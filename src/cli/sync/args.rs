//! The arguments of `catchment sync`, and the request that they make.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use bytesize::ByteSize;
use jiff::{SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Map, Value};

use crate::{
    cli::{error::CliError, progress::Mode},
    clock::{Clock as _, SystemClock},
    engine::{
        Request, RunOptions,
        filter::{Filter, FilterError},
    },
    model::{
        BucketName, Connection, FieldProblem, FileFilters, Location, MaxDelete, MetadataFilter,
        Operator, ProviderName, Reconcile, SchemaMapping, SyncOptions,
    },
    sources::{self, ProviderFilterError},
    store::{command_line_syncs::BucketChoice, connections::StoredConnection, syncs::Sync},
};

const EXAMPLES: &str = "\
Examples:
  catchment sync ~/Photos
  catchment sync ~/Photos --exclude '*.tmp' --exclude 'cache/**' --dry-run
  catchment sync s3://footage/2026 --profile studio
  catchment sync s3://public-data --anonymous --include '*.csv'
  catchment sync s3://b --endpoint-url http://nas:9000 --region us-east-1
  catchment sync tigris://corpus/v3 --bucket corpus
  catchment sync gdrive:///Reports --connection Work     after `catchment connect google_drive`
  catchment sync ~/Photos --max-delete 50%     let up to half of the objects be removed

The same source and bucket again is the same sync: only what changed is fetched. A sync that was
created in the interface or through the API runs with the settings that it has there.";

/// An argument by its name.
pub(super) type Changed = &'static str;

/// Arguments of `catchment sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// A folder, or a place of a provider, as in s3://bucket/prefix or gdrive:///folder
    pub(super) source: OsString,

    /// The bucket to sync into [default: named after the source]
    #[arg(long, value_name = "NAME")]
    bucket: Option<BucketName>,

    /// The stored connection to read it through, by its name or id; needed where the provider has
    /// several. `catchment connections` lists them
    #[arg(long, value_name = "CONNECTION")]
    pub(super) connection: Option<String>,

    #[command(flatten, next_help_heading = "Which files")]
    which: Which,

    #[command(flatten, next_help_heading = "How")]
    pub(super) how: How,

    #[command(flatten, next_help_heading = "S3 and Tigris")]
    reached: Reached,

    /// Print one JSON event per line; the last one is the summary
    #[arg(long)]
    pub(super) json: bool,

    /// Print nothing but errors
    #[arg(long, short)]
    pub(super) quiet: bool,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Include only what matches this glob (repeatable). Without `/` it is compared with the file
    /// name, with `/` with the path; `**` crosses folders
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Exclude what matches this glob (repeatable); wins over --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Include only files with this extension (jpg or .jpg; repeatable)
    #[arg(long, value_name = "EXTENSION")]
    extension: Vec<String>,

    /// Include only files of this MIME type (image/png or image/*; repeatable)
    #[arg(long, value_name = "TYPE")]
    mime_type: Vec<String>,

    /// Include only files whose metadata meets this condition (repeatable): FIELD OPERATOR VALUE,
    /// as in 'metadata.author contains Ada', 'tags.state equals final' or 'metadata.shot exists'.
    /// OPERATOR is equals, not_equals, contains, not_contains, gt, lt, gte, lte or exists
    #[arg(long, value_name = "CONDITION", value_parser = condition)]
    metadata: Vec<MetadataFilter>,

    /// Include only files of at least this size (4096, 10KB, 1.5MiB)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_size: Option<ByteSize>,

    /// Include only files of at most this size
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<ByteSize>,

    /// Include only files modified after this (2026-01-31, 2026-01-31T12:00:00Z, or an age: 7d)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    modified_after: Option<Timestamp>,

    /// Include only files modified before this
    #[arg(long, value_name = "TIME", value_parser = instant)]
    modified_before: Option<Timestamp>,

    /// Follow symbolic links that stay within the folder
    #[arg(long)]
    follow_symlinks: bool,

    /// With --follow-symlinks: follow those that lead out of the folder, too
    #[arg(long, requires = "follow_symlinks")]
    symlinks_may_leave: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Show what would be added, updated and removed, and why, without changing anything
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Keep objects whose files are gone from the source
    #[arg(long, conflicts_with = "max_delete")]
    no_delete: bool,

    /// Remove at most this many objects, or this share of them; if more are gone, all removals are
    /// held and the exit code is 4 [default: half of them, once that is more than 10]
    #[arg(long, value_name = "N|N%")]
    max_delete: Option<MaxDelete>,

    /// Skip files whose content is already in the bucket
    #[arg(long)]
    skip_duplicates: bool,

    /// Make fields and blobs as this JSON file maps them: {"mappings": {TARGET: {"source": …}}}
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,

    /// Fetch this many files at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    concurrency: Option<u8>,

    /// Start over and fetch every file again, changed or not
    #[arg(long)]
    full: bool,

    /// Accept the source as it is now, although it is another folder than before, or empty
    #[arg(long)]
    adopt_root: bool,
}

#[derive(Debug, clap::Args)]
struct Reached {
    /// List only keys that begin with this prefix, below the source (repeatable: each prefix is
    /// listed on its own, and a resumed run skips those that are complete)
    #[arg(long, value_name = "PREFIX")]
    prefix: Vec<String>,

    /// The profile in the shared AWS config and credentials files
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// The region of the bucket
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    /// Override the provider's endpoint
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint_url: Option<String>,

    /// Send unsigned requests, for public buckets
    #[arg(long, conflicts_with_all = ["profile", "role_arn"])]
    anonymous: bool,

    /// The role to assume
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,

    /// The external ID that the role requires
    #[arg(long, value_name = "ID", requires = "role_arn")]
    external_id: Option<String>,

    /// Pay for requests and transfer (requester pays)
    #[arg(long)]
    requester_pays: bool,

    /// Where URLs have the bucket's name
    #[arg(long, value_name = "STYLE", value_enum, default_value_t = Style::Auto)]
    addressing: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Style {
    /// As the endpoint requires
    Auto,
    /// `https://endpoint/bucket/key`
    Path,
    /// `https://bucket.endpoint/key`
    Virtual,
}

/// An address that requests can go to.
fn endpoint(text: &str) -> Result<String, String> {
    let is_address = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    match is_address {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{text:?} is not an endpoint: write http://HOST[:PORT] or https://HOST"))
        }
    }
}

/// A size: a number of bytes, or one with a unit.
fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not a size: write a number of bytes, or one with KB, MB, GB, TB, KiB, MiB, \
             GiB or TiB, as in 4096, 10KB or 1.5MiB"
        )
    })
}

/// An instant, or an age before now.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    // A date with a time reads as a date, too, and the time would be lost.
    let has_time = text.contains(['T', 't', ':']);
    if has_time && text.parse::<jiff::civil::DateTime>().is_ok() {
        return Err(format!("{text:?} has no time zone: add Z, or an offset such as +01:00"));
    }
    if let Ok(date) = text.parse::<Date>() {
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        return TimeZone::UTC.to_timestamp(midnight).map_err(|error| error.to_string());
    }
    let age: jiff::Span = text.parse().map_err(|_| {
        format!(
            "{text:?} is not a time: write 2026-01-31, 2026-01-31T12:00:00Z, or an age such as 7d"
        )
    })?;
    age.abs()
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .and_then(|age| SystemClock.now().checked_sub(age))
        .map_err(|error| error.to_string())
}

/// A condition: a field, an operator, and the value, which may contain spaces.
fn condition(text: &str) -> Result<MetadataFilter, String> {
    let mut words = text.trim().splitn(3, char::is_whitespace);
    let field = words.next().unwrap_or_default();
    let operator = words.next().unwrap_or_default();
    let value = words.next().map(str::trim);
    let operator: Operator = serde_json::from_value(operator.into()).map_err(|_| {
        format!(
            "{operator:?} is not an operator: write FIELD OPERATOR VALUE with equals, not_equals, \
             contains, not_contains, gt, lt, gte, lte or exists"
        )
    })?;
    let value = match (operator, value) {
        (_, None) => Value::Null,
        (Operator::Exists, Some(text)) => serde_json::from_str(text).unwrap_or(text.into()),
        (_, Some(text)) => text.into(),
    };
    Ok(MetadataFilter { field: field.to_owned(), operator, value })
}

/// The filters that the provider itself applies, checked against those it has.
fn provider_filters(
    prefixes: &[String],
    provider: &ProviderName,
) -> Result<Map<String, Value>, CliError> {
    let prefix = (!prefixes.is_empty()).then(|| ("prefix".to_owned(), prefixes.into()));
    let filters = prefix.into_iter().collect();
    let Err(problems) = sources::provider_filters(provider, &filters) else { return Ok(filters) };
    let told: Vec<String> = problems
        .iter()
        .map(|problem| match problem {
            ProviderFilterError::Unknown { provider, .. } => {
                format!(
                    "--prefix is for S3 and Tigris; a {provider} source does not have this filter"
                )
            }
            ProviderFilterError::WrongValue { value, problem, .. } => {
                format!("--prefix {value} {problem}")
            }
        })
        .collect();
    Err(CliError::usage(told.join("; ")))
}

/// Reads a mapping and checks it against what the provider has.
fn mapping(file: &Path, provider: &ProviderName) -> Result<SchemaMapping, CliError> {
    let wrong = |what: &dyn std::fmt::Display| {
        CliError::usage(format_args!("--mapping {}: {what}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let mapping =
        SchemaMapping::parse(&json).map_err(|problems| wrong(&FieldProblem::join(&problems)))?;
    if let reserved @ [_, ..] = mapping.reserved_targets().as_slice() {
        return Err(wrong(&FieldProblem::join(reserved)));
    }
    let offered = sources::reader(provider).map_or(&[][..], |reader| reader.offers());
    match mapping.problems_with(provider, offered).as_slice() {
        [] => Ok(mapping),
        problems => Err(wrong(&FieldProblem::join(problems))),
    }
}

/// What is wrong with the filters, by the options that set them.
fn by_option(FilterError(problems): FilterError) -> CliError {
    let named = |problem: FieldProblem| {
        let mut way = problem.field.split('.');
        let option = match way.next().unwrap_or_default() {
            "include_patterns" => "--include",
            "exclude_patterns" => "--exclude",
            "extensions" => "--extension",
            "mime_types" => "--mime-type",
            "min_size_bytes" => "--min-size",
            "max_size_bytes" => "--max-size",
            "modified_after" => "--modified-after",
            "modified_before" => "--modified-before",
            "metadata_filters" => "--metadata",
            _ => return problem,
        };
        let field = match way.find(|part| part.parse::<usize>().is_err()) {
            Some(part) => format!("{option} ({part})"),
            None => option.to_owned(),
        };
        FieldProblem { field, ..problem }
    };
    let problems: Vec<FieldProblem> = problems.into_iter().map(named).collect();
    CliError::usage(FieldProblem::join(&problems))
}

impl Args {
    /// The settings of a connection that the arguments give.
    pub(super) fn settings(&self) -> Map<String, Value> {
        self.reached.settings()
    }

    /// What is asked for; `stored` is the stored connection to read it through.
    pub(super) fn request(&self, stored: Option<StoredConnection>) -> Result<Request, CliError> {
        let connection = stored.as_ref().map(|stored| stored.key);
        let location = match stored {
            Some(stored) => sources::place(&self.source)
                .map(|(_, source_path)| Location { connection: stored.settings, source_path }),
            None => sources::locate(&self.source, &self.settings()),
        };
        let location = location.map_err(CliError::usage)?;
        let bucket = match &self.bucket {
            Some(name) => BucketChoice::Named(name.clone()),
            None => BucketChoice::AfterSource(BucketName::derived_from(&sources::suggested_name(
                &location,
            ))),
        };
        let options = self.options(&location.connection.provider)?;
        Filter::compile(&options.filters).map_err(by_option)?;
        let run = RunOptions {
            max_delete: self.how.max_delete,
            concurrency: self.how.concurrency.map(usize::from),
            full: self.how.full,
            refetch: self.how.full,
            adopt_root: self.how.adopt_root,
            approves: self.how.max_delete,
            tries_waiting: true,
            ..RunOptions::default()
        };
        Ok(Request { location, connection, bucket, options, run })
    }

    fn options(&self, provider: &ProviderName) -> Result<SyncOptions, CliError> {
        let which = &self.which;
        Ok(SyncOptions {
            filters: FileFilters {
                include_patterns: which.include.clone(),
                exclude_patterns: which.exclude.clone(),
                min_size_bytes: which.min_size.map(|size| size.0),
                max_size_bytes: which.max_size.map(|size| size.0),
                modified_after: which.modified_after,
                modified_before: which.modified_before,
                extensions: which.extension.clone(),
                mime_types: which.mime_type.clone(),
                metadata_filters: which.metadata.clone(),
            },
            provider_filters: provider_filters(&self.reached.prefix, provider)?,
            mapping: self.how.mapping.as_deref().map(|file| mapping(file, provider)).transpose()?,
            reconcile: match self.how.no_delete {
                true => {
                    Reconcile { on_delete: false, on_filter_drift: false, ..Reconcile::default() }
                }
                false => Reconcile::default(),
            },
            skip_duplicates: self.how.skip_duplicates,
            follow_symlinks: which.follow_symlinks,
            symlinks_may_leave_root: which.symlinks_may_leave,
            ..SyncOptions::default()
        })
    }

    /// The arguments that ask for other settings than those that `sync` has.
    pub(super) fn changes(&self, request: &Request, sync: &Sync) -> Vec<Changed> {
        let (asked, has) = (&request.options, &sync.options);
        let (which, how) = (&self.which, &self.how);
        let (filters, theirs) = (&asked.filters, &has.filters);
        let mut changes = vec![
            (
                "--include",
                !which.include.is_empty(),
                filters.include_patterns == theirs.include_patterns,
            ),
            (
                "--exclude",
                !which.exclude.is_empty(),
                filters.exclude_patterns == theirs.exclude_patterns,
            ),
            ("--extension", !which.extension.is_empty(), filters.extensions == theirs.extensions),
            ("--mime-type", !which.mime_type.is_empty(), filters.mime_types == theirs.mime_types),
            (
                "--metadata",
                !which.metadata.is_empty(),
                filters.metadata_filters == theirs.metadata_filters,
            ),
            (
                "--min-size",
                which.min_size.is_some(),
                filters.min_size_bytes == theirs.min_size_bytes,
            ),
            (
                "--max-size",
                which.max_size.is_some(),
                filters.max_size_bytes == theirs.max_size_bytes,
            ),
            (
                "--modified-after",
                which.modified_after.is_some(),
                filters.modified_after == theirs.modified_after,
            ),
            (
                "--modified-before",
                which.modified_before.is_some(),
                filters.modified_before == theirs.modified_before,
            ),
            ("--follow-symlinks", which.follow_symlinks, has.follow_symlinks),
            ("--symlinks-may-leave", which.symlinks_may_leave, has.symlinks_may_leave_root),
            (
                "--no-delete",
                how.no_delete,
                !has.reconcile.on_delete && !has.reconcile.on_filter_drift,
            ),
            ("--skip-duplicates", how.skip_duplicates, has.skip_duplicates),
            (
                "--prefix",
                !self.reached.prefix.is_empty(),
                asked.provider_filters == has.provider_filters,
            ),
            ("--mapping", how.mapping.is_some(), asked.mapping == has.mapping),
        ];
        changes.extend(self.reached.changes(&sync.location.connection));
        let would_change =
            |(flag, is_given, is_so): (Changed, bool, bool)| (is_given && !is_so).then_some(flag);
        changes.into_iter().filter_map(would_change).collect()
    }

    pub(super) fn mode(&self) -> Mode {
        match (self.json, self.quiet) {
            (true, _) => Mode::Json,
            (false, true) => Mode::Quiet,
            (false, false) => Mode::for_people(),
        }
    }
}

impl Reached {
    /// Each argument: whether it is given, and whether the connection has that already.
    fn changes(&self, connection: &Connection) -> Vec<(Changed, bool, bool)> {
        let asked = self.settings();
        Self::SETTINGS
            .iter()
            .filter(|(_, setting)| connection.settings.contains_key(*setting))
            .map(|(flag, setting)| {
                let (asked, has) = (asked.get(*setting), connection.settings.get(*setting));
                (*flag, asked.is_some(), asked == has)
            })
            .collect()
    }

    /// The arguments that are settings of a connection, and the settings' names.
    const SETTINGS: [(Changed, &str); 7] = [
        ("--profile", "profile"),
        ("--region", "region"),
        ("--anonymous", "anonymous"),
        ("--role-arn", "role_arn"),
        ("--external-id", "external_id"),
        ("--requester-pays", "requester_pays"),
        ("--addressing", "addressing"),
    ];

    /// The settings that are given.
    fn settings(&self) -> Map<String, Value> {
        let texts = [
            ("endpoint_url", &self.endpoint_url),
            ("region", &self.region),
            ("profile", &self.profile),
            ("role_arn", &self.role_arn),
            ("external_id", &self.external_id),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?.into())));
        let flags = [("anonymous", self.anonymous), ("requester_pays", self.requester_pays)];
        let flags = flags.into_iter().filter(|(_, on)| *on).map(|(name, on)| (name, on.into()));
        let addressing = match self.addressing {
            Style::Auto => None,
            Style::Path => Some(("addressing", "path".into())),
            Style::Virtual => Some(("addressing", "virtual_host".into())),
        };
        texts.chain(flags).chain(addressing).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_condition_is_a_field_an_operator_and_a_value() {
        let read = condition("metadata.title contains two words").unwrap();
        assert_eq!((read.operator, read.value), (Operator::Contains, "two words".into()));
        assert_eq!(condition("a exists false").unwrap().value, Value::Bool(false));
        assert_eq!(condition("a exists").unwrap().value, Value::Null);
        assert!(condition("a resembles b").is_err());
        assert!(condition("a").is_err());
    }

    #[test]
    fn a_time_is_an_instant_a_day_or_an_age() {
        assert_eq!(instant("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(
            instant("2026-01-31T12:00:00+02:00").unwrap().to_string(),
            "2026-01-31T10:00:00Z"
        );
        let then = instant("7d").unwrap();
        let week = SystemClock.now().duration_since(then);
        assert_eq!(week.as_hours(), 7 * 24);
        assert!(instant("yesterday-ish").is_err());
    }
}
