//! The filters of a sync, compiled once. They first check what a listing says about an entry
//! ([`Filter::refuses`]); then, where there are conditions on more than that, what the source says
//! of the entries that passed ([`Filter::needs`], [`Filter::refuses_facts`]). Makes no requests
//! itself.

mod glob;
mod metadata;

use std::fmt;

use jiff::Timestamp;

use self::glob::{Pattern, patterns, refuse_many};
use crate::{
    model::{EntryPath, FieldProblem, FileFilters, Fingerprint},
    sources::Needs,
};

pub use metadata::{Condition, Dossier};

/// The compiled filters of a sync.
#[derive(Debug, Default)]
pub struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    extensions: Vec<String>,
    mime_types: Vec<String>,
    min_size: Option<u64>,
    max_size: Option<u64>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    conditions: Vec<Condition>,
}

/// The index of an unmet condition among the filters' conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet(pub usize);

/// Why an entry is excluded: the rule that it does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule<'a> {
    /// No include pattern matches.
    NotIncluded,
    /// This exclude pattern matches.
    Excluded(&'a str),
    /// Another extension.
    Extension,
    /// Another MIME type.
    MimeType,
    /// Smaller than the least size, in bytes.
    TooSmall(u64),
    /// Larger than the greatest size, in bytes.
    TooLarge(u64),
    /// Not modified after this.
    TooOld(Timestamp),
    /// Not modified before this.
    TooNew(Timestamp),
    /// Last modified before the time from which the sync includes entries (`sync_from`).
    BeforeStart(Timestamp),
    /// There is a filter for times and the source has none.
    NoTime,
    /// This condition on its metadata is not met.
    Metadata(&'a Condition),
}

/// In words that fit one entry as well as the number of many.
impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIncluded => f.write_str("no include pattern matches"),
            Self::Excluded(glob) => write!(f, "excluded by {glob:?}"),
            Self::Extension => f.write_str("another extension"),
            Self::MimeType => f.write_str("another MIME type"),
            Self::TooSmall(least) => write!(f, "smaller than {least} bytes"),
            Self::TooLarge(most) => write!(f, "larger than {most} bytes"),
            Self::TooOld(after) => write!(f, "not modified after {after}"),
            Self::TooNew(before) => write!(f, "not modified before {before}"),
            Self::BeforeStart(since) => write!(f, "modified before {since} (sync_from)"),
            Self::NoTime => f.write_str("no modification time to compare"),
            Self::Metadata(condition) => write!(f, "without {condition}"),
        }
    }
}

/// Invalid filters: everything that is wrong with them.
#[derive(Debug, thiserror::Error)]
#[error("{}", FieldProblem::join(.0))]
pub struct FilterError(pub Vec<FieldProblem>);

impl Filter {
    /// Compiles `filters`.
    ///
    /// # Errors
    /// When one of them is malformed, or together they exclude everything.
    pub fn compile(filters: &FileFilters) -> Result<Self, FilterError> {
        let mut problems = Vec::new();
        check_bounds(filters, &mut problems);
        let filter = Self {
            include: patterns("include_patterns", &filters.include_patterns, &mut problems),
            exclude: patterns("exclude_patterns", &filters.exclude_patterns, &mut problems),
            extensions: extensions(&filters.extensions, &mut problems),
            mime_types: mime_types(&filters.mime_types, &mut problems),
            min_size: filters.min_size_bytes,
            max_size: filters.max_size_bytes,
            after: filters.modified_after,
            before: filters.modified_before,
            since: None,
            conditions: Condition::compile(&filters.metadata_filters, &mut problems),
        };
        if problems.is_empty() { Ok(filter) } else { Err(FilterError(problems)) }
    }

    /// What is needed of the source, besides its listing, to decide about an entry that passes
    /// [`Filter::refuses`].
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.conditions.iter().map(Condition::needs).fold(Needs::default(), Needs::and)
    }

    /// Whether any filter looks at more of a path than the file's own name.
    #[must_use]
    pub fn looks_at_folders(&self) -> bool {
        let mut patterns = self.include.iter().chain(&self.exclude);
        patterns.any(Pattern::looks_at_folders)
            || self.conditions.iter().any(Condition::looks_at_folders)
    }

    /// The first condition that the entry does not meet, of those that need more than a listing.
    #[must_use]
    pub fn refuses_facts(&self, dossier: &Dossier<'_>) -> Option<Unmet> {
        self.unmet(dossier, false)
    }

    /// The rule of a condition that an earlier run found unmet, by its index.
    #[must_use]
    pub fn rule_of(&self, unmet: Unmet) -> Option<Rule<'_>> {
        self.conditions.get(unmet.0).map(Rule::Metadata)
    }

    fn unmet(&self, dossier: &Dossier<'_>, is_listed: bool) -> Option<Unmet> {
        self.conditions
            .iter()
            .position(|condition| {
                condition.needs().is_nothing() == is_listed && !condition.is_met_by(dossier)
            })
            .map(Unmet)
    }

    /// Also excludes what was last modified before `since`. What has no time is not excluded.
    #[must_use]
    pub fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// The first rule that the entry does not pass; `None` when it passes all.
    #[must_use]
    pub fn refuses(&self, path: &EntryPath, facts: &Fingerprint) -> Option<Rule<'_>> {
        self.refuses_path(path)
            .or_else(|| facts.known_size().and_then(|size| self.refuses_size(size)))
            .or_else(|| self.refuses_time(facts.modified))
            .or_else(|| self.refuses_mime(path, facts.mime.as_deref()))
            .or_else(|| self.refuses_listed(path, facts))
    }

    fn refuses_listed(&self, path: &EntryPath, facts: &Fingerprint) -> Option<Rule<'_>> {
        if self.conditions.is_empty() {
            return None;
        }
        let dossier = Dossier { path, fingerprint: facts, facts: None };
        self.unmet(&dossier, true).and_then(|unmet| self.rule_of(unmet))
    }

    fn refuses_path(&self, path: &EntryPath) -> Option<Rule<'_>> {
        if let Some(pattern) = self.exclude.iter().find(|pattern| pattern.matches(path)) {
            return Some(Rule::Excluded(&pattern.text));
        }
        if !self.include.is_empty() && !self.include.iter().any(|pattern| pattern.matches(path)) {
            return Some(Rule::NotIncluded);
        }
        (!self.extensions.is_empty() && !self.has_extension(path)).then_some(Rule::Extension)
    }

    fn has_extension(&self, path: &EntryPath) -> bool {
        let Ok(name) = str::from_utf8(path.file_name()) else { return false };
        let name = name.to_lowercase();
        self.extensions.iter().any(|extension| name.ends_with(extension))
    }

    /// The rule that a size does not pass, for a size that was not known before.
    #[must_use]
    pub fn refuses_size(&self, size: u64) -> Option<Rule<'_>> {
        match (self.min_size, self.max_size) {
            (Some(min), _) if size < min => Some(Rule::TooSmall(min)),
            (_, Some(max)) if size > max => Some(Rule::TooLarge(max)),
            _ => None,
        }
    }

    fn refuses_time(&self, modified: Option<Timestamp>) -> Option<Rule<'_>> {
        if let (Some(since), Some(modified)) = (self.since, modified)
            && modified < since
        {
            return Some(Rule::BeforeStart(since));
        }
        match (self.after, self.before, modified) {
            (None, None, _) => None,
            (_, _, None) => Some(Rule::NoTime),
            (Some(after), _, Some(modified)) if modified <= after => Some(Rule::TooOld(after)),
            (_, Some(before), Some(modified)) if modified >= before => Some(Rule::TooNew(before)),
            _ => None,
        }
    }

    fn refuses_mime(&self, path: &EntryPath, listed: Option<&str>) -> Option<Rule<'_>> {
        if self.mime_types.is_empty() {
            return None;
        }
        let mime = listed.or_else(|| path.mime_guess()).unwrap_or("application/octet-stream");
        let essence = mime.split(';').next().unwrap_or(mime).trim().to_lowercase();
        let passes = self.mime_types.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(family) => essence.starts_with(family),
            None => essence == *wanted,
        });
        (!passes).then_some(Rule::MimeType)
    }
}

fn check_bounds(filters: &FileFilters, problems: &mut Vec<FieldProblem>) {
    if let (Some(min), Some(max)) = (filters.min_size_bytes, filters.max_size_bytes)
        && min > max
    {
        let message = format!("{min} is above max_size_bytes ({max}): nothing could pass");
        problems.push(FieldProblem::new("min_size_bytes", min, message));
    }
    if let (Some(after), Some(before)) = (filters.modified_after, filters.modified_before)
        && after >= before
    {
        let message =
            format!("{after} is not before modified_before ({before}): nothing could pass");
        problems.push(FieldProblem::new("modified_after", after.to_string(), message));
    }
}

fn extensions(wanted: &[String], problems: &mut Vec<FieldProblem>) -> Vec<String> {
    let mut extensions = Vec::new();
    if refuse_many("extensions", wanted.len(), problems) {
        return extensions;
    }
    for (index, text) in wanted.iter().enumerate() {
        // People write `tar.gz`, although a name has only `gz` behind its last dot.
        let extension = text.trim().trim_start_matches('.').to_lowercase();
        if extension.is_empty() || extension.contains('/') {
            let place = format!("extensions.{index}");
            let problem = FieldProblem::new(place, text.as_str(), "is not a valid extension");
            problems.push(problem.accepts("jpg, .jpg"));
        }
        extensions.push(format!(".{extension}"));
    }
    extensions
}

fn mime_types(wanted: &[String], problems: &mut Vec<FieldProblem>) -> Vec<String> {
    if refuse_many("mime_types", wanted.len(), problems) {
        return Vec::new();
    }
    for (index, text) in wanted.iter().enumerate() {
        let is_mime = text.split_once('/').is_some_and(|(family, kind)| {
            let is_token = |part: &str| {
                !part.is_empty()
                    && !part.contains(|c: char| c.is_whitespace() || "/*;,".contains(c))
            };
            is_token(family) && (is_token(kind) || kind == "*")
        });
        if !is_mime {
            let message = format!("{text:?} is not of the form type/subtype or type/*");
            problems.push(FieldProblem::new(format!("mime_types.{index}"), text.as_str(), message));
        }
    }
    wanted.iter().map(|text| text.to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::Version;

    fn facts(size: u64) -> Fingerprint {
        Fingerprint {
            size,
            version: Version(Vec::new()),
            modified: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            etag: None,
            mime: None,
            details: None,
        }
    }

    fn passes(filters: &FileFilters, path: &str) -> bool {
        let filter = Filter::compile(filters).unwrap();
        filter.refuses(&EntryPath::new(path.as_bytes()), &facts(100)).is_none()
    }

    fn included(glob: &str, path: &str) -> bool {
        passes(&FileFilters { include_patterns: vec![glob.into()], ..Default::default() }, path)
    }

    #[test]
    fn a_pattern_without_a_slash_matches_the_name_in_any_folder() {
        assert!(included("*.txt", "a.txt"));
        assert!(included("*.txt", "deep/er/a.txt"));
        assert!(included("*", ".hidden"), "a star matches a leading dot");
        assert!(!included("*.TXT", "a.txt"), "case matters");
    }

    #[test]
    fn a_pattern_with_a_slash_matches_the_path_from_the_root() {
        assert!(included("a/*.txt", "a/b.txt"));
        assert!(!included("a/*.txt", "x/a/b.txt"));
        assert!(!included("a/*", "a/b/c"), "one star does not cross folders");
        assert!(included("a/**", "a/b/c"));
        assert!(included("**/c", "a/b/c"));
        assert!(included("/top.txt", "top.txt"));
        assert!(!included("/top.txt", "a/top.txt"));
    }

    #[test]
    fn a_class_can_be_negated() {
        assert!(included("[!a].txt", "b.txt"));
        assert!(!included("[!a].txt", "a.txt"));
    }

    #[test]
    fn a_pattern_that_ends_with_a_slash_matches_everything_in_that_folder() {
        let filters =
            FileFilters { exclude_patterns: vec!["node_modules/".into()], ..Default::default() };
        assert!(!passes(&filters, "node_modules/a/b.js"));
        assert!(!passes(&filters, "web/node_modules/a.js"));
        assert!(passes(&filters, "web/my_node_modules/a.js"));
    }

    #[test]
    fn exclude_wins_over_include() {
        let filters = FileFilters {
            include_patterns: vec!["*.txt".into()],
            exclude_patterns: vec!["secret*".into()],
            ..Default::default()
        };
        assert!(passes(&filters, "a.txt"));
        assert!(!passes(&filters, "secret.txt"));
    }

    #[test]
    fn sizes_are_inclusive() {
        let filters = |min, max| FileFilters {
            min_size_bytes: min,
            max_size_bytes: max,
            ..Default::default()
        };
        assert!(passes(&filters(Some(100), Some(100)), "x"));
        assert!(!passes(&filters(Some(101), None), "x"));
        assert!(!passes(&filters(None, Some(99)), "x"));
    }

    #[test]
    fn a_mime_type_is_guessed_by_extension_where_the_listing_has_none() {
        let filters = FileFilters { mime_types: vec!["image/*".into()], ..Default::default() };
        assert!(passes(&filters, "a/b.JPG"));
        assert!(!passes(&filters, "a/b.txt"));
    }

    #[test]
    fn extensions_match_with_or_without_dot_in_any_case() {
        let filters =
            FileFilters { extensions: vec![".JPG".into(), "png".into()], ..Default::default() };
        assert!(passes(&filters, "a.jpg"));
        assert!(passes(&filters, "a.PNG"));
        assert!(!passes(&filters, "jpg"));
    }

    #[test]
    fn invalid_filters_are_refused_by_name() {
        let bad = FileFilters { include_patterns: vec!["[a".into()], ..Default::default() };
        let message = Filter::compile(&bad).unwrap_err().to_string();
        assert!(
            message.starts_with("include_patterns.0: \"[a\" is not a valid pattern"),
            "{message}"
        );
        let upside_down =
            FileFilters { min_size_bytes: Some(2), max_size_bytes: Some(1), ..Default::default() };
        assert!(Filter::compile(&upside_down).is_err());
    }
}
