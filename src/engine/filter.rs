//! The filters of a sync, compiled once, asked for each entry of a listing. Never makes a request.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use jiff::Timestamp;

use crate::model::{EntryPath, FileFilters, Fingerprint};

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
}

/// Why an entry is left out: the rule that it does not pass.
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
    /// Last modified before the sync takes entries at all (`sync_from`).
    BeforeStart(Timestamp),
    /// Times are asked for and the source tells none.
    NoTime,
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIncluded => f.write_str("matches no include pattern"),
            Self::Excluded(glob) => write!(f, "excluded by {glob:?}"),
            Self::Extension => f.write_str("has another extension"),
            Self::MimeType => f.write_str("has another MIME type"),
            Self::TooSmall(least) => write!(f, "smaller than {least} bytes"),
            Self::TooLarge(most) => write!(f, "larger than {most} bytes"),
            Self::TooOld(after) => write!(f, "not modified after {after}"),
            Self::TooNew(before) => write!(f, "not modified before {before}"),
            Self::BeforeStart(since) => write!(f, "modified before {since} (sync_from)"),
            Self::NoTime => f.write_str("has no modification time to compare"),
        }
    }
}

/// Filters that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A pattern that is not a glob.
    #[error("{field}: {glob:?} is not a valid pattern: {reason}")]
    BadGlob {
        /// `include_patterns` or `exclude_patterns`.
        field: &'static str,
        /// The pattern.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing can pass.
    #[error("min_size_bytes ({min}) is above max_size_bytes ({max}): nothing could pass")]
    Sizes {
        /// The least size, in bytes.
        min: u64,
        /// The greatest, in bytes.
        max: u64,
    },
    /// Nothing can pass.
    #[error(
        "modified_after ({after}) is not before modified_before ({before}): nothing could pass"
    )]
    Times {
        /// The earliest time.
        after: Timestamp,
        /// The latest.
        before: Timestamp,
    },
    /// Not of the form `type/subtype`.
    #[error("mime_types: {0:?} is not of the form type/subtype or type/*")]
    MimeType(String),
}

impl Filter {
    /// Compiles `filters`.
    ///
    /// # Errors
    /// When one of them is malformed, or together they let nothing pass.
    pub fn compile(filters: &FileFilters) -> Result<Self, FilterError> {
        if let (Some(min), Some(max)) = (filters.min_size_bytes, filters.max_size_bytes)
            && min > max
        {
            return Err(FilterError::Sizes { min, max });
        }
        if let (Some(after), Some(before)) = (filters.modified_after, filters.modified_before)
            && after >= before
        {
            return Err(FilterError::Times { after, before });
        }
        Ok(Self {
            include: patterns("include_patterns", &filters.include_patterns)?,
            exclude: patterns("exclude_patterns", &filters.exclude_patterns)?,
            extensions: filters
                .extensions
                .iter()
                .map(|extension| extension.trim_start_matches('.').to_lowercase())
                .collect(),
            mime_types: filters
                .mime_types
                .iter()
                .map(|t| mime_type(t))
                .collect::<Result<_, _>>()?,
            min_size: filters.min_size_bytes,
            max_size: filters.max_size_bytes,
            after: filters.modified_after,
            before: filters.modified_before,
            since: None,
        })
    }

    /// Leaves out what was last modified before `since` as well. What tells no time is not older.
    #[must_use]
    pub fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// The first rule that the entry does not pass; `None` when it passes all.
    #[must_use]
    pub fn refuses(&self, path: &EntryPath, facts: &Fingerprint) -> Option<Rule<'_>> {
        self.refuses_path(path)
            .or_else(|| self.refuses_size(facts.size))
            .or_else(|| self.refuses_time(facts.modified))
            .or_else(|| self.refuses_mime(path, facts.mime.as_deref()))
    }

    fn refuses_path(&self, path: &EntryPath) -> Option<Rule<'_>> {
        if let Some(pattern) = self.exclude.iter().find(|pattern| pattern.matches(path)) {
            return Some(Rule::Excluded(&pattern.text));
        }
        if !self.include.is_empty() && !self.include.iter().any(|pattern| pattern.matches(path)) {
            return Some(Rule::NotIncluded);
        }
        let wrong = !self.extensions.is_empty()
            && extension(path).is_none_or(|extension| !self.extensions.contains(&extension));
        wrong.then_some(Rule::Extension)
    }

    fn refuses_size(&self, size: u64) -> Option<Rule<'_>> {
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

    fn refuses_mime(&self, path: &EntryPath, told: Option<&str>) -> Option<Rule<'_>> {
        if self.mime_types.is_empty() {
            return None;
        }
        let mime = told.or_else(|| path.mime_guess()).unwrap_or("application/octet-stream");
        let essence = mime.split(';').next().unwrap_or(mime).trim().to_lowercase();
        let passes = self.mime_types.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(family) => essence.starts_with(family),
            None => essence == *wanted,
        });
        (!passes).then_some(Rule::MimeType)
    }
}

fn extension(path: &EntryPath) -> Option<String> {
    let name = str::from_utf8(path.file_name()).ok()?;
    name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase())
}

fn mime_type(text: &str) -> Result<String, FilterError> {
    match text.split_once('/') {
        Some((family, kind)) if !family.is_empty() && !kind.is_empty() => Ok(text.to_lowercase()),
        _ => Err(FilterError::MimeType(text.to_owned())),
    }
}

/// One glob, with what it is held against.
#[derive(Debug)]
struct Pattern {
    text: String,
    matcher: GlobMatcher,
    /// Held against the whole path; else against the file's name.
    whole_path: bool,
}

impl Pattern {
    fn matches(&self, path: &EntryPath) -> bool {
        let subject = if self.whole_path { path.as_bytes() } else { path.file_name() };
        self.matcher.is_match_candidate(&globset::Candidate::from_bytes(&subject))
    }
}

fn patterns(field: &'static str, globs: &[String]) -> Result<Vec<Pattern>, FilterError> {
    let mut patterns = Vec::new();
    for glob in globs {
        let mut add = |spelling: &str, whole_path: bool| {
            let bad = |reason: String| FilterError::BadGlob { field, glob: glob.clone(), reason };
            if spelling.is_empty() {
                return Err(bad("it is empty".to_owned()));
            }
            let matcher = GlobBuilder::new(spelling)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| bad(error.kind().to_string()))?
                .compile_matcher();
            patterns.push(Pattern { text: glob.clone(), matcher, whole_path });
            Ok(())
        };
        add(glob, glob.contains('/'))?;
        // What people write besides the plain rule: a folder by its name with a `/` behind it, and
        // the root by a `/` in front. Keys that are spelled so match as well.
        if let Some(folder) = glob.strip_suffix('/') {
            add(&format!("{}/**", folder.trim_start_matches('/')), true)?;
            if !folder.contains('/') {
                add(&format!("**/{folder}/**"), true)?;
            }
        } else if let Some(anchored) = glob.strip_prefix('/') {
            add(anchored, true)?;
        }
    }
    Ok(patterns)
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
    fn a_folder_with_a_slash_behind_it_means_all_that_is_in_it() {
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
    fn a_mime_type_is_guessed_by_extension_where_the_listing_tells_none() {
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
    fn filters_that_cannot_be_are_refused_by_name() {
        let bad = FileFilters { include_patterns: vec!["[a".into()], ..Default::default() };
        let message = Filter::compile(&bad).unwrap_err().to_string();
        assert!(
            message.starts_with("include_patterns: \"[a\" is not a valid pattern"),
            "{message}"
        );
        let upside_down =
            FileFilters { min_size_bytes: Some(2), max_size_bytes: Some(1), ..Default::default() };
        assert!(Filter::compile(&upside_down).is_err());
    }
}
