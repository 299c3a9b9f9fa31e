//! Globs, and what each is held against.

use globset::{GlobBuilder, GlobMatcher};

use crate::model::{EntryPath, FieldProblem};

/// One glob, with what it is held against.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) text: String,
    matcher: GlobMatcher,
    /// Held against the whole path; else against the file's name.
    whole_path: bool,
}

impl Pattern {
    pub(super) fn matches(&self, path: &EntryPath) -> bool {
        let subject = if self.whole_path { path.as_bytes() } else { path.file_name() };
        self.matcher.is_match_candidate(&globset::Candidate::from_bytes(&subject))
    }
}

/// Compiles globs; those that are none become problems of `field`.
pub(super) fn patterns(
    field: &str,
    globs: &[String],
    problems: &mut Vec<FieldProblem>,
) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (index, glob) in globs.iter().enumerate() {
        match spellings(glob) {
            Ok(more) => patterns.extend(more),
            Err(reason) => {
                let message = format!("{glob:?} is not a valid pattern: {reason}");
                problems.push(FieldProblem::new(
                    format!("{field}.{index}"),
                    glob.as_str(),
                    message,
                ));
            }
        }
    }
    patterns
}

fn spellings(glob: &str) -> Result<Vec<Pattern>, String> {
    let mut patterns = Vec::new();
    let mut add = |spelling: &str, whole_path: bool| {
        if spelling.is_empty() {
            return Err("it is empty".to_owned());
        }
        let matcher = GlobBuilder::new(spelling)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| error.kind().to_string())?
            .compile_matcher();
        patterns.push(Pattern { text: glob.to_owned(), matcher, whole_path });
        Ok(())
    };
    add(glob, glob.contains('/'))?;
    // What people write besides the plain rule: a folder by its name with a `/` behind it, and the
    // root by a `/` in front. Keys that are spelled so match as well.
    if let Some(folder) = glob.strip_suffix('/') {
        add(&format!("{}/**", folder.trim_start_matches('/')), true)?;
        if !folder.contains('/') {
            add(&format!("**/{folder}/**"), true)?;
        }
    } else if let Some(anchored) = glob.strip_prefix('/') {
        add(anchored, true)?;
    }
    Ok(patterns)
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
